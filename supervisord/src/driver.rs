//! One task drives one execution and alone changes its state:
//!
//! ```text
//! queued ──turn──▶ launching ──start──▶ running ──end of init──▶ collecting ──on disk──▶ finished
//!    └──────────────────┴── cancelled, refused, a step failed, launcher gone ───────────────▲
//! ```
//!
//! The end is always the same way: nothing of the sandbox runs any more, the output and the artifacts are
//! on disk, the record is on disk, and only then the end is told. By then the sandbox is gone as well, but
//! for one that was parked ahead (see `ending`).

mod changes;
mod collecting;
mod ending;
mod feeding;
pub mod kept;
pub mod pausing;
mod queue;
mod running;
mod screen;

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use supervisor_api::{Execution, ExecutionId, Outcome, SessionId, StartKind, State};
use supervisor_launch::Descriptor;
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::admission::{InLine, Turn};
use crate::audit::{self, Unaudited};
use crate::budget::Account;
use crate::clock;
pub use crate::driver::ending::{End, end_sandbox, end_sandbox_with};
use crate::driver::ending::{conclude, destroy, give_back, remove};
use crate::driver::feeding::Feeding;
use crate::driver::pausing::freeze_again;
pub use crate::driver::pausing::{Clock, Wish, Wishes};
pub use crate::driver::queue::drive_again;
use crate::driver::running::{attend, run, with_way};
use crate::fault::{self, Point};
use crate::journal;
use crate::launcher::{LaunchError, Sandbox};
use crate::live::Live;
use crate::outcome;
use crate::plan::Plan;
use crate::reports::Reports;
use crate::store::StoreError;
use crate::supervisor::Inner;
use crate::traffic::Way;
use crate::warm::Parked;
use crate::watch::thaw;
use crate::workspace::GlobSelection;

/// How long an execution may be there without a record if nobody is told of it. What a daemon that comes
/// back finds of it then it removes: whoever submitted it has had no answer and knows no id.
const NOTE_UNTOLD: Duration = Duration::from_millis(100);

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

/// A sandbox that was made, its turn, and when that came; or why there is none.
type Launched = Result<(Sandbox, Turn, Instant), Outcome>;

/// Where an execution gets its turn, and the sandbox that was parked for it.
type Place = (InLine, Option<Parked>);

/// Drives a new execution from its submission to its end.
pub async fn drive(
    inner: Arc<Inner>,
    live: Arc<Live>,
    plan: Plan,
    place: Place,
    (told, recorded): (Told, Recorded),
) {
    match told {
        Told::AtOnce => drive_recorded(&inner, &live, &plan, place, recorded).await,
        Told::AtTheEnd => drive_untold(&inner, &live, &plan, place, recorded).await,
    }
    leave(&inner, live, plan.way.is_some()).await;
}

/// The record comes first: what is not recorded doesn't run.
async fn drive_recorded(
    inner: &Arc<Inner>,
    live: &Live,
    plan: &Plan,
    place: Place,
    recorded: Recorded,
) {
    let (first, submitted) = (live.snapshot(), Instant::now());
    let record = async {
        let result = record_first(inner, live, plan, &first).await;
        inner.metrics.stored("insert", submitted.elapsed());
        let stored = result.is_ok();
        live.recorded.store(stored, Ordering::Relaxed);
        if stored {
            journal::submitted(&first);
        }
        drop(recorded.send(result)); // whoever submitted may be gone; the execution goes on
        stored
    };
    match tokio::join!(record, launch(inner, live, plan, place)) {
        (false, Ok((sandbox, turn, _))) => {
            destroy(inner, live).await; // the submission was refused
            give_back(live, Some(sandbox), Some(turn)).await;
        }
        (false, Err(_)) => {}
        (true, launched) => go_on(inner, live, plan, launched).await,
    }
}

/// Runs what was launched to its end, which is recorded.
async fn go_on(inner: &Arc<Inner>, live: &Live, plan: &Plan, launched: Launched) {
    match launched {
        Err(outcome) => {
            conclude(inner, live, End::without_sandbox(outcome), &mut None).await;
        }
        Ok((sandbox, turn, begun)) => {
            let end = run(inner, live, sandbox, plan, begun).await;
            let left = conclude(inner, live, end, &mut None).await;
            give_back(live, left, Some(turn)).await;
        }
    }
}

/// Nobody knows of the execution, so there is nothing to account for yet: it is recorded with its end if
/// that comes soon. If it can't be recorded it is ended, and the submission refused. The audit log has it
/// before anything of it runs all the same, and before it is recorded: a daemon that comes back starts what
/// is recorded, if it had not begun.
async fn drive_untold(
    inner: &Arc<Inner>,
    live: &Live,
    plan: &Plan,
    place: Place,
    recorded: Recorded,
) {
    let first = live.snapshot();
    let (audited, is_audited) = oneshot::channel();
    let life = async {
        let accepted = async {
            let written = inner.audit.write(audit::accepted(&first)).await;
            if written.is_ok() {
                audited.send(()).unwrap_or_default(); // it may never come to be noted
            }
            written
        };
        match tokio::join!(accepted, launch(inner, live, plan, place)) {
            (Err(error), Ok((sandbox, turn, _))) => {
                destroy(inner, live).await;
                (Err((error, Some(sandbox))), Some(turn))
            }
            (Err(error), Err(_)) => (Err((error, None)), None),
            (Ok(()), Ok((sandbox, turn, begun))) => {
                (Ok(run(inner, live, sandbox, plan, begun).await), Some(turn))
            }
            (Ok(()), Err(outcome)) => (Ok(End::without_sandbox(outcome)), None),
        }
    };
    let note = async {
        sleep(NOTE_UNTOLD).await;
        if is_audited.await.is_err() {
            return pending().await; // it is refused as soon as its sandbox is gone
        }
        queue::insert(inner, live, plan, &live.snapshot()).await
    };
    tokio::pin!(life, note);
    let mut recorded = Some(recorded);
    let (end, turn) = tokio::select! {
        biased;
        ended = &mut life => ended,
        noted = &mut note => match noted {
            Ok(()) => {
                fault::reach(Point::UntoldRecorded);
                live.recorded.store(true, Ordering::Relaxed);
                journal::submitted(&first);
                if let Some(recorded) = recorded.take() {
                    drop(recorded.send(Ok(()))); // whoever submitted may be gone
                }
                life.await
            }
            Err(error) => {
                live.cancelled.send_replace(true);
                let (end, turn) = life.await;
                let sandbox = match end {
                    Ok(end) => end.sandbox,
                    Err((_, sandbox)) => sandbox,
                };
                remove(inner, live, sandbox.as_ref()).await;
                kept::forget(&inner.places, live.id()).await;
                note_unrecorded(inner, &first, &error);
                refuse(recorded.take(), Unrecorded::Store(error));
                return give_back(live, sandbox, turn).await;
            }
        },
    };
    let left = match end {
        Ok(end) => conclude(inner, live, end, &mut recorded).await,
        Err((error, sandbox)) => {
            refuse(recorded.take(), Unrecorded::Audit(error));
            sandbox
        }
    };
    give_back(live, left, turn).await;
}

/// Waits for the execution's turn and has its sandbox made, unless one was parked for it.
async fn launch(inner: &Inner, live: &Live, plan: &Plan, (turn, parked): Place) -> Launched {
    let submitted = Instant::now();
    let turn = wait_for_turn(turn, live.cancelled.subscribe()).await.ok_or(Outcome::Cancelled)?;
    inner.metrics.turn(submitted.elapsed());
    fault::reach(Point::TurnTaken);
    let begun = Instant::now();
    let parked = parked.and_then(Parked::claim);
    let start = if parked.is_some() { StartKind::Warm } else { StartKind::Cold };
    live.change(|execution| {
        execution.state = State::Launching;
        execution.start = Some(start);
        execution.usage.parked_cpu_ms = parked.as_ref().map_or(0, |it| it.spent / 1000);
    });
    if let Some(sandbox) = parked {
        return Ok((sandbox, turn, begun));
    }
    let (owner, disk) = (live.execution.borrow().owner_uid, inner.host.disk());
    let request = plan.prepare(live.id().bits(), owner, inner.landlock_floor(), disk);
    let sandbox = match inner.launcher.prepare(request).await {
        Err(LaunchError::Gone) if live.waits.load(Ordering::Relaxed) => {
            pending().await // the launcher that comes next starts it, and so does the next daemon
        }
        prepared => prepared.map_err(outcome::launch_failed)?,
    };
    fault::reach(Point::SandboxMade);
    Ok((sandbox, turn, begun))
}

/// Has a submission in the audit log and then in the store.
async fn record_first(
    inner: &Inner,
    live: &Live,
    plan: &Plan,
    first: &Execution,
) -> Result<(), Unrecorded> {
    inner.audit.write(audit::accepted(first)).await.map_err(Unrecorded::Audit)?;
    fault::reach(Point::SubmissionAudited);
    let inserted = queue::insert(inner, live, plan, first).await;
    fault::reach(Point::SubmissionRecorded);
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

/// What there was of an execution before this daemon.
#[derive(Debug, Default)]
pub struct Before {
    /// How long it has run, and whether it is paused.
    pub clock: Clock,
    /// Why it was to be ended, if it was.
    pub reason: Option<Outcome>,
}

/// Goes on with an execution whose sandbox outlived the daemon that started it. `before` is what there was
/// of it, or why it can't go on. `way` is its way out, if it has one.
pub async fn adopt(
    inner: Arc<Inner>,
    live: Arc<Live>,
    (mut sandbox, turn): (Sandbox, Turn),
    before: Result<Before, &str>,
    globs: GlobSelection,
    way: Option<Way>,
) {
    fault::reach(Point::ExecutionAdopted);
    let input = Feeding::of(&mut sandbox).map_err(|_| "its terminal could not be taken over");
    let reports = sandbox.take(Descriptor::Report).map(Reports::new).transpose();
    let reports = reports.map_err(|_| "the daemon could not read its reports");
    let end = match before.and_then(|before| Ok((before, input?, reports?))) {
        Ok((before, input, reports)) => {
            if before.clock.rests() {
                freeze_again(&sandbox)
            } else {
                thaw(&sandbox)
            }
            journal::adopted(&live.snapshot());
            live.change(|execution| {
                execution.state = if before.clock.rests() { State::Paused } else { State::Running };
                execution.started_at.get_or_insert_with(clock::now);
            });
            let way = way.as_ref().map(|way| way.serve(way.doors(&mut sandbox)));
            with_way(
                way,
                attend(&inner, &live, (sandbox, reports), before, &globs, input, async {}),
            )
            .await
        }
        Err(reason) => {
            destroy(&inner, &live).await;
            End::early(Outcome::Lost { reason: reason.to_owned() }, sandbox)
        }
    };
    let left = conclude(&inner, &live, end, &mut None).await;
    give_back(&live, left, Some(turn)).await;
    leave(&inner, live, true).await;
}

/// The last of an execution. Its session is free of it before anything is done that the state's disk may hold up.
async fn leave(inner: &Inner, live: Arc<Live>, may_have_way: bool) {
    let (id, session) = (live.id(), live.execution.borrow().session);
    inner.live.remove(id);
    drop(live);
    if may_have_way {
        forget_way(inner, id, session).await;
    }
}

/// Forgets what was kept of an execution's way out, and what its session has spent where that was this
/// execution's own, from which nobody else spends.
async fn forget_way(inner: &Inner, id: ExecutionId, session: SessionId) {
    let places = inner.places.clone();
    let forgotten = spawn_blocking(move || places.forget_way(id)).await;
    if let Err(error) = forgotten.map_err(io::Error::other).flatten() {
        tracing::warn!(%error, execution_id = %id, "can't forget a way out");
    }
    if inner.sessions.get(session).is_none() {
        inner.budgets.forget(&Account::Session(session));
    }
}

/// Records the end that an earlier daemon came to and did not record; its sandbox is removed if it is still
/// there. Its workspace is taken first, or the launcher, and with it everybody, would wait for the last close of it.
pub async fn resume_end(inner: Arc<Inner>, live: Arc<Live>, end: End, lives: bool) {
    fault::reach(Point::EndResumed);
    let mut left = None;
    if lives {
        let owner = live.execution.borrow().owner_uid;
        left = inner.launcher.adopt(live.id().bits(), owner).await.ok();
        destroy(&inner, &live).await;
    }
    conclude(&inner, &live, end, &mut None).await;
    give_back(&live, left, None).await;
    leave(&inner, live, true).await;
}

/// Ends an execution of which nothing is left but its record.
pub async fn write_off(inner: Arc<Inner>, live: Arc<Live>, outcome: Outcome) {
    fault::reach(Point::ExecutionWrittenOff);
    conclude(&inner, &live, End::without_sandbox(outcome), &mut None).await;
    leave(&inner, live, true).await;
}

async fn wait_for_turn(place: InLine, mut cancelled: watch::Receiver<bool>) -> Option<Turn> {
    tokio::select! {
        biased;
        _ = cancelled.wait_for(|cancelled| *cancelled) => None,
        turn = place.turn() => turn,
    }
}
