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

/// Waits for any child and takes it off the kernel's list: its pid and raw wait status (waitpid(2)).
pub fn wait_any() -> io::Result<(u32, i32)> {
    let mut status = 0;
    loop {
        // SAFETY: the kernel writes one int.
        match check(unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) }.into()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map(|pid| (pid as u32, status)),
        }
    }
}

/// Lets a broken pipe end this process again. Rust's runtime ignores SIGPIPE, and what is ignored
/// stays ignored across exec (signal(7)).
pub fn default_sigpipe() -> io::Result<()> {
    // SAFETY: the default disposition runs no code of ours.
    match unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) } {
        libc::SIG_ERR => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
