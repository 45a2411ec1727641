//! Descriptors across exec, and a program image that nobody can change.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use crate::{check, check_fd};

/// Marks every descriptor from `first` on to be closed at exec (close_range(2)).
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    const CLOEXEC: libc::c_uint = 4; // CLOSE_RANGE_CLOEXEC
    // SAFETY: the call takes numbers only; it changes flags and closes nothing.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOEXEC) }).map(drop)
}

/// Lets the next exec keep this descriptor.
pub fn keep_on_exec(fd: impl AsFd) -> io::Result<()> {
    // SAFETY: F_SETFD takes a number and changes a flag of a descriptor that we borrow.
    check(unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_SETFD, 0) }.into()).map(drop)
}

/// Whether a descriptor with this number was inherited.
pub fn inherited(number: RawFd) -> bool {
    // SAFETY: F_GETFD on any number is harmless and answers EBADF for a free one.
    number > 2 && unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0
}

/// Takes over a descriptor that the parent left open for this process under an agreed number. Each
/// number may be taken once; `main` does it before anything else opens a descriptor.
pub fn take_inherited(number: RawFd) -> io::Result<OwnedFd> {
    if !inherited(number) {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: it is open, it came through exec, and by the contract above nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    // SAFETY: F_SETFD takes a number and changes a flag of a descriptor that we own.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) }.into())?;
    Ok(fd)
}

/// A copy of `program` in memory that nobody, not even root, can change any more (memfd_create(2),
/// F_ADD_SEALS). It outlives an upgrade of the file and can't be overwritten from a sandbox.
pub fn sealed_memfd(name: &CStr, mut program: impl Read) -> io::Result<OwnedFd> {
    const EXEC: libc::c_uint = 0x10; // MFD_EXEC, Linux 6.3; refused as unknown before
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is a C string and lives through the call.
    let modern = unsafe { libc::memfd_create(name.as_ptr(), flags | EXEC) };
    let fd = match check_fd(modern.into()) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            // SAFETY: the same.
            check_fd(unsafe { libc::memfd_create(name.as_ptr(), flags) }.into())?
        }
        other => other?,
    };
    let mut file = File::from(fd);
    io::copy(&mut program, &mut file)?;
    file.flush()?;
    let seals = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    seal(&file, seals)?;
    // Opened anew for reading: a descriptor that may write makes exec fail with ETXTBSY.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    File::open(path).map(OwnedFd::from)
}

/// How often a file is to be sealed. The kernel waits some 150 ms each time for those who hold its pages for a moment
/// (memfd_wait_for_pins(), where memory is scanned or moved), and then says EBUSY.
const SEAL_TRIES: u32 = 20;

fn seal(file: &File, seals: libc::c_int) -> io::Result<()> {
    let mut tries = 1;
    loop {
        // SAFETY: F_ADD_SEALS takes a number, on a descriptor that we own.
        let sealed = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) };
        match check(sealed.into()) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && tries < SEAL_TRIES => {
                tries += 1;
            }
            other => return other.map(drop),
        }
    }
}

/// An empty file in memory to which seals can be put and that nobody can execute (memfd_create(2)).
pub fn memory_file(name: &CStr) -> io::Result<OwnedFd> {
    const NO_EXEC: libc::c_uint = 8; // MFD_NOEXEC_SEAL, Linux 6.3; refused as unknown before
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is a C string and lives through the call.
    let modern = unsafe { libc::memfd_create(name.as_ptr(), flags | NO_EXEC) };
    match check_fd(modern.into()) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            // SAFETY: the same.
            check_fd(unsafe { libc::memfd_create(name.as_ptr(), flags) }.into())
        }
        other => other,
    }
}

/// One write of all of `bytes`, or an error: for records on pipes.
pub fn write_at_once(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: the buffer is valid for its length.
    let written =
        check(unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) } as _)?;
    if written as usize == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}
