//! What the proxy asks of credentials.
//!
//! For each request that the policy has allowed and whose bytes we see, in this order:
//! 1. If [`Credentials::body_to_digest`] gives a number, collect the body up to it and say its digest
//!    in [`Wanted::body`]; a longer body is refused.
//! 2. [`Credentials::prepare`], with hop-by-hop fields already removed and the target in origin form.
//!    Always: also a request that gets no credential is looked through for placeholders and decoys.
//! 3. [`Prepared::outbound`] around the request's body.
//! 4. Send. If the answer is 401 and there was no body (or it is still at hand),
//!    [`Credentials::renew`] gives the head for one more attempt; the first response is dropped.
//! 5. [`Prepared::screen`] on the response's head, then [`Prepared::inbound`] around its body, or
//!    [`Prepared::stream`] over the bytes of an upgraded connection.
//!
//! A head that was prepared holds secrets: its fields are marked, so that printing one shows none, but
//! its target may have one in the query and is not to be logged.
//!
//! A redirect is a response like any other: what the payload sends next is decided anew.

use std::future::Future;
use std::pin::Pin;

use http::request::Parts;

use super::place::Binding;
use super::prepared::Prepared;
use super::refusal::CredentialRefusal;
use crate::seam::Identity;

/// A future behind a pointer, so that the trait can be an object.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A request that the policy has allowed.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Whose it is. Placeholders are bound to the session.
    pub whose: &'a Identity,
    /// The host that was decided on: a lower-case name or an address in its canonical spelling.
    pub host: &'a str,
    /// The port that will be dialled.
    pub port: u16,
    /// Whether it goes out over TLS whose certificate is verified.
    pub encrypted: bool,
    /// The bindings that the policy has for this very request: host, port, method and path match.
    pub bindings: &'a [Binding],
    /// What is known about the body.
    pub body: BodyDigest,
}

/// What is known about a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyDigest {
    /// There is none.
    Empty,
    /// It will be streamed.
    Unknown,
    /// SHA-256 of all of it.
    Sha256([u8; 32]),
}

/// Puts credentials into requests.
pub trait Credentials: Send + Sync {
    /// Bytes of the body that must be read before the request can be prepared, at the most, because a
    /// signature covers them. `None` for nearly all requests.
    fn body_to_digest(&self, bindings: &[Binding], head: &Parts) -> Option<usize>;

    /// Refuses a host whose name would carry away what must not leave, before anybody is asked where it is. Of
    /// requests [`Credentials::prepare`] does so; this is for what is passed on unseen.
    ///
    /// # Errors
    /// The name must not be looked up.
    fn look_at_host(&self, host: &str) -> Result<(), CredentialRefusal>;

    /// Puts the bound credentials into a request's head, and refuses what must not leave. May wait for
    /// a token to be fetched. The head is unusable after a refusal.
    ///
    /// # Errors
    /// The request must not be sent; the refusal says why.
    fn prepare<'a>(
        &'a self,
        wanted: &'a Wanted<'a>,
        head: &'a mut Parts,
    ) -> Pending<'a, Result<Prepared, CredentialRefusal>>;

    /// After a 401: the same request with a newer value, if there is one to be had. Once; what this
    /// gives can't be renewed again.
    ///
    /// # Errors
    /// As for [`Credentials::prepare`]; the response at hand is then not passed on either.
    fn renew<'a>(
        &'a self,
        wanted: &'a Wanted<'a>,
        prepared: &'a Prepared,
    ) -> Pending<'a, Result<Option<(Parts, Prepared)>, CredentialRefusal>>;
}
