//! Signals about sessions, questions to a person, credentials and what is in force, told to the subscribers who may
//! see what they are about, each by name.

use std::sync::Arc;

use supervisor_api::{Approval, Session, SessionState};
use tokio::sync::broadcast::error::RecvError;
use zbus::Variant;
use zbus::message::Message;

use crate::dbus::call::Front;
use crate::dbus::names::{
    MANAGER, MANAGER_PATH, OBJECT_MANAGER, PROPERTIES, SESSION, path_of, session_path_of,
};
use crate::dbus::objects::session_interfaces;
use crate::dbus::sessions::{self, CHANGING};
use crate::dbus::values::{Properties, word};
use crate::session::{SessionChange, SessionChanges};
use crate::settings::Generation;
use crate::supervisor::{Caller, Role};

/// The daemon itself, which sees everything; whom it tells is another matter.
const EVERYTHING: Caller = Caller { uid: 0, role: Role::Admin };

/// Tells what becomes of sessions until nothing can be sent any more.
pub async fn of_sessions(front: Arc<Front>) {
    let mut changes = SessionChanges::new(front.supervisor.clone(), EVERYTHING);
    while let Some(change) = changes.next().await {
        if let Err(error) = session_changed(&front, &change).await {
            tracing::debug!(%error, "signals could not be sent");
        }
    }
}

/// Tells of questions, and what comes of them.
pub async fn of_approvals(front: Arc<Front>) {
    let approvals = &front.supervisor.inner().approvals;
    let mut changes = approvals.follow(&EVERYTHING);
    while let Some(approval) = changes.next().await {
        let names = front.subscribers.of_those(approval.owner_uid, |uid| {
            approvals.show(&Caller { uid, role: Role::Agent }, approval.id).is_ok()
        });
        if let Err(error) = approval_changed(&front, &names, &approval).await {
            tracing::debug!(%error, "signals could not be sent");
        }
    }
}

/// Tells what a reload has put in force.
pub async fn of_generations(front: Arc<Front>) {
    let mut generations = front.supervisor.inner().settings.follow();
    while generations.changed().await.is_ok() {
        let generation = generations.borrow_and_update().clone();
        if let Err(error) = reloaded(&front, &generation).await {
            tracing::debug!(%error, "signals could not be sent");
        }
    }
}

/// Tells of credentials whose state may be another one.
pub async fn of_credentials(front: Arc<Front>) {
    let mut changes = front.supervisor.inner().credentials.follow();
    loop {
        let changed = match changes.recv().await {
            Ok(name) => front.supervisor.credential(&name).into_iter().collect(),
            Err(RecvError::Lagged(_)) => match front.supervisor.credentials(&EVERYTHING) {
                Ok(list) => list.credentials,
                Err(_) => return,
            },
            Err(RecvError::Closed) => return,
        };
        let names = front.subscribers.of_everything();
        for credential in changed {
            let body = (credential.name, word(&credential.state));
            let member = (MANAGER, "CredentialChanged");
            if let Err(error) = tell(&front, &names, MANAGER_PATH, member, &body).await {
                tracing::debug!(%error, "signals could not be sent");
            }
        }
    }
}

async fn session_changed(front: &Front, change: &SessionChange) -> zbus::Result<()> {
    let Some(session) = change.now.as_ref().or(change.before.as_ref()) else { return Ok(()) };
    let names = front.subscribers.of(session.owner_uid);
    let path = session_path_of(session.id);
    let state = change.now.as_ref().map_or(SessionState::Closed, |now| now.state);
    match (&change.before, &change.now) {
        (None, Some(now)) => {
            let body = (path.clone(), session_interfaces(now));
            tell(front, &names, MANAGER_PATH, (OBJECT_MANAGER, "InterfacesAdded"), &body).await?;
        }
        (Some(before), Some(now)) => {
            let changed = difference(before, now);
            let nothing: Vec<&str> = Vec::new();
            if !changed.is_empty() {
                let body = (SESSION, changed, nothing);
                let member = (PROPERTIES, "PropertiesChanged");
                tell(front, &names, path.as_str(), member, &body).await?;
            }
        }
        _ => {}
    }
    if change.before.as_ref().map(|before| before.state) != Some(state) {
        let body = (session.id.to_string(), path.clone(), sessions::state(state));
        tell(front, &names, MANAGER_PATH, (MANAGER, "SessionChanged"), &body).await?;
    }
    if change.now.is_none() {
        let body = (path, vec![SESSION]);
        tell(front, &names, MANAGER_PATH, (OBJECT_MANAGER, "InterfacesRemoved"), &body).await?;
    }
    Ok(())
}

fn difference(before: &Session, now: &Session) -> Properties {
    let old = sessions::properties(before);
    let mut new = sessions::properties(now);
    new.retain(|name, value| CHANGING.contains(name) && old.get(name) != Some(value));
    new
}

async fn approval_changed(
    front: &Front,
    names: &[String],
    approval: &Approval,
) -> zbus::Result<()> {
    let (id, state) = (approval.id.to_string(), word(&approval.state));
    let asked = &approval.request;
    let method = asked.method.as_deref().unwrap_or("connect to");
    let path = asked.path.as_deref().unwrap_or_default();
    let request = format!("{method} {}://{}:{}{path}", asked.protocol, asked.host, asked.port);
    let body = (id, state, path_of(approval.execution), approval.owner_uid, request);
    tell(front, names, MANAGER_PATH, (MANAGER, "ApprovalChanged"), &body).await
}

async fn reloaded(front: &Front, generation: &Generation) -> zbus::Result<()> {
    let changed = Properties::from([
        ("Generation", Variant::from(generation.number)),
        ("Mode", Variant::from(word(&generation.mode))),
    ]);
    let nothing: Vec<&str> = Vec::new();
    let body = (MANAGER, changed, nothing);
    let names = front.subscribers.everybody();
    tell(front, &names, MANAGER_PATH, (PROPERTIES, "PropertiesChanged"), &body).await
}

async fn tell<T>(
    front: &Front,
    names: &[String],
    path: &str,
    (interface, member): (&str, &str),
    body: &T,
) -> zbus::Result<()>
where
    T: serde::Serialize + zbus::DynamicType,
{
    for name in names {
        let signal = Message::signal(path, interface, member).destination(name.as_str());
        front.connection.send(&signal.build(body)?).await?;
    }
    Ok(())
}
