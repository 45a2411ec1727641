//! One task drives one execution and alone changes its state:
//!
//! ```text
//! queued ──turn──▶ launching ──start──▶ running ──end of init──▶ collecting ──on disk──▶ finished
//!    └──────────────────┴── cancelled, refused, a step failed, launcher gone ───────────────▲
//! ```
//!
//! The end is always the same way: nothing of the sandbox is left, the output and the artifacts are
//! on disk, the record is on disk, and only then the end is told.

use std::convert::Infallible;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use supervisor_api::{
    ArtifactList, AuditEvent, ControlReport, Execution, ExecutionId, Limits, Outcome, State, Usage,
};
use supervisor_launch::{Descriptor, Step, Storage};
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use crate::admission::Turn;
use crate::attend::{Observed, Output, observe};
use crate::audit::{self, Unaudited};
use crate::budget::Account;
use crate::clock;
use crate::controls::{self, Held};
use crate::journal;
use crate::launcher::{LaunchError, Launcher, Sandbox};
use crate::live::Live;
use crate::outcome;
use crate::plan::{self, Plan};
use crate::reports::{ended, feed};
use crate::store::StoreError;
use crate::supervisor::Inner;
use crate::top::Meter;
use crate::traffic::Way;
use crate::watch::thaw;
use crate::workspace::{self, CollectLimits, GlobSelection};

/// How long output may take to reach its end once every process is dead. The pipes hold a megabyte
/// at the most and nobody can write any more; this only bounds a fault of ours.
const LAST_OUTPUT: Duration = Duration::from_secs(10);

/// How long init may take to end once it has reported the payload's end: giving back the payload's
/// gigabytes is the longest part of it.
const LAST_BREATH: Duration = Duration::from_secs(5);

/// How long a payload runs before its start is recorded. Most have ended by then, and their record is
/// written once instead of twice; a daemon that comes back looks at the sandbox itself.
const NOTE_START: Duration = Duration::from_millis(50);

/// How long an execution may be there without a record if nobody is told of it. What a daemon that comes
/// back finds of it then it removes: whoever submitted it has had no answer and knows no id.
const NOTE_UNTOLD: Duration = Duration::from_millis(100);

/// How long to wait before a sandbox that did not go is asked to go again.
const DESTROY_AGAIN: Duration = Duration::from_secs(5);

/// How long to wait before a record is tried again that could not be written.
const RECORD_AGAIN: Duration = Duration::from_secs(1);

/// A submission is not recorded, so it doesn't run.
#[derive(Debug)]
pub enum Unrecorded {
    /// By the store.
    Store(StoreError),
    /// By the audit log.
    Audit(Unaudited),
}

/// When whoever submitted an execution is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// As soon as it is recorded.
    AtOnce,
    /// When it has finished.
    AtTheEnd,
}

/// Takes the result of recording an execution for the first time.
type Recorded = oneshot::Sender<Result<(), Unrecorded>>;

/// Drives a new execution from its submission to its end.
pub async fn drive(
    inner: Arc<Inner>,
    live: Arc<Live>,
    plan: Plan,
    turn: oneshot::Receiver<Turn>,
    (told, recorded): (Told, Recorded),
) {
    match told {
        Told::AtOnce => drive_recorded(&inner, &live, &plan, turn, recorded).await,
        Told::AtTheEnd => drive_untold(&inner, &live, &plan, turn, recorded).await,
    }
    if plan.way.is_some() {
        forget_way(&inner, &live);
    }
    inner.live.remove(live.id());
}

/// The record comes first: what is not recorded doesn't run.
async fn drive_recorded(
    inner: &Arc<Inner>,
    live: &Live,
    plan: &Plan,
    turn: oneshot::Receiver<Turn>,
    recorded: Recorded,
) {
    let (first, submitted) = (live.snapshot(), Instant::now());
    let record = async {
        let result = record_first(inner, &first).await;
        inner.metrics.stored("insert", submitted.elapsed());
        let stored = result.is_ok();
        live.recorded.store(stored, Ordering::Relaxed);
        drop(recorded.send(result)); // whoever submitted may be gone; the execution goes on
        stored
    };
    match tokio::join!(record, launch(inner, live, plan, turn)) {
        (false, Ok(_)) => destroy(inner, live).await, // the submission was refused
        (false, Err(_)) => {}
        (true, Err(outcome)) => {
            conclude(inner, live, End::without_sandbox(outcome), &mut None).await;
        }
        (true, Ok((sandbox, turn, begun))) => {
            let end = run(inner, live, sandbox, plan, begun).await;
            conclude(inner, live, end, &mut None).await;
            drop(turn);
        }
    }
}

/// Nobody knows of the execution, so there is nothing to account for yet: it is recorded with its end if
/// that comes soon. If it can't be recorded it is ended, and the submission refused. The audit log has it
/// before anything of it runs all the same.
async fn drive_untold(
    inner: &Arc<Inner>,
    live: &Live,
    plan: &Plan,
    turn: oneshot::Receiver<Turn>,
    recorded: Recorded,
) {
    let first = live.snapshot();
    let life = async {
        let accepted = inner.audit.write(audit::accepted(&first));
        match tokio::join!(accepted, launch(inner, live, plan, turn)) {
            (Err(error), launched) => {
                if launched.is_ok() {
                    destroy(inner, live).await;
                }
                (Err(error), launched.ok().map(|(_, turn, _)| turn))
            }
            (Ok(()), Ok((sandbox, turn, begun))) => {
                (Ok(run(inner, live, sandbox, plan, begun).await), Some(turn))
            }
            (Ok(()), Err(outcome)) => (Ok(End::without_sandbox(outcome)), None),
        }
    };
    let note = async {
        sleep(NOTE_UNTOLD).await;
        inner.store.insert(&live.snapshot()).await
    };
    tokio::pin!(life, note);
    let mut recorded = Some(recorded);
    let (end, turn) = tokio::select! {
        biased;
        ended = &mut life => ended,
        noted = &mut note => match noted {
            Ok(()) => {
                live.recorded.store(true, Ordering::Relaxed);
                if let Some(recorded) = recorded.take() {
                    drop(recorded.send(Ok(()))); // whoever submitted may be gone
                }
                life.await
            }
            Err(error) => {
                live.cancelled.send_replace(true);
                let (end, turn) = life.await;
                let sandbox = end.as_ref().ok().and_then(|end| end.sandbox.as_ref());
                remove(inner, live, sandbox).await;
                note_unrecorded(inner, &first, &error);
                refuse(recorded.take(), Unrecorded::Store(error));
                return drop(turn);
            }
        },
    };
    match end {
        Ok(end) => conclude(inner, live, end, &mut recorded).await,
        Err(error) => refuse(recorded.take(), Unrecorded::Audit(error)),
    }
    drop(turn);
}

/// Waits for the execution's turn and has its sandbox made.
async fn launch(
    inner: &Inner,
    live: &Live,
    plan: &Plan,
    turn: oneshot::Receiver<Turn>,
) -> Result<(Sandbox, Turn, Instant), Outcome> {
    let submitted = Instant::now();
    let turn = wait_for_turn(turn, live.cancelled.subscribe()).await.ok_or(Outcome::Cancelled)?;
    inner.metrics.turn(submitted.elapsed());
    let begun = Instant::now();
    live.change(|execution| execution.state = State::Launching);
    let (owner, disk) = (live.execution.borrow().owner_uid, inner.host.disk());
    let request = plan.prepare(live.id().bits(), owner, inner.landlock_floor(), disk);
    let sandbox = inner.launcher.prepare(request).await.map_err(outcome::launch_failed)?;
    Ok((sandbox, turn, begun))
}

/// Has a submission in the audit log and then in the store.
async fn record_first(inner: &Inner, first: &Execution) -> Result<(), Unrecorded> {
    inner.audit.write(audit::accepted(first)).await.map_err(Unrecorded::Audit)?;
    let inserted = inner.store.insert(first).await;
    if let Err(error) = &inserted {
        note_unrecorded(inner, first, error);
    }
    inserted.map_err(Unrecorded::Store)
}

/// The audit log has a submission that the store refused.
fn note_unrecorded(inner: &Inner, first: &Execution, error: &StoreError) {
    let subject = audit::subject(first);
    inner.audit.note(audit::recovery(subject, "written_off", Some(&error.to_string())));
}

/// Tells whoever submitted an execution that it is not recorded; they may be gone.
fn refuse(recorded: Option<Recorded>, error: Unrecorded) {
    if let Some(recorded) = recorded {
        drop(recorded.send(Err(error)));
    }
}

/// Goes on with an execution whose sandbox outlived the daemon that started it. `ran` is how long it has
/// run by now, or why it can't go on. `way` is its way out, if it has one.
pub async fn adopt(
    inner: Arc<Inner>,
    live: Arc<Live>,
    mut sandbox: Sandbox,
    ran: Result<Duration, &str>,
    globs: GlobSelection,
    way: Option<Way>,
) {
    let first = live.snapshot();
    let turn = inner.admission.already_running(first.owner_uid, plan::need(&first.limits));
    let end = match ran {
        Ok(ran) => {
            thaw(&sandbox);
            journal::adopted(&live.snapshot());
            live.change(|execution| {
                execution.state = State::Running;
                execution.started_at.get_or_insert_with(clock::now);
            });
            let way = way.as_ref().map(|way| way.serve(way.doors(&mut sandbox)));
            with_way(way, attend(&inner, &live, sandbox, ran, &globs, async {})).await
        }
        Err(reason) => {
            destroy(&inner, &live).await;
            End::without_sandbox(Outcome::Lost { reason: reason.to_owned() })
        }
    };
    conclude(&inner, &live, end, &mut None).await;
    drop(turn);
    forget_way(&inner, &live);
    inner.live.remove(live.id());
}

/// Forgets what was kept of an execution's way out, and what its session has spent where that was this
/// execution's own, from which nobody else spends.
fn forget_way(inner: &Inner, live: &Live) {
    if let Err(error) = inner.places.forget_way(live.id()) {
        tracing::warn!(%error, execution_id = %live.id(), "can't forget a way out");
    }
    let session = live.execution.borrow().session;
    if inner.sessions.get(session).is_none() {
        inner.budgets.forget(&Account::Session(session));
    }
}

/// Serves a sandbox's way out for as long as its execution is attended.
async fn with_way(
    way: Option<impl Future<Output = Infallible>>,
    end: impl Future<Output = End>,
) -> End {
    match way {
        None => end.await,
        Some(way) => tokio::select! {
            end = end => end,
            never = Box::pin(way) => match never {},
        },
    }
}

/// Ends an execution of which nothing is left but its record.
pub async fn write_off(inner: Arc<Inner>, live: Arc<Live>, reason: &str) {
    let outcome = Outcome::Lost { reason: reason.to_owned() };
    conclude(&inner, &live, End::without_sandbox(outcome), &mut None).await;
    forget_way(&inner, &live);
    inner.live.remove(live.id());
}

/// What there is to record at the end.
struct End {
    outcome: Outcome,
    usage: Usage,
    artifacts: ArtifactList,
    controls: Vec<ControlReport>,
    /// What the launcher has yet to remove.
    sandbox: Option<Sandbox>,
}

impl End {
    fn without_sandbox(outcome: Outcome) -> Self {
        let artifacts =
            ArtifactList { artifacts: Vec::new(), refused: Vec::new(), truncated: false };
        Self { outcome, usage: Usage::default(), artifacts, controls: Vec::new(), sandbox: None }
    }
}

async fn wait_for_turn(
    turn: oneshot::Receiver<Turn>,
    mut cancelled: watch::Receiver<bool>,
) -> Option<Turn> {
    tokio::select! {
        biased;
        _ = cancelled.wait_for(|cancelled| *cancelled) => None,
        turn = turn => turn.ok(),
    }
}

/// Writes the submission's files, starts the payload and stays with it.
async fn run(inner: &Inner, live: &Live, mut sandbox: Sandbox, plan: &Plan, begun: Instant) -> End {
    if let Err(outcome) = write_files(&sandbox, plan).await {
        destroy(inner, live).await;
        return End::without_sandbox(outcome);
    }
    live.change(|execution| {
        execution.state = State::Running;
        execution.started_at = Some(clock::now());
    });
    inner.metrics.start(begun.elapsed());
    let (stdin, start) = (sandbox.take(Descriptor::Stdin), sandbox.take(Descriptor::Start));
    let way = plan.way.as_ref().map(|way| way.serve(way.doors(&mut sandbox)));
    let give = async {
        if let (Some(stdin), Some(start)) = (stdin, start) {
            let given = async {
                feed(stdin, &plan.stdin).await?;
                if plan.stdin.is_empty() { Ok(()) } else { inner.places.input_is_given(live.id()) }
            };
            let (started, given) = tokio::join!(feed(start, &plan.start), given);
            for error in [started.err(), given.err()].into_iter().flatten() {
                tracing::warn!(%error, execution_id = %live.id(), "can't write to a payload");
            }
        }
    };
    with_way(way, attend(inner, live, sandbox, Duration::ZERO, &plan.globs, give)).await
}

async fn write_files(sandbox: &Sandbox, plan: &Plan) -> Result<(), Outcome> {
    if plan.files.is_empty() {
        return Ok(());
    }
    let lost = || Outcome::Lost { reason: "the launcher gave no workspace".to_owned() };
    let workspace = sandbox.get(Descriptor::Workspace).ok_or_else(lost)?;
    let workspace = workspace.try_clone().map_err(|_| lost())?;
    let files = plan.files.clone();
    if plan.kept.is_some() {
        // What an execution before it left there gives way, as it would to any other writer.
        let replaced =
            spawn_blocking(move || workspace::replace_files(workspace.as_fd(), &files)).await;
        return match replaced {
            Ok(result) => result.map_err(|error| outcome::files_not_replaced(&error)),
            Err(_) => Err(lost()), // the runtime is shutting down
        };
    }
    let written = spawn_blocking(move || workspace::write_files(workspace.as_fd(), &files)).await;
    match written {
        Ok(result) => result.map_err(|error| outcome::files_failed(&error)),
        Err(_) => Err(lost()), // the runtime is shutting down
    }
}

/// Stays with a running payload until nothing of it is left. `give` hands it what it was promised.
async fn attend(
    inner: &Inner,
    live: &Live,
    mut sandbox: Sandbox,
    ran: Duration,
    globs: &GlobSelection,
    give: impl Future<Output = ()>,
) -> End {
    let started = Instant::now();
    live.measure(Some(Meter::new(&sandbox)));
    let limits = live.snapshot().limits;
    let left = Duration::from_millis(limits.wall_time).saturating_sub(ran);
    let streams = (sandbox.take(Descriptor::Stdout), sandbox.take(Descriptor::Stderr));
    let output = Output::default();
    let pump = async {
        let (Some(stdout), Some(stderr)) = streams else { return };
        match live.capture.pump(stdout, stderr).await {
            Ok(()) => output.ended.notify_one(),
            Err(error) => {
                tracing::error!(%error, execution_id = %live.id(), "can't keep output");
                output.broken.notify_one();
            }
        }
    };
    let report = sandbox.take(Descriptor::Report);
    let life = observe(inner, live, &sandbox, report, started + left, &output);
    let together = async { tokio::join!(life, give).0 };
    let note = async {
        sleep(NOTE_START).await;
        if !live.recorded.load(Ordering::Relaxed) {
            return; // its first record will say so
        }
        if let Err(error) = inner.store.enqueue_update(&live.snapshot()).await {
            tracing::error!(%error, execution_id = %live.id(), "can't record a start");
        }
    };
    let observed = {
        tokio::pin!(together, pump, note);
        let (mut output_is_open, mut noted) = (true, false);
        let observed = loop {
            tokio::select! {
                biased;
                () = &mut pump, if output_is_open => output_is_open = false,
                observed = &mut together => break observed,
                () = &mut note, if !noted => noted = true,
            }
        };
        live.capture.drain_rest(); // nobody is left who could write
        if output_is_open && timeout(LAST_OUTPUT, pump).await.is_err() {
            tracing::error!(execution_id = %live.id(), "output did not reach its end");
        }
        observed
    };
    let wall = ran + started.elapsed();
    live.change(|execution| execution.state = State::Collecting);
    if !globs.is_empty() {
        wait_for_death(inner, live, &sandbox).await; // a process that closed its streams may still change files
    }
    let used = usage(&sandbox, &limits, wall, &observed);
    let artifacts = collect(inner, live, &sandbox, globs).await;
    let (applied, landlock) = (sandbox.applied, observed.landlock);
    let held = Held { applied, landlock, profile: live.profile, place: live.place };
    let controls = match observed.facts.failed {
        Some((step, _)) => {
            let reason = format!("the set-up failed at step {}, and nothing ran", step.name());
            controls::nothing(&reason, "see the outcome")
        }
        None => controls::matrix(&held, &limits),
    };
    End {
        outcome: outcome::outcome(&observed.facts, &limits),
        usage: used,
        artifacts,
        controls,
        sandbox: Some(sandbox),
    }
}

fn usage(sandbox: &Sandbox, limits: &Limits, wall: Duration, observed: &Observed) -> Usage {
    let counted = &observed.facts.counted;
    let workspace = sandbox.get(Descriptor::Workspace);
    let mut workspace = workspace.and_then(|fd| workspace::usage(fd.as_fd()).ok());
    if let (true, Some(usage)) = (sandbox.applied.workspace != Storage::Memory, &mut workspace) {
        // A file system on disk counts what it needs itself; what is left of the limits is exact.
        usage.bytes = limits.workspace_bytes.saturating_sub(usage.bytes_free);
        usage.inodes = limits.workspace_inodes.saturating_add(1).saturating_sub(usage.inodes_free);
    }
    Usage {
        wall_ms: wall.as_millis() as u64,
        cpu_ms: counted.cpu.or(observed.cpu).unwrap_or_default() / 1000,
        memory_peak: counted.memory_peak.or(observed.memory_peak()),
        pids_peak: counted.pids_peak,
        pids_refused: counted.pids_refused,
        workspace_bytes: workspace.map(|usage| usage.bytes),
        // Its root directory is not counted against the limit either.
        workspace_inodes: workspace.map(|usage| usage.inodes.saturating_sub(1)),
    }
}

/// Copies the artifacts out of the workspace, in which nothing runs any more.
async fn collect(
    inner: &Inner,
    live: &Live,
    sandbox: &Sandbox,
    globs: &GlobSelection,
) -> ArtifactList {
    let nothing = ArtifactList { artifacts: Vec::new(), refused: Vec::new(), truncated: false };
    if globs.is_empty() {
        return nothing;
    }
    let Some(Ok(workspace)) = sandbox.get(Descriptor::Workspace).map(|fd| fd.try_clone()) else {
        return ArtifactList { truncated: true, ..nothing };
    };
    let (places, id, globs) = (inner.places.clone(), live.id(), globs.clone());
    let limits = live.snapshot().limits;
    let limits = CollectLimits { bytes: limits.artifact_bytes, count: limits.artifact_count };
    let collected = spawn_blocking(move || {
        let store = places.make_artifacts(id)?;
        workspace::collect(workspace.as_fd(), &globs, store.as_fd(), limits)
    });
    match collected.await.map_err(std::io::Error::other).flatten() {
        Ok(collected) => collected.list,
        Err(error) => {
            tracing::error!(%error, execution_id = %id, "can't collect artifacts");
            ArtifactList { truncated: true, ..nothing }
        }
    }
}

/// Waits until init is dead, and with it every process of its pid namespace. It is about to end by
/// itself; one that says so and stays is ended.
async fn wait_for_death(inner: &Inner, live: &Live, sandbox: &Sandbox) {
    let Some(process) = sandbox.get(Descriptor::Process) else { return };
    match timeout(LAST_BREATH, ended(process)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::error!(%error, execution_id = %live.id(), "can't wait for a sandbox");
            destroy(inner, live).await;
        }
        Err(_elapsed) => {
            tracing::error!(execution_id = %live.id(), "an init reported its end and stayed");
            destroy(inner, live).await;
        }
    }
}

/// Has the launcher end a sandbox and remove what is left of it. If that fails it is tried again until
/// it doesn't, while the end is told: the launcher gives nothing of it to another meanwhile.
async fn destroy(inner: &Inner, live: &Live) {
    if let Err(error) = try_destroy(&inner.launcher, live.id()).await {
        tracing::error!(%error, execution_id = %live.id(), "a sandbox is not gone");
        let (launcher, id) = (inner.launcher.clone(), live.id());
        tokio::spawn(async move {
            while try_destroy(&launcher, id).await.is_err() {
                sleep(DESTROY_AGAIN).await;
            }
        });
    }
}

async fn try_destroy(launcher: &Launcher, id: ExecutionId) -> Result<(), LaunchError> {
    match launcher.destroy(id.bits()).await {
        // Not known: it was ended before, by our own kill. Gone: its sandboxes are gone with it.
        Err(LaunchError::Failed { step: Step::Find, .. } | LaunchError::Gone) => Ok(()),
        other => other,
    }
}

/// Has the launcher remove a sandbox whose payload has ended.
async fn remove(inner: &Inner, live: &Live, sandbox: Option<&Sandbox>) {
    if let Some(sandbox) = sandbox {
        // The launcher serves one request after the other, so it is not kept waiting for this.
        wait_for_death(inner, live, sandbox).await;
        destroy(inner, live).await;
    }
}

/// Makes the end durable while the launcher removes the sandbox, then tells it. With somebody who waits
/// for a first record, this is the first.
async fn conclude(inner: &Arc<Inner>, live: &Live, end: End, first: &mut Option<Recorded>) {
    let removed = remove(inner, live, end.sandbox.as_ref());
    live.measure(None);
    live.capture.finish();
    let mut finished = live.snapshot();
    finished.state = State::Finished;
    finished.outcome = Some(end.outcome);
    finished.usage = end.usage;
    finished.controls = end.controls;
    finished.artifact_count = end.artifacts.artifacts.len() as u64;
    finished.artifacts_truncated = end.artifacts.truncated;
    let audited = audit_end(inner, &finished);
    let record = record(inner, live, &mut finished, &end.artifacts, first);
    let (recorded, (), ()) = tokio::join!(record, audited, removed);
    if recorded {
        inner.metrics.finished(&finished);
        journal::finished(&finished);
        inner.approvals.end(live.id()).await;
        live.change(|execution| *execution = finished);
        inner.note_finished();
        if let Some(first) = first.take() {
            drop(first.send(Ok(()))); // whoever submitted may be gone
        }
    }
}

/// Has the end in the audit log, on disk, however often it takes.
fn audit_end(inner: &Arc<Inner>, finished: &Execution) -> impl Future<Output = ()> + use<> {
    let generation = inner.settings.current();
    let policy = generation.policies.resolve(&finished.policy.name).map(|policy| &**policy);
    let outcome = finished.outcome.clone();
    let hits = outcome.as_ref().map(|outcome| audit::limits_hit(finished, outcome, policy));
    let mut events: Vec<AuditEvent> = hits.unwrap_or_default();
    events.extend(outcome.map(|outcome| audit::ended(finished, &outcome)));
    let inner = inner.clone();
    async move {
        let last = events.pop();
        events.into_iter().for_each(|event| inner.audit.note(event));
        let Some(last) = last else { return };
        while let Err(error) = inner.audit.write_durably(last.clone()).await {
            if error == Unaudited::Closed {
                return; // the next daemon finds it unfinished and records it again
            }
            sleep(RECORD_AGAIN).await;
        }
    }
}

/// Has output, artifacts and the record on disk, in this order; however often it takes. False if the
/// daemon is being stopped: whoever comes next finds the execution unfinished. False too if the first
/// record can't be written: whoever waits for it is told so.
async fn record(
    inner: &Arc<Inner>,
    live: &Live,
    finished: &mut Execution,
    artifacts: &ArtifactList,
    first: &mut Option<Recorded>,
) -> bool {
    let kept = &finished.output;
    if kept.stdout.kept + kept.stderr.kept > 0 || !artifacts.artifacts.is_empty() {
        let synced = live.capture.sync().await.and(inner.places.clone().sync().await);
        if let Err(error) = synced {
            tracing::error!(%error, execution_id = %live.id(), "output may not be on disk");
        }
    }
    if let Some(recorded) = first.take() {
        finished.finished_at = Some(clock::now());
        let begun = Instant::now();
        let result = inner.store.insert_finished(finished, artifacts).await;
        inner.metrics.stored("finish", begun.elapsed());
        if result.is_ok() {
            *first = Some(recorded);
            return true;
        }
        drop(recorded.send(result.map_err(Unrecorded::Store))); // whoever submitted may be gone
        return false;
    }
    loop {
        finished.finished_at = Some(clock::now());
        let begun = Instant::now();
        let written = inner.store.finish(finished, artifacts).await;
        inner.metrics.stored("finish", begun.elapsed());
        match written {
            // An earlier try may have reached the disk though it was answered with an error.
            Ok(()) | Err(StoreError::AlreadyFinished(_)) => return true,
            Err(StoreError::Closed) => return false,
            Err(error) => {
                tracing::error!(%error, execution_id = %live.id(), "can't record an end");
                sleep(RECORD_AGAIN).await;
            }
        }
    }
}
