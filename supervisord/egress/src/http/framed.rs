//! A connection's bytes on their way to and from hyper where they are HTTP/2: a peer that floods it with
//! frames is told why, and ended.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::frames::{Frames, Peer, goaway};
use super::violation::Violation;
use super::wire::{Parting, Shared};

/// The bytes of one connection.
pub struct Framed<S> {
    stream: S,
    shared: Arc<Shared>,
    frames: Frames,
    linger: Duration,
    end: Option<(Parting, Pin<Box<Sleep>>)>,
}

impl<S> Framed<S> {
    /// The bytes of this stream, at the start of its HTTP/2.
    pub fn new(stream: S, peer: Peer, shared: Arc<Shared>, linger: Duration) -> Self {
        Self { stream, shared, frames: Frames::new(peer), linger, end: None }
    }

    fn left(&mut self, bytes: &[u8]) {
        if let Some(violation) = self.frames.leave(bytes) {
            self.shared.found(violation);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Framed<S> {
    /// Tells the peer, behind the last whole frame that hyper has for it, that this is the end.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some((parting, late)) = &mut self.end else { return Poll::Ready(Ok(())) };
        if late.as_mut().poll(cx).is_pending() {
            // Hyper writes on until its frame is whole, and reads again then.
            if !self.frames.has_left_whole() && !parting.has_begun() {
                return Poll::Pending;
            }
            match ready!(parting.poll(&mut self.stream, true, cx)) {
                Ok(()) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, Violation::Flood)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Framed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let framed = self.get_mut();
        if framed.end.is_none() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut framed.stream).poll_read(cx, buffer))?;
            let read = buffer.filled().get(before..).unwrap_or_default();
            let Err(violation) = framed.frames.arrive(read) else { return Poll::Ready(Ok(())) };
            buffer.set_filled(before);
            framed.shared.found(violation);
            let words = Parting::words(goaway(violation.code()));
            framed.end = Some((words, Box::pin(sleep(framed.linger))));
        }
        framed.poll_end(cx)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Framed<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let framed = self.get_mut();
        if framed.is_over() {
            return Poll::Pending; // whoever reads ends it
        }
        let written = ready!(Pin::new(&mut framed.stream).poll_write(cx, bytes))?;
        framed.left(bytes.get(..written).unwrap_or_default());
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let framed = self.get_mut();
        if framed.is_over() {
            return Poll::Pending; // whoever reads ends it
        }
        let written = ready!(Pin::new(&mut framed.stream).poll_write_vectored(cx, slices))?;
        let mut rest = written;
        for slice in slices {
            let part = rest.min(slice.len());
            framed.left(slice.get(..part).unwrap_or_default());
            rest -= part;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl<S> Framed<S> {
    /// Whether nothing of hyper's may be written any more.
    fn is_over(&self) -> bool {
        self.end.as_ref().is_some_and(|(parting, _)| parting.has_begun())
    }
}
