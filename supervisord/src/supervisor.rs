//! The operations. Front ends only convert to and from these methods; each one reads as the
//! specification of what it does.

mod changes;
mod damage;
mod ending;
mod input;
mod laid_out;
mod pausing;
mod policies;
mod receipts;
mod results;
mod samples;
pub(crate) mod submission;
mod unkept;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use supervisor_api::{
    ApiError, BudgetList, Doctor, ErrorCode, Execution, ExecutionId, ExecutionList,
    PolicyReference, State, Stream, Top, TopLine,
};
use supervisor_egress::Shared;
use supervisor_policy::Resolved;
use supervisor_sys::without;
use tokio::time::timeout;

use crate::admission::Admission;
use crate::approval::Approvals;
use crate::audit::{self, Audit};
use crate::budget::Ledger;
pub use crate::capture::CaptureReader as OutputReader;
use crate::controls;
use crate::credentials::Credentials;
use crate::delayed::Delayed;
use crate::digests::Digests;
use crate::host::Host;
use crate::http::Roles;
use crate::interpreter::InterpreterSet;
use crate::keeping::{self, Keeping};
use crate::launcher::Launcher;
use crate::live::{Live, LiveSet};
use crate::metrics::Metrics;
use crate::places::Places;
use crate::refusals::Refusals;
use crate::room::Room;
use crate::session::{Moving, SessionSet, Settling, Watched, Writing};
use crate::settings::{Generation, Settings};
use crate::store::{Among, Store};
use crate::threads::Threads;
use crate::top::Readings;
use crate::traffic::Gauges;
use crate::warm::Warm;
pub(crate) use unkept::{from_store, is_full, storage};

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Submit, and see and end what is its own.
    Agent,
    /// See and end everybody's as well.
    Admin,
}

/// Who is calling, as the kernel told it when the connection was made (SO_PEERCRED).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The peer's uid.
    pub uid: u32,
    /// Its role.
    pub role: Role,
}

/// Which executions to list.
#[derive(Debug, Clone, Copy, Default)]
pub struct ListQuery {
    /// Executions a page, 1–200.
    pub limit: u32,
    /// The last id of the page before.
    pub after: Option<ExecutionId>,
    /// Only those in this state.
    pub state: Option<State>,
    /// Everybody's; administrators only.
    pub all: bool,
}

/// Which output to read.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutputQuery {
    /// One stream, or both in the order in which they were read.
    pub stream: Option<Stream>,
    /// Bytes to pass over, counted over what the answer holds.
    pub offset: u64,
    /// Go on until the execution has finished.
    pub follow: bool,
}

/// A policy that a submission may name.
#[derive(Debug, Clone)]
pub struct KnownPolicy {
    /// Its name and digest.
    pub reference: PolicyReference,
    /// What it is for, in its author's words.
    pub description: String,
}

/// A policy as it is in force.
#[derive(Debug, Clone)]
pub struct PolicyInForce {
    /// Its name, digest and purpose.
    pub policy: KnownPolicy,
    /// The reading of the files that it is of.
    pub generation: u64,
    /// All of it, every line with its origin.
    pub resolved: String,
}

/// What every part of the daemon shares.
pub struct Inner {
    /// What is recorded.
    pub store: Store,
    /// Where every decision is recorded.
    pub audit: Audit,
    /// Submissions that were refused of late.
    pub refusals: Arc<Refusals>,
    /// What was refused to sandboxes of late.
    pub refused_traffic: Arc<Refusals>,
    /// What requests may still be made.
    pub budgets: Ledger,
    /// What a person is asked.
    pub approvals: Approvals,
    /// Who makes sandboxes.
    pub launcher: Launcher,
    /// Who runs when.
    pub admission: Arc<Admission>,
    /// What has not finished.
    pub live: LiveSet,
    /// What is parked ahead.
    pub warm: Warm,
    /// Where files are kept.
    pub places: Arc<Places>,
    /// What of the state's file system stays free.
    pub room: Arc<Room>,
    /// Digests of files that were kept and have been read since.
    pub digests: Digests,
    /// How long finished executions are kept.
    pub keeping: Keeping,
    /// Workspaces into which files are being written.
    pub writing: Arc<Writing>,
    /// Sessions whose workspaces are being made or removed.
    pub moving: Moving,
    /// Ends that can't be recorded for now.
    pub delayed: Delayed,
    /// Whether this start is to take sessions and workspaces as they are.
    pub settling: Settling,
    /// What callers keep over several executions.
    pub sessions: SessionSet,
    /// Executions that take cells.
    pub interpreters: InterpreterSet,
    /// What keeps threads for long.
    pub threads: Threads,
    /// Workspaces that are watched.
    pub watched: Watched,
    /// What may be asked for, by the configuration and the policies in force.
    pub settings: Settings,
    /// Who is an administrator.
    pub roles: Roles,
    /// What policies may bind.
    pub credentials: Credentials,
    /// What the host has for traffic; nothing if no upstream could be verified.
    pub traffic: Option<Arc<Shared>>,
    /// What the traffic of each sandbox comes to.
    pub gauges: Gauges,
    /// What the host can enforce.
    pub host: Host,
    /// How many executions have finished since the daemon started.
    pub finished: AtomicU64,
    /// What is counted.
    pub metrics: Metrics,
    /// What was last read of all that runs.
    pub readings: Readings,
    /// When the daemon started.
    pub start: Instant,
}

/// After how many finished executions old records are retired. The bound on records is kept to
/// within this number for each owner.
const RETIRE_EVERY: u64 = 64;

/// The supervisor: one per daemon, shared by its front ends.
#[derive(Clone)]
pub struct Supervisor {
    inner: Arc<Inner>,
}

impl Inner {
    /// The Landlock ABI that a launch insists on: what the probe found, if the policy requires
    /// Landlock at all. A kernel does not lose it while it runs; if it seems to, nothing is launched.
    pub fn landlock_floor(&self) -> u8 {
        self.host.landlock()
    }

    /// Returns once the files of an execution are removed; told from this call on.
    pub fn removal(&self, id: ExecutionId) -> impl Future<Output = ()> + Send + use<> {
        self.keeping.removal(self.store.clone(), id)
    }

    /// Counts an execution that has finished, and retires old ones: now and then, and where much is kept of
    /// this one.
    pub fn note_finished(self: &Arc<Self>, owner: u32, keeps_much: bool) {
        self.warm.note_end();
        let count = self.finished.fetch_add(1, Ordering::Relaxed);
        let all = count % RETIRE_EVERY == RETIRE_EVERY - 1;
        if !all && !keeps_much {
            return;
        }
        let inner = self.clone();
        tokio::spawn(async move {
            let retired = match all {
                true => keeping::retire(&inner).await,
                false => keeping::lighten(&inner, owner).await,
            };
            if let Err(error) = retired {
                tracing::error!(%error, "can't retire old records");
            }
        });
    }
}

impl Supervisor {
    /// A supervisor that is ready for calls.
    pub fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// What every part shares.
    pub fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// One execution, once it has finished or `wait` is up.
    pub async fn status(
        &self,
        caller: &Caller,
        id: ExecutionId,
        wait: Duration,
    ) -> Result<Execution, ApiError> {
        let Some(live) = self.own_live(caller, id) else { return self.recorded(caller, id).await };
        if wait.is_zero() {
            return Ok(self.snapshot(&live));
        }
        match timeout(wait, self.finished(&live)).await {
            Ok(finished) => finished,
            Err(_elapsed) => Ok(self.snapshot(&live)),
        }
    }

    /// A page of executions, newest first.
    pub async fn list(&self, caller: &Caller, query: ListQuery) -> Result<ExecutionList, ApiError> {
        let owner = match (query.all, caller.role) {
            (true, Role::Agent) => {
                let problem = "only administrators see everybody's executions";
                return Err(ApiError::new(ErrorCode::PermissionDenied, problem).with_field("all"));
            }
            (true, Role::Admin) => None,
            (false, _) => Some(caller.uid),
        };
        let among = match query.state {
            None => Among::All,
            Some(State::Finished) => Among::Finished,
            Some(state) => return self.unfinished(owner, state, query).await,
        };
        let page = self.inner.store.list(owner, among, query.after, query.limit).await;
        let mut page = page.map_err(|error| from_store(&error))?;
        for execution in &mut page.executions {
            if let Some(live) = self.inner.live.get(execution.id) {
                *execution = self.snapshot(&live);
            }
        }
        Ok(page)
    }

    /// A page of executions that are in a state before the last. Records say so late or never, so what
    /// their drivers publish decides; the page ends with the records that were looked at for it.
    async fn unfinished(
        &self,
        owner: Option<u32>,
        state: State,
        query: ListQuery,
    ) -> Result<ExecutionList, ApiError> {
        let mut page = ExecutionList { executions: Vec::new(), next: query.after };
        loop {
            let store = &self.inner.store;
            let found = store.list(owner, Among::Unfinished, page.next, query.limit).await;
            let found = found.map_err(|error| from_store(&error))?;
            let live = found.executions.iter().filter_map(|each| self.inner.live.get(each.id));
            let snapshots = live.map(|live| self.snapshot(&live));
            page.executions.extend(snapshots.filter(|execution| execution.state == state));
            page.next = found.next;
            if page.next.is_none() || !page.executions.is_empty() {
                return Ok(page);
            }
        }
    }

    /// What is left of the caller's budgets; of all, for an administrator who asks.
    pub fn budgets(&self, caller: &Caller, all: bool) -> Result<BudgetList, ApiError> {
        if all && caller.role == Role::Agent {
            let problem = "only administrators see everybody's budgets";
            return Err(ApiError::new(ErrorCode::PermissionDenied, problem).with_field("all"));
        }
        Ok(self.inner.budgets.list((!all).then_some(caller.uid)))
    }

    /// What this host can enforce.
    pub fn doctor(&self) -> Result<Doctor, ApiError> {
        let mut doctor = self.inner.host.doctor(self.inner.settings.current().mode);
        if let Some(why) = self.inner.audit.suspended() {
            doctor.controls.push(controls::records(why));
            doctor.healthy = false;
        }
        if let Some((line, refuses)) = self.inner.room.control() {
            doctor.controls.push(line);
            doctor.healthy &= !refuses;
        }
        Ok(doctor)
    }

    /// What runs just now and what it uses: the caller's own; an administrator's is everybody's.
    pub async fn top(&self, caller: &Caller) -> Result<Top, ApiError> {
        let inner = &self.inner;
        let lines = inner.readings.now(inner).await.map_err(internal)?;
        let mine = |line: &&TopLine| caller.role == Role::Admin || line.owner_uid == caller.uid;
        // The reading may be older than an end that was told since.
        let lives = |line: &&TopLine| {
            let live = inner.live.get(line.id);
            live.is_some_and(|live| live.execution.borrow().state != State::Finished)
        };
        let seen = lines.iter().filter(mine).filter(lives);
        let mut executions: Vec<_> = seen.cloned().collect();
        executions.sort_by(|one, other| one.started_at.cmp(&other.started_at));
        let waiting = match caller.role {
            Role::Admin => inner.admission.load().1,
            Role::Agent => inner.admission.waiting_of(caller.uid),
        };
        let whose = (caller.role == Role::Agent).then_some(caller.uid);
        let (parked, parked_memory) = inner.warm.parked(whose);
        Ok(Top { executions, waiting: waiting as u64, parked: parked as u64, parked_memory })
    }

    /// What the daemon counts, as text for Prometheus; administrators only.
    pub fn metrics(&self, caller: &Caller) -> Result<String, ApiError> {
        if caller.role == Role::Agent {
            let problem = "only administrators see what the daemon counts";
            return Err(ApiError::new(ErrorCode::PermissionDenied, problem));
        }
        let (running, waiting) = self.inner.admission.load();
        let traffic = self.inner.traffic.as_ref().map(|shared| shared.usage()).unwrap_or_default();
        let parked = self.inner.warm.parked(None);
        self.inner.metrics.text((running, waiting), parked, traffic).map_err(internal)
    }

    /// The policies that a submission may name.
    pub fn policies(&self) -> Vec<KnownPolicy> {
        let generation = self.inner.settings.current();
        let known = |policy: &Arc<Resolved>| KnownPolicy {
            reference: generation.reference(policy),
            description: policy.description().to_owned(),
        };
        generation.policies.iter().map(known).collect()
    }

    /// One of them, all of it.
    pub fn policy_in_force(&self, name: &str) -> Result<PolicyInForce, ApiError> {
        let generation = self.inner.settings.current();
        let policy = generation
            .policies
            .resolve(name)
            .ok_or_else(|| ApiError::new(ErrorCode::NotFound, "there is no policy of this name"))?;
        Ok(PolicyInForce {
            policy: KnownPolicy {
                reference: generation.reference(policy),
                description: policy.description().to_owned(),
            },
            generation: generation.number,
            resolved: policy.show_resolved(),
        })
    }

    /// What of an owner's has not finished, in no order.
    pub fn unfinished_of(&self, uid: u32) -> Vec<Execution> {
        let all = self.inner.live.all().into_iter();
        all.filter(|live| live.execution.borrow().owner_uid == uid)
            .map(|live| live.snapshot())
            .collect()
    }

    /// What an execution is by now, and while it waits, how long its line is.
    fn snapshot(&self, live: &Live) -> Execution {
        let mut execution = live.snapshot();
        if execution.state == State::Queued {
            let (uid, id) = (execution.owner_uid, execution.id);
            execution.queue_position = self.inner.admission.position(uid, id);
        }
        execution.waits_for = self.inner.approvals.waiting(execution.id);
        execution
    }

    /// A caller's own execution that has not finished; an administrator's are everybody's.
    fn own_live(&self, caller: &Caller, id: ExecutionId) -> Option<Arc<Live>> {
        let live = self.inner.live.get(id)?;
        let (owner, state) = {
            let execution = live.execution.borrow();
            (execution.owner_uid, execution.state)
        };
        // Its end may be told, and in the store, while its sandbox is still being removed.
        let is_theirs = caller.role == Role::Admin || caller.uid == owner || without("owner-check");
        (is_theirs && state != State::Finished).then_some(live)
    }

    async fn recorded(&self, caller: &Caller, id: ExecutionId) -> Result<Execution, ApiError> {
        let execution = self.inner.store.get(id).await.map_err(|error| from_store(&error))?;
        execution
            .filter(|found| {
                let own = caller.role == Role::Admin || found.owner_uid == caller.uid;
                own || without("owner-check")
            })
            .ok_or_else(not_found)
    }

    /// Records that an administrator gets at what is somebody else's; without a record it doesn't.
    fn note_administration(
        &self,
        caller: &Caller,
        execution: &Execution,
        act: &str,
    ) -> Result<(), ApiError> {
        if caller.uid == execution.owner_uid {
            return Ok(());
        }
        Ok(self.inner.audit.record(audit::administration(execution, act, caller.uid))?)
    }

    /// Waits until an execution's end is on disk. Its driver always comes to an end; if the daemon
    /// is stopped meanwhile the next one reports it.
    async fn finished(&self, live: &Live) -> Result<Execution, ApiError> {
        let mut receiver = live.execution.subscribe();
        let finished = receiver.wait_for(|execution| execution.state == State::Finished).await;
        finished.map(|execution| execution.clone()).map_err(internal)
    }
}

pub(crate) fn policy(generation: &Generation, name: &str) -> Result<Arc<Resolved>, ApiError> {
    generation.policies.resolve(name).cloned().ok_or_else(|| {
        let error = ApiError::invalid("policy", "there is no policy of this name");
        match generation.policies.nearest(name) {
            Some(near) => error.with_hint(format!("did you mean {near:?}?")),
            None => error.with_hint("policies are files of the daemon's policy directory; after a new one, supervisorctl reload"),
        }
    })
}

/// The same text for what is not there and for what is somebody else's.
fn not_found() -> ApiError {
    ApiError::new(ErrorCode::NotFound, "there is no such execution or artifact")
}

pub(crate) fn reference(policy: &Resolved) -> PolicyReference {
    let digest = Sha256::digest(policy.canonical().as_bytes());
    let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    PolicyReference { name: policy.name().to_owned(), digest }
}

/// A fault of the daemon's own: the journal has the cause, the caller doesn't.
pub(crate) fn internal(error: impl std::fmt::Display) -> ApiError {
    tracing::error!(%error, "a call failed");
    ApiError::new(ErrorCode::Internal, "the daemon failed; its journal has the cause")
}
