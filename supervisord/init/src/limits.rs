//! Limits of single processes (setrlimit(2)). What bounds the whole sandbox is its cgroup; these
//! are the second wall, and the only one for memory where the controller is missing.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use supervisor_launch::{NO_DUMP, Setup, Step};
use supervisor_sys::without;

use crate::failure::{Failed, at};

/// The kernel's usual stack limit. A fixed one keeps a caller's `unlimited` out, which would switch
/// the address space to the legacy layout (execve(2), personality(2)).
const STACK: u64 = 8 << 20;

/// Memory that may be locked: enough for a key or two, nothing to press the host with.
const LOCKED: u64 = 64 << 10;

/// Signals that may wait. Programs with many real-time timers use some hundreds.
const SIGNALS: u64 = 1024;

/// Sets every limit, soft and hard alike, for init and all that it starts.
pub fn set(setup: &Setup) -> Result<(), Failed> {
    let limits = &setup.limits;
    // Per process, so it can only be a backstop: the daemon watches the sum. A second of grace lets
    // the daemon see the sum first and name the limit.
    let cpu_seconds = (limits.cpu_time.div_ceil(1000)).saturating_add(1);
    // Where the cgroup holds the number it is to be the one that refuses, because it counts that.
    let processes = limits.pids_max.saturating_add(u64::from(!setup.limit_memory));
    // A caller without privilege who had 0 can't have more.
    let (_, hard) = at(Step::SetRlimits, getrlimit(Resource::RLIMIT_CORE))?;
    let core = hard.min(NO_DUMP);
    let mut set = vec![
        (Resource::RLIMIT_CORE, core),
        (Resource::RLIMIT_CPU, cpu_seconds),
        (Resource::RLIMIT_NOFILE, limits.open_files),
        (Resource::RLIMIT_NPROC, processes),
        (Resource::RLIMIT_MEMLOCK, LOCKED),
        (Resource::RLIMIT_MSGQUEUE, 0), // POSIX message queues are not offered
        (Resource::RLIMIT_SIGPENDING, SIGNALS),
        (Resource::RLIMIT_STACK, STACK),
        (Resource::RLIMIT_NICE, 0),
        (Resource::RLIMIT_RTPRIO, 0),
    ];
    if setup.limit_memory {
        // Twice the limit for one process: the daemon, which watches the sum, gets to name it.
        set.push((Resource::RLIMIT_DATA, limits.memory_max.saturating_mul(2)));
    }
    for (resource, most) in set {
        // Not altogether: a host on which tests run has to live on.
        let more = resource == Resource::RLIMIT_NOFILE && without("rlimits");
        let most = if more { most.saturating_mul(4) } else { most };
        at(Step::SetRlimits, setrlimit(resource, most, most))?;
    }
    Ok(())
}
