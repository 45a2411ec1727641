//! After a restart: every execution that an earlier daemon did not finish is accounted for, and
//! nothing is left behind on the host.

mod damaged;
mod queued;
mod strangers;

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::fs;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::time::{ClockId, clock_gettime};
use std::os::fd::AsFd;
use supervisor_api::{
    ApiError, AuditFilter, ChangesMode, Ended, Execution, ExecutionId, Outcome, StartKind, State,
    Subject, What,
};
use supervisor_launch::Descriptor;
use supervisor_launch::seccomp::Profile;
use tokio::sync::watch;

use crate::audit;
use crate::capture::Capture;
use crate::clock;
use crate::driver::{self, Before, Clock, End, Wishes, kept, pausing};
use crate::elsewhere::NOBODY;
use crate::fault::{self, Point};
use crate::interpreter::Interpreter;
use crate::keeping;
use crate::launcher::{Sandbox, pid_of};
use crate::live::Live;
use crate::plan;
use crate::session;
use crate::store::StoreError;
use crate::supervisor::Inner;
use crate::traffic::Way;
use crate::watch::thaw;
use crate::workspace::GlobSelection;
use queued::Unstarted;

/// Ends and submissions that are read from the audit log at once.
const READ_AT_ONCE: usize = 1000;

/// Why something could not be taken over.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Adopts what lives, records what is lost, ends what nobody knows, removes files without a record.
pub async fn recover(inner: &Arc<Inner>) -> Result<(), Failure> {
    session::agree(inner).await?; // before anything goes that a right state would know
    let unfinished = inner.store.unfinished().await?;
    let living: HashSet<u128> = inner.launcher.list().await?.into_iter().collect();
    let known: HashSet<u128> = unfinished.iter().map(|execution| execution.id.bits()).collect();
    strangers::agree(inner, &living, &known).await?;
    // Workspaces of sessions that programs had which have ended: held until the sessions are known.
    let mut left = Vec::new();
    // Before workspaces of which nobody was told: they may have one of these.
    for stranger in living.difference(&known) {
        let adopted = inner.launcher.adopt(*stranger, NOBODY).await;
        let recorded = is_recorded(inner, ExecutionId::from_bits(*stranger)).await?;
        let cause = match &adopted {
            _ if recorded => "its end was told, and it was about to be removed",
            Ok(sandbox) if seen(sandbox) != Seen::Started => {
                "no payload had started in it: it was parked, or being made"
            }
            _ => "nothing is known of it",
        };
        let id = ExecutionId::from_bits(*stranger);
        let stays = match driver::end_sandbox(&inner.launcher, id).await {
            None => "",
            Some(_tries) => "; it does not end, which is tried again",
        };
        let subject = Subject { execution: Some(id), ..Subject::default() };
        let cause = format!("{cause}{stays}");
        inner.audit.note(audit::recovery(subject, "destroyed", Some(&cause)));
        fault::reach(Point::StrangersDestroyed);
        left.extend(adopted.ok().map(|sandbox| (id, sandbox)));
    }
    session::recover(inner).await?; // before executions, which hold theirs
    for (id, sandbox) in left {
        match inner.store.get(id).await {
            Ok(Some(execution)) => keep_open(inner, &execution, sandbox).await,
            Ok(None) | Err(StoreError::Record { .. }) => {} // nobody knows whose it was
            Err(error) => return Err(error.into()),
        }
    }
    fault::reach(Point::SessionsRecovered);
    let live = unfinished.iter().map(|execution| execution.id).collect();
    inner.approvals.restore(&live).await;
    let gone = unfinished.iter().filter(|execution| !living.contains(&execution.id.bits()));
    let mut ends = logged(inner, gone).await;
    let mut waiting = Vec::new();
    for execution in unfinished {
        let end = ends.remove(&execution.id);
        let lives = living.contains(&execution.id.bits());
        match take_over(inner, execution.clone(), lives, end).await {
            Ok(unstarted) => waiting.extend(unstarted),
            Err(error) => damaged::give_up(inner, execution, lives, error)?,
        }
    }
    // When all that runs has its place again, in the order in which they came.
    for (execution, unstarted) in waiting {
        if let Err(error) = queued::line_up(inner, execution.clone(), unstarted).await {
            damaged::give_up(inner, execution, false, error)?;
        }
    }
    sweep(inner).await
}

/// A session stays open, or a copy of it, of which an execution that has ended left the workspace: its last close would
/// keep the launcher waiting that mounts it anew.
async fn keep_open(inner: &Inner, execution: &Execution, left: Sandbox) {
    let changes = execution.changes.as_ref().filter(|changes| changes.mode == ChangesMode::Hold);
    let of = changes.map_or(Some(execution.session), |changes| changes.held_in);
    if let Some(kept) = of.and_then(|of| inner.sessions.get(of)) {
        kept.keep_open(left, None).await;
    }
}

/// Whether there is a record of an execution, be it one that can't be read.
pub async fn is_recorded(inner: &Inner, id: ExecutionId) -> Result<bool, StoreError> {
    match inner.store.get(id).await {
        Err(StoreError::Record { .. }) => Ok(true),
        found => Ok(found?.is_some()),
    }
}

/// Removes the files of executions that have no record: their submission was never recorded, or an
/// earlier daemon was stopped while it retired them.
async fn sweep(inner: &Arc<Inner>) -> Result<(), Failure> {
    for id in inner.places.all()? {
        match inner.store.get(id).await? {
            // What can't be removed is in nobody's way, and is tried again at the next start.
            None => {
                if let Err(error) = inner.places.remove(id) {
                    tracing::error!(%error, execution_id = %id, "can't remove files without a record");
                }
            }
            Some(execution) if execution.state == State::Finished => {
                kept::forget(&inner.places, id).await;
            }
            Some(_) => {}
        }
    }
    fault::reach(Point::FilesSwept);
    if let Err(error) = keeping::retire(inner).await {
        // Such as for want of room. It is tried again when more have ended.
        tracing::error!(%error, "can't retire old records");
    }
    Ok(())
}

/// Gives back what has yet to be started. `logged` is the end that the audit log has of one that doesn't live.
async fn take_over(
    inner: &Arc<Inner>,
    execution: Execution,
    lives: bool,
    logged: Option<Ended>,
) -> Result<Option<(Execution, Unstarted)>, Failure> {
    let id = execution.id;
    let kept = match kept::end(&inner.places, id) {
        Err(error) if logged.is_some() => {
            tracing::warn!(%error, execution_id = %id, "what was kept of an end is damaged; the log has it");
            None
        }
        found => found?,
    };
    let is_over = logged.is_some() || kept.is_some();
    let unstarted =
        if is_over { None } else { queued::unstarted(inner, &execution, lives).await? };
    if let Some(unstarted) = unstarted {
        return Ok(Some((execution, unstarted)));
    }
    let globs = if lives && !is_over { inner.places.globs(id)? } else { Vec::new() };
    let (started_at, created_at) = (execution.started_at.clone(), execution.created_at.clone());
    let could_be_parked = execution.language.is_some();
    let spent = execution.usage.parked_cpu_ms.saturating_mul(1000);
    let subject = audit::subject(&execution);
    let interpreter = Interpreter::reopen(&inner.places, &inner.interpreters, &execution).await?;
    let live = resurrect(inner, execution, interpreter)?;
    inner.live.insert(id, live.clone());
    live.is_found();
    if let Some(end) = kept {
        inner.audit.note(audit::recovery(subject, "resumed", Some("its end was not recorded")));
        tokio::spawn(driver::resume_end(inner.clone(), live, end, lives));
        return Ok(None);
    }
    if !lives {
        inner.places.remove_artifacts(id)?; // no list of them was kept
    }
    if let Some(end) = logged.map(End::logged) {
        inner.audit.note(audit::recovery(subject, "resumed", Some("the log has its end")));
        tokio::spawn(driver::resume_end(inner.clone(), live, end, lives));
        return Ok(None);
    }
    if !lives {
        let reason = "the daemon was stopped before its end was recorded, and its sandbox is gone";
        inner.audit.note(audit::recovery(subject, "written_off", Some(reason)));
        let outcome = Outcome::Lost { reason: reason.to_owned() };
        tokio::spawn(driver::write_off(inner.clone(), live, outcome));
        return Ok(None);
    }
    let owner = live.execution.borrow().owner_uid;
    let mut sandbox = inner.launcher.adopt(id.bits(), owner).await?;
    sandbox.spent = spent;
    let start = live.execution.borrow().start;
    sandbox.was_parked = could_be_parked && start != Some(StartKind::Cold);
    // A version before may have taken one that this one refuses, and that nothing can match.
    let globs: Vec<String> = globs
        .into_iter()
        .filter(|glob| GlobSelection::new(std::slice::from_ref(glob)).is_ok())
        .collect();
    let globs = GlobSelection::new(&globs).map_err(|problem| problem.message)?;
    let before = if seen_frozen(&sandbox).await != Seen::Started {
        Err("the daemon was killed before the payload started")
    } else if inner.places.owes_input(id)? {
        // What it makes of a part could not be told from what it would make of the whole.
        Err("the daemon was killed before the payload had all of its standard input")
    } else {
        let ran = ran(&sandbox, started_at.as_deref());
        // A parked sandbox is older than its execution, which can't have run for longer than it is there.
        let most = clock::since(&created_at).filter(|_| could_be_parked);
        let ran = most.map_or(ran, |most| ran.min(most));
        let clock = clock_of(&live.snapshot(), ran);
        Ok(Before { clock, reason: kept::reason(&inner.places, id)? })
    };
    let way = match &before {
        Ok(_) => {
            let way = Way::take_over(inner, &live.snapshot());
            let changed = way_changed(inner, &live.snapshot(), &way);
            inner.audit.note(audit::recovery(subject, "adopted", changed.as_deref()));
            way.unwrap_or_default() // the log has why
        }
        Err(reason) => {
            inner.audit.note(audit::recovery(subject, "written_off", Some(reason)));
            None
        }
    };
    let first = live.snapshot();
    let turn = inner.admission.already_running(first.owner_uid, plan::need(&first.limits));
    tokio::spawn(driver::adopt(inner.clone(), live, (sandbox, turn), before, globs, way));
    Ok(None)
}

/// The ends that the audit log has of these executions, which a loss of power can leave without their records. All of
/// them are looked for at once: the log may be of a gigabyte, and what waits a thousand.
async fn logged(
    inner: &Inner,
    of: impl Iterator<Item = &Execution> + Clone,
) -> HashMap<ExecutionId, Ended> {
    let ids: HashSet<ExecutionId> = of.clone().map(|execution| execution.id).collect();
    let mut ends = HashMap::new();
    let Some(since) = of.map(|execution| execution.created_at.clone()).min() else { return ends };
    let kind = Some("outcome".to_owned());
    let filter = AuditFilter { kind, since: since.parse().ok(), ..AuditFilter::default() };
    let mut after = 0;
    loop {
        let page = match inner.audit.search(filter.clone(), after, READ_AT_ONCE).await {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(%error, "can't look for ends in the audit log");
                return ends;
            }
        };
        for record in page.records {
            let id = record.event.subject.execution.filter(|id| ids.contains(id));
            if let (Some(id), What::Outcome(ended)) = (id, record.event.what) {
                ends.insert(id, ended);
            }
        }
        match page.next {
            Some(next) => after = next,
            None => return ends,
        }
    }
}

/// What is other than before about the way out of what is taken over.
fn way_changed(
    inner: &Inner,
    execution: &Execution,
    way: &Result<Option<Way>, ApiError>,
) -> Option<String> {
    let generation = inner.settings.current();
    let policy = generation.policies.resolve(&execution.policy.name);
    match way {
        Err(error) => Some(format!("without a way out: {error}")),
        Ok(None) => policy
            .filter(|policy| !policy.egress().is_empty())
            .map(|_| "without a way out: nothing of one was kept".to_owned()),
        Ok(Some(_)) => match policy.map(|policy| generation.reference(policy)) {
            Some(now) if now == execution.policy => None,
            Some(now) => {
                Some(format!("its traffic is under the policy as it is now, {}", now.digest))
            }
            None => Some("its policy is gone, and nothing leaves any more".to_owned()),
        },
    }
}

fn resurrect(
    inner: &Inner,
    execution: Execution,
    interpreter: Option<Arc<Interpreter>>,
) -> Result<Arc<Live>, Failure> {
    let capture = capture_of(inner, &execution)?;
    if let Some(interpreter) = &interpreter {
        inner.interpreters.add(interpreter.clone())?;
    }
    Ok(live_of(inner, execution, interpreter, capture))
}

fn live_of(
    inner: &Inner,
    execution: Execution,
    interpreter: Option<Arc<Interpreter>>,
    capture: Arc<Capture>,
) -> Arc<Live> {
    let session = inner.sessions.get(execution.session).and_then(|session| session.run_on().ok());
    let copy = execution.changes.and_then(|changes| inner.sessions.get(changes.held_in?));
    let held = copy.and_then(|copy| copy.run_held().ok());
    let source = match (&session, plan::source_of(&execution)) {
        (Some(used), Some(name)) if held.is_none() => Some(used.session().keep_source_name(name)),
        _ => None,
    };
    let generation = inner.settings.current();
    let policy = generation.policies.resolve(&execution.policy.name);
    let workspace = policy.map(|policy| policy.workspace()).unwrap_or_default();
    let profile = policy.and_then(|policy| Profile::parse(policy.profile().as_str()));
    Arc::new(Live {
        profile: profile.unwrap_or(Profile::Default),
        place: workspace,
        execution: watch::Sender::new(execution),
        capture,
        input: watch::Sender::new(None),
        terminal: watch::Sender::new(None),
        cancelled: watch::Sender::new(false),
        wishes: Wishes::default(),
        samples: Mutex::default(),
        session,
        source: Mutex::new(source),
        held,
        interpreter,
        recorded: AtomicBool::new(true),
        waits: AtomicBool::new(false),
        meter: Mutex::default(),
        administrators: Mutex::default(),
    })
}

/// What it has said so far.
fn capture_of(inner: &Inner, execution: &Execution) -> io::Result<Arc<Capture>> {
    let (id, limit) = (execution.id, execution.limits.output_bytes);
    let capture = match inner.places.open_place(id) {
        // It has said nothing yet, and a disk that is full by now is no reason to let go of it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let places = inner.places.clone();
            Capture::create(Box::new(move || places.make(id, &[])), limit)
        }
        place => Capture::reopen(place?, limit)?,
    };
    capture.leave(inner.room.clone());
    capture.is_of(execution.owner_uid);
    Ok(capture)
}

/// What its time comes to, of an execution that began so long ago. While it is paused, and that it stays, the
/// record says how long it had run.
fn clock_of(execution: &Execution, age: Duration) -> Clock {
    let usage = &execution.usage;
    if execution.state != State::Paused {
        let rested = Duration::from_millis(usage.paused_ms);
        return Clock::going(age.saturating_sub(rested), rested);
    }
    let since = execution.paused_at.as_deref().and_then(clock::since).unwrap_or_default();
    let rested = Duration::from_millis(usage.paused_ms);
    Clock::resting(Duration::from_millis(usage.wall_ms), rested, since)
}

/// What is to be seen of a payload's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Its program was executed.
    Started,
    /// It was not, and can't be if the sandbox is frozen.
    Unstarted,
    /// It was not, but may be at any moment.
    Unsure,
}

/// Whether a payload has started, once and for all: what has its start in the pipe may begin at any moment,
/// so what seems not to have is frozen before it is looked at again.
async fn seen_frozen(sandbox: &Sandbox) -> Seen {
    if seen(sandbox) == Seen::Started {
        return Seen::Started;
    }
    let frozen = pausing::freeze(sandbox).await.is_ok();
    match seen(sandbox) {
        Seen::Started => {
            thaw(sandbox);
            Seen::Started
        }
        Seen::Unstarted if frozen => Seen::Unstarted,
        Seen::Unstarted | Seen::Unsure => Seen::Unsure,
    }
}

/// Whether the payload's program was executed: its stub holds the only reading end of the start pipe,
/// and exec closes it. A pipe that nobody can read is in error (poll(2), POLLERR).
fn seen(sandbox: &Sandbox) -> Seen {
    let Some(start) = sandbox.get(Descriptor::Start) else { return Seen::Unsure };
    let mut fds = [PollFd::new(start.as_fd(), PollFlags::empty())];
    let looked = poll(&mut fds, PollTimeout::ZERO);
    let [start] = &fds;
    let gone = looked != Err(Errno::EINTR)
        && start.revents().is_some_and(|seen| seen.contains(PollFlags::POLLERR));
    if gone { Seen::Started } else { Seen::Unstarted }
}

/// How long it has run, by the kernel's record of when init started. Where that is not to be seen, as
/// with a service's own view of /proc (hidepid), by ours, which the host's clock has a say in. If there is
/// neither, it has only just begun.
fn ran(sandbox: &Sandbox, started_at: Option<&str>) -> Duration {
    let pid = sandbox.get(Descriptor::Process).and_then(pid_of);
    let recorded = || clock::since(started_at?);
    pid.and_then(since_start).or_else(recorded).unwrap_or_default()
}

/// proc(5), stat: the 22nd field is the start since boot in ticks of a hundredth of a second.
fn since_start(pid: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    let ticks: u64 = fields.split(' ').nth(19)?.parse().ok()?;
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?;
    Duration::from(now).checked_sub(Duration::from_millis(ticks * 10))
}
