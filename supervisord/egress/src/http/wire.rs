//! A connection's bytes on their way to and from hyper. Only what [`Framing`] has cleared is read; the
//! deadlines for an idle peer, a slow head, a stalled body and an unread answer stand here, because
//! only here is it known which of them a byte ends; and here a connection is ended so that a peer
//! that was refused gets to read why.

mod parting;
mod resets;
mod shared;
#[cfg(test)]
mod tests;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

pub use parting::Parting;
pub use resets::Resets;
pub use shared::{Shared, Unanswered};

use super::framing::Framing;
use super::violation::Violation;
use crate::limits::{Limits, MAX_HEAD};

/// Bytes that are read at a time while a head isn't complete; heads have less than this.
const PIECE: usize = 4096;

/// The bytes of one connection.
pub struct Wire<S> {
    stream: S,
    shared: Arc<Shared>,
    deadlines: Deadlines,
    framing: Framing,
    /// What was read and may not pass yet, or did not fit.
    inbox: Vec<u8>,
    /// Bytes at the front of the inbox that may pass.
    cleared: usize,
    /// The peer sends no more behind a whole request, or within the next head.
    left: Option<Left>,
    /// No more is read: the peer has ended, or was refused.
    ended: bool,
    /// Bytes were written that may not be out yet.
    unflushed: bool,
    /// Who reads waits for them to be out.
    waits: bool,
    /// A reset is the end of it for as long as its answer is not whole.
    resets: bool,
    reading: Timer,
    writing: Timer,
    parting: Parting,
}

#[derive(Debug, Clone, Copy)]
struct Deadlines {
    idle: Duration,
    head: Duration,
    stall: Duration,
    linger: Duration,
    half_closed: Duration,
}

/// Where the peer has ended what it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Between,
    WithinHead,
}

/// What the peer is given time for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    Request,
    Head,
    Body,
    Reader,
    Close,
    Answer,
}

#[derive(Default)]
struct Timer {
    armed: Option<Awaited>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<S> Wire<S> {
    /// The bytes of this stream.
    pub fn new(stream: S, shared: Arc<Shared>, limits: &Limits) -> Self {
        let Limits { idle, head, stall, linger, half_closed, .. } = *limits;
        Self {
            stream,
            shared,
            deadlines: Deadlines { idle, head, stall, linger, half_closed },
            framing: Framing::new(),
            inbox: Vec::new(),
            cleared: 0,
            left: None,
            ended: false,
            unflushed: false,
            waits: false,
            resets: false,
            reading: Timer::default(),
            writing: Timer::default(),
            parting: Parting::NotYet,
        }
    }

    /// The bytes of this stream, on which no tunnel can be asked for.
    pub fn of_a_server(stream: S, shared: Arc<Shared>, limits: &Limits) -> Self {
        Self { framing: Framing::of_a_server(), ..Self::new(stream, shared, limits) }
    }

    /// The stream, and what was read from it and not passed on, once the bytes are not HTTP any more.
    pub fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.inbox)
    }

    /// Ends the input for a fault of the peer's. Where a request is being answered its answer is
    /// the last; else the connection's own last words say why.
    fn refuse(&mut self, violation: Violation) {
        self.shared.found(violation);
        self.ended = true;
        self.inbox = Vec::new();
        if !self.shared.is_busy() {
            self.parting = Parting::words(violation.last_words());
        }
    }
}

impl<S: AsyncRead + Unpin> Wire<S> {
    /// Reads straight to where the bytes are wanted, and takes back what may not pass.
    fn poll_direct(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        let before = buffer.filled().len();
        let is_between = self.framing.is_between();
        match ready!(Pin::new(&mut self.stream).poll_read(cx, buffer)) {
            // TLS that ends without saying so ends nothing that has an end of its own (RFC 9112 §9.8).
            Err(error) if is_between && error.kind() == io::ErrorKind::UnexpectedEof => {}
            read => read?,
        }
        self.reading.armed = None;
        let read = buffer.filled().get(before..).unwrap_or_default();
        if read.is_empty() {
            self.left = is_between.then_some(Left::Between);
            self.ended = !is_between;
            return Poll::Ready(Ok(self.ended));
        }
        match self.framing.clear(read) {
            Ok(count) => {
                self.inbox.extend_from_slice(read.get(count..).unwrap_or_default());
                buffer.set_filled(before + count);
                Poll::Ready(Ok(count > 0))
            }
            Err(violation) => {
                buffer.set_filled(before);
                self.found(violation);
                Poll::Ready(Ok(self.ended))
            }
        }
    }

    /// Refuses what is wrong within a request that has begun to pass. A request of which nothing has
    /// passed is refused when those before it are answered: hyper gives up what it is answering at an
    /// end of the input.
    fn found(&mut self, violation: Violation) {
        if self.framing.refused().is_none() {
            self.refuse(violation);
        }
    }

    /// Reads more of an incomplete head.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut piece = [0u8; PIECE];
        let mut buffer = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        if buffer.filled().is_empty() {
            self.left = Some(Left::WithinHead);
            return Poll::Ready(Ok(()));
        }
        self.inbox.extend_from_slice(buffer.filled());
        match self.framing.clear(&self.inbox) {
            Ok(count) => self.cleared = count,
            Err(violation) => self.found(violation),
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when every request is completely answered and all of that is out: hyper gives up what it is answering,
    /// and what it still has to write, at an end of the input.
    fn poll_answered(&mut self, cx: &Context<'_>) -> Poll<()> {
        ready!(self.shared.poll_answered(cx));
        self.waits = self.unflushed;
        if self.waits { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Ready when whoever sends no more has its answers, or takes nothing of them for too long.
    fn poll_left(&mut self, left: Left, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_answered(cx).is_pending() {
            ready!(self.reading.poll(Awaited::Answer, self.deadlines.half_closed, cx));
        }
        match left {
            Left::Between => self.ended = true,
            Left::WithinHead => self.refuse(Violation::CutOff),
        }
        Poll::Ready(())
    }

    /// Ends the input when the peer's time is up.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (awaited, patience) = match self.framing.is_between() {
            _ if self.framing.is_other() => return Poll::Pending,
            // Who waits for an answer owes nothing.
            true if self.shared.is_busy() => return Poll::Pending,
            true if !self.inbox.is_empty() => (Awaited::Head, self.deadlines.head),
            true => (Awaited::Request, self.deadlines.idle),
            false => (Awaited::Body, self.deadlines.stall),
        };
        ready!(self.reading.poll(awaited, patience, cx));
        match awaited {
            Awaited::Head | Awaited::Body => self.refuse(Violation::TooSlow),
            _ => self.ended = true,
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        loop {
            if wire.cleared > 0 {
                let count = wire.cleared.min(buffer.remaining());
                buffer.put_slice(wire.inbox.get(..count).unwrap_or_default());
                wire.inbox.drain(..count);
                wire.cleared -= count;
                if wire.inbox.is_empty() {
                    wire.inbox = Vec::new(); // heads come rarely in pieces, so nothing is kept
                }
                return Poll::Ready(Ok(()));
            }
            if wire.ended {
                return Poll::Ready(Ok(()));
            }
            if let Some(violation) = wire.framing.refused() {
                ready!(wire.poll_answered(cx));
                wire.refuse(violation);
                return Poll::Ready(Ok(()));
            }
            if let Some(left) = wire.left {
                ready!(wire.poll_left(left, cx));
                return Poll::Ready(Ok(()));
            }
            let read = match wire.inbox.is_empty() {
                true => wire.poll_direct(cx, buffer),
                false => wire.poll_more(cx).map_ok(|()| false),
            };
            match read {
                Poll::Ready(Ok(true)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(false)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => ready!(wire.poll_deadline(cx)),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Resets + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        wire.before_writing()?;
        let written = Pin::new(&mut wire.stream).poll_write(cx, bytes);
        wire.wrote(written, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        wire.before_writing()?;
        let written = Pin::new(&mut wire.stream).poll_write_vectored(cx, slices);
        wire.wrote(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let flushed = Pin::new(&mut wire.stream).poll_flush(cx);
        if flushed.is_ready() {
            wire.unflushed = false;
            if std::mem::take(&mut wire.waits) {
                cx.waker().wake_by_ref(); // hyper does not read once more by itself
            }
        }
        wire.written(flushed, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        // Hyper does this once all is out, and never where an answer was cut.
        if std::mem::take(&mut wire.resets) {
            wire.stream.resets(false)?;
        }
        if !matches!(wire.parting, Parting::Done)
            && wire.writing.poll(Awaited::Close, wire.deadlines.linger, cx).is_ready()
        {
            wire.parting = Parting::Done;
        }
        wire.poll_part(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Resets + Unpin> Wire<S> {
    /// What has no other end than the connection's must not look whole where it is cut, whoever cuts it.
    fn before_writing(&mut self) -> io::Result<()> {
        if !self.resets && self.shared.ends_by_closing() {
            self.stream.resets(true)?;
            self.resets = true;
        }
        Ok(())
    }

    fn wrote(
        &mut self,
        written: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.unflushed = true;
        if written.is_ready() && self.left.is_some() {
            self.reading.armed = None;
        }
        self.written(written, cx)
    }

    /// Gives up on a peer that takes nothing of its answer for too long.
    fn written<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() || self.shared.has_switched() {
            // Hyper flushes before each look at whether the connection is closed, which has a deadline of its own.
            if self.writing.armed == Some(Awaited::Reader) {
                self.writing.armed = None;
            }
            return written;
        }
        ready!(self.writing.poll(Awaited::Reader, self.deadlines.stall, cx));
        let reason = "the peer takes no bytes of its answer";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, reason)))
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let complete = self.framing.is_between() && self.inbox.is_empty();
        let swallows = !complete || self.shared.violation().is_some();
        self.parting.poll(&mut self.stream, swallows, cx)
    }
}

impl Timer {
    /// Ready when this has been awaited for so long.
    fn poll(&mut self, awaited: Awaited, patience: Duration, cx: &mut Context<'_>) -> Poll<()> {
        if self.armed != Some(awaited) {
            self.armed = Some(awaited);
            match &mut self.sleep {
                Some(sleep) => sleep.as_mut().reset(Instant::now() + patience),
                None => self.sleep = Some(Box::pin(sleep(patience))),
            }
        }
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }
}

// A head has to fit where hyper puts it, or hyper would answer in its own way.
const _: () = assert!(MAX_HEAD < crate::limits::MAX_BUFFER);
