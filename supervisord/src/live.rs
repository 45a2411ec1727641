//! Executions that have not finished: what their drivers publish and what others may ask of them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use supervisor_api::{Execution, ExecutionId};
use supervisor_launch::seccomp::Profile;
use tokio::sync::{broadcast, watch};

use crate::capture::Capture;

/// One execution that has not finished. Its driver alone changes it.
pub struct Live {
    /// Which system calls its payload may make.
    pub profile: Profile,
    /// What it is by now.
    pub execution: watch::Sender<Execution>,
    /// Its output, once its directory is there.
    pub capture: Arc<Capture>,
    /// Whether somebody wants it ended.
    pub cancelled: watch::Sender<bool>,
}

impl Live {
    /// Its id.
    pub fn id(&self) -> ExecutionId {
        self.execution.borrow().id
    }

    /// Changes what others see.
    pub fn change(&self, change: impl FnOnce(&mut Execution)) {
        self.execution.send_modify(change);
    }

    /// What it is by now.
    pub fn snapshot(&self) -> Execution {
        let mut execution = self.execution.borrow().clone();
        execution.output = self.capture.summary();
        execution
    }
}

/// Executions that may have come before who listens to arrivals has looked. Who is later looks at all.
const ARRIVALS: usize = 256;

/// All of them.
pub struct LiveSet {
    by_id: RwLock<HashMap<ExecutionId, Arc<Live>>>,
    arrivals: broadcast::Sender<Arc<Live>>,
}

impl Default for LiveSet {
    fn default() -> Self {
        Self { by_id: RwLock::default(), arrivals: broadcast::Sender::new(ARRIVALS) }
    }
}

impl LiveSet {
    /// Adds one.
    pub fn insert(&self, id: ExecutionId, live: Arc<Live>) {
        let known =
            self.by_id.write().unwrap_or_else(PoisonError::into_inner).insert(id, live.clone());
        drop(known);
        drop(self.arrivals.send(live)); // an error says that nobody listens
    }

    /// Finds one.
    pub fn get(&self, id: ExecutionId) -> Option<Arc<Live>> {
        self.by_id.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Takes one out; it is on disk now.
    pub fn remove(&self, id: ExecutionId) {
        self.by_id.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Tells of every one that is added from now on.
    pub fn arrivals(&self) -> broadcast::Receiver<Arc<Live>> {
        self.arrivals.subscribe()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.by_id.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// All there are.
    pub fn all(&self) -> Vec<Arc<Live>> {
        self.by_id.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
