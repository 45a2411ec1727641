//! Sessions: the manager's methods about them, by id, and those of their objects.

use supervisor_api::{CreateSession, ExtendSession, Session, SessionId, SessionState};
use zbus::Variant;
use zbus::message::Message;

use crate::dbus::call::{Call, Front};
use crate::dbus::failure::Failure;
use crate::dbus::names::{id_in, session_path_of};
use crate::dbus::options::{self, Options};
use crate::dbus::polkit::Action;
use crate::dbus::values::Properties;
use crate::supervisor::Caller;

/// What of a session changes while it lives, and is told when it does.
pub const CHANGING: [&str; 3] = ["State", "ExpiresAt", "Executions"];

/// Does what a call of a session's interface asks for.
///
/// # Errors
///
/// What the operation refuses with.
pub async fn act(
    front: &Front,
    call: &Call,
    id: SessionId,
    member: &str,
) -> Result<Message, Failure> {
    match member {
        "Extend" => {
            let (seconds,): (u64,) = call.arguments()?;
            extended(front, call, id, seconds).await?;
            call.answer(&())
        }
        "Close" => {
            call.arguments::<()>()?;
            closed(front, call, id).await?;
            call.answer(&())
        }
        "Usage" => {
            call.arguments::<()>()?;
            let caller = front.caller_for_session(call, id, Action::SeeAll).await;
            let usage = front.supervisor.session(&caller, id).await?.usage;
            let usage = usage.ok_or_else(|| Failure::busy("the session is being closed"))?;
            call.answer(&(usage.workspace_bytes, usage.workspace_inodes))
        }
        _ => Err(Failure::unknown_method()),
    }
}

/// Makes one.
///
/// # Errors
///
/// What the operation refuses with.
pub async fn create(front: &Front, call: &Call) -> Result<Message, Failure> {
    let (options,): (Options,) = call.arguments()?;
    let request: CreateSession = options::session(options)?;
    let session = front.supervisor.create_session(&call.own(), request).await?;
    call.answer(&(session.id.to_string(), session_path_of(session.id)))
}

/// The caller's, or everybody's.
///
/// # Errors
///
/// When polkit does not let the caller see everybody's.
pub async fn list(front: &Front, call: &Call) -> Result<Message, Failure> {
    let (all,): (bool,) = call.arguments()?;
    let caller = front.onlooker(call, all).await?;
    let list = front.supervisor.sessions(&caller, all).await?;
    let made = call.list(front, move || {
        let sessions: Vec<_> = list.sessions.iter().map(properties).collect();
        Ok((sessions,))
    });
    made.await
}

/// One.
///
/// # Errors
///
/// When there is none that the caller may see.
pub async fn show(front: &Front, call: &Call) -> Result<Message, Failure> {
    let (id,): (String,) = call.arguments()?;
    call.answer(&(of(front, call, id_in(&id)).await?,))
}

/// Moves its end.
///
/// # Errors
///
/// What the operation refuses with.
pub async fn extend(front: &Front, call: &Call) -> Result<Message, Failure> {
    let (id, seconds): (String, u64) = call.arguments()?;
    call.answer(&(extended(front, call, id_in(&id), seconds).await?,))
}

/// Ends it with all that runs in it.
///
/// # Errors
///
/// What the operation refuses with.
pub async fn close(front: &Front, call: &Call) -> Result<Message, Failure> {
    let (id,): (String,) = call.arguments()?;
    call.answer(&(closed(front, call, id_in(&id)).await?,))
}

/// The properties of a session that the caller may see.
///
/// # Errors
///
/// When there is none.
pub async fn of(front: &Front, call: &Call, id: SessionId) -> Result<Properties, Failure> {
    let caller = front.caller_for_session(call, id, Action::SeeAll).await;
    Ok(properties(&front.supervisor.session_at_a_glance(&caller, id)?))
}

async fn extended(
    front: &Front,
    call: &Call,
    id: SessionId,
    time_to_live: u64,
) -> Result<Properties, Failure> {
    let caller = front.caller_for_session(call, id, Action::ManageSessions).await;
    let request = ExtendSession { time_to_live };
    Ok(properties(&front.supervisor.extend_session(&caller, id, request).await?))
}

async fn closed(front: &Front, call: &Call, id: SessionId) -> Result<Properties, Failure> {
    let caller: Caller = front.caller_for_session(call, id, Action::ManageSessions).await;
    Ok(properties(&front.supervisor.close_session(&caller, id).await?))
}

/// The properties of a session.
pub fn properties(session: &Session) -> Properties {
    let policy = (session.policy.name.clone(), session.policy.digest.clone());
    Properties::from([
        ("Id", Variant::from(session.id.to_string())),
        ("OwnerUid", Variant::from(session.owner_uid)),
        ("State", Variant::from(state(session.state))),
        ("Policy", Variant::from(policy)),
        ("Labels", Variant::from(session.labels.0.clone())),
        ("WorkspaceBytes", Variant::from(session.workspace_bytes)),
        ("WorkspaceInodes", Variant::from(session.workspace_inodes)),
        ("CreatedAt", Variant::from(session.created_at.clone())),
        ("ExpiresAt", Variant::from(session.expires_at.clone())),
        ("Executions", Variant::from(session.executions)),
    ])
}

/// A state's word.
pub const fn state(state: SessionState) -> &'static str {
    match state {
        SessionState::Open => "open",
        SessionState::Expiring => "expiring",
        SessionState::Closing => "closing",
        SessionState::Closed => "closed",
    }
}
