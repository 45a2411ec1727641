//! Connections that become WebSockets. The request is decided like any other; after the upstream has
//! agreed, bytes are passed on.

use http::header::{CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_EXTENSIONS, UPGRADE};
use http::{Request, response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::body::Exchange;
use super::{fields, upgrade};
use crate::credential::{CredentialRefusal, Prepared};
use crate::event::{CredentialEvent, Failure};
use crate::relay::{Ended, relay_copied};
use crate::upstream::UpstreamError;

/// A request that wants to become a WebSocket.
pub struct WebSocket {
    client: OnUpgrade,
}

/// What is passed on once the upstream has agreed, and what is known of its request.
pub struct Relayed {
    /// What is looked for, both ways.
    pub prepared: Prepared,
    /// What is recorded of it where it is ended for what was seen.
    pub event: CredentialEvent,
    /// The upstream's side.
    pub upstream: OnUpgrade,
}

impl WebSocket {
    /// The payload's side of it.
    pub fn of<B>(request: &mut Request<B>) -> Self {
        Self { client: hyper::upgrade::on(request) }
    }

    /// Puts the wish into the request that goes out. Where something is looked for nothing may be
    /// compressed, or nobody could see whether a credential comes back or a decoy leaves.
    pub fn ask(&self, fields: &mut HeaderMap, watched: bool) {
        fields.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
        if watched {
            fields.remove(SEC_WEBSOCKET_EXTENSIONS);
        }
    }

    /// Checks the upstream's consent and makes it ours.
    ///
    /// # Errors
    ///
    /// When it consents to something else.
    pub fn check(&self, head: &mut response::Parts) -> Result<(), UpstreamError> {
        let protocols = head.headers.get_all(UPGRADE).iter();
        if !upgrade::is_websocket(protocols.map(|value| value.as_bytes())) {
            return Err(UpstreamError::Ambiguous("it switches to another protocol"));
        }
        fields::strip_response(&mut head.headers);
        head.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        head.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        Ok(())
    }

    /// Passes bytes both ways until one side ends.
    pub fn relay(self, mut exchange: Exchange, relayed: Relayed) {
        let Relayed { prepared, event, upstream } = relayed;
        let session = exchange.session.clone();
        let patience = session.shared.limits.idle;
        session.running.spawn(async move {
            let (client, upstream) = match tokio::try_join!(self.client, upstream) {
                Ok(both) => both,
                Err(error) => {
                    tracing::debug!(%error, "a WebSocket did not come about");
                    return;
                }
            };
            let (client, upstream) = (TokioIo::new(client), TokioIo::new(upstream));
            let (out, back) = (prepared.outbound_stream(), prepared.stream());
            let meter = exchange.meter.clone();
            let how = match relay_copied(client, upstream, &meter, (out, back), patience).await {
                Ended::Done => "done",
                Ended::Idle => "idle",
                Ended::Overdrawn(lack) => {
                    exchange.failure = Some(Failure::used_up());
                    lack.code()
                }
                Ended::Broken => "cut_off",
                Ended::Reflected => refused(&exchange, &event, &prepared.stream_reflected()),
                Ended::Leaking(refusal) => refused(&exchange, &event, &refusal),
            };
            exchange.end(how);
        });
    }
}

/// Records why a WebSocket is ended for what was seen on it; the code of that.
fn refused(
    exchange: &Exchange,
    event: &CredentialEvent,
    refusal: &CredentialRefusal,
) -> &'static str {
    exchange.session.credential(event.refused(refusal));
    refusal.code.as_str()
}
