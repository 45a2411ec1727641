//! A socket to an upstream, which has its place among those that a session and the daemon may have for as
//! long as it is open, whatever is spoken on it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::limits::{UPSTREAM_RECEIVE, UPSTREAM_SEND, UPSTREAM_WIDE_RECEIVE, WIDE_UPSTREAMS};
use crate::refused::Refused;
use crate::session::Session;
use crate::shared::Counted;

/// A connection to an upstream.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    _place: SocketPlace,
}

/// The right to have one such socket.
#[derive(Debug)]
pub struct SocketPlace {
    _of_session: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
    /// Its place among the few that the kernel may hold much of.
    wide: Option<Counted>,
}

impl SocketPlace {
    /// A place, which is waited for where there is none. Connections that are kept unused make room.
    ///
    /// # Errors
    ///
    /// When there has been none for as long as a request may wait.
    pub async fn wait(session: &Session) -> Result<Self, Refused> {
        if let Some(place) = Self::at_once(session) {
            return Ok(place);
        }
        session.upstreams.make_room();
        let both = async {
            let of_session = session.sockets.clone().acquire_owned().await.ok()?;
            let of_all = session.shared.sockets.clone().acquire_owned().await.ok()?;
            Some(Self::of(session, of_session, of_all))
        };
        let waited = timeout(session.shared.limits.crowded, both).await;
        waited.ok().flatten().ok_or_else(|| Refused::too_many("connections to upstreams"))
    }

    /// A place, if there is one now.
    pub fn at_once(session: &Session) -> Option<Self> {
        let of_session = session.sockets.clone().try_acquire_owned().ok()?;
        let of_all = session.shared.sockets.clone().try_acquire_owned().ok()?;
        Some(Self::of(session, of_session, of_all))
    }

    fn of(
        session: &Session,
        of_session: OwnedSemaphorePermit,
        of_all: OwnedSemaphorePermit,
    ) -> Self {
        let wide = session.wide_upstreams.one_more(WIDE_UPSTREAMS);
        Self { _of_session: of_session, _of_all: of_all, wide }
    }

    /// Connects to an address. The kernel's buffers are bounded before: the window is offered with the first packet.
    ///
    /// # Errors
    ///
    /// As socket(2), setsockopt(2) and connect(2).
    pub async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = bounded(address, self.wide.is_some())?;
        socket.set_nodelay(true)?;
        socket.connect(address).await
    }
}

/// A socket of which the kernel holds so much.
fn bounded(address: SocketAddr, is_wide: bool) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if !is_wide {
        socket.set_send_buffer_size(UPSTREAM_SEND)?;
        socket.set_recv_buffer_size(UPSTREAM_RECEIVE)?;
    } else if *ALLOWS_WIDE {
        socket.set_recv_buffer_size(UPSTREAM_WIDE_RECEIVE)?;
    }
    Ok(socket)
}

/// Whether the host allows what wide connections are to have. Where it doesn't, setting it would leave them less
/// than they have by themselves.
static ALLOWS_WIDE: LazyLock<bool> = LazyLock::new(|| {
    let given = TcpSocket::new_v4().and_then(|socket| {
        socket.set_recv_buffer_size(UPSTREAM_WIDE_RECEIVE)?;
        socket.recv_buffer_size()
    });
    // Linux tells twice what it gives (socket(7)).
    given.is_ok_and(|given| given / 2 >= UPSTREAM_WIDE_RECEIVE)
});

impl Socket {
    /// A stream in its place.
    pub fn new(stream: TcpStream, place: SocketPlace) -> Self {
        Self { stream, _place: place }
    }
}

impl AsRef<TcpStream> for Socket {
    fn as_ref(&self) -> &TcpStream {
        &self.stream
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::{getsockopt, sockopt};

    use super::*;

    #[tokio::test]
    async fn few_connections_to_upstreams_may_have_the_kernel_hold_much() {
        let address = "127.0.0.1:80".parse().unwrap();
        let narrow = bounded(address, false).unwrap();
        let received = getsockopt(&narrow, sockopt::RcvBuf).unwrap();
        assert_eq!(received, 2 * usize::try_from(UPSTREAM_RECEIVE).unwrap());
        let sent = getsockopt(&narrow, sockopt::SndBuf).unwrap();
        assert_eq!(sent, 2 * usize::try_from(UPSTREAM_SEND).unwrap());
        let wide = getsockopt(&bounded(address, true).unwrap(), sockopt::RcvBuf).unwrap();
        let own = getsockopt(&TcpSocket::new_v4().unwrap(), sockopt::RcvBuf).unwrap();
        let allowed = 2 * usize::try_from(UPSTREAM_WIDE_RECEIVE).unwrap();
        assert_eq!(wide, if *ALLOWS_WIDE { allowed } else { own });
    }
}
