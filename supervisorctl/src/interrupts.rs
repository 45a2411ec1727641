//! Ctrl-C and requests to end, counted. They are taken from the moment of the submission on, so
//! that an execution is never left behind by accident.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// The interrupts that have come so far.
#[derive(Debug)]
pub struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    received: u32,
    terminated: bool,
}

impl Interrupts {
    /// Takes SIGINT and SIGTERM from now on.
    pub fn install() -> Result<Self, Failure> {
        let take = |kind| signal(kind).map_err(Failure::local("cannot take signals"));
        Ok(Self {
            interrupt: take(SignalKind::interrupt())?,
            terminate: take(SignalKind::terminate())?,
            received: 0,
            terminated: false,
        })
    }

    /// How many have been noticed.
    pub fn received(&self) -> u32 {
        self.received
    }

    /// Whether one of them was SIGTERM, which nobody sends to change his mind a second later.
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
