//! A socket to an upstream, which has its place among those that a session and the daemon may have for as
//! long as it is open, whatever is spoken on it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::refused::Refused;
use crate::session::Session;

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
            Some(Self { _of_session: of_session, _of_all: of_all })
        };
        let waited = timeout(session.shared.limits.crowded, both).await;
        waited.ok().flatten().ok_or_else(|| Refused::too_many("connections to upstreams"))
    }

    /// A place, if there is one now.
    pub fn at_once(session: &Session) -> Option<Self> {
        let of_session = session.sockets.clone().try_acquire_owned().ok()?;
        let of_all = session.shared.sockets.clone().try_acquire_owned().ok()?;
        Some(Self { _of_session: of_session, _of_all: of_all })
    }
}

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
