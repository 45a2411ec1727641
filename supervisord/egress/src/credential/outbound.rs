//! A request body that ends where a decoy or a strange placeholder would leave.

mod frames;

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::placeholder::{Placeholder, Search};
use super::refusal::{CredentialRefusal, RefusalCode};
use super::watch::{Watch, Watcher};

pub use frames::OutboundFrames;

type Failure = Box<dyn Error + Send + Sync>;

/// What must not leave in one request.
#[derive(Debug, Default)]
pub struct Unwelcome {
    /// The decoys.
    pub canaries: Vec<Arc<Watch>>,
    /// Placeholders that may: those of credentials that are bound to the destination.
    pub welcome: Vec<Placeholder>,
}

/// A body under watch. Nothing is held back: neither a decoy nor a placeholder is worth anything to
/// whoever gets a part of it.
pub struct Outbound<B> {
    inner: B,
    unwelcome: Arc<Unwelcome>,
    canaries: Watcher,
    placeholders: Search,
    refuse: Box<dyn Fn(CredentialRefusal) -> Failure + Send + Sync>,
    ended: bool,
}

impl Unwelcome {
    /// Looks through a part of a request's head.
    pub fn look(&self, text: &[u8]) -> Result<(), CredentialRefusal> {
        let mut canaries = Watcher::new(self.canaries.clone());
        self.look_further(text, &mut canaries, &mut Search::default())
    }

    fn look_further(
        &self,
        bytes: &[u8],
        canaries: &mut Watcher,
        placeholders: &mut Search,
    ) -> Result<(), CredentialRefusal> {
        if canaries.examine(bytes).is_err() {
            return Err(CredentialRefusal::new(
                RefusalCode::Canary,
                None,
                "the request carries a decoy",
                "Use no credentials but those that this session was given; a person has been told.",
            ));
        }
        match placeholders.find(bytes, &self.welcome) {
            None => Ok(()),
            Some(_) => Err(CredentialRefusal::new(
                RefusalCode::PlaceholderMisplaced,
                None,
                "the request carries a placeholder to where the policy doesn't bind its credential",
                "Send a placeholder only to the hosts, methods and paths that its binding names.",
            )),
        }
    }
}

impl<B> Outbound<B> {
    pub(super) fn new(
        inner: B,
        unwelcome: Arc<Unwelcome>,
        refuse: impl Fn(CredentialRefusal) -> Failure + Send + Sync + 'static,
    ) -> Self {
        let canaries = Watcher::new(unwelcome.canaries.clone());
        let (placeholders, refuse) = (Search::default(), Box::new(refuse));
        Self { inner, unwelcome, canaries, placeholders, refuse, ended: false }
    }
}

impl<B> Body for Outbound<B>
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
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        let frame = match ready!(Pin::new(&mut this.inner).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            None => return Poll::Ready(None),
        };
        let looked = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => {
                let unwelcome = &this.unwelcome;
                unwelcome.look_further(data, &mut this.canaries, &mut this.placeholders)
            }
            (None, Some(fields)) => fields.iter().try_for_each(|(name, value)| {
                this.unwelcome.look(name.as_str().as_bytes())?;
                this.unwelcome.look(value.as_bytes())
            }),
            (None, None) => Ok(()),
        };
        Poll::Ready(Some(match looked {
            Ok(()) => Ok(frame),
            Err(refusal) => {
                this.ended = true;
                Err((this.refuse)(refusal))
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
