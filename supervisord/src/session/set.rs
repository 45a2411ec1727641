//! The sessions there are, and who uses them.

use std::collections::{BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use supervisor_api::{ApiError, ErrorCode, ExecutionId, SessionId};
use supervisor_launch::MAX_WORKSPACES;
use tokio::sync::{broadcast, watch};

use super::record::Record;
use super::root::{Open, Root};
use super::sources::Sources;
use super::uses::{Purpose, Uses};
use super::watching::Watching;
use crate::admission::{KeptPlace, Turn};
use crate::elsewhere::Elsewhere;
use crate::launcher::Sandbox;

/// Sessions of all callers at the most, which is what the launcher keeps. Each uid has a bound of its own
/// besides, on their number and their bytes.
const MAX_SESSIONS: usize = MAX_WORKSPACES;

/// Changes that who follows them may be behind; it then looks at all sessions.
const CHANGES: usize = 256;

/// One session.
#[derive(Debug)]
pub struct Kept {
    record: Mutex<Record>,
    /// Held from the look at the record until another is in force: changes are on disk in their order.
    pub changing: tokio::sync::Mutex<()>,
    /// Executions and calls that use it; `None` once it is closing and takes no more.
    uses: watch::Sender<Uses>,
    /// Tells of it whenever callers would see something new.
    told: broadcast::Sender<SessionId>,
    /// The daemon's view of its workspace, asked for once or left by the first execution in it. To the end: a file system
    /// that is being closed for good keeps whoever mounts it anew waiting, which would be the launcher, and everybody.
    pub opened: tokio::sync::Mutex<Option<Arc<Root>>>,
    /// Its place among those that its owner may have, until [`Kept::let_go`].
    place: Mutex<Option<Arc<KeptPlace>>>,
    /// The changes in its workspace, while somebody follows them.
    pub watching: tokio::sync::Mutex<Option<Arc<Watching>>>,
    /// Archives of this session at once: each occupies a thread for as long as the caller takes.
    pub archives: Arc<tokio::sync::Semaphore>,
    /// Names of the files that source becomes, of what is under way in it.
    pub sources: Sources,
    /// Whether it is of no use any more, and is to be closed however often that takes.
    to_go: AtomicBool,
    /// Administrators who were recorded to do something to it that is not theirs, and what.
    administered: Mutex<BTreeSet<(u32, &'static str)>>,
}

/// A session that is in use and so is not removed. Given back when it is dropped.
#[derive(Debug)]
pub struct Use {
    session: Arc<Kept>,
    purpose: Purpose,
    /// Whether the execution is found among all that live.
    is_found: AtomicBool,
}

/// An execution that is about to go on.
#[derive(Debug)]
pub struct GoingOn(Arc<Kept>);

impl Drop for GoingOn {
    fn drop(&mut self) {
        self.0.uses.send_modify(|uses| uses.starting = uses.starting.saturating_sub(1));
    }
}

impl Kept {
    /// A session of this record among these, in the place that its owner was given for it.
    pub fn new(record: Record, place: KeptPlace, among: &SessionSet) -> Arc<Self> {
        Arc::new(Self {
            told: among.told.clone(),
            record: Mutex::new(record),
            changing: tokio::sync::Mutex::default(),
            uses: watch::Sender::default(),
            opened: tokio::sync::Mutex::default(),
            place: Mutex::new(Some(Arc::new(place))),
            watching: tokio::sync::Mutex::new(None),
            archives: Arc::new(tokio::sync::Semaphore::new(1)),
            sources: Sources::default(),
            to_go: AtomicBool::new(false),
            administered: Mutex::default(),
        })
    }

    /// Its record, as it is now.
    pub fn record(&self) -> Record {
        self.locked().clone()
    }

    /// Does this before the first act of a kind of an administrator's, once for each: a tree is not recorded file by file.
    pub fn administered<E>(
        &self,
        uid: u32,
        act: &'static str,
        record: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let mut known = self.administered.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(&(uid, act)) {
            record()?;
            known.insert((uid, act));
        }
        Ok(())
    }

    /// Puts a record that is on disk in force. Whoever makes it holds `changing` from the look at the one
    /// before.
    pub fn change(&self, record: Record) {
        *self.locked() = record;
        self.tell();
    }

    /// Tells whoever follows sessions to look at this one.
    pub fn tell(&self) {
        drop(self.told.send(self.record().id)); // an error says that nobody follows
    }

    /// Uses it for a call that has nothing to do with its files.
    pub fn enter_to_keep(self: &Arc<Self>) -> Result<Use, ApiError> {
        self.take(Purpose::Keep)
    }

    /// Uses it for a call that looks at its files.
    pub fn enter(self: &Arc<Self>) -> Result<Use, ApiError> {
        self.take(Purpose::Look)
    }

    /// Uses it for a call that changes its files.
    pub fn enter_to_change(self: &Arc<Self>) -> Result<Use, ApiError> {
        self.refuse_snapshot()?;
        self.take(Purpose::Change)
    }

    /// Uses it while its workspace is made, before anybody else does.
    pub fn enter_to_make(self: &Arc<Self>) -> Result<Use, ApiError> {
        self.take(Purpose::Make)
    }

    /// Uses it to copy its workspace, or into it: nobody changes it meanwhile.
    pub fn enter_to_copy(self: &Arc<Self>) -> Result<Use, ApiError> {
        self.take(Purpose::Copy)
    }

    /// Uses it to apply an execution's changes to it: nobody changes it meanwhile.
    pub fn enter_to_apply(self: &Arc<Self>, changes: ExecutionId) -> Result<Use, ApiError> {
        self.take(Purpose::Apply(changes))
    }

    /// An execution's changes are in it by half from now on: nothing is done to it or seen of it but that they are
    /// applied or that it is closed.
    pub fn begin_to_apply(&self, changes: ExecutionId) {
        self.uses.send_modify(|uses| uses.applying = Some(changes));
    }

    /// All of them are there, or nothing.
    pub fn is_whole(&self) {
        self.uses.send_modify(|uses| uses.applying = None);
    }

    /// The execution whose changes are in it by half.
    pub fn applying(&self) -> Option<ExecutionId> {
        self.uses.borrow().applying
    }

    /// Whether its workspace is being copied.
    pub fn is_being_copied(&self) -> bool {
        self.uses.borrow().copies > 0
    }

    /// Uses it for an execution.
    pub fn run(self: &Arc<Self>) -> Result<Use, ApiError> {
        self.refuse_snapshot()?;
        self.take(Purpose::Run)
    }

    /// Uses it for an execution that ran in it before there was this daemon.
    pub fn run_on(self: &Arc<Self>) -> Result<Use, ApiError> {
        self.refuse_snapshot()?;
        self.take(Purpose::RunOn)
    }

    /// Uses it for the one execution that it was made for.
    pub fn run_held(self: &Arc<Self>) -> Result<Use, ApiError> {
        self.take(Purpose::Run)
    }

    /// Returns once its workspace is not being copied.
    pub async fn copied(&self) {
        let mut uses = self.uses.subscribe();
        // An error would say that the session is gone, which we hold.
        drop(uses.wait_for(|uses| uses.copies == 0).await);
    }

    /// Lets a paused execution of it go on: nobody begins to copy its workspace until the answer is dropped, by when it
    /// is seen to run.
    pub fn go_on(self: &Arc<Self>) -> Result<GoingOn, ApiError> {
        let mut refusal = None;
        self.uses.send_if_modified(|uses| {
            refusal = uses.go_on().err();
            refusal.is_none()
        });
        refusal.map_or_else(|| Ok(GoingOn(self.clone())), Err)
    }

    /// Whether its workspace is there, and whole.
    pub fn is_made(&self) -> bool {
        self.uses.borrow().making == 0
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

    /// It is of no use any more: what fails to close it is tried again.
    pub fn has_to_go(&self) {
        self.to_go.store(true, Ordering::Release);
    }

    /// Whether it is to be closed though its time is not up.
    pub fn is_to_go(&self) -> bool {
        self.to_go.load(Ordering::Acquire)
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

    /// Its place, for whoever has its workspace open.
    pub fn place(&self) -> Option<Arc<KeptPlace>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its workspace, as it was given by the launcher.
    pub fn root(&self, directory: Elsewhere<OwnedFd>) -> Arc<Root> {
        let open = Open::of(directory.into_inner(), self.place());
        Arc::new(Root::new(self.record().owner_uid, open))
    }

    /// Keeps the workspace open that an execution leaves. Where it is so already, the execution has its turn until its own
    /// is closed.
    pub async fn keep_open(&self, left: Sandbox, turn: Option<Turn>) {
        let Some(directory) = left.into_workspace() else { return };
        let mut opened = self.opened.lock().await;
        if opened.is_some() {
            return directory.and_then_drop((turn, self.place()));
        }
        *opened = Some(self.root(directory));
    }

    /// Lets go of a workspace that nobody uses any more and the launcher has removed, and of its place, which it has until
    /// the last who has it open has closed it. Returns when all that is there to be closed now is.
    pub async fn let_go(&self) {
        let opened = self.opened.lock().await.take();
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner).take();
        if opened.is_some() {
            Elsewhere::new(self.record().owner_uid, (opened, place)).gone().await; // in this order
        }
    }

    fn take(self: &Arc<Self>, purpose: Purpose) -> Result<Use, ApiError> {
        let mut refusal = None;
        let taken = self.uses.send_if_modified(|uses| {
            refusal = uses.refusal(purpose);
            if refusal.is_none() {
                uses.count(purpose, 1);
            }
            refusal.is_none()
        });
        if taken && purpose.runs() {
            self.tell();
        }
        let is_found = AtomicBool::new(false);
        refusal.map_or_else(|| Ok(Use { session: self.clone(), purpose, is_found }), Err)
    }

    fn refuse_snapshot(&self) -> Result<(), ApiError> {
        let (snapshot_of, held) = {
            let record = self.locked();
            (record.snapshot_of, record.held)
        };
        if held.is_some() {
            let problem = "it holds an execution's changes, and stays as it is";
            return Err(ApiError::new(ErrorCode::Conflict, problem)
                .with_hint("apply or discard them, or make a session from it"));
        }
        if snapshot_of.is_none() {
            return Ok(());
        }
        let problem = "it is a snapshot, which stays as it is";
        Err(ApiError::new(ErrorCode::Conflict, problem).with_hint("make a session from it"))
    }

    /// Nothing between two changes of a record panics, so a poisoned one is whole.
    fn locked(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Use {
    /// The session.
    pub fn session(&self) -> &Arc<Kept> {
        &self.session
    }

    /// The execution is found among all that live from now on, and can be asked what it does.
    pub fn is_found(&self) {
        if self.purpose.runs() && !self.is_found.swap(true, Ordering::AcqRel) {
            self.session.uses.send_modify(|uses| uses.starting = uses.starting.saturating_sub(1));
        }
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        self.is_found();
        self.session.uses.send_modify(|uses| uses.count(self.purpose, -1));
        if self.purpose.runs() {
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

    /// A record with the end that is in force: what holds changes is there as long as the session they are for.
    pub fn with_its_end(&self, record: Record) -> Record {
        let theirs = record.held.and_then(|held| self.get(held.session));
        match theirs.map(|theirs| theirs.record()) {
            Some(theirs) => {
                Record { expires: theirs.expires, time_to_live: theirs.time_to_live, ..record }
            }
            None => record,
        }
    }

    /// All there are.
    pub fn all(&self) -> Vec<Arc<Kept>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
