//! Network namespaces. The seed is always in the one that its next copy will have: making one takes
//! longer than all the rest of a launch, so it is made when nobody waits. It belongs to the launcher's
//! user namespace, so nothing inside a sandbox ever holds a capability over it.

use std::fs::write;
use std::io::{self, ErrorKind};

use nix::sched::{CloneFlags, unshare};
use supervisor_sys::{loopback_up, without};

/// Connections that have come to a listening socket of the payload and that nobody accepts, as
/// `net.core.somaxconn` has it: they belong to no process, so nobody is charged with their memory, and the
/// host has one number for what all of them may take (`tcp_mem`). No server notices that is there to accept, and who
/// finds no room is asked to come again by TCP itself.
const UNACCEPTED: &str = "64";

/// Closed connections that wait for stray packets, as `net.ipv4.tcp_max_tw_buckets` has it: they are in nobody's memory
/// either, 256 bytes each, and none strays here. Beyond them a connection is gone once it is closed.
const TIME_WAITING: &str = "4096";

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
            if !without("connection-limit") {
                write("/proc/sys/net/ipv4/tcp_max_tw_buckets", TIME_WAITING)?;
            }
            self.fresh = true;
        }
        Ok(())
    }

    /// Bounds what waits to be accepted, at sockets that listen from now on: ours do already, and have more.
    pub fn bound() -> io::Result<()> {
        if without("connection-limit") {
            return Ok(());
        }
        match write("/proc/sys/net/core/somaxconn", UNACCEPTED) {
            // Before Linux 6.3 a network namespace that isn't root's has 4,096, which nobody can change.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// The next clone takes our namespace along, so it is no longer only ours.
    pub fn hand_over(&mut self) {
        self.fresh = false;
    }
}
