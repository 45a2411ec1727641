//! A request's body before it is sent, and what is needed to send it once more.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};

use super::body::{Fault, Sending};
use crate::credential::{CredentialRefusal, Outbound, Prepared};
use crate::event::CredentialEvent;
use crate::refused::Refused;
use crate::session::Session;
use crate::upstream::OutgoingBody;

/// What a body is looked through for as it leaves, and who is told.
pub struct Look<'a> {
    /// What must not leave.
    pub prepared: &'a Prepared,
    /// Whose request it is.
    pub session: &'a Arc<Session>,
    /// What is recorded of it where it is refused.
    pub event: CredentialEvent,
    /// Why the body ended, for its answer.
    pub fault: &'a Fault,
}

/// A body, and what there is to know of it before it is sent.
pub enum Outgoing {
    /// There is none.
    None,
    /// All of it, because a signature covers it.
    Collected(Bytes),
    /// It comes from the payload as it is sent.
    Streamed(Sending),
}

impl Outgoing {
    /// The same again, where it is at hand.
    pub fn spare(&self) -> Option<Self> {
        match self {
            Self::None => Some(Self::None),
            Self::Collected(bytes) => Some(Self::Collected(bytes.clone())),
            Self::Streamed(_) => None,
        }
    }

    /// Bytes of it, where they are at hand.
    pub fn length(&self) -> usize {
        match self {
            Self::Collected(bytes) => bytes.len(),
            _ => 0,
        }
    }

    /// The same body, of which nothing has been sent, looked through like the first.
    pub fn again(&self, look: &Look<'_>) -> OutgoingBody {
        match self {
            Self::Collected(bytes) => look.through(full(bytes.clone())).boxed_unsync(),
            _ => empty(),
        }
    }

    /// The body as it is sent, looked through for what must not leave.
    pub fn body(self, look: &Look<'_>) -> OutgoingBody {
        match self {
            Self::Streamed(sending) => look.through(sending).boxed_unsync(),
            Self::Collected(bytes) => look.through(full(bytes)).boxed_unsync(),
            Self::None => empty(),
        }
    }
}

impl Look<'_> {
    fn through<B>(&self, body: B) -> Outbound<B> {
        let (session, fault, event) =
            (self.session.clone(), self.fault.clone(), self.event.clone());
        self.prepared.outbound(body, move |refusal: &CredentialRefusal| {
            session.credential(event.refused(refusal));
            // The first cause is the one.
            drop(fault.set(Refused::from(refusal.clone())));
        })
    }
}

fn empty() -> OutgoingBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

fn full(bytes: Bytes) -> OutgoingBody {
    Full::new(bytes)
        .map_err(|never| -> Box<dyn Error + Send + Sync> { match never {} })
        .boxed_unsync()
}
