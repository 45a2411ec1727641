//! Watching one running sandbox: its reports, its end, and the reasons to end it.

use std::sync::atomic::{AtomicU64, Ordering};

use supervisor_api::{InterpreterEnd, Limits, Outcome};
use supervisor_launch::{Descriptor, Report};
use supervisor_sys::without;
use tokio::sync::Notify;

use crate::accounting;
use crate::driver::kept;
use crate::driver::pausing::{SharedClock, attend_limits};
use crate::fault::{self, Point};
use crate::launcher::Sandbox;
use crate::live::Live;
use crate::outcome::Facts;
use crate::reports::{Reports, ended};
use crate::supervisor::Inner;

/// Reports that a sandbox makes at the most: ready, failed, ended. One more is somebody else's doing, and
/// nothing that comes after is listened to.
const MAX_REPORTS: u32 = 4;

/// What was observed of a sandbox from its start to its end.
#[derive(Debug, Default)]
pub struct Observed {
    /// What decides the outcome.
    pub facts: Facts,
    /// The Landlock ABI that init reported.
    pub landlock: u8,
    /// CPU time by init's count, in microseconds.
    pub cpu: Option<u64>,
    /// The largest process by init's count, in bytes.
    largest: Option<u64>,
    /// The most anonymous memory that was seen, in bytes; 0 if nobody had to look.
    seen: AtomicU64,
}

impl Observed {
    /// The most memory that we know of, where no cgroup counted it.
    pub fn memory_peak(&self) -> Option<u64> {
        let seen = Some(self.seen.load(Ordering::Relaxed)).filter(|seen| *seen > 0);
        self.largest.max(seen)
    }

    fn note(&mut self, report: Report) {
        match report {
            Report::Ready { landlock } => self.landlock = landlock,
            Report::Failed { step, errno } => {
                self.facts.failed = self.facts.failed.or(Some((step, errno)));
            }
            Report::Ended { status, max_rss, cpu } => {
                self.facts.ended = Some(status);
                self.largest = Some(max_rss.saturating_mul(1024));
                self.cpu = Some(cpu);
            }
        }
    }
}

/// What becomes of a payload's output.
#[derive(Default)]
pub struct Output {
    /// Both streams are at their end.
    pub ended: Notify,
    /// It can't be taken in any more, so that the payload would wait for ever to write.
    pub broken: Notify,
}

/// Stays with a sandbox until all is known of it: its init has ended, or the payload's first process has
/// and nobody is left who could write output. Ends it when there is a reason to: by the deadline at the
/// latest, and at once if an earlier daemon had one.
pub async fn observe(
    inner: &Inner,
    live: &Live,
    sandbox: &Sandbox,
    reports: Option<Reports>,
    (ended_by, clock): (Option<Outcome>, &SharedClock),
    output: &Output,
) -> Observed {
    // Until init says what it applied: no launch was allowed to have less.
    let mut observed = Observed { landlock: inner.landlock_floor(), ..Observed::default() };
    if ended_by.is_some() {
        kill(inner, live, sandbox).await;
    }
    observed.facts.ended_by = ended_by;
    let limits = live.snapshot().limits;
    let seen = AtomicU64::new(0);
    let Some(process) = sandbox.get(Descriptor::Process) else { return observed };
    {
        let (end, reason) =
            (ended(process), reason(inner, live, sandbox, &limits, clock, output, &seen));
        tokio::pin!(end, reason);
        let mut reading = reports.as_ref();
        let mut heard = 0;
        loop {
            tokio::select! {
                biased;
                report = next(reading), if reading.is_some() => {
                    heard += 1;
                    match report {
                        Some(report) if heard <= MAX_REPORTS => observed.note(report),
                        _ => reading = None,
                    }
                }
                () = output.ended.notified(), if observed.facts.ended.is_some() => break,
                result = &mut end => {
                    if let Err(error) = result {
                        tracing::error!(%error, execution_id = %live.id(), "can't wait for a sandbox");
                        kill(inner, live, sandbox).await;
                    }
                    break;
                }
                outcome = &mut reason, if observed.facts.ended_by.is_none() => {
                    if observed.facts.ended.is_none() {
                        if !inner.launcher.is_gone() {
                            kept::keep_reason(&inner.places, live.id(), &outcome).await;
                        }
                        observed.facts.ended_by = Some(outcome);
                    }
                    kill(inner, live, sandbox).await;
                    fault::reach(Point::SandboxKilled);
                }
            }
        }
        while let Some(report) = next(reading).await {
            observed.note(report); // written before the end, read after it
            heard += 1;
            if heard >= MAX_REPORTS {
                break;
            }
        }
    }
    observed.seen = seen;
    observed.facts.counted = accounting::counted(sandbox);
    observed
}

/// The next report; `None` once there can be no more.
async fn next(reports: Option<&Reports>) -> Option<Report> {
    match reports?.next().await {
        Ok(report) => report,
        Err(error) => {
            tracing::error!(%error, "a sandbox reports what is no report");
            None
        }
    }
}

/// Returns when there is a reason to end the sandbox, and names it.
async fn reason(
    inner: &Inner,
    live: &Live,
    sandbox: &Sandbox,
    limits: &Limits,
    clock: &SharedClock,
    output: &Output,
    seen: &AtomicU64,
) -> Outcome {
    let mut cancelled = live.cancelled.subscribe();
    tokio::select! {
        biased;
        _ = cancelled.wait_for(|cancelled| *cancelled) => Outcome::Cancelled,
        () = inner.launcher.gone() => Outcome::Lost { reason: "the launcher is gone".to_owned() },
        () = output.broken.notified() => Outcome::Lost { reason: "its output could not be kept".to_owned() },
        outcome = ended_by_interpreter(live) => outcome,
        outcome = attend_limits(inner, live, sandbox, limits, clock, seen) => outcome,
    }
}

/// What an interpreter's conversation comes to, if it comes to an end.
async fn ended_by_interpreter(live: &Live) -> Outcome {
    let Some(interpreter) = &live.interpreter else { return std::future::pending().await };
    let mut ends = interpreter.ends.subscribe();
    let end = match ends.wait_for(Option::is_some).await {
        Ok(end) => *end,
        Err(_) => None,
    };
    match end {
        Some(InterpreterEnd::Idle | InterpreterEnd::CellTimedOut) => Outcome::TimedOut,
        Some(InterpreterEnd::CellOutput) => {
            Outcome::LimitExceeded { limit: supervisor_api::Limit::OutputBytes }
        }
        Some(InterpreterEnd::ChannelBroken) => Outcome::Lost {
            reason: "what came out of the interpreter's channel is no word of one".to_owned(),
        },
        Some(InterpreterEnd::Closed) => Outcome::Cancelled,
        Some(InterpreterEnd::Process) | None => std::future::pending().await,
    }
}

/// Kills every process of a sandbox: through its cgroup, which needs nobody, else by the launcher.
async fn kill(inner: &Inner, live: &Live, sandbox: &Sandbox) {
    let by_cgroup = sandbox.get(Descriptor::Kill).filter(|_| !without("cgroup-kill"));
    let by_cgroup = by_cgroup.map(|kill| nix::unistd::write(kill, b"1"));
    if matches!(by_cgroup, Some(Ok(_))) {
        return;
    }
    if let Err(error) = inner.launcher.destroy(live.id().bits()).await {
        tracing::error!(%error, execution_id = %live.id(), "can't end a sandbox");
    }
}
