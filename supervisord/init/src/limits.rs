//! Limits of single processes (setrlimit(2)). What bounds the whole sandbox is its cgroup; these
//! are the second wall, and the only one for memory where the controller is missing.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use supervisor_launch::{NO_DUMP, ProcessLimit, Setup, Step};
use supervisor_sys::without;

use crate::failure::{Failed, at};

/// Sets every limit, soft and hard alike, for this process and all that it starts.
pub fn set(setup: &Setup) -> Result<(), Failed> {
    // A caller without privilege who had 0 can't have more.
    let (_, hard) = at(Step::SetRlimits, getrlimit(Resource::RLIMIT_CORE))?;
    let fixed = [
        (Resource::RLIMIT_CORE, hard.min(NO_DUMP)),
        (Resource::RLIMIT_MSGQUEUE, 0), // POSIX message queues are not offered
        (Resource::RLIMIT_NICE, 0),
        (Resource::RLIMIT_RTPRIO, 0),
    ];
    let asked = setup.limits.of_each_process(setup.limit_memory);
    for (resource, most) in asked.map(|(limit, most)| (resource(limit), most)).chain(fixed) {
        // Not altogether: a host on which tests run has to live on.
        let more = resource == Resource::RLIMIT_NOFILE && without("rlimits");
        let most = if more { most.saturating_mul(4) } else { most };
        at(Step::SetRlimits, setrlimit(resource, most, most))?;
    }
    Ok(())
}

fn resource(limit: ProcessLimit) -> Resource {
    match limit {
        ProcessLimit::CpuTime => Resource::RLIMIT_CPU,
        ProcessLimit::OpenFiles => Resource::RLIMIT_NOFILE,
        ProcessLimit::Processes => Resource::RLIMIT_NPROC,
        ProcessLimit::Locked => Resource::RLIMIT_MEMLOCK,
        ProcessLimit::Signals => Resource::RLIMIT_SIGPENDING,
        ProcessLimit::Stack => Resource::RLIMIT_STACK,
        ProcessLimit::Data => Resource::RLIMIT_DATA,
    }
}
