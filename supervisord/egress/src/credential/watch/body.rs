//! A response body that ends where it would repeat a secret.

use std::collections::VecDeque;
use std::error::Error;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::{Watcher, Watches, seen_in_fields};

type Failure = Box<dyn Error + Send + Sync>;

/// A body under watch. It needs no buffer of its own: what is held back is a part of the last chunk.
pub struct Watched<B> {
    inner: B,
    watches: Watches,
    watcher: Watcher,
    /// What becomes of a body that repeats a secret.
    seen: Box<dyn Fn() -> Failure + Send + Sync>,
    /// Trailers wait here while the last bytes go out.
    trailers: Option<Frame<Bytes>>,
    ended: bool,
    /// Whether it has repeated a secret.
    reflected: bool,
    /// What was read before any of it was asked for.
    ahead: VecDeque<Result<Frame<Bytes>, Failure>>,
}

impl<B> Watched<B> {
    /// This body, under these watches. `seen` is called once for a body that repeats a secret, and
    /// makes the error that it ends with.
    pub fn new(
        inner: B,
        watches: Watches,
        seen: impl Fn() -> Failure + Send + Sync + 'static,
    ) -> Self {
        let watcher = Watcher::new(watches.all().to_vec());
        Self {
            inner,
            watches,
            watcher,
            seen: Box::new(seen),
            trailers: None,
            ended: false,
            reflected: false,
            ahead: VecDeque::new(),
        }
    }

    /// What may pass of a frame; `None` if there is nothing yet.
    fn pass(&mut self, frame: Frame<Bytes>) -> Option<Result<Frame<Bytes>, Failure>> {
        if self.watches.renew() {
            self.watcher.search_for(self.watches.all());
        }
        let frame = match frame.into_data() {
            Ok(data) => {
                return match self.watcher.pass(data) {
                    Ok(bytes) if bytes.is_empty() => None,
                    Ok(bytes) => Some(Ok(Frame::data(bytes))),
                    Err(_) => Some(Err(self.cut())),
                };
            }
            Err(frame) => frame,
        };
        if frame.trailers_ref().is_some_and(|fields| seen_in_fields(self.watches.all(), fields)) {
            return Some(Err(self.cut()));
        }
        let last = self.watcher.finish();
        if last.is_empty() {
            return Some(Ok(frame));
        }
        self.trailers = Some(frame);
        Some(Ok(Frame::data(last)))
    }

    fn cut(&mut self) -> Failure {
        (self.ended, self.reflected) = (true, true);
        (self.seen)()
    }
}

impl<B> Watched<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Failure>,
{
    /// Reads all of a short body before any of it is passed on: one that repeats a secret can be refused
    /// in words. May be given up; what was read is kept.
    ///
    /// # Errors
    /// What the body that repeats a secret ends with.
    pub async fn look_ahead(&mut self) -> Result<(), Failure> {
        while let Some(frame) = poll_fn(|context| self.poll_next(context)).await {
            match frame {
                Err(failure) if self.reflected => return Err(failure),
                frame => self.ahead.push_back(frame),
            }
        }
        Ok(())
    }

    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        loop {
            if let Some(frame) = self.trailers.take() {
                return Poll::Ready(Some(Ok(frame)));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Some(passed) = self.pass(frame) {
                        return Poll::Ready(Some(passed));
                    }
                }
                Some(Err(error)) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(error.into())));
                }
                None => {
                    self.ended = true;
                    let last = self.watcher.finish();
                    if !last.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(last))));
                    }
                }
            }
        }
    }
}

impl<B> Body for Watched<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Failure>,
{
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        match self.ahead.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None => self.poll_next(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        let nothing_kept =
            self.watcher.held() == 0 && self.trailers.is_none() && self.ahead.is_empty();
        nothing_kept && (self.ended || self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.ahead.iter().filter_map(|frame| frame.as_ref().ok()?.data_ref());
        let read: usize = read.map(Bytes::len).sum();
        let (inner, held) = (self.inner.size_hint(), (self.watcher.held() + read) as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(held));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(held));
        }
        hint
    }
}
