//! Ctrl-C and requests to end, counted. They are taken from the moment of the submission on, so
//! that an execution is never left behind by accident.

use std::fs;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// The interrupts that have come so far.
#[derive(Debug)]
pub struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    /// Of a terminal that is closed; nothing where whoever started us has it ignored, as nohup(1) does.
    hangup: Option<Signal>,
    received: u32,
    terminated: bool,
}

impl Interrupts {
    /// Takes SIGINT, SIGTERM and SIGHUP from now on.
    pub fn install() -> Result<Self, Failure> {
        Self::take(!ignores_hangup())
    }

    /// The same without SIGHUP, for a program in a terminal of its own, which goes on when ours is closed and can be
    /// attached to again.
    pub fn install_but_hangup() -> Result<Self, Failure> {
        Self::take(false)
    }

    fn take(takes_hangup: bool) -> Result<Self, Failure> {
        let take = |kind| signal(kind).map_err(Failure::local("cannot take signals"));
        Ok(Self {
            interrupt: take(SignalKind::interrupt())?,
            terminate: take(SignalKind::terminate())?,
            hangup: if takes_hangup { Some(take(SignalKind::hangup())?) } else { None },
            received: 0,
            terminated: false,
        })
    }

    /// How many have been noticed.
    pub fn received(&self) -> u32 {
        self.received
    }

    /// Whether one of them was SIGTERM or SIGHUP, which nobody sends to change his mind a second later.
    pub fn terminated(&self) -> bool {
        self.terminated
    }

    /// Waits until so many have come in all. Nothing is lost when it is dropped and called again.
    pub async fn reached(&mut self, count: u32) {
        while self.received < count {
            let came = tokio::select! {
                came = self.interrupt.recv() => came,
                came = self.terminate.recv() => {
                    self.terminated = true;
                    came
                }
                came = next(&mut self.hangup) => {
                    self.terminated = true;
                    came
                }
            };
            if came.is_none() {
                // The runtime is ending and delivers no more signals.
                std::future::pending::<()>().await;
            }
            self.received = self.received.saturating_add(1);
        }
    }

    /// Waits for one more.
    pub async fn next(&mut self) {
        self.reached(self.received.saturating_add(1)).await;
    }
}

/// The next signal of a kind that is taken.
async fn next(signal: &mut Option<Signal>) -> Option<()> {
    match signal {
        Some(signal) => signal.recv().await,
        None => std::future::pending().await,
    }
}

/// Whether SIGHUP is ignored (proc_pid_status(5), `SigIgn`, whose lowest bit it is).
fn ignores_hangup() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}
