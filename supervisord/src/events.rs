//! What changes, for whoever follows it: executions, sessions, questions to a person, credentials and what
//! is in force, as far as a caller may see them.
//!
//! ```text
//! executions ─┐
//! sessions ───┼──▶ a queue of a few ──▶ the follower, at its pace
//! questions ──┤
//! credentials ┤
//! generations ┘    who finds it full waits, and tells the last state then
//! ```

use std::collections::HashSet;
use std::sync::Arc;

use supervisor_api::{
    Event, Execution, ExecutionEvent, ExecutionId, GenerationEvent, SessionEvent, SessionState,
    State,
};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::live::Live;
use crate::session::{SessionChange, SessionChanges};
use crate::supervisor::{Caller, Role, Supervisor};

/// Events that wait for the follower.
const AHEAD: usize = 16;

/// Everything that a caller may see change, from how it is now.
pub struct Events {
    told: mpsc::Receiver<Event>,
    /// What tells; it ends with this.
    _telling: JoinSet<()>,
}

impl Events {
    /// For this caller.
    pub fn new(supervisor: &Supervisor, caller: Caller) -> Self {
        let (tell, told) = mpsc::channel(AHEAD);
        let mut telling = JoinSet::new();
        telling.spawn(of_generations(supervisor.clone(), tell.clone()));
        telling.spawn(of_sessions(supervisor.clone(), caller, tell.clone()));
        telling.spawn(of_approvals(supervisor.clone(), caller, tell.clone()));
        telling.spawn(of_credentials(supervisor.clone(), caller, tell.clone()));
        telling.spawn(of_executions(supervisor.clone(), caller, tell));
        Self { told, _telling: telling }
    }

    /// The next; `None` when the daemon ends.
    pub async fn next(&mut self) -> Option<Event> {
        self.told.recv().await
    }
}

async fn of_generations(supervisor: Supervisor, tell: mpsc::Sender<Event>) {
    let mut generations = supervisor.inner().settings.follow();
    loop {
        let (generation, mode) = {
            let current = generations.borrow_and_update();
            (current.number, current.mode)
        };
        let event = Event::Generation(GenerationEvent { generation, mode });
        if tell.send(event).await.is_err() || generations.changed().await.is_err() {
            return;
        }
    }
}

async fn of_sessions(supervisor: Supervisor, caller: Caller, tell: mpsc::Sender<Event>) {
    let mut changes = SessionChanges::new(supervisor, caller);
    while let Some(SessionChange { before, now }) = changes.next().await {
        let is_there = now.is_some();
        let Some(session) = now.or(before) else { continue };
        let event = Event::Session(SessionEvent {
            session: session.id,
            owner_uid: session.owner_uid,
            state: if is_there { session.state } else { SessionState::Closed },
            expires_at: session.expires_at,
            executions: if is_there { session.executions } else { 0 },
        });
        if tell.send(event).await.is_err() {
            return;
        }
    }
}

async fn of_approvals(supervisor: Supervisor, caller: Caller, tell: mpsc::Sender<Event>) {
    let mut changes = supervisor.inner().approvals.follow(&caller);
    while let Some(approval) = changes.next().await {
        if tell.send(Event::Approval(Box::new(approval))).await.is_err() {
            return;
        }
    }
}

async fn of_credentials(supervisor: Supervisor, caller: Caller, tell: mpsc::Sender<Event>) {
    let mut changes = supervisor.inner().credentials.follow(); // before the look, so that none is missed
    // Nothing but administrators may see any.
    let Ok(list) = supervisor.credentials(&caller) else { return };
    let mut changed = list.credentials;
    loop {
        for credential in changed.drain(..) {
            if tell.send(Event::Credential(credential)).await.is_err() {
                return;
            }
        }
        changed = match changes.recv().await {
            Ok(name) => supervisor.credential(&name).into_iter().collect(),
            Err(RecvError::Lagged(_)) => match supervisor.credentials(&caller) {
                Ok(list) => list.credentials,
                Err(_) => return,
            },
            Err(RecvError::Closed) => return,
        };
    }
}

async fn of_executions(supervisor: Supervisor, caller: Caller, tell: mpsc::Sender<Event>) {
    let live = &supervisor.inner().live;
    let mut arrivals = live.arrivals(); // before the look, so that none is missed
    let mut followed: HashSet<ExecutionId> = HashSet::new();
    let mut following: JoinSet<ExecutionId> = JoinSet::new();
    let mut came = live.all();
    loop {
        for live in came.drain(..) {
            let (id, owner) = (live.id(), live.execution.borrow().owner_uid);
            if (caller.role == Role::Admin || owner == caller.uid) && followed.insert(id) {
                following.spawn(of_execution(live, tell.clone()));
            }
        }
        tokio::select! {
            Some(ended) = following.join_next() => {
                if let Ok(id) = ended {
                    followed.remove(&id);
                }
            }
            arrived = arrivals.recv() => match arrived {
                Ok(live) => came.push(live),
                Err(RecvError::Lagged(_)) => came = live.all(),
                Err(RecvError::Closed) => return,
            },
        }
    }
}

/// Tells of one execution until it has finished.
async fn of_execution(live: Arc<Live>, tell: mpsc::Sender<Event>) -> ExecutionId {
    let mut states = live.execution.subscribe();
    let mut event = state_of(&states.borrow_and_update());
    let id = event.execution;
    loop {
        let has_finished = event.state == State::Finished;
        if tell.send(Event::Execution(event.clone())).await.is_err() || has_finished {
            return id;
        }
        let before = event.state;
        let changed = states.wait_for(|execution| execution.state != before).await;
        let Ok(changed) = changed.as_deref().map(state_of) else { return id };
        event = changed;
    }
}

fn state_of(execution: &Execution) -> ExecutionEvent {
    ExecutionEvent {
        execution: execution.id,
        session: execution.session,
        owner_uid: execution.owner_uid,
        state: execution.state,
        outcome: execution.outcome.clone(),
    }
}
