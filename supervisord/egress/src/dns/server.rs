//! Queries off the sandbox's sockets and answers back onto them, over UDP and TCP.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddrV6;
use std::os::fd::AsRawFd;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::libc::in6_pktinfo;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sendmsg, setsockopt,
    sockopt,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::answer::{self, Verdict, answer};
use super::rate::Rate;
use crate::limits::MAX_DNS_QUERY;

/// A TCP connection without a query is kept this long (RFC 7766 §6.2.3: some seconds).
const TCP_IDLE: Duration = Duration::from_secs(10);

/// Answers the queries of one sandbox.
pub struct NameServer<V> {
    rate: Mutex<Rate>,
    verdict: V,
}

/// A query and where its answer goes: from the address that was asked, or clients drop it.
struct Asked {
    length: usize,
    peer: SocketAddrV6,
    own: Option<in6_pktinfo>,
}

impl<V: Fn(answer::Asked<'_>) -> Verdict> NameServer<V> {
    /// A name server with the bound on its queries.
    pub fn new(per_second: u32, verdict: V) -> Self {
        Self { rate: Mutex::new(Rate::new(per_second, Instant::now())), verdict }
    }

    /// Answers datagrams until the socket fails for good.
    ///
    /// # Errors
    ///
    /// When the socket can't be prepared or read.
    pub async fn serve_datagrams(&self, socket: UdpSocket) -> io::Result<()> {
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        let mut query = [0u8; MAX_DNS_QUERY + 1];
        loop {
            let asked =
                match socket.async_io(Interest::READABLE, || receive(&socket, &mut query)).await {
                    Ok(Some(asked)) => asked,
                    Ok(None) => continue,
                    // What the last answer ran into; the socket is fine.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                    Err(error) => return Err(error),
                };
            let Some(answer) = self.answer(query.get(..asked.length).unwrap_or_default()) else {
                continue;
            };
            if let Err(error) = reply(&socket, &asked, &answer) {
                // A client that can't take its answer asks again.
                tracing::debug!(%error, "a DNS answer could not be sent");
            }
        }
    }

    /// Answers the queries of one connection, each with its length before it (RFC 7766 §8).
    ///
    /// # Errors
    ///
    /// When the connection fails; a quiet or oversized one is closed without an error.
    pub async fn serve_stream(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let Ok(length) = timeout(TCP_IDLE, stream.read_u16()).await else { return Ok(()) };
            let length = match length {
                Ok(length) => usize::from(length),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            };
            if length > MAX_DNS_QUERY {
                return Ok(());
            }
            let mut query = vec![0; length];
            match timeout(TCP_IDLE, stream.read_exact(&mut query)).await {
                Ok(read) => read?,
                Err(_) => return Ok(()),
            };
            let Some(answer) = self.answer(&query) else { return Ok(()) };
            let mut framed = u16::try_from(answer.len()).unwrap_or(0).to_be_bytes().to_vec();
            framed.extend_from_slice(&answer);
            match timeout(TCP_IDLE, stream.write_all(&framed)).await {
                Ok(written) => written?,
                Err(_) => return Ok(()),
            }
        }
    }

    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        if !rate.take(Instant::now()) {
            return None;
        }
        drop(rate);
        answer(query, |asked| (self.verdict)(asked))
    }
}

/// Takes one datagram; `None` for one that is too long to be a query.
fn receive(socket: &UdpSocket, query: &mut [u8]) -> io::Result<Option<Asked>> {
    let mut control = nix::cmsg_space!(in6_pktinfo);
    let mut parts = [IoSliceMut::new(query)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let received =
        recvmsg::<SockaddrIn6>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let own = received.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(info),
        _ => None,
    });
    let length = received.bytes;
    Ok(received.address.filter(|_| length <= MAX_DNS_QUERY).map(|peer| Asked {
        length,
        peer: peer.into(),
        own,
    }))
}

fn reply(socket: &UdpSocket, asked: &Asked, answer: &[u8]) -> io::Result<()> {
    let control: Vec<_> = asked.own.iter().map(ControlMessage::Ipv6PacketInfo).collect();
    let parts = [IoSlice::new(answer)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let peer = SockaddrIn6::from(asked.peer);
    let sent = sendmsg(socket.as_raw_fd(), &parts, &control, flags, Some(&peer))?;
    if sent != answer.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
    use std::sync::Arc;

    use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
    use hickory_proto::rr::{Name, RecordType};
    use tokio::net::TcpListener;

    use super::*;

    fn allow(_: answer::Asked<'_>) -> Verdict {
        Verdict::Allowed(Ipv4Addr::new(198, 18, 0, 9), Ipv6Addr::LOCALHOST)
    }

    fn query() -> Vec<u8> {
        let mut query = Message::new(7, MessageType::Query, OpCode::Query);
        query.add_query(Query::query(Name::from_ascii("up.test.").unwrap(), RecordType::A));
        query.to_vec().unwrap()
    }

    #[tokio::test]
    async fn an_answer_comes_from_the_address_that_was_asked() {
        let socket = UdpSocket::bind("[::]:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let server = Arc::new(NameServer::new(100, allow));
        let serving = tokio::spawn(async move { server.serve_datagrams(socket).await });
        for asked in ["127.0.0.1", "127.0.0.77", "::1"] {
            let own = if asked.contains(':') { "[::1]:0" } else { "127.0.0.1:0" };
            let client = UdpSocket::bind(own).await.unwrap();
            client.connect(SocketAddr::new(asked.parse().unwrap(), port)).await.unwrap();
            client.send(&query()).await.unwrap();
            let mut bytes = [0; 512];
            let length = timeout(Duration::from_secs(5), client.recv(&mut bytes)).await.unwrap();
            let answer = Message::from_vec(&bytes[..length.unwrap()]).unwrap();
            assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
            assert_eq!(answer.answers.len(), 1);
        }
        serving.abort();
    }

    #[tokio::test]
    async fn tcp_answers_too_and_closes_on_what_is_too_long() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Arc::new(NameServer::new(100, allow));
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                server.serve_stream(stream).await.unwrap();
            }
        });
        let mut client = TcpStream::connect(address).await.unwrap();
        for _ in 0..2 {
            let query = query();
            client.write_u16(u16::try_from(query.len()).unwrap()).await.unwrap();
            client.write_all(&query).await.unwrap();
            let length = client.read_u16().await.unwrap();
            let mut bytes = vec![0; usize::from(length)];
            client.read_exact(&mut bytes).await.unwrap();
            assert_eq!(Message::from_vec(&bytes).unwrap().answers.len(), 1);
        }
        client.write_u16(60_000).await.unwrap();
        assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
        serving.abort();
    }

    #[test]
    fn a_flood_of_queries_is_dropped() {
        let server = NameServer::new(10, allow);
        let query = query();
        assert_eq!((0..100).filter(|_| server.answer(&query).is_some()).count(), 20);
    }
}
