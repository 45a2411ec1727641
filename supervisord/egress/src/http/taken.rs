//! Whether a payload takes its answers on a connection that has many: the stream of one that it leaves is
//! reset, and what the answer holds is given up. On HTTP/1.1 the bytes have that deadline (`wire`); here a
//! window that the payload keeps shut stops one answer and nothing else, and nobody asks its body for more.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use tokio::time::{Instant, sleep, sleep_until};

use super::body::{Answer, Failure};
use crate::limits::Limits;
use crate::session::Session;

tokio::task_local! {
    /// The reader of the stream whose future runs.
    static READER: Arc<Reader>;
}

/// Runs the streams of one payload's connection, each until it is answered or its answer is left lying.
#[derive(Clone)]
pub struct Streams(pub Arc<Session>);

/// Until when a payload has to have taken what there is of an answer.
#[derive(Debug, Default)]
struct Reader {
    until: Mutex<Option<Instant>>,
}

/// An answer's body, which says when more of it is asked for.
pub struct Taken {
    answer: Answer,
    reader: Option<Arc<Reader>>,
    stall: Duration,
    pause: Duration,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, future: F) {
        let stall = self.0.shared.limits.stall;
        let reader = Arc::new(Reader::default());
        let left = reader.clone();
        self.0.running.spawn(READER.scope(reader, async move {
            tokio::select! {
                biased;
                () = future => {}
                () = left.is_late(stall) => tracing::debug!("an answer that is not taken was reset"),
            }
        }));
    }
}

impl Reader {
    fn has_until(&self, until: Instant) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// Ready when its time is up.
    async fn is_late(&self, stall: Duration) {
        loop {
            let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
            match until {
                // There is no answer yet.
                None => sleep(stall).await,
                Some(until) if until <= Instant::now() => return,
                Some(until) => sleep_until(until).await,
            }
        }
    }
}

impl Taken {
    /// The answer of the stream whose future runs.
    pub fn new(answer: Answer, limits: &Limits) -> Self {
        let (stall, pause) = (limits.stall, limits.pause);
        let taken = Self { answer, reader: READER.try_with(Arc::clone).ok(), stall, pause };
        taken.is_due(stall);
        taken
    }

    fn is_due(&self, after: Duration) {
        if let Some(reader) = &self.reader {
            reader.has_until(Instant::now() + after);
        }
    }
}

impl Body for Taken {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let polled = Pin::new(&mut self.answer).poll_frame(cx);
        // An upstream that is waited for has its own deadline, at which this is asked once more.
        let after = if polled.is_pending() { self.pause + self.stall } else { self.stall };
        self.is_due(after);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.answer.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.answer.size_hint()
    }
}
