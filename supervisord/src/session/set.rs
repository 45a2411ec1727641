//! The sessions there are, and who uses them.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use supervisor_api::{ApiError, ErrorCode, SessionId};
use supervisor_launch::MAX_WORKSPACES;
use tokio::sync::{OnceCell, broadcast, watch};

use super::record::Record;
use crate::admission::KeptPlace;

/// Sessions of all callers at the most, which is what the launcher keeps. Each uid has a bound of its own
/// besides, on their number and their bytes.
const MAX_SESSIONS: usize = MAX_WORKSPACES;

/// Changes that who follows them may be behind; it then looks at all sessions.
const CHANGES: usize = 256;

/// One session.
#[derive(Debug)]
pub struct Kept {
    record: Mutex<Record>,
    /// Executions and calls that use it; `None` once it is closing and takes no more.
    uses: watch::Sender<Uses>,
    /// Tells of it whenever callers would see something new.
    told: broadcast::Sender<SessionId>,
    /// The daemon's view of its workspace, asked for once.
    pub grant: OnceCell<Arc<OwnedFd>>,
    /// Its place among those that its owner may have.
    _place: KeptPlace,
    /// Archives of this session at once: each occupies a thread for as long as the caller takes.
    pub archives: Arc<tokio::sync::Semaphore>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Uses {
    executions: u64,
    calls: u64,
    closing: bool,
}

/// A session that is in use and so is not removed. Given back when it is dropped.
#[derive(Debug)]
pub struct Use {
    session: Arc<Kept>,
    is_execution: bool,
}

impl Kept {
    /// A session of this record among these, in the place that its owner was given for it.
    pub fn new(record: Record, place: KeptPlace, among: &SessionSet) -> Arc<Self> {
        Arc::new(Self {
            told: among.told.clone(),
            record: Mutex::new(record),
            uses: watch::Sender::default(),
            grant: OnceCell::new(),
            _place: place,
            archives: Arc::new(tokio::sync::Semaphore::new(1)),
        })
    }

    /// Its record, as it is now.
    pub fn record(&self) -> Record {
        self.locked().clone()
    }

    /// Changes its record; gives the new one.
    pub fn change(&self, change: impl FnOnce(&mut Record)) -> Record {
        let mut record = self.locked();
        change(&mut record);
        let changed = record.clone();
        drop(record);
        self.tell();
        changed
    }

    /// Tells whoever follows sessions to look at this one.
    pub fn tell(&self) {
        drop(self.told.send(self.record().id)); // an error says that nobody follows
    }

    /// Uses it for a call on its files.
    pub fn enter(self: &Arc<Self>) -> Result<Use, ApiError> {
        self.take(false)
    }

    /// Uses it for an execution.
    pub fn run(self: &Arc<Self>) -> Result<Use, ApiError> {
        self.take(true)
    }

    /// Executions in it that have not finished.
    pub fn executions(&self) -> u64 {
        self.uses.borrow().executions
    }

    /// Whether it is being closed.
    pub fn is_closing(&self) -> bool {
        self.uses.borrow().closing
    }

    /// Takes no more uses from now on. Whether this call was the first to say so.
    pub fn begin_to_close(&self) -> bool {
        let mut first = false;
        self.uses.send_modify(|uses| first = !std::mem::replace(&mut uses.closing, true));
        self.tell();
        first
    }

    /// Returns once it is being closed.
    pub async fn closing(&self) {
        let mut uses = self.uses.subscribe();
        // An error would say that the session is gone, which we hold.
        drop(uses.wait_for(|uses| uses.closing).await);
    }

    /// It could not be closed, so it goes on.
    pub fn reopen(&self) {
        self.uses.send_modify(|uses| uses.closing = false);
        self.tell();
    }

    /// Returns once nobody uses it any more.
    pub async fn unused(&self) {
        let mut uses = self.uses.subscribe();
        // An error would say that the session is gone, which we hold.
        drop(uses.wait_for(|uses| uses.executions == 0 && uses.calls == 0).await);
    }

    fn take(self: &Arc<Self>, is_execution: bool) -> Result<Use, ApiError> {
        let taken = self.uses.send_if_modified(|uses| {
            if uses.closing {
                return false;
            }
            *(if is_execution { &mut uses.executions } else { &mut uses.calls }) += 1;
            true
        });
        if taken {
            if is_execution {
                self.tell();
            }
            return Ok(Use { session: self.clone(), is_execution });
        }
        Err(being_closed())
    }

    /// Nothing between two changes of a record panics, so a poisoned one is whole.
    fn locked(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The refusal of what a session that is being closed takes no more.
pub fn being_closed() -> ApiError {
    ApiError::new(ErrorCode::Conflict, "the session is being closed")
        .with_hint("create another one")
}

impl Use {
    /// The session.
    pub fn session(&self) -> &Arc<Kept> {
        &self.session
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        self.session.uses.send_modify(|uses| {
            let count = if self.is_execution { &mut uses.executions } else { &mut uses.calls };
            *count = count.saturating_sub(1);
        });
        if self.is_execution {
            self.session.tell();
        }
    }
}

/// All sessions.
#[derive(Debug)]
pub struct SessionSet {
    all: RwLock<HashMap<SessionId, Arc<Kept>>>,
    /// Signalled when a session came or its end was moved.
    pub changed: tokio::sync::Notify,
    /// Tells which one callers would see something new of.
    told: broadcast::Sender<SessionId>,
}

impl Default for SessionSet {
    fn default() -> Self {
        let (all, changed) = (RwLock::default(), tokio::sync::Notify::new());
        Self { all, changed, told: broadcast::Sender::new(CHANGES) }
    }
}

impl SessionSet {
    /// Adds a session that is being made, unless there are enough.
    pub fn add(&self, session: Arc<Kept>) -> Result<(), ApiError> {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_SESSIONS {
            return Err(ApiError::new(ErrorCode::Busy, "there are too many sessions on this host")
                .with_hint("close one, or wait until one has expired"));
        }
        all.insert(session.record().id, session);
        drop(all);
        self.changed.notify_one();
        Ok(())
    }

    /// Adds a session that was there before the daemon, whatever the bounds are now.
    pub fn adopt(&self, session: Arc<Kept>) {
        let id = session.record().id;
        self.all.write().unwrap_or_else(PoisonError::into_inner).insert(id, session);
    }

    /// Takes one out: it is gone.
    pub fn remove(&self, id: SessionId) {
        self.all.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        drop(self.told.send(id)); // an error says that nobody follows
    }

    /// Tells of every one that callers see something new of, from now on.
    pub fn follow(&self) -> broadcast::Receiver<SessionId> {
        self.told.subscribe()
    }

    /// Finds one.
    pub fn get(&self, id: SessionId) -> Option<Arc<Kept>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// All there are.
    pub fn all(&self) -> Vec<Arc<Kept>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
