//! Network namespaces. The seed is always in the one that its next copy will have: making one takes
//! longer than all the rest of a launch, so it is made when nobody waits. It belongs to the launcher's
//! user namespace, so nothing inside a sandbox ever holds a capability over it.

use std::io;

use nix::sched::{CloneFlags, unshare};
use supervisor_sys::{loopback_up, without};

/// Whether the namespace that we are in has been given to a sandbox.
#[derive(Default)]
pub struct Network {
    fresh: bool,
}

impl Network {
    /// Makes sure that nobody was in our network namespace but us.
    pub fn refresh(&mut self) -> io::Result<()> {
        if !self.fresh {
            if !without("net-namespace") {
                unshare(CloneFlags::CLONE_NEWNET)?;
            }
            loopback_up()?;
            self.fresh = true;
        }
        Ok(())
    }

    /// The next clone takes our namespace along, so it is no longer only ours.
    pub fn hand_over(&mut self) {
        self.fresh = false;
    }
}
