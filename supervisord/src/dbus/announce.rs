//! Signals: what executions do, told to the subscribers who may see it, each by name. One task follows
//! one execution; executions of which nobody would hear have none.

use std::collections::HashSet;
use std::sync::Arc;

use supervisor_api::{Execution, ExecutionId, State};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use zbus::message::Message;

use crate::dbus::call::Front;
use crate::dbus::names::{EXECUTION, MANAGER, MANAGER_PATH, OBJECT_MANAGER, PROPERTIES, path_of};
use crate::dbus::objects::interfaces;
use crate::dbus::values::{self, CHANGING, Properties};
use crate::live::States;

/// Follows executions until it is dropped, or nothing can be sent any more.
pub async fn announce(front: Arc<Front>) {
    let mut arrivals = front.supervisor.inner().live.arrivals();
    let mut followed: HashSet<ExecutionId> = HashSet::new();
    let mut tasks: JoinSet<ExecutionId> = JoinSet::new();
    loop {
        let arrived = tokio::select! {
            Some(ended) = tasks.join_next() => {
                if let Ok(id) = ended {
                    followed.remove(&id);
                }
                continue;
            }
            arrived = arrivals.recv() => match arrived {
                Ok(states) => vec![(states, true)],
                Err(RecvError::Lagged(_)) => unfinished(&front),
                Err(RecvError::Closed) => return,
            },
            () = front.subscribers.came.notified() => unfinished(&front),
        };
        for (states, new) in arrived {
            let (id, owner) = {
                let execution = states.borrow();
                (execution.id, execution.owner_uid)
            };
            if !front.subscribers.of(owner).is_empty() && followed.insert(id) {
                let front = front.clone();
                tasks.spawn(async move {
                    if let Err(error) = follow(&front, states, new).await {
                        tracing::debug!(%error, "signals could not be sent");
                    }
                    id
                });
            }
        }
    }
}

fn unfinished(front: &Front) -> Vec<(States, bool)> {
    front.supervisor.inner().live.states().into_iter().map(|states| (states, false)).collect()
}

/// Tells what becomes of one execution until it has finished.
async fn follow(front: &Front, mut receiver: States, new: bool) -> zbus::Result<()> {
    let mut before = receiver.borrow_and_update().clone();
    if new {
        added(front, &before).await?;
    }
    while before.state != State::Finished && receiver.changed().await.is_ok() {
        let now = receiver.borrow_and_update().clone();
        changed(front, &before, &now).await?;
        before = now;
    }
    removed(front, &before).await
}

async fn added(front: &Front, execution: &Execution) -> zbus::Result<()> {
    let body = (path_of(execution.id), interfaces(execution));
    tell(front, execution, MANAGER_PATH, (OBJECT_MANAGER, "InterfacesAdded"), &body).await
}

async fn removed(front: &Front, execution: &Execution) -> zbus::Result<()> {
    let body = (path_of(execution.id), vec![EXECUTION]);
    tell(front, execution, MANAGER_PATH, (OBJECT_MANAGER, "InterfacesRemoved"), &body).await
}

async fn changed(front: &Front, before: &Execution, now: &Execution) -> zbus::Result<()> {
    let path = path_of(now.id);
    let old = values::properties(before);
    let mut properties = values::properties(now);
    properties.retain(|name, value| CHANGING.contains(name) && old.get(name) != Some(value));
    if !properties.is_empty() {
        let nothing: Vec<&str> = Vec::new();
        let body = (EXECUTION, properties, nothing);
        tell(front, now, path.as_str(), (PROPERTIES, "PropertiesChanged"), &body).await?;
    }
    if before.state != now.state {
        let body = (now.id.to_string(), path.clone(), values::state(now.state));
        tell(front, now, MANAGER_PATH, (MANAGER, "ExecutionChanged"), &body).await?;
    }
    if now.state == State::Finished {
        let (outcome, details): (_, Properties) = values::outcome(now.outcome.as_ref());
        let body = (now.id.to_string(), path, outcome, details);
        tell(front, now, MANAGER_PATH, (MANAGER, "Finished"), &body).await?;
    }
    Ok(())
}

/// Sends a signal to each subscriber who may see it.
async fn tell<T>(
    front: &Front,
    execution: &Execution,
    path: &str,
    (interface, member): (&str, &str),
    body: &T,
) -> zbus::Result<()>
where
    T: serde::Serialize + zbus::DynamicType,
{
    for name in front.subscribers.of(execution.owner_uid) {
        let signal = Message::signal(path, interface, member).destination(name.as_str());
        front.connection.send(&signal.build(body)?).await?;
    }
    Ok(())
}
