//! Following sessions as they come, change and go.

use std::collections::{HashMap, HashSet, VecDeque};

use supervisor_api::{Session, SessionId};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::supervisor::{Caller, Supervisor};

/// What has become of a session that a caller may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionChange {
    /// How it was told of last; nothing of one that is new.
    pub before: Option<Session>,
    /// How it is now; nothing of one that is gone.
    pub now: Option<Session>,
}

/// Every change to sessions that a caller may see, after those there are. Of several changes that come
/// faster than they are taken, the last is told.
pub struct SessionChanges {
    supervisor: Supervisor,
    caller: Caller,
    told: broadcast::Receiver<SessionId>,
    known: HashMap<SessionId, Session>,
    ahead: VecDeque<SessionId>,
}

impl SessionChanges {
    /// What this caller sees.
    pub fn new(supervisor: Supervisor, caller: Caller) -> Self {
        let told = supervisor.inner().sessions.follow(); // before the look, so that nothing is missed
        let mut changes =
            Self { supervisor, caller, told, known: HashMap::new(), ahead: VecDeque::new() };
        changes.look_at_all();
        changes
    }

    /// The next; `None` when the daemon ends.
    pub async fn next(&mut self) -> Option<SessionChange> {
        loop {
            while let Some(id) = self.ahead.pop_front() {
                if let Some(change) = self.change_of(id) {
                    return Some(change);
                }
            }
            match self.told.recv().await {
                Ok(id) => self.ahead.push_back(id),
                Err(RecvError::Lagged(_)) => self.look_at_all(),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn change_of(&mut self, id: SessionId) -> Option<SessionChange> {
        let now = self.supervisor.session_at_a_glance(&self.caller, id).ok();
        let before = match &now {
            Some(now) => self.known.insert(id, now.clone()),
            None => self.known.remove(&id),
        };
        (before != now).then_some(SessionChange { before, now })
    }

    /// What is there, and what was told of and is not there any more.
    fn look_at_all(&mut self) {
        let there = self.supervisor.inner().sessions.all();
        let mut ids: HashSet<SessionId> = there.iter().map(|kept| kept.record().id).collect();
        ids.extend(self.known.keys());
        self.ahead = ids.into_iter().collect();
    }
}
