//! A sandbox that waits to be claimed.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use supervisor_launch::Descriptor;
use supervisor_sys::without;
use tokio::sync::mpsc;

use crate::accounting;
use crate::admission::ParkedPlace;
use crate::launcher::Sandbox;
use crate::session::Use;
use crate::traffic::ClosedWay;

/// A sandbox that waits to be claimed. Dropped, it is destroyed.
pub struct Parked {
    id: u128,
    sandbox: Option<Sandbox>,
    /// Its way out, if it has one, which nobody serves before it is an execution's.
    way: Option<ClosedWay>,
    held: Held,
    /// Bytes of memory that it holds.
    memory: u64,
    since: Instant,
    unwanted: mpsc::UnboundedSender<Unwanted>,
}

/// How one is that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It can be claimed.
    Waits,
    /// Its init has ended.
    Ended,
    /// It has tried to reach somebody, as no execution's. Nobody has heard it, and nobody will.
    Spoke,
}

/// What a sandbox has from before it is made until nothing of it is left, or an execution has it.
#[derive(Default)]
pub struct Held {
    /// Of its owner's ceilings, until it leaves its shelf for an execution.
    pub(super) place: Option<ParkedPlace>,
    /// The session in whose workspace it is, which is not removed meanwhile.
    pub(super) session: Option<Use>,
    /// It is one of all that there are.
    pub(super) _counted: Option<Arc<()>>,
}

/// A sandbox that is to be destroyed.
pub struct Unwanted {
    pub(super) id: u128,
    pub(super) held: Held,
}

/// The sockets that nobody may have used before it is claimed.
pub(super) fn doors(sandbox: &Sandbox) -> impl Iterator<Item = &OwnedFd> {
    sandbox.listeners().filter(|_| !without("parked-silence"))
}

impl Parked {
    pub(super) fn new(
        id: u128,
        (sandbox, way): (Sandbox, Option<ClosedWay>),
        held: Held,
        memory: u64,
        unwanted: mpsc::UnboundedSender<Unwanted>,
    ) -> Self {
        let since = Instant::now();
        Self { id, sandbox: Some(sandbox), way, held, memory, since, unwanted }
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

    /// How it is: a pidfd can be read once its process has ended (pidfd_open(2)), and a socket once there is
    /// something that nobody has taken.
    pub fn condition(&self) -> Condition {
        let Some(sandbox) = &self.sandbox else { return Condition::Ended };
        let Some(process) = sandbox.get(Descriptor::Process) else { return Condition::Ended };
        let looked_at = std::iter::once(process).chain(doors(sandbox));
        let mut fds: Vec<_> =
            looked_at.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
        match poll(&mut fds, PollTimeout::ZERO) {
            Ok(0) => Condition::Waits,
            Err(_) => Condition::Ended, // it is not known, so it is not used
            Ok(_) if fds.first().is_some_and(|process| process.any() != Some(false)) => {
                Condition::Ended
            }
            Ok(_) => Condition::Spoke,
        }
    }

    /// It leaves its shelf for an execution, whose own turn counts what both are. Until that comes it counts for nothing:
    /// what stood before it in its owner's line, or the execution itself, would wait for the room that it has, for ever.
    pub(super) fn leave_shelf(&mut self) {
        self.held.place = None;
    }

    /// Takes its way out, for the execution of its id.
    pub fn take_way(&mut self) -> Option<ClosedWay> {
        self.way.take()
    }

    /// The sandbox, for the execution of its id. What it has used until now is not the execution's.
    pub fn claim(mut self) -> Option<Sandbox> {
        let mut sandbox = self.sandbox.take()?;
        sandbox.spent = accounting::cpu(&sandbox).unwrap_or_default();
        Some(sandbox)
    }

    /// Whether its session is being closed.
    pub(super) fn is_closing(&self) -> bool {
        self.held.session.as_ref().is_some_and(|session| session.session().is_closing())
    }

    /// What is left of it for whoever destroys it.
    pub(super) fn into_unwanted(mut self) -> Unwanted {
        self.let_go();
        Unwanted { id: self.id, held: std::mem::take(&mut self.held) }
    }

    /// Lets go of the sandbox, if it has it still. What is open of its session's workspace counts until it is closed.
    fn let_go(&mut self) -> bool {
        let place = self.held.session.as_ref().and_then(|session| session.session().place());
        self.sandbox.take().map(|sandbox| sandbox.let_go_with(place)).is_some()
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        if !self.let_go() {
            return; // it is an execution's, or destroyed by somebody else
        }
        let unwanted = Unwanted { id: self.id, held: std::mem::take(&mut self.held) };
        if self.unwanted.send(unwanted).is_err() {
            tracing::debug!("a parked sandbox is left to the launcher"); // the next start ends it
        }
    }
}
