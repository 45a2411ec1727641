//! A request that may be sent.

use std::sync::Arc;

use http::Version;
use supervisor_policy::egress::{Destination, Permit, Protocol};

use super::super::seen::Seen;
use super::super::websocket::WebSocket;
use crate::credential::{Binding, CredentialRefusal, Prepared};
use crate::event::CredentialEvent;
use crate::relay::Meter;
use crate::session::Session;

/// A request that may be sent.
pub struct Permitted {
    pub number: u64,
    pub permit: Permit,
    pub destination: Destination,
    pub protocol: Protocol,
    pub meter: Arc<Meter>,
    pub websocket: Option<WebSocket>,
    /// The version of HTTP that the payload speaks; the upstream is offered the same.
    pub version: Version,
    pub bindings: Vec<Binding>,
    /// The body, where a person was asked about it.
    pub seen: Option<Seen>,
}

impl Permitted {
    /// Records that the request carries credentials.
    pub fn record_use(&self, session: &Session, prepared: &Prepared) {
        for credential in prepared.credentials() {
            let credential = Some(credential.to_string());
            session.credential(CredentialEvent { credential, ..self.event() });
        }
    }

    /// Records that the request, or its response, is refused on account of a credential.
    pub fn refuse(&self, session: &Session, refusal: &CredentialRefusal) {
        session.credential(self.event().refused(refusal));
    }

    /// What is recorded of the request on account of a credential.
    pub fn event(&self) -> CredentialEvent {
        CredentialEvent {
            number: self.number,
            credential: None,
            destination: self.destination.clone(),
            rule: self.permit.rule().to_string(),
            refusal: None,
        }
    }
}
