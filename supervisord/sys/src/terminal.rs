//! Pseudo-terminals (pts(4), ioctl_tty(2)).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use crate::{check, check_fd};

/// A pseudo-terminal in this instance of their file system: its master, which never waits, and its slave,
/// opened through the master (TIOCGPTPEER): no path is followed that somebody else could have made.
pub fn open_terminal(instance: BorrowedFd<'_>) -> io::Result<(OwnedFd, OwnedFd)> {
    const GET_PEER: libc::Ioctl = 0x5441; // TIOCGPTPEER, Linux 4.13
    let plain = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    let (directory, flags) = (instance.as_raw_fd(), plain | libc::O_NONBLOCK);
    // SAFETY: the path is a C string.
    let master = unsafe { libc::openat(directory, c"ptmx".as_ptr(), flags) };
    let master = check_fd(master.into())?;
    let unlocked: libc::c_int = 0;
    // SAFETY: the request reads one int.
    let done = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) };
    check(done.into())?;
    // SAFETY: the request takes a number and answers a new descriptor.
    let slave = unsafe { libc::ioctl(master.as_raw_fd(), GET_PEER, plain) };
    Ok((master, check_fd(slave.into())?))
}

/// Sets a terminal's size, and has whoever is in its foreground told (SIGWINCH).
pub fn resize_terminal(terminal: BorrowedFd<'_>, rows: u16, columns: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request reads one winsize.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }.into())
        .map(drop)
}

/// A terminal's size: rows and columns.
pub fn terminal_size(terminal: BorrowedFd<'_>) -> io::Result<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request writes one winsize.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) }.into())?;
    Ok((size.ws_row, size.ws_col))
}

/// Makes a terminal the controlling one of the caller's session, which it leads and which has none; one
/// that controls another session is refused.
pub fn take_terminal(terminal: BorrowedFd<'_>) -> io::Result<()> {
    let from_nobody: libc::c_int = 0;
    // SAFETY: the request takes a number.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, from_nobody) }.into())
        .map(drop)
}
