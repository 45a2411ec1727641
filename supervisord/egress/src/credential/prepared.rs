//! A request that has been prepared: which credentials are in it, and what is to be watched for.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use http::header;
use http::request;
use http::response;
use hyper::body::Body;
use hyper::ext::ReasonPhrase;

use super::name::CredentialName;
use super::outbound::{Outbound, OutboundFrames, Unwelcome};
use super::refusal::{CredentialRefusal, RefusalCode};
use super::watch::{Frames, Watched, Watches, seen_in, seen_in_fields};

/// A prepared request.
#[derive(Debug)]
pub struct Prepared {
    /// The credentials in it, each with the number of its value.
    pub(super) injected: Vec<(CredentialName, u64)>,
    /// What the response is searched for: what it carries, and what else is ever sent there.
    pub(super) watches: Watches,
    /// Credentials that the request doesn't carry and an earlier one may have.
    pub(super) suspects: Vec<CredentialName>,
    /// Whether the response was asked for in a form that can be searched, so that another is refused.
    pub(super) is_readable: bool,
    /// The head as it was, if a newer value can be had after a 401.
    pub(super) original: Option<Box<request::Parts>>,
    pub(super) unwelcome: Arc<Unwelcome>,
}

impl Prepared {
    /// The credentials that the request carries.
    pub fn credentials(&self) -> impl Iterator<Item = &CredentialName> {
        self.injected.iter().map(|(name, _)| name)
    }

    /// Whether the response is searched for anything.
    pub fn is_watched(&self) -> bool {
        !self.watches.is_empty()
    }

    /// Whether [`Credentials::renew`](super::Credentials::renew) may have something newer after a 401.
    pub fn is_renewable(&self) -> bool {
        self.original.is_some()
    }

    /// The request's body, looked through for decoys and for placeholders that are not welcome at its
    /// destination. It ends in an error where one is, and somebody is told why.
    pub fn outbound<B>(
        &self,
        body: B,
        told: impl Fn(&CredentialRefusal) + Send + Sync + 'static,
    ) -> Outbound<B> {
        Outbound::new(body, self.unwelcome.clone(), move |refusal| {
            told(&refusal);
            refusal.into()
        })
    }

    /// Looks at a response's head and takes from it what is a credential itself: cookies that were set
    /// for a request that carried one.
    ///
    /// # Errors
    /// The head repeats a secret, or the body is compressed so that nobody can tell. The response must
    /// not be passed on.
    pub fn screen(&self, head: &mut response::Parts) -> Result<(), CredentialRefusal> {
        if self.watches.is_empty() {
            return Ok(());
        }
        let mut watches = self.watches.clone();
        watches.renew();
        let reason = head.extensions.get::<ReasonPhrase>();
        let in_reason = reason.is_some_and(|reason| seen_in(watches.all(), reason.as_bytes()));
        if in_reason || seen_in_fields(watches.all(), &head.headers) {
            return Err(self.reflected("head"));
        }
        let codings = head.headers.get_all(header::CONTENT_ENCODING);
        let plain = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
        if self.is_readable && !codings.iter().all(plain) {
            return Err(self.compressed());
        }
        if !self.injected.is_empty() {
            head.headers.remove(header::SET_COOKIE);
        }
        Ok(())
    }

    /// The response's body, which ends in an error where it would repeat a secret, and somebody is told.
    pub fn inbound<B>(
        &self,
        body: B,
        told: impl Fn(&CredentialRefusal) + Send + Sync + 'static,
    ) -> Watched<B>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let refusal = self.reflected("body");
        Watched::new(body, self.watches.clone(), move || {
            told(&refusal);
            Box::<dyn Error + Send + Sync>::from(refusal.clone())
        })
    }

    /// Whether what leaves is searched for something that may have been compressed.
    pub fn has_decoys(&self) -> bool {
        !self.unwelcome.canaries.is_empty()
    }

    /// A look at what leaves on a connection that has become a WebSocket. Where it sees what must not leave,
    /// the connection ends for the reason that it gives.
    pub fn outbound_stream(&self) -> OutboundFrames {
        OutboundFrames::new(self.unwelcome.clone())
    }

    /// A watch over what comes from the upstream on a connection that has become a WebSocket. Where it sees
    /// a secret, the connection ends and [`Prepared::stream_reflected`] says why.
    pub fn stream(&self) -> Frames {
        Frames::new(self.watches.clone())
    }

    /// Why an upgraded connection ends that repeats a secret.
    pub fn stream_reflected(&self) -> CredentialRefusal {
        self.reflected("upgraded connection")
    }

    fn reflected(&self, what: &str) -> CredentialRefusal {
        CredentialRefusal::new(
            RefusalCode::Reflected,
            self.credentials().chain(&self.suspects).next(),
            format!("the {what} of the response repeats a credential that was sent there"),
            "Ask for something that doesn't echo requests; the response can't be passed on.",
        )
    }

    fn compressed(&self) -> CredentialRefusal {
        CredentialRefusal::new(
            RefusalCode::Compressed,
            self.credentials().chain(&self.suspects).next(),
            "the upstream compressed its response although Accept-Encoding said identity, so it can't \
             be searched for the credentials that are sent there",
            "Ask for a resource that the upstream delivers uncompressed.",
        )
    }
}
