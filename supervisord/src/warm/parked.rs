//! A sandbox that waits to be claimed.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use supervisor_launch::Descriptor;
use tokio::sync::mpsc;

use crate::accounting;
use crate::admission::ParkedPlace;
use crate::launcher::Sandbox;

/// A sandbox that waits to be claimed. Dropped, it is destroyed.
pub struct Parked {
    id: u128,
    sandbox: Option<Sandbox>,
    /// What it has of its owner's ceilings.
    _place: ParkedPlace,
    /// Bytes of memory that it holds.
    memory: u64,
    since: Instant,
    unwanted: mpsc::UnboundedSender<u128>,
}

impl Parked {
    pub(super) fn new(
        id: u128,
        sandbox: Sandbox,
        place: ParkedPlace,
        memory: u64,
        unwanted: mpsc::UnboundedSender<u128>,
    ) -> Self {
        let since = Instant::now();
        Self { id, sandbox: Some(sandbox), _place: place, memory, since, unwanted }
    }

    /// The id of the execution that it becomes.
    pub fn id(&self) -> u128 {
        self.id
    }

    /// Bytes of memory that it holds.
    pub fn memory(&self) -> u64 {
        self.memory
    }

    /// How long it is parked.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// Whether its init lives (pidfd_open(2): a pidfd can be read once its process has ended).
    pub fn lives(&self) -> bool {
        let process = self.sandbox.as_ref().and_then(|sandbox| sandbox.get(Descriptor::Process));
        let Some(process) = process else { return false };
        let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO) == Ok(0)
    }

    /// The sandbox, for the execution of its id. What it has used until now is not the execution's.
    pub fn claim(mut self) -> Option<Sandbox> {
        let mut sandbox = self.sandbox.take()?;
        sandbox.spent = accounting::cpu(&sandbox).unwrap_or_default();
        Some(sandbox)
    }

    /// Its id alone, for whoever destroys it.
    pub(super) fn into_id(mut self) -> u128 {
        self.sandbox = None;
        self.id
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        if self.sandbox.take().is_some() && self.unwanted.send(self.id).is_err() {
            tracing::debug!("a parked sandbox is left to the launcher"); // the next start ends it
        }
    }
}
