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

/// Signals that there are (signal(7)): from 1 to this.
const SIGNALS: libc::c_int = 64;

/// Has every signal do what it does by default. What is ignored stays ignored across exec (signal(7)):
/// SIGPIPE by Rust's runtime, and whatever this program was started with, as by nohup(1) or in the background of
/// a shell.
pub fn default_dispositions() -> io::Result<()> {
    // The kernel's own `struct sigaction` (rt_sigaction(2)), all zeroes: the default. The C library's
    // function keeps two of the signals to itself.
    let default = [0u64; 4];
    for signal in (1..=SIGNALS).filter(|each| ![libc::SIGKILL, libc::SIGSTOP].contains(each)) {
        // SAFETY: the kernel reads a structure of no more than these bytes, and the default disposition
        // runs no code of ours.
        check(unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                &raw const default,
                std::ptr::null_mut::<u64>(),
                size_of::<u64>(),
            )
        })?;
    }
    Ok(())
}
