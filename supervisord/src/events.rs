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

use std::collections::{HashMap, HashSet, VecDeque};

use supervisor_api::{
    Event, Execution, ExecutionEvent, ExecutionId, GenerationEvent, SessionEvent, SessionState,
    State,
};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::live::States;
use crate::session::{SessionChange, SessionChanges};
use crate::supervisor::{Caller, Role, Supervisor};

/// Events that wait for the follower.
const AHEAD: usize = 16;

/// Executions of which a follower has not heard yet: some 200 bytes each. Who is later than that is let go: his stream
/// ends, and when he comes again he is told how all are by then.
const MOST_UNTOLD: usize = 4096;

/// Everything that a caller may see change, from how it is now.
pub struct Events {
    told: mpsc::Receiver<Event>,
    /// Nobody tells of executions any more: the follower is too late, or the daemon ends.
    is_over: oneshot::Receiver<()>,
    /// What tells; it ends with this.
    _telling: JoinSet<()>,
}

impl Events {
    /// For this caller.
    pub fn new(supervisor: &Supervisor, caller: Caller) -> Self {
        let (tell, told) = mpsc::channel(AHEAD);
        let (goes_on, is_over) = oneshot::channel();
        let mut telling = JoinSet::new();
        telling.spawn(of_generations(supervisor.clone(), tell.clone()));
        telling.spawn(of_sessions(supervisor.clone(), caller, tell.clone()));
        telling.spawn(of_approvals(supervisor.clone(), caller, tell.clone()));
        telling.spawn(of_credentials(supervisor.clone(), caller, tell.clone()));
        let supervisor = supervisor.clone();
        telling.spawn(async move {
            of_executions(supervisor, caller, tell).await;
            drop(goes_on);
        });
        Self { told, is_over, _telling: telling }
    }

    /// The next; `None` when the daemon ends, or when the follower is too late ([`MOST_UNTOLD`]).
    pub async fn next(&mut self) -> Option<Event> {
        tokio::select! {
            biased;
            event = self.told.recv() => event,
            _ = &mut self.is_over => None,
        }
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

/// Nothing here waits for the follower, who may take as long as he likes: of what he has not heard yet the last
/// state alone is kept, and of an execution that has ended nothing else.
async fn of_executions(supervisor: Supervisor, caller: Caller, tell: mpsc::Sender<Event>) {
    let live = &supervisor.inner().live;
    let mut arrivals = live.arrivals(); // before the look, so that none is missed
    let mut followed: HashSet<ExecutionId> = HashSet::new();
    let mut following: JoinSet<(ExecutionId, Option<ExecutionEvent>, States)> = JoinSet::new();
    let mut untold = Untold::default();
    let mut came = live.states();
    loop {
        for mut states in came.drain(..) {
            let event = state_of(&states.borrow_and_update());
            let may_see = caller.role == Role::Admin || event.owner_uid == caller.uid;
            if may_see && followed.insert(event.execution) {
                following.spawn(next(states, event.execution, event.state));
                untold.put(event);
            }
        }
        if untold.order.len() > MOST_UNTOLD {
            return;
        }
        tokio::select! {
            Some(changed) = following.join_next() => match changed {
                Ok((id, Some(event), states)) if event.state != State::Finished => {
                    following.spawn(next(states, id, event.state));
                    untold.put(event);
                }
                Ok((id, event, _)) => {
                    followed.remove(&id);
                    event.into_iter().for_each(|event| untold.put(event));
                }
                Err(_) => {} // it was ended with us
            },
            place = tell.reserve(), if !untold.order.is_empty() => match (place, untold.take()) {
                (Ok(place), Some(event)) => place.send(Event::Execution(event)),
                _ => return,
            },
            arrived = arrivals.recv() => match arrived {
                Ok(states) => came.push(states),
                Err(RecvError::Lagged(_)) => came = live.states(),
                Err(RecvError::Closed) => return,
            },
        }
    }
}

/// What becomes of one execution next, unless it was finished or nothing becomes of it any more.
async fn next(
    mut states: States,
    id: ExecutionId,
    before: State,
) -> (ExecutionId, Option<ExecutionEvent>, States) {
    let event = match before {
        State::Finished => None,
        _ => {
            let changed = states.wait_for(|execution| execution.state != before).await;
            changed.ok().map(|execution| state_of(&execution))
        }
    };
    (id, event, states)
}

/// The last states of executions, in the order in which they are to be told.
#[derive(Default)]
struct Untold {
    order: VecDeque<ExecutionId>,
    last: HashMap<ExecutionId, ExecutionEvent>,
}

impl Untold {
    fn put(&mut self, event: ExecutionEvent) {
        let id = event.execution;
        if self.last.insert(id, event).is_none() {
            self.order.push_back(id);
        }
    }

    fn take(&mut self) -> Option<ExecutionEvent> {
        self.order.pop_front().and_then(|id| self.last.remove(&id))
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
