//! The loopback interface of a fresh network namespace.

use std::io;
use std::os::fd::AsRawFd;

use crate::{check, check_fd};

/// Brings `lo` up (netdevice(7), SIOCSIFFLAGS). Needs CAP_NET_ADMIN over the network namespace.
pub fn loopback_up() -> io::Result<()> {
    // SAFETY: socket(2) takes numbers only.
    let socket = check_fd(
        unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }.into(),
    )?;
    // SAFETY: `ifreq` is plain old data for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which lives through the call.
    check(
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) }
            .into(),
    )
    .map(drop)
}
