//! HTTP on one upstream connection.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response, Uri, Version, header, uri};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};

use super::pool::Key;
use crate::http::trailers;
use crate::session::Session;

/// A request's body on its way out.
pub type OutgoingBody = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// Sends requests on one connection.
pub enum Sender {
    /// One at a time.
    Http1(http1::SendRequest<OutgoingBody>),
    /// Many at a time.
    Http2(http2::SendRequest<OutgoingBody>),
}

/// A connection that is in use for one request, and can be used for another afterwards.
pub struct Lease {
    pub(super) session: Arc<Session>,
    pub(super) key: Key,
    pub(super) sender: Sender,
    /// Whether it has been used before, so that its upstream may just be closing it.
    pub(super) used_before: bool,
}

/// A request that was not sent, or got no answer.
pub struct NotSent {
    /// Why.
    pub error: hyper::Error,
    /// The request, if not a byte of it was sent.
    pub request: Option<Request<OutgoingBody>>,
}

impl Sender {
    /// Whether it could take a request at once.
    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_ready(),
            Self::Http2(sender) => sender.is_ready(),
        }
    }
}

impl Lease {
    /// Whether the connection has been used before.
    pub fn used_before(&self) -> bool {
        self.used_before
    }

    /// Sends a request whose target is in origin form, in the form that the connection's version of
    /// HTTP wants it.
    ///
    /// # Errors
    ///
    /// [`NotSent`], with the request if it can be sent again on another connection.
    pub async fn send(
        &mut self,
        mut request: Request<OutgoingBody>,
    ) -> Result<Response<Incoming>, NotSent> {
        let sent = match &mut self.sender {
            Sender::Http1(sender) => {
                let mut request = trailers::frame(request);
                *request.version_mut() = Version::HTTP_11;
                let host = self.key.host_field();
                request.headers_mut().insert(header::HOST, host);
                sender.try_send_request(request).await
            }
            Sender::Http2(sender) => {
                *request.version_mut() = Version::HTTP_2;
                request.headers_mut().remove(header::HOST);
                let target = absolute(request.uri(), &self.key);
                *request.uri_mut() = target;
                sender.try_send_request(request).await
            }
        };
        sent.map_err(|mut failed| {
            let request = failed.take_message();
            NotSent { error: failed.into_error(), request }
        })
    }

    /// Keeps the connection for the next request, once its last response has been read to the end.
    pub fn give_back(self) {
        if let Sender::Http1(sender) = self.sender
            && !sender.is_closed()
        {
            let session = self.session.clone();
            session.upstreams.keep(self.key, sender, Instant::now());
        }
    }
}

/// HTTP/2's form of a target: scheme and authority besides (RFC 9113 §8.3.1).
fn absolute(target: &Uri, key: &Key) -> Uri {
    let mut parts = uri::Parts::default();
    parts.scheme = Some(if key.encrypted { uri::Scheme::HTTPS } else { uri::Scheme::HTTP });
    parts.authority = key.host_field().to_str().ok().and_then(|text| text.parse().ok());
    parts.path_and_query = target.path_and_query().cloned();
    Uri::from_parts(parts).unwrap_or_else(|_| target.clone())
}
