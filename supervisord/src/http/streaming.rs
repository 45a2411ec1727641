//! Bodies that are made while they are sent. Nothing is made before the peer has room for it, and
//! what makes them is dropped the moment the peer is gone.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use supervisor_api::OutputChunk;
use tokio::task::AbortHandle;

use super::operations::{Chunks, Follow};

type Turn<S> = Pin<Box<dyn Future<Output = io::Result<Option<(Bytes, S)>>> + Send>>;

/// A body whose every piece comes out of a state and leaves the next one.
struct Unfolding<S, F> {
    step: F,
    /// What makes the next piece; `None` after the last.
    turn: Option<Turn<S>>,
}

impl<S, F> hyper::body::Body for Unfolding<S, F>
where
    F: Fn(S) -> Turn<S> + Unpin,
{
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let body = self.get_mut();
        let Some(turn) = &mut body.turn else {
            return Poll::Ready(None);
        };
        let result = ready!(turn.as_mut().poll(cx));
        body.turn = None;
        Poll::Ready(match result {
            Ok(None) => None,
            Ok(Some((piece, state))) => {
                body.turn = Some((body.step)(state));
                Some(Ok(Frame::data(piece)))
            }
            Err(error) => {
                // The peer sees a body without its end; only here is it known why.
                tracing::warn!(%error, "an answer was cut off");
                Some(Err(error))
            }
        })
    }
}

/// A body that begins with `state` and goes on until `step` gives nothing more.
pub fn unfold<S, F, T>(state: S, step: F) -> Body
where
    S: Send + 'static,
    F: Fn(S) -> T + Clone + Send + Unpin + 'static,
    T: Future<Output = io::Result<Option<(Bytes, S)>>> + Send + 'static,
{
    let step = move |state| -> Turn<S> { Box::pin(step(state)) };
    let turn = Some(step(state));
    Body::new(Unfolding { step, turn })
}

/// A body that can be taken away from whoever sends it.
struct Lent {
    held: Arc<Mutex<Held>>,
    watch: AbortHandle,
}

struct Held {
    body: Option<Body>,
    /// Who waits for its next piece.
    waker: Option<Waker>,
}

impl hyper::body::Body for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(body) = &mut held.body else {
            return Poll::Ready(Some(Err(axum::Error::new("what it is of is gone"))));
        };
        let polled = Pin::new(body).poll_frame(cx);
        held.waker = polled.is_pending().then(|| cx.waker().clone());
        polled
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.body.as_ref().map(hyper::body::Body::size_hint).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// The same body, which breaks off when this happens. What it is made from is dropped at once then, also where
/// the peer takes nothing of it for as long as it may.
pub fn until(body: Body, end: impl Future<Output = ()> + Send + 'static) -> Body {
    let held = Arc::new(Mutex::new(Held { body: Some(body), waker: None }));
    let watched = held.clone();
    let watch = tokio::spawn(async move {
        end.await;
        let mut held = watched.lock().unwrap_or_else(PoisonError::into_inner);
        let (body, waker) = (held.body.take(), held.waker.take());
        drop(held);
        drop(body);
        waker.into_iter().for_each(Waker::wake);
    });
    Body::new(Lent { held, watch: watch.abort_handle() })
}

/// The bytes of one stream, as they are.
pub fn raw(chunks: impl Chunks) -> Body {
    output(chunks, |chunk| Ok(chunk.data.0))
}

/// Both streams, one [`OutputChunk`] a line.
pub fn lines(chunks: impl Chunks) -> Body {
    output(chunks, |chunk| {
        let mut line = serde_json::to_vec(&chunk).map_err(io::Error::other)?;
        line.push(b'\n');
        Ok(line)
    })
}

/// What changes, one change a line.
pub fn changes(changes: impl Follow) -> Body {
    unfold(changes, |mut changes| async move {
        let Some(change) = changes.next().await else { return Ok(None) };
        let mut line = serde_json::to_vec(&change).map_err(io::Error::other)?;
        line.push(b'\n');
        Ok(Some((Bytes::from(line), changes)))
    })
}

fn output(chunks: impl Chunks, form: fn(OutputChunk) -> io::Result<Vec<u8>>) -> Body {
    unfold(chunks, move |mut chunks| async move {
        match chunks.next().await? {
            Some(chunk) => Ok(Some((Bytes::from(form(chunk)?), chunks))),
            None => Ok(None),
        }
    })
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tokio::sync::oneshot;

    use super::*;

    /// Pieces without end, each of which takes a word; tells when it is dropped.
    fn pieces(words: tokio::sync::mpsc::Receiver<()>, held: Arc<()>) -> Body {
        unfold((words, held), |(mut words, held)| async move {
            Ok(words.recv().await.map(|()| (Bytes::from_static(b"piece"), (words, held))))
        })
    }

    #[tokio::test]
    async fn a_body_that_nobody_takes_lets_go_of_what_it_is_made_from() {
        let (_words, incoming) = tokio::sync::mpsc::channel(1);
        let (held, (end, ends)) = (Arc::new(()), oneshot::channel::<()>());
        let mut body = until(pieces(incoming, held.clone()), async { drop(ends.await) });
        end.send(()).unwrap();
        while Arc::strong_count(&held) > 1 {
            tokio::task::yield_now().await;
        }
        assert!(body.frame().await.expect("not its end").is_err());
    }

    #[tokio::test]
    async fn a_body_that_is_waited_for_breaks_off_at_once() {
        let (words, incoming) = tokio::sync::mpsc::channel(1);
        let (end, ends) = oneshot::channel::<()>();
        let mut body = until(pieces(incoming, Arc::default()), async { drop(ends.await) });
        words.send(()).await.unwrap();
        assert!(body.frame().await.expect("a piece").is_ok());
        let taken = tokio::spawn(async move { body.frame().await });
        tokio::task::yield_now().await; // it waits for the next
        end.send(()).unwrap();
        assert!(taken.await.unwrap().expect("not its end").is_err());
    }

    #[tokio::test]
    async fn a_body_that_ends_by_itself_is_whole() {
        let (words, incoming) = tokio::sync::mpsc::channel(1);
        words.send(()).await.unwrap();
        drop(words);
        let body = until(pieces(incoming, Arc::default()), std::future::pending());
        assert_eq!(body.collect().await.unwrap().to_bytes(), "piece");
    }
}
