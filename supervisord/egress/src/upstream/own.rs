//! Whether an address is one of this host's own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// Addresses that no host has (RFC 5737, RFC 3849). Where they can be bound, any can (`ip_nonlocal_bind`).
const NOBODYS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// Whether packets to this address would stay on this host. The kernel is asked, by whether it may be bound
/// and by the source that would be chosen for it; nothing is sent. An address that is the host's own reaches
/// services which believe that only the host's users do.
///
/// # Errors
///
/// When the system gives no socket. An address that can't be reached at all isn't ours.
pub fn is_own(address: IpAddr) -> io::Result<bool> {
    let [nobodys_v4, nobodys_v6] = NOBODYS;
    let nobodys = if address.is_ipv4() { nobodys_v4 } else { nobodys_v6 };
    if can_be_bound(address)? && !can_be_bound(nobodys)? {
        return Ok(true);
    }
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    match socket.connect((address, 9)) {
        Ok(()) => Ok(socket.local_addr()?.ip() == address),
        Err(_) => Ok(false),
    }
}

/// Whether a socket may have this address. One that needs a link named besides can't be dialled as it is.
fn can_be_bound(address: IpAddr) -> io::Result<bool> {
    match UdpSocket::bind((address, 0)) {
        Ok(_) => Ok(true),
        Err(error) => match error.kind() {
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::InvalidInput => Ok(false),
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_s_own_addresses_are_known_without_sending_anything() {
        assert!(is_own(Ipv4Addr::LOCALHOST.into()).unwrap());
        assert!(is_own(Ipv6Addr::LOCALHOST.into()).unwrap());
        // The source for packets to it is 127.0.0.1.
        assert!(is_own("127.0.0.2".parse().unwrap()).unwrap());
        assert!(!is_own("192.0.2.1".parse().unwrap()).unwrap());
        assert!(!is_own("2001:db8::1".parse().unwrap()).unwrap());
    }
}
