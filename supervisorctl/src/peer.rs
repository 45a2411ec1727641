//! Whose a connection on loopback is: both of its ends are on this host, and the kernel knows the other one by its
//! addresses (sock_diag(7)).

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd as _;

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use tokio::net::TcpStream;

/// The uid that the other end of a connection belongs to. `None` where it has been closed already, or where the kernel
/// doesn't tell.
pub fn uid(stream: &TcpStream) -> Option<u32> {
    let question = question(stream.peer_addr().ok()?, stream.local_addr().ok()?)?;
    let flags = SockFlag::SOCK_CLOEXEC;
    let protocol = SockProtocol::NetlinkSockDiag;
    let kernel = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol).ok()?;
    sendto(kernel.as_raw_fd(), &question, &NetlinkAddr::new(0, 0), MsgFlags::empty()).ok()?;
    let mut answer = [0; 512];
    // It has answered by now.
    let length = recv(kernel.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT).ok()?;
    told(answer.get(..length)?)
}

/// SOCK_DIAG_BY_FAMILY with a `struct inet_diag_req_v2`: the one TCP socket that is connected from here to there.
fn question(here: SocketAddr, there: SocketAddr) -> Option<Vec<u8>> {
    const BY_FAMILY: u16 = 20;
    const REQUEST: u16 = 1; // NLM_F_REQUEST
    const TCP: u8 = 6;
    let (family, from, to) = match (here.ip().to_canonical(), there.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let wide = |octets: [u8; 4]| {
                let mut wide = [0; 16];
                wide.iter_mut().zip(octets).for_each(|(wide, octet)| *wide = octet);
                wide
            };
            (AddressFamily::Inet, wide(from.octets()), wide(to.octets()))
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => (AddressFamily::Inet6, from.octets(), to.octets()),
        _ => return None,
    };
    let mut body = vec![family as u8, TCP, 0, 0];
    body.extend(u32::MAX.to_ne_bytes()); // in any state
    body.extend(here.port().to_be_bytes());
    body.extend(there.port().to_be_bytes());
    body.extend(from);
    body.extend(to);
    body.extend([0; 4]); // on any interface
    body.extend([0xff; 8]); // INET_DIAG_NOCOOKIE
    let mut message = Vec::from((16 + u32::try_from(body.len()).ok()?).to_ne_bytes());
    message.extend(BY_FAMILY.to_ne_bytes());
    message.extend(REQUEST.to_ne_bytes());
    message.extend([0; 8]); // sequence number and sender: one question, one answer
    message.extend(body);
    Some(message)
}

/// What a `struct inet_diag_msg` behind the header says, of a socket that is connected: of one that is being closed
/// nobody may be the owner any more.
fn told(answer: &[u8]) -> Option<u32> {
    const BY_FAMILY: u16 = 20;
    const CONNECTED: u8 = 1; // TCP_ESTABLISHED
    const STATE: usize = 16 + 1;
    const UID: usize = 16 + 4 + 48 + 12;
    if answer.get(4..6)? != BY_FAMILY.to_ne_bytes() || *answer.get(STATE)? != CONNECTED {
        return None;
    }
    answer.get(UID..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_owner_of_a_connection_is_known_while_it_is_there() {
        let own = fs::metadata("/proc/self").unwrap().uid();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address).await else {
                assert!(address.starts_with('['), "a host may be without IPv6");
                continue;
            };
            let connected = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (accepted, _) = listener.accept().await.unwrap();
            assert_eq!(uid(&accepted), Some(own), "{address}");
            drop(connected);
            assert_eq!(uid(&accepted), None, "{address}");
        }
    }

    #[test]
    fn what_is_no_answer_tells_nobody() {
        let here: SocketAddr = "127.0.0.1:1".parse().unwrap();
        assert_eq!(question(here, here).unwrap().len(), 16 + 56);
        assert_eq!(question(here, "[::1]:1".parse().unwrap()), None);
        for answer in [&[][..], &[0; 16], &[0xff; 200]] {
            assert_eq!(told(answer), None);
        }
    }
}
