//! Options of a UDP socket that answers for every address.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::check;

/// Lets a UDP socket that is bound to the unspecified address learn which address each datagram was sent
/// to, and answer from that address even though no interface has it (ip(7), IP_PKTINFO and
/// IP_FREEBIND; ipv6(7), IPV6_RECVPKTINFO and IPV6_FREEBIND). An IPv6 socket takes IPv4 as well.
pub fn receive_from_any_address(socket: BorrowedFd<'_>, ipv6: bool) -> io::Result<()> {
    set(socket, libc::IPPROTO_IP, libc::IP_FREEBIND)?;
    if !ipv6 {
        return set(socket, libc::IPPROTO_IP, libc::IP_PKTINFO);
    }
    set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)?;
    set(socket, libc::IPPROTO_IPV6, libc::IPV6_FREEBIND)
}

fn set(socket: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = size_of_val(&on) as libc::socklen_t;
    let value = (&raw const on).cast();
    // SAFETY: the kernel reads `length` bytes of an int that lives through the call.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value, length) };
    check(result.into()).map(drop)
}
