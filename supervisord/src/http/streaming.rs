//! Bodies that are made while they are sent. Nothing is made before the peer has room for it, and
//! what makes them is dropped the moment the peer is gone.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use hyper::body::Frame;
use supervisor_api::OutputChunk;

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
