//! A payload that runs: it is given what it was promised, attended until nothing of it is left, and what it
//! has made is collected.

use std::convert::Infallible;
use std::io;
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use supervisor_api::{Limits, Outcome, SessionId, StartKind, State, Usage};
use supervisor_launch::{Descriptor, Storage};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use crate::attend::{Observed, Output, observe};
use crate::clock;
use crate::controls::{self, Held};
use crate::driver::Before;
use crate::driver::changes;
use crate::driver::collecting;
use crate::driver::ending::{End, destroy, sync_first_output, wait_for_death};
use crate::driver::feeding::{self, Feeding};
use crate::driver::kept;
use crate::driver::pausing::lock;
use crate::driver::queue;
use crate::driver::screen::{self, Screen};
use crate::fault::{self, Point};
use crate::interpreter::runner::Runner;
use crate::interpreter::{Interpreter, converse};
use crate::launcher::Sandbox;
use crate::live::Live;
use crate::outcome;
use crate::plan::Plan;
use crate::reports::{Reports, feed};
use crate::samples;
use crate::supervisor::Inner;
use crate::top::Meter;
use crate::workspace::{self, GlobSelection};

/// How long output may take to reach its end once every process is dead. The pipes hold a megabyte
/// at the most and nobody can write any more; this only bounds a fault of ours.
const LAST_OUTPUT: Duration = Duration::from_secs(10);

/// How long a payload runs before its start is recorded. Most have ended by then, and their record is
/// written once instead of twice; a daemon that comes back looks at the sandbox itself.
const NOTE_START: Duration = Duration::from_millis(50);

/// Bytes of one file that go into a workspace in memory without a thread for it, which takes longer.
const WRITTEN_AT_ONCE: usize = 64 << 10;

/// Writes the submission's files, starts the payload and stays with it.
pub(super) async fn run(
    inner: &Inner,
    live: &Live,
    mut sandbox: Sandbox,
    plan: &Plan,
    begun: Instant,
) -> End {
    let lay_out = async {
        open_up(inner, live, &sandbox, plan).await?;
        changes::look_before(inner, live, &sandbox).await?;
        write_files(inner, live, &sandbox, plan).await
    };
    let (laid_out, noted) = tokio::join!(lay_out, queue::begin(inner, live));
    // Whatever could keep its end from being seen comes before its start.
    let reports = sandbox.take(Descriptor::Report).map(Reports::new).transpose();
    let reports = reports.map_err(|error| outcome::reports_failed(&error));
    let reports = laid_out.and(noted).and(reports);
    let reports = match reports {
        Ok(reports) => reports,
        Err(outcome) => {
            let end = End::early(outcome, sandbox);
            kept::keep_end(&inner.places, live.id(), &end).await;
            destroy(inner, live).await;
            return end;
        }
    };
    fault::reach(Point::FilesWritten);
    live.change(|execution| {
        execution.state = State::Running;
        execution.started_at = Some(clock::now());
    });
    if let Some(interpreter) = &live.interpreter
        && let Err(outcome) = hand_over(interpreter, &sandbox)
    {
        destroy(inner, live).await;
        return End::early(outcome, sandbox);
    }
    let start = live.execution.borrow().start.unwrap_or(StartKind::Cold);
    inner.metrics.start(start, begun.elapsed());
    let start = sandbox.take(Descriptor::Start);
    let input = match Feeding::begin(&mut sandbox, &plan.stdin) {
        Ok(input) => input,
        Err(error) => {
            tracing::error!(%error, execution_id = %live.id(), "can't keep standard input");
            destroy(inner, live).await;
            let reason = "its standard input could not be kept".to_owned();
            return End::early(Outcome::Lost { reason }, sandbox);
        }
    };
    let stdin = sandbox.take(Descriptor::Stdin);
    let way = plan.way.as_ref().map(|way| way.serve(way.doors(&mut sandbox)));
    let give = async {
        let given = async {
            let Some(stdin) = stdin else { return Ok(()) }; // it stays open
            feed(stdin, &plan.stdin).await?;
            if !plan.owes_input() {
                return Ok(());
            }
            fault::reach(Point::InputGiven);
            let (places, id) = (inner.places.clone(), live.id());
            spawn_blocking(move || places.input_is_given(id)).await.map_err(io::Error::other)?
        };
        let started = async {
            let Some(start) = start else { return Ok(()) };
            let started = feed(start, &plan.start).await;
            fault::reach(Point::PayloadStarted);
            started
        };
        let (started, given) = tokio::join!(started, given);
        for error in [started.err(), given.err()].into_iter().flatten() {
            tracing::warn!(%error, execution_id = %live.id(), "can't write to a payload");
        }
    };
    let before = Before::default();
    with_way(way, attend(inner, live, (sandbox, reports), before, &plan.globs, input, give)).await
}

/// Serves a sandbox's way out for as long as its execution is attended.
pub(super) async fn with_way(
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

/// Gives an interpreter its runner before it starts: the socket is empty and holds it whole.
fn hand_over(interpreter: &Interpreter, sandbox: &Sandbox) -> Result<(), Outcome> {
    let opening = Runner::of(interpreter.kept.language).opening();
    let channel = sandbox.get(Descriptor::Channel).map(|fd| nix::unistd::write(fd, &opening));
    match channel {
        Some(Ok(written)) if written == opening.len() => Ok(()),
        _ => Err(Outcome::Lost { reason: "the interpreter's channel takes nothing".to_owned() }),
    }
}

/// What an execution before it has shut is no place to start in. A workspace of its own was never another's.
async fn open_up(
    inner: &Inner,
    live: &Live,
    sandbox: &Sandbox,
    plan: &Plan,
) -> Result<(), Outcome> {
    let Some(workspace) = sandbox.get(Descriptor::Workspace).filter(|_| plan.kept.is_some()) else {
        return Ok(());
    };
    let failed = |error: io::Error| Outcome::SetupFailed {
        step: "change_directory".to_owned(),
        reason: error.to_string(),
    };
    if !workspace::is_shut(workspace.as_fd()).map_err(failed)? {
        return Ok(());
    }
    let workspace = workspace.try_clone().map_err(failed)?;
    let turn = changes::turn_to_write(inner, live).await?;
    let opened = spawn_blocking(move || {
        let _turn = turn;
        workspace::open_up(workspace.as_fd())
    });
    opened.await.map_err(io::Error::other).flatten().map_err(failed)
}

async fn write_files(
    inner: &Inner,
    live: &Live,
    sandbox: &Sandbox,
    plan: &Plan,
) -> Result<(), Outcome> {
    if plan.files.is_empty() {
        return Ok(());
    }
    let lost = || Outcome::Lost { reason: "the launcher gave no workspace".to_owned() };
    let workspace = sandbox.get(Descriptor::Workspace).ok_or_else(lost)?;
    let workspace = workspace.try_clone().map_err(|_| lost())?;
    let files = plan.files.clone();
    if let Some(kept) = plan.kept {
        let (writing, turn) = (inner.writing.clone(), changes::turn_to_write(inner, live).await?);
        let replaced = spawn_blocking(move || {
            let _turn = turn;
            let written = writing.begin(SessionId::from_bits(kept));
            let _written = written.map_err(|error| Outcome::SetupFailed {
                step: "write_files".to_owned(),
                reason: format!("the state directory: {error}"),
            })?;
            // What an execution before it left there gives way, as it would to any other writer.
            workspace::replace_files(workspace.as_fd(), &files)
                .map_err(|error| outcome::files_not_replaced(&error))
        });
        return replaced.await.unwrap_or_else(|_| Err(lost())); // the runtime is shutting down
    }
    let bytes = files.iter().map(|file| file.content.0.len()).sum::<usize>();
    let at_once = sandbox.applied.workspace == Storage::Memory && bytes <= WRITTEN_AT_ONCE;
    let written = if at_once && files.len() == 1 {
        Ok(workspace::write_files(workspace.as_fd(), &files))
    } else {
        spawn_blocking(move || workspace::write_files(workspace.as_fd(), &files)).await
    };
    match written {
        Ok(result) => result.map_err(|error| outcome::files_failed(&error)),
        Err(_) => Err(lost()), // the runtime is shutting down
    }
}

/// Stays with a running payload until nothing of it is left. `give` hands it what it was promised.
pub(super) async fn attend(
    inner: &Inner,
    live: &Live,
    (mut sandbox, reports): (Sandbox, Option<Reports>),
    before: Before,
    globs: &GlobSelection,
    input: Option<Feeding>,
    give: impl Future<Output = ()>,
) -> End {
    live.measure(Some(Meter::new(&sandbox)));
    let limits = live.snapshot().limits;
    let Before { clock, reason } = before;
    let clock = Mutex::new(clock);
    let streams = (sandbox.take(Descriptor::Stdout), sandbox.take(Descriptor::Stderr));
    let output = Output::default();
    let (screen, silent) = (Screen::of(&mut sandbox, live), watch::Sender::new(false));
    let has_screen = screen.is_some();
    let pump = async {
        let (Some(stdout), stderr) = streams else { return };
        let show = async {
            let Some(screen) = screen else { return Ok(()) };
            let shown = screen.show(silent.subscribe()).await;
            live.capture.drain_rest(); // what was shown is in the pipe, or kept by now
            shown
        };
        match tokio::try_join!(live.capture.pump(stdout, stderr), show).map(drop) {
            Ok(()) => output.ended.notify_one(),
            Err(error) => {
                tracing::error!(%error, execution_id = %live.id(), "can't keep output");
                output.broken.notify_one();
            }
        }
    };
    let channel = sandbox.take(Descriptor::Channel);
    let life = observe(inner, live, &sandbox, reports, (reason, &clock), &output);
    let together = async { tokio::join!(life, give).0 };
    let conversation = async {
        match &live.interpreter {
            Some(interpreter) => converse(interpreter, (live, &clock), channel).await,
            None => std::future::pending().await,
        }
    };
    let note = async {
        sleep(NOTE_START).await;
        if !live.recorded.load(Ordering::Relaxed) {
            return; // its first record will say so
        }
        if lock(&clock).rests() {
            return; // the record of its pause says so, and must not be followed by an older one
        }
        if let Err(error) = inner.store.enqueue_update(&live.snapshot()).await {
            tracing::error!(%error, execution_id = %live.id(), "can't record a start");
        }
        fault::reach(Point::StartRecorded);
    };
    let feed = async {
        if let Some(input) = input {
            input.feed(inner, live).await;
        }
    };
    // Whoever has a sandbox parked is in a hurry.
    let hurries = live.execution.borrow().start == Some(StartKind::Warm);
    let early = sync_first_output(inner, live);
    let look = samples::look(inner, live, &clock);
    let observed = {
        tokio::pin!(together, pump, note, feed, early, conversation, look);
        let (mut output_is_open, mut noted, mut fed, mut hurries) = (true, false, false, hurries);
        let observed = loop {
            tokio::select! {
                biased;
                () = &mut pump, if output_is_open => output_is_open = false,
                observed = &mut together => break observed,
                () = &mut note, if !noted => noted = true,
                () = &mut feed, if !fed => fed = true,
                () = &mut early, if hurries => hurries = false,
                never = &mut conversation => match never {},
                never = &mut look => match never {},
            }
        };
        fault::reach(Point::EndSeen);
        live.wishes.end();
        feeding::end(live);
        screen::end(live);
        if has_screen {
            silent.send_replace(true); // nobody is left who could write
        } else {
            live.capture.drain_rest(); // the same
        }
        if output_is_open && timeout(LAST_OUTPUT, pump).await.is_err() {
            tracing::error!(execution_id = %live.id(), "output did not reach its end");
        }
        fault::reach(Point::OutputDrained);
        observed
    };
    let (wall, rested) = {
        let clock = lock(&clock);
        (clock.ran(), clock.rested())
    };
    let reclaimed = live.execution.borrow().usage.memory_reclaimed;
    live.change(|execution| {
        execution.state = State::Collecting;
        execution.paused_at = None;
    });
    let is_looked_at = !globs.is_empty() || live.execution.borrow().changes.is_some();
    if is_looked_at {
        wait_for_death(inner, live, &sandbox).await; // a process that closed its streams may still change files
    }
    let used = Usage {
        paused_ms: rested.as_millis() as u64,
        memory_reclaimed: reclaimed,
        ..usage(&sandbox, &limits, wall, &observed)
    };
    samples::end(&inner.places, live, wall, used.cpu_ms).await;
    let artifacts = collecting::collect(inner, live, &sandbox, globs).await;
    let changes = changes::look_after(inner, live, &sandbox).await;
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
        changes,
        controls,
        sandbox: Some(sandbox),
    }
}

fn usage(sandbox: &Sandbox, limits: &Limits, wall: Duration, observed: &Observed) -> Usage {
    let counted = &observed.facts.counted;
    let by_init = observed.cpu.map(|cpu| cpu.saturating_sub(sandbox.spent));
    let workspace = sandbox.get(Descriptor::Workspace);
    let mut workspace = workspace.and_then(|fd| workspace::usage(fd.as_fd()).ok());
    if let (true, Some(usage)) = (sandbox.applied.workspace != Storage::Memory, &mut workspace) {
        // A file system on disk counts what it needs itself; what is left of the limits is exact.
        usage.bytes = limits.workspace_bytes.saturating_sub(usage.bytes_free);
        usage.inodes = limits.workspace_inodes.saturating_add(1).saturating_sub(usage.inodes_free);
    }
    Usage {
        wall_ms: wall.as_millis() as u64,
        paused_ms: 0,
        parked_cpu_ms: sandbox.spent / 1000,
        memory_reclaimed: None,
        cpu_ms: counted.cpu.or(by_init).unwrap_or_default() / 1000,
        memory_peak: counted.memory_peak.or(observed.memory_peak()),
        pids_peak: counted.pids_peak,
        pids_refused: counted.pids_refused,
        workspace_bytes: workspace.map(|usage| usage.bytes),
        // Its root directory is not counted against the limit either.
        workspace_inodes: workspace.map(|usage| usage.inodes.saturating_sub(1)),
    }
}
