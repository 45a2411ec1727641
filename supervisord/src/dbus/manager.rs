//! The manager's methods. Each converts, calls the supervisor, and converts back.

use std::time::Duration;

use supervisor_api::{ApiError, Execution, SubmitRequest};
use tokio::task::spawn_blocking;
use zbus::message::Message;
use zbus::{ObjectPath, Variant};

use crate::dbus::bounds::MAX_WAIT;
use crate::dbus::call::{Call, Front};
use crate::dbus::failure::Failure;
use crate::dbus::names::{id_in, path_of};
use crate::dbus::options::{self, Options};
use crate::dbus::polkit::Action;
use crate::dbus::{approvals, execution, sessions, stewardship, values};
use crate::http::parse_json;
use crate::supervisor::Caller;

/// Id, object, state, outcome, owner, policy, time of submission.
type Line = (String, ObjectPath<'static>, &'static str, &'static str, u32, String, String);

/// Does what a call of the manager's interface asks for.
///
/// # Errors
///
/// What the operation refuses with.
pub async fn act(front: &Front, call: &Call, member: &str) -> Result<Message, Failure> {
    match member {
        "Submit" => submit(front, call).await,
        "SubmitJson" => submit_json(front, call).await,
        "Status" => status(front, call).await,
        "StatusJson" => status_json(front, call).await,
        "List" => list(front, call).await,
        "ListJson" => list_json(front, call).await,
        "Cancel" => cancel(front, call).await,
        "Pause" => pause(front, call).await,
        "Resume" => resume(front, call).await,
        "Output" => output(front, call).await,
        "Artifacts" => {
            let (id,): (String,) = call.arguments()?;
            execution::artifacts(front, call, id_in(&id)).await
        }
        "Artifact" => {
            let (id, path): (String, String) = call.arguments()?;
            execution::artifact(front, call, id_in(&id), &path).await
        }
        "Doctor" => doctor(front, call),
        "Policies" => policies(front, call),
        "Policy" => stewardship::policy(front, call),
        "CreateSession" => sessions::create(front, call).await,
        "Sessions" => sessions::list(front, call).await,
        "Session" => sessions::show(front, call).await,
        "ExtendSession" => sessions::extend(front, call).await,
        "CloseSession" => sessions::close(front, call).await,
        "Credentials" => stewardship::credentials(front, call).await,
        "RotateCredential" => stewardship::rotate_credential(front, call).await,
        "RevokeCredential" => stewardship::revoke_credential(front, call).await,
        "Budgets" => stewardship::budgets(front, call).await,
        "ResetBudget" => stewardship::reset_budget(front, call).await,
        "Approvals" => approvals::list(front, call).await,
        "Approval" => approvals::show(front, call).await,
        "Approve" => approvals::approve(front, call).await,
        "Deny" => approvals::deny(front, call).await,
        "Reload" => reload(front, call).await,
        "Subscribe" => subscribe(front, call).await,
        "Unsubscribe" => {
            call.arguments::<()>()?;
            front.subscribers.remove(call.sender());
            call.answer(&())
        }
        _ => Err(Failure::unknown_method()),
    }
}

/// The manager's properties.
///
/// # Errors
///
/// When the daemon can't tell.
pub fn properties(front: &Front) -> Result<values::Properties, Failure> {
    let doctor = front.supervisor.doctor()?;
    Ok(values::Properties::from([
        ("Version", Variant::from(doctor.version)),
        ("Mode", Variant::from(values::word(&doctor.mode))),
        ("Kernel", Variant::from(doctor.kernel)),
        ("Generation", Variant::from(front.supervisor.inner().settings.current().number)),
    ]))
}

async fn submit(front: &Front, call: &Call) -> Result<Message, Failure> {
    let (argv, options): (Vec<String>, Options) = call.arguments()?;
    let request = options::submission(argv, options)?;
    let execution = front.supervisor.submit(&call.own(), request).await?;
    call.answer(&(execution.id.to_string(), path_of(execution.id)))
}

async fn submit_json(front: &Front, call: &Call) -> Result<Message, Failure> {
    let (text,): (String,) = call.arguments()?;
    let permit = front.readers.acquire().await.map_err(Failure::internal)?;
    let read = spawn_blocking(move || parse_json::<SubmitRequest>(text.as_bytes()));
    let request = read.await.map_err(Failure::internal)??;
    drop(permit);
    if request.wait {
        let error = ApiError::invalid("wait", "a call over the bus does not wait for the end");
        return Err(error.with_hint("StatusJson waits, and Finished tells subscribers").into());
    }
    json(call, &front.supervisor.submit(&call.own(), request).await?)
}

async fn status(front: &Front, call: &Call) -> Result<Message, Failure> {
    let (id,): (String,) = call.arguments()?;
    let caller = front.caller_for(call, id_in(&id), Action::SeeAll).await;
    let execution = front.supervisor.status(&caller, id_in(&id), Duration::ZERO).await?;
    call.answer(&(values::properties(&execution),))
}

async fn status_json(front: &Front, call: &Call) -> Result<Message, Failure> {
    let (id, wait): (String, u32) = call.arguments()?;
    if wait > MAX_WAIT {
        let problem = format!("{MAX_WAIT} seconds are the most");
        return Err(ApiError::invalid("wait", problem).into());
    }
    let (id, wait) = (id_in(&id), Duration::from_secs(wait.into()));
    let caller = front.caller_for(call, id, Action::SeeAll).await;
    json(call, &front.supervisor.status(&caller, id, wait).await?)
}

async fn list(front: &Front, call: &Call) -> Result<Message, Failure> {
    let (caller, query) = list_query(front, call).await?;
    let page = front.supervisor.list(&caller, query).await?;
    let made = call.list(front, move || {
        let lines: Vec<Line> = page.executions.iter().map(line).collect();
        Ok((lines, page.next.map(|id| id.to_string()).unwrap_or_default()))
    });
    made.await
}

async fn list_json(front: &Front, call: &Call) -> Result<Message, Failure> {
    let (caller, query) = list_query(front, call).await?;
    let page = front.supervisor.list(&caller, query).await?;
    call.list(front, move || Ok((serde_json::to_string(&page).map_err(Failure::internal)?,))).await
}

async fn list_query(
    front: &Front,
    call: &Call,
) -> Result<(Caller, crate::supervisor::ListQuery), Failure> {
    let (options,): (Options,) = call.arguments()?;
    let query = options::list(options)?;
    let caller = front.onlooker(call, query.all).await?;
    Ok((caller, query))
}

fn line(execution: &Execution) -> Line {
    (
        execution.id.to_string(),
        path_of(execution.id),
        values::state(execution.state),
        values::outcome(execution.outcome.as_ref()).0,
        execution.owner_uid,
        execution.policy.name.clone(),
        execution.created_at.clone(),
    )
}

async fn cancel(front: &Front, call: &Call) -> Result<Message, Failure> {
    let (id,): (String,) = call.arguments()?;
    let caller = front.caller_for(call, id_in(&id), Action::CancelOthers).await;
    let execution = front.supervisor.cancel(&caller, id_in(&id)).await?;
    call.answer(&(values::properties(&execution),))
}

async fn pause(front: &Front, call: &Call) -> Result<Message, Failure> {
    let (id, reclaim): (String, bool) = call.arguments()?;
    let caller = front.caller_for(call, id_in(&id), Action::CancelOthers).await;
    let execution = front.supervisor.pause(&caller, id_in(&id), reclaim).await?;
    call.answer(&(values::properties(&execution),))
}

async fn resume(front: &Front, call: &Call) -> Result<Message, Failure> {
    let (id,): (String,) = call.arguments()?;
    let caller = front.caller_for(call, id_in(&id), Action::CancelOthers).await;
    let execution = front.supervisor.resume(&caller, id_in(&id)).await?;
    call.answer(&(values::properties(&execution),))
}

async fn output(front: &Front, call: &Call) -> Result<Message, Failure> {
    let (id, stream, offset, follow): (String, String, u64, bool) = call.arguments()?;
    execution::output(front, call, id_in(&id), &stream, offset, follow).await
}

fn doctor(front: &Front, call: &Call) -> Result<Message, Failure> {
    call.arguments::<()>()?;
    let doctor = front.supervisor.doctor()?;
    let controls: Vec<_> = doctor.controls.iter().map(values::control).collect();
    call.answer(&(doctor.healthy, controls))
}

fn policies(front: &Front, call: &Call) -> Result<Message, Failure> {
    call.arguments::<()>()?;
    let policies = front.supervisor.policies();
    let lines: Vec<_> = policies
        .into_iter()
        .map(|policy| (policy.reference.name, policy.description, policy.reference.digest))
        .collect();
    call.answer(&(lines,))
}

async fn reload(front: &Front, call: &Call) -> Result<Message, Failure> {
    call.arguments::<()>()?;
    let caller = front.administrator(call, Action::Reload).await?;
    let reloaded = front.supervisor.reload(&caller).await?;
    call.answer(&(reloaded.generation, values::word(&reloaded.mode), reloaded.policies))
}

async fn subscribe(front: &Front, call: &Call) -> Result<Message, Failure> {
    let (all,): (bool,) = call.arguments()?;
    let uid = front.onlooker(call, all).await?.uid;
    front.subscribers.add(call.sender(), uid, all)?;
    if !front.is_there(call.sender()).await {
        front.subscribers.remove(call.sender()); // that it has left may have been told before
    }
    call.answer(&())
}

fn json(call: &Call, value: &impl serde::Serialize) -> Result<Message, Failure> {
    call.answer(&(serde_json::to_string(value).map_err(Failure::internal)?,))
}
