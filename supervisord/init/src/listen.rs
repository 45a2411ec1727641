//! The sockets on which the daemon takes a sandbox's traffic. They are made in the sandbox's own network
//! namespace, in which nothing runs yet; whoever accepts on one knows by that alone whose traffic it is.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType,
    SockaddrStorage, bind, listen, recv, sendto, setsockopt, socket, sockopt,
};
use supervisor_launch::{Listeners, PROXY_PORT};
use supervisor_sys::receive_from_any_address;

/// Connections that may wait to be accepted. The daemon bounds how many it keeps open; this only has
/// to hold what comes at once.
const BACKLOG: i32 = 256;

/// Makes a socket that is bound to an address.
type Make = fn(SocketAddr) -> io::Result<OwnedFd>;

/// The loopback interface is the first of every network namespace.
const LOOPBACK: u32 = 1;

/// Makes every address a local one, and then the sockets, in the order of [`Listeners::places`].
pub fn make(listeners: &Listeners) -> io::Result<Vec<OwnedFd>> {
    route_everything_here()?;
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

/// `local default dev lo`, for both families: whatever address a program dials is this sandbox's own.
fn route_everything_here() -> io::Result<()> {
    route(AddressFamily::Inet)?;
    match route(AddressFamily::Inet6) {
        // There is no IPv6, so there is none to be routed.
        Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => Ok(()),
        Err(error) if error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32) => Ok(()),
        other => other,
    }
}

fn route(family: AddressFamily) -> io::Result<()> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let netlink = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    let kernel = NetlinkAddr::new(0, 0);
    sendto(netlink.as_raw_fd(), &new_route(family as u8), &kernel, MsgFlags::empty())?;
    let mut answer = [0; 256];
    let length = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    acknowledged(answer.get(..length).unwrap_or_default())
}

/// RTM_NEWROUTE (rtnetlink(7)): a header, a `struct rtmsg`, and the interface as its one attribute.
fn new_route(family: u8) -> Vec<u8> {
    const RTM_NEWROUTE: u16 = 24;
    const REQUEST_ACK_CREATE: u16 = 0x1 | 0x4 | 0x400; // NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE
    const TABLE_LOCAL: u8 = 255;
    const PROTOCOL_BOOT: u8 = 3;
    const SCOPE_HOST: u8 = 254;
    const TYPE_LOCAL: u8 = 2;
    const ATTRIBUTE_INTERFACE: u16 = 4; // RTA_OIF
    let mut message = Vec::with_capacity(36);
    message.extend(36u32.to_ne_bytes());
    message.extend(RTM_NEWROUTE.to_ne_bytes());
    message.extend(REQUEST_ACK_CREATE.to_ne_bytes());
    message.extend([0; 8]); // sequence number and sender: one question, one answer
    // Both prefixes empty: the route is for every address.
    message.extend([
        family,
        0,
        0,
        0,
        TABLE_LOCAL,
        PROTOCOL_BOOT,
        SCOPE_HOST,
        TYPE_LOCAL,
        0,
        0,
        0,
        0,
    ]);
    message.extend(8u16.to_ne_bytes());
    message.extend(ATTRIBUTE_INTERFACE.to_ne_bytes());
    message.extend(LOOPBACK.to_ne_bytes());
    message
}

/// NLMSG_ERROR (netlink(7)): a negative error number behind the header of 16 bytes; 0 says done.
fn acknowledged(answer: &[u8]) -> io::Result<()> {
    const NLMSG_ERROR: u16 = 2;
    let number = answer.get(16..).and_then(|rest| rest.first_chunk().copied());
    let is_error = answer.get(4..6) == Some(NLMSG_ERROR.to_ne_bytes().as_slice());
    match number.map(i32::from_ne_bytes) {
        Some(0) if is_error => Ok(()),
        Some(number) if is_error => Err(io::Error::from_raw_os_error(number.saturating_neg())),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
