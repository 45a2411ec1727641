//! Processes by descriptor.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::check;

/// Ends a process (pidfd_send_signal(2), SIGKILL). One that has ended already is no error.
pub fn kill(process: BorrowedFd<'_>) -> io::Result<()> {
    let nothing: *const libc::siginfo_t = std::ptr::null();
    let fd = process.as_raw_fd();
    // SAFETY: a null siginfo asks for the plain signal.
    match check(unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, fd, libc::SIGKILL, nothing, 0)
    }) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other.map(drop),
    }
}

/// Executes the program behind a descriptor (execveat(2), AT_EMPTY_PATH). Returns only on failure.
pub fn execute(program: BorrowedFd<'_>, argv: &[CString]) -> io::Error {
    let mut arguments: Vec<*const libc::c_char> = argv.iter().map(|text| text.as_ptr()).collect();
    arguments.push(std::ptr::null());
    let environment = [std::ptr::null::<libc::c_char>()];
    let empty: &CStr = c"";
    // SAFETY: both arrays end in null and point at C strings that live through the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            empty.as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    check(result).err().unwrap_or_else(|| io::Error::other("execveat returned"))
}

/// Takes a child that has ended off the kernel's list: its pid and raw wait status (waitpid(2)). `None` while all
/// that there are go on.
pub fn wait_any_ended() -> io::Result<Option<(u32, i32)>> {
    let mut status = 0;
    let how = libc::__WALL | libc::WNOHANG;
    // SAFETY: the kernel writes one int.
    let pid = check(unsafe { libc::waitpid(-1, &raw mut status, how) }.into())?;
    Ok((pid != 0).then_some((pid as u32, status)))
}

/// Signals that there are (signal(7)): from 1 to this.
const SIGNALS: libc::c_int = 64;

/// Signals that stay blocked if they were: who starts a program may keep them from it, to end it otherwise.
const KEPT_BACK: [libc::c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Undoes what a caller may have set in its own process and all that it starts inherit. Where SIGCHLD is ignored
/// nobody's end can be waited for (wait(2), ECHILD). Where SIGXFSZ isn't, a caller's limit on the size of files ends
/// us without a word; ignored, writing says so (EFBIG). No other signal stays blocked, but for those of
/// `KEPT_BACK`. Of the file mode mask, what takes our own rights away goes; what it takes from others stays,
/// and writing is always taken from them.
///
/// For the start of a program: a mask is a thread's own, and those made later have it.
pub fn start_as_usual() -> io::Result<()> {
    disposition(libc::SIGCHLD, libc::SIG_DFL)?;
    disposition(libc::SIGXFSZ, libc::SIG_IGN)?;
    let mut blocked = 0u64; // the kernel's own set: bit n - 1 is signal n
    mask(libc::SIG_SETMASK, None, Some(&mut blocked))?;
    let kept = KEPT_BACK.iter().fold(0, |set, signal| set | 1u64 << (signal - 1));
    mask(libc::SIG_SETMASK, Some(&(blocked & kept)), None)?;
    // SAFETY: it takes and answers a number.
    let inherited = unsafe { libc::umask(0o077) };
    // SAFETY: the same.
    unsafe { libc::umask(inherited & 0o077 | 0o022) };
    Ok(())
}

fn mask(how: libc::c_int, new: Option<&u64>, old: Option<&mut u64>) -> io::Result<()> {
    let new = new.map_or(std::ptr::null(), std::ptr::from_ref);
    let old = old.map_or(std::ptr::null_mut(), std::ptr::from_mut);
    // SAFETY: each is null or of the size that is said.
    check(unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, new, old, size_of::<u64>()) })
        .map(drop)
}

/// Has every signal do what it does by default. What is ignored stays ignored across exec (signal(7)):
/// SIGPIPE by Rust's runtime, and whatever this program was started with, as by nohup(1) or in the background of
/// a shell.
pub fn default_dispositions() -> io::Result<()> {
    let mut all = (1..=SIGNALS).filter(|each| ![libc::SIGKILL, libc::SIGSTOP].contains(each));
    all.try_for_each(|signal| disposition(signal, libc::SIG_DFL))
}

/// What a signal does: by default, or nothing.
fn disposition(signal: libc::c_int, handler: libc::sighandler_t) -> io::Result<()> {
    // The kernel's own `struct sigaction` (rt_sigaction(2)), which begins with the handler. The C library's
    // function keeps two of the signals to itself.
    let action = [handler as u64, 0, 0, 0];
    // SAFETY: the kernel reads a structure of no more than these bytes, and neither of the two dispositions
    // runs code of ours.
    check(unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            &raw const action,
            std::ptr::null_mut::<u64>(),
            size_of::<u64>(),
        )
    })
    .map(drop)
}
