//! New processes. Only a process that has proven to have one thread may make a copy of itself that
//! goes on in Rust: in a copy of a threaded process a lock may be held by nobody (fork(2)).

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use crate::{check, check_fd, without};

/// Proof that this process has one thread. It can't leave that thread.
pub struct SingleThreaded(PhantomData<*const ()>);

impl SingleThreaded {
    /// Looks into /proc/self/task. Take it before anything could start a thread.
    pub fn prove() -> io::Result<Self> {
        match std::fs::read_dir("/proc/self/task")?.count() {
            1 => Ok(Self(PhantomData)),
            _ => Err(io::Error::other("this process has more than one thread")),
        }
    }
}

/// The two sides of a clone.
pub enum Cloned {
    /// The new process.
    Child,
    /// The old one, with a descriptor of the new and its pid (for /proc/PID only, never to signal).
    Parent {
        /// The pidfd.
        process: OwnedFd,
        /// The pid.
        pid: u32,
    },
}

/// A copy of this process in fresh user and pid namespaces, into the cgroup of a directory if one is
/// given (clone3(2), CLONE_PIDFD, CLONE_INTO_CGROUP). It is no child of ours but of our parent
/// (CLONE_PARENT), which alone can wait for it.
pub fn clone_sibling(
    _proof: &SingleThreaded,
    cgroup: Option<BorrowedFd<'_>>,
) -> io::Result<Cloned> {
    let pids = if without("pid-namespace") { 0 } else { libc::CLONE_NEWPID };
    let namespaces = libc::CLONE_NEWUSER | pids;
    let mut flags = (libc::CLONE_PIDFD | libc::CLONE_PARENT | namespaces) as u64;
    if cgroup.is_some() {
        flags |= CLONE_INTO_CGROUP;
    }
    let cgroup = cgroup.map_or(0, |fd| fd.as_raw_fd() as u64);
    // With CLONE_PARENT the signal of its end is the one of ours, and none may be named.
    clone(CloneArguments { flags, cgroup, ..CloneArguments::default() })
}

/// A copy of this process in a fresh user namespace, which can hold an id map. The parent is told of
/// its end by the pidfd and SIGCHLD.
pub fn clone_user_namespace(_proof: &SingleThreaded) -> io::Result<Cloned> {
    let flags = (libc::CLONE_PIDFD | libc::CLONE_NEWUSER) as u64;
    let exit_signal = libc::SIGCHLD as u64;
    clone(CloneArguments { flags, exit_signal, ..CloneArguments::default() })
}

/// A plain copy of this process, without new namespaces (clone3(2), CLONE_PIDFD).
pub fn fork(_proof: &SingleThreaded) -> io::Result<Cloned> {
    let flags = libc::CLONE_PIDFD as u64;
    let exit_signal = libc::SIGCHLD as u64;
    clone(CloneArguments { flags, exit_signal, ..CloneArguments::default() })
}

/// The caller has proof that there is one thread, and no flag shares memory with the child.
fn clone(arguments: CloneArguments) -> io::Result<Cloned> {
    let mut pidfd: libc::c_int = -1;
    let mut arguments = CloneArguments { pidfd: (&raw mut pidfd) as u64, ..arguments };
    let size = size_of::<CloneArguments>();
    // SAFETY: no CLONE_VM, so the child has memory and stack of its own like after fork; the proof
    // says that no other thread's locks are copied; the kernel writes the pidfd into our variable.
    match check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size) })? {
        0 => Ok(Cloned::Child),
        pid => Ok(Cloned::Parent { process: check_fd(pidfd.into())?, pid: pid as u32 }),
    }
}

/// linux/sched.h; not in every libc.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args` of linux/sched.h, as of Linux 5.7.
#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}
