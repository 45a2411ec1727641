//! Executions that have not finished: what their drivers publish and what others may ask of them.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock};

use supervisor_api::{Execution, ExecutionId};
use supervisor_launch::seccomp::Profile;
use tokio::sync::watch;

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
    /// Whether there is a record of it.
    pub recorded: AtomicBool,
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

/// All of them.
#[derive(Default)]
pub struct LiveSet(RwLock<HashMap<ExecutionId, Arc<Live>>>);

impl LiveSet {
    /// Adds one.
    pub fn insert(&self, id: ExecutionId, live: Arc<Live>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(id, live);
    }

    /// Finds one.
    pub fn get(&self, id: ExecutionId) -> Option<Arc<Live>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Takes one out; it is on disk now.
    pub fn remove(&self, id: ExecutionId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// All there are.
    pub fn all(&self) -> Vec<Arc<Live>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
