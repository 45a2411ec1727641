//! Whether an address is one of this host's own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::net::UdpSocket;

/// Whether packets to this address would stay on this host. The kernel is asked, by the source that
/// it would choose; nothing is sent. A public address that is the host's own reaches services which
/// believe that only the host's users do.
///
/// # Errors
///
/// When the system gives no socket. An address that can't be reached at all isn't ours.
pub async fn is_own(address: IpAddr) -> io::Result<bool> {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    match socket.connect((address, 9)).await {
        Ok(()) => Ok(socket.local_addr()?.ip() == address),
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_host_s_own_addresses_are_known_without_sending_anything() {
        assert!(is_own(Ipv4Addr::LOCALHOST.into()).await.unwrap());
        assert!(is_own(Ipv6Addr::LOCALHOST.into()).await.unwrap());
        assert!(!is_own("192.0.2.1".parse().unwrap()).await.unwrap());
    }
}
