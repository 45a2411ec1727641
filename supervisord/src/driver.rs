//! One task drives one execution and alone changes its state:
//!
//! ```text
//! queued ──turn──▶ launching ──start──▶ running ──end of init──▶ collecting ──on disk──▶ finished
//!    └──────────────────┴── cancelled, refused, a step failed, launcher gone ───────────────▲
//! ```
//!
//! The end is always the same way: nothing of the sandbox is left, the output and the artifacts are
//! on disk, the record is on disk, and only then the end is told.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use supervisor_api::{ArtifactList, ControlReport, Execution, ExecutionId, Outcome, State, Usage};
use supervisor_launch::{Descriptor, Step};
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use crate::admission::Turn;
use crate::attend::{Observed, Output, observe};
use crate::clock;
use crate::controls::{self, Held};
use crate::journal;
use crate::launcher::{LaunchError, Launcher, Sandbox};
use crate::live::Live;
use crate::outcome;
use crate::plan::Plan;
use crate::reports::{ended, feed};
use crate::store::StoreError;
use crate::supervisor::Inner;
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

/// How long to wait before a sandbox that did not go is asked to go again.
const DESTROY_AGAIN: Duration = Duration::from_secs(5);

/// How long to wait before a record is tried again that could not be written.
const RECORD_AGAIN: Duration = Duration::from_secs(1);

/// Drives a new execution from its submission to its end.
pub async fn drive(
    inner: Arc<Inner>,
    live: Arc<Live>,
    plan: Plan,
    turn: oneshot::Receiver<Turn>,
    recorded: oneshot::Sender<Result<(), StoreError>>,
) {
    let first = live.snapshot();
    let record = async {
        let result = inner.store.insert(&first).await;
        let stored = result.is_ok();
        drop(recorded.send(result)); // whoever submitted may be gone; the execution goes on
        stored
    };
    let launch = async {
        let turn =
            wait_for_turn(turn, live.cancelled.subscribe()).await.ok_or(Outcome::Cancelled)?;
        live.change(|execution| execution.state = State::Launching);
        let request = plan.prepare(first.id.bits(), inner.landlock_floor());
        let sandbox = inner.launcher.prepare(request).await.map_err(outcome::launch_failed)?;
        Ok((sandbox, turn))
    };
    match tokio::join!(record, launch) {
        // The submission was refused: what is not recorded doesn't run.
        (false, Ok(_)) => destroy(&inner, &live).await,
        (false, Err(_)) => {}
        (true, Err(outcome)) => conclude(&inner, &live, End::without_sandbox(outcome)).await,
        (true, Ok((sandbox, turn))) => {
            let end = run(&inner, &live, sandbox, &plan).await;
            conclude(&inner, &live, end).await;
            drop(turn);
        }
    }
    inner.live.remove(first.id);
}

/// Goes on with an execution whose sandbox outlived the daemon that started it. `ran` is how long it has
/// run by now, or why it can't go on.
pub async fn adopt(
    inner: Arc<Inner>,
    live: Arc<Live>,
    sandbox: Sandbox,
    ran: Result<Duration, &str>,
    globs: GlobSelection,
) {
    let turn = inner.admission.already_running(live.snapshot().owner_uid);
    let end = match ran {
        Ok(ran) => {
            thaw(&sandbox);
            journal::adopted(&live.snapshot());
            live.change(|execution| {
                execution.state = State::Running;
                execution.started_at.get_or_insert_with(clock::now);
            });
            attend(&inner, &live, sandbox, ran, &globs, async {}).await
        }
        Err(reason) => {
            destroy(&inner, &live).await;
            End::without_sandbox(Outcome::Lost { reason: reason.to_owned() })
        }
    };
    conclude(&inner, &live, end).await;
    drop(turn);
    inner.live.remove(live.id());
}

/// Ends an execution of which nothing is left but its record.
pub async fn write_off(inner: Arc<Inner>, live: Arc<Live>, reason: &str) {
    let outcome = Outcome::Lost { reason: reason.to_owned() };
    conclude(&inner, &live, End::without_sandbox(outcome)).await;
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
async fn run(inner: &Inner, live: &Live, mut sandbox: Sandbox, plan: &Plan) -> End {
    if let Err(outcome) = write_files(&sandbox, plan).await {
        destroy(inner, live).await;
        return End::without_sandbox(outcome);
    }
    live.change(|execution| {
        execution.state = State::Running;
        execution.started_at = Some(clock::now());
    });
    let (stdin, start) = (sandbox.take(Descriptor::Stdin), sandbox.take(Descriptor::Start));
    let give = async {
        if let (Some(stdin), Some(start)) = (stdin, start) {
            let given = async {
                feed(stdin, &plan.stdin).await?;
                if plan.stdin.is_empty() { Ok(()) } else { inner.places.input_is_given(live.id()) }
            };
            let (started, given) = tokio::join!(feed(start, &plan.start), given);
            for error in [started.err(), given.err()].into_iter().flatten() {
                tracing::warn!(%error, execution = %live.id(), "can't write to a payload");
            }
        }
    };
    attend(inner, live, sandbox, Duration::ZERO, &plan.globs, give).await
}

async fn write_files(sandbox: &Sandbox, plan: &Plan) -> Result<(), Outcome> {
    if plan.files.is_empty() {
        return Ok(());
    }
    let lost = || Outcome::Lost { reason: "the launcher gave no workspace".to_owned() };
    let workspace = sandbox.get(Descriptor::Workspace).ok_or_else(lost)?;
    let workspace = workspace.try_clone().map_err(|_| lost())?;
    let files = plan.files.clone();
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
    let limits = live.snapshot().limits;
    let left = Duration::from_millis(limits.wall_time).saturating_sub(ran);
    let streams = (sandbox.take(Descriptor::Stdout), sandbox.take(Descriptor::Stderr));
    let output = Output::default();
    let pump = async {
        let (Some(stdout), Some(stderr)) = streams else { return };
        match live.capture.pump(stdout, stderr).await {
            Ok(()) => output.ended.notify_one(),
            Err(error) => {
                tracing::error!(%error, execution = %live.id(), "can't keep output");
                output.broken.notify_one();
            }
        }
    };
    let report = sandbox.take(Descriptor::Report);
    let life = observe(inner, live, &sandbox, report, started + left, &output);
    let together = async { tokio::join!(life, give).0 };
    let note = async {
        sleep(NOTE_START).await;
        if let Err(error) = inner.store.enqueue_update(&live.snapshot()).await {
            tracing::error!(%error, execution = %live.id(), "can't record a start");
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
            tracing::error!(execution = %live.id(), "output did not reach its end");
        }
        observed
    };
    let wall = ran + started.elapsed();
    live.change(|execution| execution.state = State::Collecting);
    if !globs.is_empty() {
        wait_for_death(inner, live, &sandbox).await; // a process that closed its streams may still change files
    }
    let used = usage(&sandbox, wall, &observed);
    let artifacts = collect(inner, live, &sandbox, globs).await;
    let held =
        Held { applied: sandbox.applied, landlock: observed.landlock, profile: live.profile };
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

fn usage(sandbox: &Sandbox, wall: Duration, observed: &Observed) -> Usage {
    let counted = &observed.facts.counted;
    let workspace = sandbox.get(Descriptor::Workspace);
    let workspace = workspace.and_then(|fd| workspace::usage(fd.as_fd()).ok());
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
            tracing::error!(%error, execution = %id, "can't collect artifacts");
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
            tracing::error!(%error, execution = %live.id(), "can't wait for a sandbox");
            destroy(inner, live).await;
        }
        Err(_elapsed) => {
            tracing::error!(execution = %live.id(), "an init reported its end and stayed");
            destroy(inner, live).await;
        }
    }
}

/// Has the launcher end a sandbox and remove what is left of it. If that fails it is tried again until
/// it doesn't, while the end is told: the launcher gives nothing of it to another meanwhile.
async fn destroy(inner: &Inner, live: &Live) {
    if let Err(error) = try_destroy(&inner.launcher, live.id()).await {
        tracing::error!(%error, execution = %live.id(), "a sandbox is not gone");
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

/// Makes the end durable while the launcher removes the sandbox, then tells it.
async fn conclude(inner: &Arc<Inner>, live: &Live, end: End) {
    let removed = async {
        if let Some(sandbox) = &end.sandbox {
            // The launcher serves one request after the other, so it is not kept waiting for this.
            wait_for_death(inner, live, sandbox).await;
            destroy(inner, live).await;
        }
    };
    live.capture.finish();
    let mut finished = live.snapshot();
    finished.state = State::Finished;
    finished.outcome = Some(end.outcome);
    finished.usage = end.usage;
    finished.controls = end.controls;
    finished.artifact_count = end.artifacts.artifacts.len() as u64;
    finished.artifacts_truncated = end.artifacts.truncated;
    let (recorded, ()) = tokio::join!(record(inner, live, &mut finished, &end.artifacts), removed);
    if recorded {
        journal::finished(&finished);
        live.change(|execution| *execution = finished);
        inner.note_finished();
    }
}

/// Has output, artifacts and the record on disk, in this order; however often it takes. False if the
/// daemon is being stopped: whoever comes next finds the execution unfinished.
async fn record(
    inner: &Arc<Inner>,
    live: &Live,
    finished: &mut Execution,
    artifacts: &ArtifactList,
) -> bool {
    let kept = &finished.output;
    if kept.stdout.kept + kept.stderr.kept > 0 || !artifacts.artifacts.is_empty() {
        let synced = live.capture.sync().await.and(inner.places.clone().sync().await);
        if let Err(error) = synced {
            tracing::error!(%error, execution = %live.id(), "output may not be on disk");
        }
    }
    loop {
        finished.finished_at = Some(clock::now());
        match inner.store.finish(finished, artifacts).await {
            // An earlier try may have reached the disk though it was answered with an error.
            Ok(()) | Err(StoreError::AlreadyFinished(_)) => return true,
            Err(StoreError::Closed) => return false,
            Err(error) => {
                tracing::error!(%error, execution = %live.id(), "can't record an end");
                sleep(RECORD_AGAIN).await;
            }
        }
    }
}
