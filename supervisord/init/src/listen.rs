//! The sockets on which the daemon takes a sandbox's traffic. They are made in the sandbox's own network
//! namespace, in which nothing runs yet; whoever accepts on one knows by that alone whose traffic it is.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket,
    sockopt,
};
use supervisor_launch::{Listeners, PROXY_PORT};
use supervisor_sys::receive_from_any_address;

use crate::routes;

/// Connections that may wait to be accepted. The daemon bounds how many it keeps open; this only has
/// to hold what comes at once.
const BACKLOG: i32 = 256;

/// Makes a socket that is bound to an address.
type Make = fn(SocketAddr) -> io::Result<OwnedFd>;

/// Makes every address a local one, and then the sockets, in the order of [`Listeners::places`].
pub fn make(listeners: &Listeners) -> io::Result<Vec<OwnedFd>> {
    routes::everything_here()?;
    let proxy = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, PROXY_PORT));
    let mut made = vec![tcp(proxy)?];
    for (port, make) in [(80, tcp as Make), (443, tcp), (53, udp), (53, tcp)] {
        made.push(on_every_address(port, make)?);
    }
    for port in listeners.ports() {
        made.push(on_every_address(port, tcp)?);
    }
    Ok(made)
}

/// An IPv6 socket takes IPv4 as well; where the host has switched IPv6 off, IPv4 is all there is.
fn on_every_address(port: u16, make: Make) -> io::Result<OwnedFd> {
    match make(SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0))) {
        Err(error) if error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32) => {
            make(SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)))
        }
        other => other,
    }
}

fn tcp(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = bound(address, SockType::Stream)?;
    listen(&socket, Backlog::new(BACKLOG)?)?;
    Ok(socket)
}

fn udp(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = bound(address, SockType::Datagram)?;
    receive_from_any_address(socket.as_fd(), address.is_ipv6())?;
    Ok(socket)
}

fn bound(address: SocketAddr, kind: SockType) -> io::Result<OwnedFd> {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &false)?;
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(socket)
}
