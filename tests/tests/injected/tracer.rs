//! Follows the launcher and what it makes by ptrace(2), and has one system call fail.

use std::collections::HashSet;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// No call fails.
const NONE: i64 = -1;

/// Calls that can't fail, or by which a process has memory, waits for others or ends; that they fail shows nothing.
const LEFT_OUT: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fcntl,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_umask,
    libc::SYS_wait4,
    libc::SYS_waitid,
];

/// What the launcher talks to the daemon by: where that fails it ends, and everything with it.
const TALK: &[i64] = &[libc::SYS_poll, libc::SYS_ppoll, libc::SYS_recvmsg, libc::SYS_sendmsg];

#[derive(Debug)]
struct Shared {
    launcher: Pid,
    /// Calls before the one that fails, or [`NONE`].
    before: AtomicI64,
    failed: Mutex<Option<String>>,
    /// Whoever stops next is let go of.
    ends: AtomicBool,
}

/// Whoever watches. As long as it does nobody else waits for the launcher: stops are told to whoever of this process asks
/// first.
#[derive(Debug)]
pub struct Tracer {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

impl Tracer {
    /// Begins to watch the launcher, the process that inits are copies of, and what both make from now on.
    pub fn start(launcher: u32, seed: u32) -> Self {
        let launcher_pid = Pid::from_raw(launcher.cast_signed());
        let shared = Arc::new(Shared {
            launcher: launcher_pid,
            before: AtomicI64::new(NONE),
            failed: Mutex::new(None),
            ends: AtomicBool::new(false),
        });
        let (ready, is_ready) = channel();
        let theirs = shared.clone();
        let thread = thread::spawn(move || watch(&[launcher, seed], &theirs, &ready));
        is_ready.recv().expect("both can be traced");
        Self { shared, thread }
    }

    /// Has the call fail before which there are so many, of those up to the next payload's start.
    pub fn fail(&self, before: i64) {
        *self.shared.failed.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.shared.before.store(before, Ordering::SeqCst);
    }

    /// The call that failed since then, if one has.
    pub fn failed(&self) -> Option<String> {
        self.shared.before.store(NONE, Ordering::SeqCst);
        self.shared.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Lets go of all of them, which takes that each does something.
    pub fn end(self, something: impl FnOnce()) {
        self.shared.ends.store(true, Ordering::SeqCst);
        something();
        self.thread.join().expect("nothing is traced any more");
    }
}

fn watch(pids: &[u32], shared: &Shared, ready: &Sender<()>) {
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC;
    for pid in pids {
        for thread in fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten() {
            let thread = thread.file_name().to_str().and_then(|name| name.parse().ok());
            let thread = Pid::from_raw(thread.expect("a number"));
            ptrace::seize(thread, options).expect("root may");
            ptrace::interrupt(thread).expect("it is traced");
        }
    }
    ready.send(()).expect("somebody waits for it");
    let mut failing = HashSet::new();
    let ours = WaitPidFlag::__WALL | WaitPidFlag::from_bits_retain(libc::__WNOTHREAD);
    loop {
        // Whoever was killed meanwhile is told of next time.
        let goes_on = match waitpid(None, Some(ours)) {
            Ok(WaitStatus::PtraceSyscall(pid) | WaitStatus::PtraceEvent(pid, ..))
                if shared.ends.load(Ordering::SeqCst) =>
            {
                ptrace::detach(pid, None)
            }
            Ok(WaitStatus::PtraceSyscall(pid)) => {
                look(pid, shared, &mut failing);
                ptrace::syscall(pid, None)
            }
            Ok(WaitStatus::PtraceEvent(pid, _, event))
                if event == Event::PTRACE_EVENT_EXEC as i32 && is_payload(pid) =>
            {
                shared.before.store(NONE, Ordering::SeqCst); // from here on it is not ours
                ptrace::detach(pid, None)
            }
            Ok(WaitStatus::PtraceEvent(pid, ..)) => ptrace::syscall(pid, None),
            Ok(WaitStatus::Stopped(pid, signal)) => ptrace::syscall(pid, signal),
            Ok(_) => Ok(()),
            Err(Errno::ECHILD) => return,
            Err(error) => panic!("what is traced can't be waited for: {error}"),
        };
        assert!([Ok(()), Err(Errno::ESRCH)].contains(&goes_on), "{goes_on:?}");
    }
}

/// Whether what was just executed is no program of ours, which are in memory or in our own directory.
fn is_payload(pid: Pid) -> bool {
    let program = fs::read_link(format!("/proc/{pid}/exe"));
    program.is_ok_and(|program| program.ends_with("bash"))
}

/// A process stands at the beginning of a call, or at its end.
fn look(pid: Pid, shared: &Shared, failing: &mut HashSet<Pid>) {
    let (Ok(info), Ok(mut registers)) = (ptrace::syscall_info(pid), ptrace::getregs(pid)) else {
        return; // it was killed
    };
    if info.op == libc::PTRACE_SYSCALL_INFO_EXIT {
        if failing.remove(&pid) {
            registers.rax = (-i64::from(libc::ENOMEM)).cast_unsigned();
            ptrace::setregs(pid, registers).unwrap_or_default();
        }
        return;
    }
    let call = registers.orig_rax.cast_signed();
    let talks = pid == shared.launcher && TALK.contains(&call);
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY || LEFT_OUT.contains(&call) || talks {
        return;
    }
    if shared.before.load(Ordering::SeqCst) > NONE
        && shared.before.fetch_sub(1, Ordering::SeqCst) == 0
    {
        // Another that does nothing takes its place.
        registers.orig_rax = libc::SYS_getpid.cast_unsigned();
        ptrace::setregs(pid, registers).unwrap_or_default();
        failing.insert(pid);
        let failed = call.to_string();
        *shared.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(failed);
    }
}
