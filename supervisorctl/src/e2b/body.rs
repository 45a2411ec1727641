//! Bodies of requests. What of one has not been read when its answer is there is read still, so that the connection
//! serves its next request: hyper would close it without a word, and a client that keeps connections would find the
//! request it sends next unanswered (RFC 9112, section 9.3).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderValue};
use tokio::sync::oneshot;
use tokio::time;

use super::answer::Reply;
use super::connect::MESSAGE_MAX;

/// How long the rest of a body that nobody wants may take: longer than a busy client needs, shorter than an answer is
/// waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The body of a request. Dropped, what has not been read of it goes back.
#[derive(Debug)]
pub struct Body {
    incoming: Option<Incoming>,
    back: Option<oneshot::Sender<Incoming>>,
}

/// What nobody has read of a body.
#[derive(Debug)]
pub struct Rest(oneshot::Receiver<Incoming>);

impl Body {
    /// A body, and what will be left of it.
    pub fn of(incoming: Incoming) -> (Self, Rest) {
        let (back, rest) = oneshot::channel();
        (Self { incoming: Some(incoming), back: Some(back) }, Rest(rest))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let polled = Pin::new(incoming).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.incoming = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let (Some(incoming), Some(back)) = (self.incoming.take(), self.back.take()) {
            // Nobody waits for it where its connection has ended.
            back.send(incoming).ok();
        }
    }
}

impl Rest {
    /// Reads what is left. Where that is too much or too slow, the answer says that the connection ends with it.
    pub async fn settle(mut self, mut reply: Reply) -> Reply {
        // What is read still, by whoever answers as it comes, isn't left.
        let Ok(left) = self.0.try_recv() else { return reply };
        let mut left = Limited::new(left, MESSAGE_MAX);
        let all = async {
            while let Some(piece) = left.frame().await {
                if piece.is_err() {
                    return false;
                }
            }
            true
        };
        if !time::timeout(PATIENCE, all).await.unwrap_or(false) {
            reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        reply
    }
}
