//! Executions that have not finished: what their drivers publish and what others may ask of them.

use std::collections::{BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use supervisor_api::{Execution, ExecutionId, State};
use supervisor_launch::seccomp::Profile;
use supervisor_policy::WorkspacePlace;
use tokio::sync::{broadcast, watch};

use crate::capture::Capture;
use crate::driver::Wishes;
use crate::input::Input;
use crate::interpreter::Interpreter;
use crate::samples::Series;
use crate::session::{SourceName, Use};
use crate::top::Meter;

/// One execution that has not finished. Its driver alone changes it.
pub struct Live {
    /// Which system calls its payload may make.
    pub profile: Profile,
    /// Where its workspace was asked for.
    pub place: WorkspacePlace,
    /// What it is by now.
    pub execution: watch::Sender<Execution>,
    /// Its output, once its directory is there.
    pub capture: Arc<Capture>,
    /// Its standard input, while it runs and can be sent more.
    pub input: watch::Sender<Option<Arc<Input>>>,
    /// Whether somebody wants it ended.
    pub cancelled: watch::Sender<bool>,
    /// What is wished of it while it runs.
    pub wishes: Wishes,
    /// The session in whose workspace it runs, which is not removed as long as this is held; `None` for
    /// one that goes with it.
    pub session: Option<Use>,
    /// The name of the file that its source is there, which no other execution in the session has until this one has
    /// ended.
    pub source: Mutex<Option<SourceName>>,
    /// The copy of it that it runs on instead, where its changes are held back.
    pub held: Option<Use>,
    /// The master of its terminal, while it runs and has one.
    pub terminal: watch::Sender<Option<Arc<OwnedFd>>>,
    /// Administrators who were recorded to send it something, so that not every key they press is.
    pub administrators: Mutex<BTreeSet<u32>>,
    /// The interpreter that it is, if it is one.
    pub interpreter: Option<Arc<Interpreter>>,
    /// Whether there is a record of it.
    pub recorded: AtomicBool,
    /// Whether its submission is in the store and it has not begun, so that a daemon to come can start it.
    pub waits: AtomicBool,
    /// What tells what it uses, while it has a sandbox.
    pub meter: Mutex<Option<Arc<Meter>>>,
    /// What it has used over time.
    pub samples: Mutex<Series>,
}

impl Live {
    /// Its id.
    pub fn id(&self) -> ExecutionId {
        self.execution.borrow().id
    }

    /// It is among all that live from now on, so what it does to its session's files is known.
    pub fn is_found(&self) {
        [&self.session, &self.held].into_iter().flatten().for_each(Use::is_found);
    }

    /// Changes what others see.
    pub fn change(&self, change: impl FnOnce(&mut Execution)) {
        self.execution.send_modify(change);
    }

    /// Does what records that an administrator sends something, once for each.
    pub fn administered<E>(
        &self,
        uid: u32,
        record: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let mut known = self.administrators.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(&uid) {
            record()?;
            known.insert(uid);
        }
        Ok(())
    }

    /// What tells what it uses, while it has a sandbox.
    pub fn meter(&self) -> Option<Arc<Meter>> {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says what tells what it uses, or that nothing does any more.
    pub fn measure(&self, meter: Option<Meter>) {
        *self.meter.lock().unwrap_or_else(PoisonError::into_inner) = meter.map(Arc::new);
    }

    /// Gives back the name of its source's file: nothing of it runs any more.
    pub fn leave_source(&self) {
        drop(self.source.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// What it is by now.
    pub fn snapshot(&self) -> Execution {
        let mut execution = self.execution.borrow().clone();
        if execution.state != State::Finished {
            execution.output = self.capture.summary(); // its record says more of it
        }
        execution
    }
}

/// Executions that may have come before who listens to arrivals has looked. Who is later looks at all.
const ARRIVALS: usize = 256;

/// What becomes of one execution, for who follows it: nothing else of it is held by that.
pub type States = watch::Receiver<Execution>;

/// All of them.
pub struct LiveSet {
    by_id: RwLock<HashMap<ExecutionId, Arc<Live>>>,
    arrivals: broadcast::Sender<States>,
}

impl Default for LiveSet {
    fn default() -> Self {
        Self { by_id: RwLock::default(), arrivals: broadcast::Sender::new(ARRIVALS) }
    }
}

impl LiveSet {
    /// Adds one.
    pub fn insert(&self, id: ExecutionId, live: Arc<Live>) {
        let states = live.execution.subscribe();
        let known = self.by_id.write().unwrap_or_else(PoisonError::into_inner).insert(id, live);
        drop(known);
        drop(self.arrivals.send(states)); // an error says that nobody listens
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
    pub fn arrivals(&self) -> broadcast::Receiver<States> {
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

    /// What becomes of all there are.
    pub fn states(&self) -> Vec<States> {
        self.all().iter().map(|live| live.execution.subscribe()).collect()
    }
}
