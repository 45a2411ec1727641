//! A connection's bytes on their way to hyper. Heads are held back until they are complete and have
//! been checked, bodies pass up to the length that their head gave, and the deadlines for both an
//! idle peer and a slow head stand here, because only here is it known which of them a byte ends.
//!
//! ```text
//!   idle ── first byte ──▶ head ── checked ──▶ body ── last byte ──▶ idle
//!     │ idle deadline        │ malformed, too long, too slow
//!     ▼                      ▼
//!   end of input           end of input, with a refusal for the peer
//! ```

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::ReadBufCursor;
use supervisor_api::ApiError;
use tokio::net::UnixStream;
use tokio::time::{Instant, Sleep, sleep};

use super::bounds::{Bounds, MAX_HEAD};
use super::head;

/// Why a connection's input was ended, for who has to tell the peer.
#[derive(Debug, Clone, Default)]
pub struct Refusal(Arc<Mutex<Option<ApiError>>>);

/// The bytes of one connection.
pub struct Wire {
    stream: Arc<UnixStream>,
    refusal: Refusal,
    bounds: Bounds,
    /// What was read and not yet passed on, [`MAX_HEAD`] bytes at the most.
    inbox: Vec<u8>,
    /// Bytes at the front of the inbox that may pass.
    cleared: usize,
    /// Bytes at the front of the inbox that were searched for the end of a head.
    searched: usize,
    /// Bytes of the current body that are not yet cleared.
    body_left: u64,
    /// No more is read: the peer has said so, or it was refused.
    ended: bool,
    waiting: Option<(Awaited, Pin<Box<Sleep>>)>,
    stall: Option<Pin<Box<Sleep>>>,
}

/// What the peer is given time for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    FirstByte,
    WholeHead,
}

impl Refusal {
    /// The refusal, if there is one, for the first who asks.
    pub fn take(&self) -> Option<ApiError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, error: ApiError) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

impl Wire {
    /// The bytes of this stream; what ends them for the peer's fault is left in `refusal`.
    pub fn new(stream: Arc<UnixStream>, refusal: Refusal, bounds: Bounds) -> Self {
        Self {
            stream,
            refusal,
            bounds,
            inbox: Vec::new(),
            cleared: 0,
            searched: 0,
            body_left: 0,
            ended: false,
            waiting: None,
            stall: None,
        }
    }

    /// Looks at what was read and clears what may pass.
    fn clear(&mut self) {
        if self.body_left > 0 {
            let part = u64::try_from(self.inbox.len()).unwrap_or(u64::MAX).min(self.body_left);
            self.body_left -= part;
            self.cleared = usize::try_from(part).unwrap_or(usize::MAX);
            return;
        }
        let Some(length) = head::length(&self.inbox, self.searched) else {
            self.searched = self.inbox.len();
            if self.inbox.len() >= MAX_HEAD {
                self.refuse(head::too_long());
            }
            return;
        };
        match head::check(self.inbox.get(..length).unwrap_or_default()) {
            Ok(body) => {
                self.cleared = length;
                self.searched = 0;
                self.body_left = body;
                self.waiting = None;
            }
            Err(error) => self.refuse(error),
        }
    }

    fn refuse(&mut self, error: ApiError) {
        self.refusal.set(error);
        self.ended = true;
        self.inbox.clear();
    }

    /// Reads once; what a peer sends faster than it is passed on stays in the kernel.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut chunk = [0u8; MAX_HEAD];
        let room = MAX_HEAD.saturating_sub(self.inbox.len());
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            match self.stream.try_read(chunk.get_mut(..room).unwrap_or_default()) {
                Ok(0) => {
                    self.ended = true;
                    if self.body_left == 0 && !self.inbox.is_empty() {
                        self.refuse(head::cut_off());
                    }
                    return Poll::Ready(Ok(()));
                }
                Ok(count) => {
                    self.inbox.extend_from_slice(chunk.get(..count).unwrap_or_default());
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Ends the input when the peer's time is up. A body's deadline is with who reads the body.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.body_left > 0 {
            return Poll::Pending;
        }
        let (awaited, patience) = match self.inbox.is_empty() {
            true => (Awaited::FirstByte, self.bounds.idle),
            false => (Awaited::WholeHead, self.bounds.head),
        };
        let (_, deadline) = match self.waiting.take() {
            Some(waiting) if waiting.0 == awaited => self.waiting.insert(waiting),
            other => {
                self.waiting.insert((awaited, restart(other.map(|(_, sleep)| sleep), patience)))
            }
        };
        ready!(deadline.as_mut().poll(cx));
        match awaited {
            Awaited::FirstByte => self.ended = true,
            Awaited::WholeHead => self.refuse(head::too_slow()),
        }
        Poll::Ready(())
    }

    /// Tries to write until the stream takes something, gives an error, or the peer has taken
    /// nothing for too long.
    fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        write: impl Fn(&UnixStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let Poll::Ready(writable) = self.stream.poll_write_ready(cx) else {
                let patience = self.bounds.stall;
                let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(patience)));
                ready!(stall.as_mut().poll(cx));
                let reason = "the peer takes no bytes of its answer";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, reason)));
            };
            writable?;
            match write(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => {
                    self.stall = None;
                    return Poll::Ready(result);
                }
            }
        }
    }
}

impl hyper::rt::Read for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        while wire.cleared == 0 {
            if wire.ended {
                return Poll::Ready(Ok(()));
            }
            if !wire.inbox.is_empty() && wire.searched < wire.inbox.len() {
                wire.clear();
                continue;
            }
            match wire.poll_fill(cx) {
                Poll::Ready(result) => result?,
                Poll::Pending => ready!(wire.poll_deadline(cx)),
            }
        }
        let count = wire.cleared.min(buffer.remaining());
        buffer.put_slice(wire.inbox.get(..count).unwrap_or_default());
        wire.inbox.drain(..count);
        wire.cleared -= count;
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_with(cx, |stream| stream.try_write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Does nothing: the connection is closed by who may still have a refusal to write.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_with(cx, |stream| stream.try_write_vectored(slices))
    }
}

/// A timer that ends after `patience`, made of an old one where there is one.
fn restart(old: Option<Pin<Box<Sleep>>>, patience: Duration) -> Pin<Box<Sleep>> {
    match old {
        Some(mut timer) => {
            timer.as_mut().reset(Instant::now() + patience);
            timer
        }
        None => Box::pin(sleep(patience)),
    }
}
