//! Places in a file that one process at a time may have.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::check;

/// Locks the first byte below `count` that nobody else has locked and that will do, and gives its offset
/// (fcntl(2), F_OFD_SETLK). The lock lasts as long as the open file does, in every process that has it.
pub fn lock_first_free(
    file: BorrowedFd<'_>,
    count: u32,
    will_do: impl Fn(u32) -> bool,
) -> io::Result<Option<u32>> {
    for place in (0..count).filter(|place| will_do(*place)) {
        // SAFETY: `flock` is plain old data for which all zeroes is a value.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = libc::F_WRLCK as _;
        lock.l_whence = libc::SEEK_SET as _;
        lock.l_start = place.into();
        lock.l_len = 1;
        // SAFETY: the kernel reads the lock, which lives through the call.
        let locked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
        match check(locked.into()) {
            Ok(_) => return Ok(Some(place)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
