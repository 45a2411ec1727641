//! Executions that waited for their turn or were being started under an earlier daemon: they wait again, in the order in which they
//! came, unless what they need is gone.
//!
//! ```text
//! not started ──sandbox?──┬── none, or ended ──▶ waits again ──turn──▶ …
//!                         └── does not end ──▶ out of line ──ended──▲
//!                                                   └── not in time, cancelled ──▶ its end
//! ```

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use supervisor_api::{
    ApiError, ErrorCode, Execution, ImageReference, Outcome, State, SubmitRequest,
};
use supervisor_launch::Image;
use supervisor_policy::{Resolved, RootAccess};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::{Failure, Seen, keep_open, resurrect, seen, seen_frozen};
use crate::audit;
use crate::driver;
use crate::fault::{self, Point};
use crate::images;
use crate::interpreter::Interpreter;
use crate::live::Live;
use crate::older;
use crate::plan::Plan;
use crate::session::Record as Session;
use crate::store::StoreError;
use crate::supervisor::submission::require;
use crate::supervisor::{Inner, internal, policy, storage};
use crate::traffic::{ClosedWay, Way, Whose};

/// The step that fails where an execution can't be put in line again.
const STEP: &str = "queue_again";

/// How long what had not started waits for the sandbox that was made for it to end, whose id it has: several times as
/// long as gigabytes of memory or a slow disk keep a process that was killed. Nobody else waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// What there is to do about an execution whose payload has certainly not started.
#[derive(Debug)]
pub(super) enum Unstarted {
    /// It can be put in line again.
    Ready,
    /// A sandbox was made for it that does not end, such as where a process of it is stuck in the kernel. This ends with it.
    Stuck(JoinHandle<()>),
}

/// Whether an execution waited or was being started, and its payload has certainly not started. What there is of a sandbox for it is
/// destroyed then: the daemon that asked for it is gone. Nobody knows of an end of it.
pub(super) async fn unstarted(
    inner: &Arc<Inner>,
    execution: &Execution,
    lives: bool,
) -> Result<Option<Unstarted>, Failure> {
    let Some(waiting) = inner.store.waiting(execution.id).await? else { return Ok(None) };
    if !lives {
        return Ok((!waiting.begun).then_some(Unstarted::Ready));
    }
    let sandbox = inner.launcher.adopt(execution.id.bits(), execution.owner_uid).await?;
    let seen = if waiting.begun { seen_frozen(&sandbox).await } else { seen(&sandbox) };
    if seen != Seen::Unstarted {
        return Ok(None);
    }
    let stuck = driver::end_sandbox(&inner.launcher, execution.id).await;
    keep_open(inner, execution, sandbox).await; // it is mounted anew as soon as it starts
    Ok(Some(stuck.map_or(Unstarted::Ready, Unstarted::Stuck)))
}

/// Puts an execution in line again. What can't be started any more ends with the reason. Submissions are read
/// one at a time: together they may be more than there is memory for as JSON.
pub(super) async fn line_up(
    inner: &Arc<Inner>,
    execution: Execution,
    unstarted: Unstarted,
) -> Result<(), Failure> {
    let id = execution.id;
    let subject = audit::subject(&execution);
    let waiting = inner.store.waiting(id).await?;
    let submission = waiting.map(|waiting| waiting.submission).unwrap_or_default();
    let interpreter =
        Interpreter::reopen_unstarted(&inner.places, &inner.interpreters, &execution).await?;
    let planned = plan_again(inner, &execution, &submission, interpreter.is_some()).await;
    let accepted = execution.policy.digest.clone();
    let lined_up = planned.and_then(|(plan, execution)| {
        let (owner, need) = (execution.owner_uid, plan.need());
        let coming = inner.admission.expect_again(owner, need).map_err(cannot)?;
        Ok((plan, execution, coming))
    });
    let (plan, execution, coming) = match lined_up {
        Ok(lined_up) => lined_up,
        Err(_) if inner.launcher.is_gone() => return Err("the launcher is gone".into()),
        Err(outcome) => {
            let live = resurrect(inner, execution, interpreter)?;
            add(inner, &live);
            let cause = match &outcome {
                Outcome::SetupFailed { reason, .. } => reason,
                _ => "its session is gone",
            };
            inner.audit.note(audit::recovery(subject, "written_off", Some(cause)));
            tokio::spawn(driver::write_off(inner.clone(), live, outcome));
            return Ok(());
        }
    };
    let cause = (execution.policy.digest != accepted)
        .then(|| format!("under its policy as it is now, {}", execution.policy.digest));
    let again = audit::recovery(subject, "queued_again", cause.as_deref());
    let stuck = match unstarted {
        Unstarted::Ready => {
            wait_again(inner, &execution).await?;
            None
        }
        Unstarted::Stuck(stuck) => Some(stuck),
    };
    let live = resurrect(inner, execution, interpreter)?;
    add(inner, &live);
    let inner = inner.clone();
    let Some(stuck) = stuck else {
        live.waits.store(true, Ordering::Relaxed);
        inner.audit.note(again);
        fault::reach(Point::ExecutionQueuedAgain);
        tokio::spawn(driver::drive_again(inner, live, plan, coming.line_up(id)));
        return Ok(());
    };
    tokio::spawn(async move {
        if let Err(outcome) = ended(stuck, &live).await {
            let cause =
                if let Outcome::Lost { reason } = &outcome { Some(&**reason) } else { None };
            inner.audit.note(audit::recovery(subject, "written_off", cause));
            return driver::write_off(inner, live, outcome).await;
        }
        match wait_again(&inner, &live.snapshot()).await {
            Ok(()) => live.waits.store(true, Ordering::Relaxed),
            Err(StoreError::Closed) => return, // the next daemon finds it as this one did
            Err(error) => tracing::error!(%error, execution_id = %id, "can't record that it waits"),
        }
        inner.audit.note(again);
        driver::drive_again(inner, live, plan, coming.line_up(id)).await;
    });
    Ok(())
}

/// Has it on disk that an execution waits. Where there is no room, what is recorded of it stays as it is: that its start
/// may have begun.
async fn wait_again(inner: &Inner, execution: &Execution) -> Result<(), StoreError> {
    match inner.store.wait_again(execution).await {
        Err(error @ StoreError::Full { .. }) => {
            tracing::warn!(%error, execution_id = %execution.id, "can't record that it waits again");
            Ok(())
        }
        recorded => recorded,
    }
}

/// Waits for a sandbox to end that an execution can't be started beside.
async fn ended(stuck: JoinHandle<()>, live: &Live) -> Result<(), Outcome> {
    let mut cancelled = live.cancelled.subscribe();
    let ended = tokio::select! {
        biased;
        _ = cancelled.wait_for(|cancelled| *cancelled) => return Err(Outcome::Cancelled),
        ended = timeout(PATIENCE, stuck) => ended,
    };
    ended.map(drop).map_err(|_elapsed| {
        let reason = format!(
            "its payload had not started, and the sandbox that was made for it does not end, not in {} s either",
            PATIENCE.as_secs()
        );
        Outcome::Lost { reason }
    })
}

/// Makes the plan of an execution once more, by what is in force now; gives the execution as it will be.
async fn plan_again(
    inner: &Arc<Inner>,
    execution: &Execution,
    submission: &str,
    is_interpreter: bool,
) -> Result<(Plan, Execution), Outcome> {
    let request: SubmitRequest = serde_json::from_str(submission).map_err(|error| {
        tracing::error!(%error, execution_id = %execution.id, "what was kept of it can't be read");
        cannot(ApiError::new(ErrorCode::Internal, "what was kept of it can't be read"))
    })?;
    let session = match request.session {
        None => None,
        Some(id) => Some(inner.sessions.get(id).ok_or(Outcome::Cancelled)?), // as its end does
    };
    let held = session.map(|session| session.record());
    let made = plan(inner, execution, request, held).await;
    let (mut plan, execution) = made.map_err(cannot)?;
    plan.channel = is_interpreter;
    Ok((plan, execution))
}

async fn plan(
    inner: &Arc<Inner>,
    execution: &Execution,
    request: SubmitRequest,
    session: Option<Session>,
) -> Result<(Plan, Execution), ApiError> {
    let id = execution.id;
    let generation = inner.settings.current();
    let policy = policy(&generation, &execution.policy.name)?;
    let (image, named) = choose(inner, execution, &policy).await?;
    let copy = execution.changes.and_then(|changes| changes.held_in);
    if copy.is_some_and(|copy| inner.sessions.get(copy).is_none()) {
        let problem = "the copy that its changes were to be held in is gone";
        return Err(ApiError::new(ErrorCode::Conflict, problem));
    }
    let listeners = Way::sockets(inner, &policy)?;
    let globs = request.artifacts.globs.clone();
    let planned = {
        let policy = policy.clone();
        let plan = move || Plan::new(request, &policy, (session.as_ref(), None), listeners);
        spawn_blocking(plan).await
    };
    let mut plan = planned.map_err(internal)??;
    if let Some(listeners) = listeners {
        let whose = Whose { session: execution.session, execution: id, uid: execution.owner_uid };
        let closed = ClosedWay::new(execution.session, listeners)?;
        plan.give(closed.open(inner, &policy, whose)?, &policy)?;
    }
    plan.image = image;
    plan.kept = copy.map(|copy| copy.bits()).or(plan.kept);
    require(inner, generation.mode, &policy, &plan)?;
    let disk = inner.host.disk();
    let prepare = plan.prepare(0, execution.owner_uid, inner.landlock_floor(), disk);
    older::check(&prepare, inner.launcher.version())?;
    inner.places.make(id, &globs).map_err(storage)?;
    if plan.owes_input() {
        inner.places.owe_input(id).map_err(storage)?;
    }
    if let Some(way) = &plan.way {
        way.keep(&inner.places, id).map_err(storage)?;
    }
    let execution = Execution {
        state: State::Queued,
        policy: generation.reference(&policy),
        image: named,
        limits: plan.limits,
        start: None,
        started_at: None,
        ..execution.clone()
    };
    Ok((plan, execution))
}

/// The image that was accepted, if the policy still lets it be chosen.
async fn choose(
    inner: &Inner,
    execution: &Execution,
    policy: &Resolved,
) -> Result<(Image, Option<ImageReference>), ApiError> {
    let accepted = execution.image.as_ref();
    let asked = accepted.map(|image| image.name.as_str());
    let (image, named) = images::choose(asked, policy, &inner.launcher).await?;
    // The name may stand for another one by now.
    let other = accepted.filter(|accepted| named.as_ref() != Some(accepted));
    match other.and_then(|other| Some((images::digest(&other.digest)?, other.clone()))) {
        Some((id, other)) => {
            let writable = policy.root() == RootAccess::Writable;
            Ok((Image::Imported(id), Some(ImageReference { writable, ..other })))
        }
        None => Ok((image, named)),
    }
}

fn cannot(error: ApiError) -> Outcome {
    let hint = error.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
    Outcome::SetupFailed { step: STEP.to_owned(), reason: format!("{}{hint}", error.detail) }
}

fn add(inner: &Inner, live: &Arc<Live>) {
    inner.live.insert(live.id(), live.clone());
    live.is_found();
    if live.session.as_ref().is_some_and(|held| held.session().is_closing()) {
        live.cancelled.send_replace(true);
    }
}
