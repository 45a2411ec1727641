//! Bodies as they stream through: counted, bounded, never collected. A body that stops moving ends.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};

use super::violation::Violation;
use super::wire::Unanswered;
use super::{fields, trailers};
use crate::credential::Watched;
use crate::event;
use crate::limits::MAX_TRAILERS;
use crate::refused::Refused;
use crate::relay::Meter;
use crate::session::Session;
use crate::shared::Place;
use crate::upstream::Lease;

pub type Failure = Box<dyn Error + Send + Sync>;

/// Why a request body was cut short, for the answer to say so.
pub type Fault = Arc<OnceLock<Refused>>;

/// Ends a body that doesn't move. The timer exists only while the body is waited for.
struct Stall {
    patience: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

/// A request body on its way to the upstream.
pub struct Sending {
    inner: Incoming,
    meter: Arc<Meter>,
    left: u64,
    stall: Stall,
    fault: Fault,
}

/// A response body on its way to the payload, with everything that is done when it ends.
pub struct Receiving {
    inner: Received,
    stall: Stall,
    exchange: Exchange,
}

/// What a response body reads from.
pub enum Received {
    /// The upstream, as it is.
    Plain(Incoming),
    /// The upstream, watched for credentials that come back.
    Watched(Box<Watched<Incoming>>),
}

/// One request that was allowed, from its decision to the end of its answer.
pub struct Exchange {
    /// Whose it is.
    pub session: Arc<Session>,
    /// The number of its decision.
    pub number: u64,
    /// What it moves.
    pub meter: Arc<Meter>,
    /// The status of the answer.
    pub status: Option<StatusCode>,
    /// Its connection, to be given back at its end.
    pub lease: Option<Lease>,
    /// How it ended, for the record.
    pub how: &'static str,
    /// What went wrong, where it did and no other record says it.
    pub failure: Option<event::Failure>,
    /// The connection's bytes moved, so that a stalled one is found.
    pub progress: Arc<AtomicU64>,
    /// Its connection's place, which a WebSocket keeps.
    pub _place: Place,
    /// Its room in memory.
    pub _room: OwnedSemaphorePermit,
    /// It is being answered until this is dropped.
    pub _unanswered: Unanswered,
}

/// The body of an answer.
pub enum Answer {
    /// What we say ourselves.
    Own(Own),
    /// What the upstream says.
    Passed(Box<Receiving>),
}

/// An answer of our own; its request is being answered until this is dropped.
pub struct Own {
    bytes: Option<Bytes>,
    _unanswered: Option<Unanswered>,
}

impl Answer {
    /// An answer of our own to a request.
    pub fn own(bytes: Bytes, unanswered: Unanswered) -> Self {
        let bytes = Some(bytes).filter(|bytes| !bytes.is_empty());
        Self::Own(Own { bytes, _unanswered: Some(unanswered) })
    }

    /// Nothing, because the connection is not HTTP any more.
    pub fn nothing() -> Self {
        Self::Own(Own { bytes: None, _unanswered: None })
    }
}

impl Stall {
    fn new(patience: Duration) -> Self {
        Self { patience, sleep: None }
    }

    fn moved(&mut self) {
        self.sleep = None;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let patience = self.patience;
        self.sleep.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(cx)
    }
}

impl Sending {
    /// A body that may have so many bytes.
    pub fn new(
        inner: Incoming,
        meter: Arc<Meter>,
        most: u64,
        patience: Duration,
        fault: Fault,
    ) -> Self {
        Self { inner, meter, left: most, stall: Stall::new(patience), fault }
    }

    fn cut(&self, refused: Refused) -> Failure {
        let failure = Box::new(refused.clone());
        // The first cause is the one; a body that was cut isn't read further.
        drop(self.fault.set(refused));
        failure
    }

    fn check(&mut self, frame: &Frame<Bytes>) -> Result<(), Refused> {
        if let Some(trailers) = frame.trailers_ref() {
            trailers::check(trailers)?;
        }
        let length = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => {
                let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
                self.left = self.left.checked_sub(length).ok_or_else(body_too_large)?;
                data.len()
            }
            (None, Some(trailers)) if fields::size(trailers) > MAX_TRAILERS => {
                return Err(body_too_large());
            }
            (None, Some(trailers)) => fields::size(trailers),
            (None, None) => 0,
        };
        self.meter.send(length).map_err(Refused::from)
    }
}

/// What is wrong with a body that can't be read on: it is the payload's, and no upstream is at fault.
fn unreadable(error: &hyper::Error) -> Violation {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    if cause.is_some_and(|cause| cause.kind() == io::ErrorKind::UnexpectedEof) {
        return Violation::CutOff;
    }
    Violation::Malformed("the request's body, or the fields behind it, can't be read")
}

impl Body for Sending {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.stall.moved();
                Poll::Ready(Some(match this.check(&frame) {
                    Ok(()) => Ok(frame),
                    Err(refused) => Err(this.cut(refused)),
                }))
            }
            Poll::Ready(Some(Err(error))) => {
                Poll::Ready(Some(Err(this.cut(unreadable(&error).into()))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => match this.stall.poll(cx) {
                Poll::Ready(()) => Poll::Ready(Some(Err(this.cut(stalled())))),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Receiving {
    /// A body that belongs to this exchange.
    pub fn new(inner: Received, exchange: Exchange, patience: Duration) -> Self {
        let mut body = Self { inner, stall: Stall::new(patience), exchange };
        if body.is_end_stream() {
            body.exchange.finish();
        }
        body
    }
}

impl Body for Receiving {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        let polled = match &mut this.inner {
            Received::Plain(body) => Pin::new(body).poll_frame(cx).map_err(Failure::from),
            Received::Watched(body) => Pin::new(body.as_mut()).poll_frame(cx),
        };
        match polled {
            Poll::Ready(Some(Ok(mut frame))) => {
                this.stall.moved();
                if let Some(trailers) = frame.trailers_mut() {
                    fields::strip_trailers(trailers);
                }
                let length = match (frame.data_ref(), frame.trailers_ref()) {
                    (Some(data), _) => data.len(),
                    (None, Some(trailers)) => fields::size(trailers),
                    (None, None) => 0,
                };
                this.exchange.progress.fetch_add(1, Ordering::Relaxed);
                if let Err(overdrawn) = this.exchange.meter.receive(length) {
                    this.exchange.how = overdrawn.lack.code();
                    this.exchange.failure = Some(event::Failure::overspent(&overdrawn));
                    return Poll::Ready(Some(Err(overdrawn.into())));
                }
                // Some readers never ask for the end of a body whose length they know.
                if this.is_end_stream() {
                    this.exchange.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                let reflected = matches!(&this.inner, Received::Watched(_))
                    && error.downcast_ref::<hyper::Error>().is_none();
                this.exchange.how =
                    if reflected { "credential_reflected" } else { "upstream_broke_off" };
                if !reflected {
                    let cause = "the upstream broke off in its answer";
                    this.exchange.failure = Some(event::Failure::of_upstream(cause));
                }
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => {
                this.exchange.finish();
                Poll::Ready(None)
            }
            Poll::Pending => match this.stall.poll(cx) {
                Poll::Ready(()) => {
                    this.exchange.how = "stalled";
                    let cause = "the upstream stopped in its answer";
                    this.exchange.failure = Some(event::Failure::of_upstream(cause));
                    Poll::Ready(Some(Err("the upstream stopped in its answer".into())))
                }
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Received::Plain(body) => body.is_end_stream(),
            Received::Watched(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Received::Plain(body) => body.size_hint(),
            Received::Watched(body) => body.size_hint(),
        }
    }
}

impl Exchange {
    /// Ends it in this way.
    pub fn end(mut self, how: &'static str) {
        self.how = how;
    }

    /// The answer was read to its end, so its connection can serve again.
    fn finish(&mut self) {
        (self.how, self.failure) = ("done", None);
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let how = (self.how, self.failure.take());
        self.session.ended_by(self.number, self.status, &self.meter, how);
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        match &mut *self {
            Self::Own(own) => Poll::Ready(own.bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Passed(body) => Pin::new(body.as_mut()).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(own) => own.bytes.is_none(),
            Self::Passed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(own) => {
                let length = own.bytes.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Self::Passed(body) => body.size_hint(),
        }
    }
}

/// The refusal of a body past its bound.
pub fn body_too_large() -> Refused {
    Refused::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "http_request_denied",
        "body_too_large",
        "the request body is larger than the rule allows",
        "Send less at once, or ask for a rule with a larger max_body.",
    )
}

fn stalled() -> Refused {
    Refused::new(
        StatusCode::REQUEST_TIMEOUT,
        "http_request_error",
        "body_timeout",
        "the request body did not arrive in time",
        "Send the body without long pauses.",
    )
}
