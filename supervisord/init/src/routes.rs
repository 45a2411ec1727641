//! A sandbox's network, in which every address is its own: one interface, one route and two addresses,
//! by rtnetlink(7).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

/// The loopback interface is the first of every network namespace.
const LOOPBACK: u32 = 1;

/// Addresses that the interface has besides those of loopback, or programs that ask for the families
/// that are in use (AI_ADDRCONFIG in getaddrinfo(3)) would be told that there are none. Reserved for
/// measurements (RFC 2544, RFC 5180), beside those that names are answered with.
const ADDRESSES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(198, 19, 255, 254)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 2, 0, 0xffff, 0, 0, 0, 1)),
];

/// Questions that a message asks: do it, say whether it is done, and make it new
/// (NLM_F_REQUEST, NLM_F_ACK, NLM_F_CREATE).
const REQUEST_ACK_CREATE: u16 = 0x1 | 0x4 | 0x400;

/// `local default dev lo`, for both families: whatever address a program dials is this sandbox's own.
pub fn everything_here() -> io::Result<()> {
    for address in ADDRESSES {
        let told = tell(&new_address(address)).and_then(|()| tell(&new_route(family(address))));
        match told {
            // There is no IPv6, so there is none to be routed.
            Err(error) if address.is_ipv6() && is_missing(&error) => {}
            other => other?,
        }
    }
    Ok(())
}

fn is_missing(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT))
}

fn family(address: IpAddr) -> u8 {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    family as u8
}

/// RTM_NEWADDR: a `struct ifaddrmsg`, and the address as its own and its peer's.
fn new_address(address: IpAddr) -> Vec<u8> {
    const RTM_NEWADDR: u16 = 20;
    const AT_ONCE: u8 = 0x2; // IFA_F_NODAD: nobody else could have it
    const SCOPE_UNIVERSE: u8 = 0;
    const ATTRIBUTES: [u16; 2] = [1, 2]; // IFA_ADDRESS, IFA_LOCAL
    let bytes = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let (bits, flags) = if address.is_ipv6() { (128, AT_ONCE) } else { (32, 0) };
    let mut body = vec![family(address), bits, flags, SCOPE_UNIVERSE];
    body.extend(LOOPBACK.to_ne_bytes());
    for attribute in ATTRIBUTES {
        body.extend((bytes.len() as u16 + 4).to_ne_bytes());
        body.extend(attribute.to_ne_bytes());
        body.extend(&bytes);
    }
    message(RTM_NEWADDR, &body)
}

/// RTM_NEWROUTE: a `struct rtmsg`, and the interface as its one attribute.
fn new_route(family: u8) -> Vec<u8> {
    const RTM_NEWROUTE: u16 = 24;
    const TABLE_LOCAL: u8 = 255;
    const PROTOCOL_BOOT: u8 = 3;
    const SCOPE_HOST: u8 = 254;
    const TYPE_LOCAL: u8 = 2;
    const ATTRIBUTE_INTERFACE: u16 = 4; // RTA_OIF
    // Both prefixes empty: the route is for every address.
    let mut body = vec![family, 0, 0, 0, TABLE_LOCAL, PROTOCOL_BOOT, SCOPE_HOST, TYPE_LOCAL];
    body.extend([0; 4]); // no flags
    body.extend(8u16.to_ne_bytes());
    body.extend(ATTRIBUTE_INTERFACE.to_ne_bytes());
    body.extend(LOOPBACK.to_ne_bytes());
    message(RTM_NEWROUTE, &body)
}

/// A message with its header. What it holds is a multiple of four bytes, so nothing is padded.
fn message(kind: u16, body: &[u8]) -> Vec<u8> {
    const HEADER: u32 = 16;
    let mut message = Vec::with_capacity(64);
    message.extend((HEADER + body.len() as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(REQUEST_ACK_CREATE.to_ne_bytes());
    message.extend([0; 8]); // sequence number and sender: one question, one answer
    message.extend(body);
    message
}

/// Sends a message to the kernel and waits for its word.
fn tell(message: &[u8]) -> io::Result<()> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let netlink = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    let kernel = NetlinkAddr::new(0, 0);
    sendto(netlink.as_raw_fd(), message, &kernel, MsgFlags::empty())?;
    let mut answer = [0; 256];
    let length = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    acknowledged(answer.get(..length).unwrap_or_default())
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
