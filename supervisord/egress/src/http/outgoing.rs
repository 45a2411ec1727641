//! A request's body before it is sent, and what is needed to send it once more.

use std::error::Error;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};

use super::body::Sending;
use crate::credential::Prepared;
use crate::upstream::OutgoingBody;

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
    pub fn again(&self, prepared: &Prepared) -> OutgoingBody {
        match self {
            Self::Collected(bytes) => prepared.outbound(full(bytes.clone())).boxed_unsync(),
            _ => empty(),
        }
    }

    /// The body as it is sent, looked through for what must not leave.
    pub fn body(self, prepared: &Prepared) -> OutgoingBody {
        match self {
            Self::Streamed(sending) => prepared.outbound(sending).boxed_unsync(),
            Self::Collected(bytes) => prepared.outbound(full(bytes)).boxed_unsync(),
            Self::None => empty(),
        }
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
