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

    /// The same body, of which nothing has been sent.
    pub fn copy(&self) -> OutgoingBody {
        match self {
            Self::Collected(bytes) => full(bytes.clone()),
            _ => Empty::new().map_err(|never| match never {}).boxed_unsync(),
        }
    }

    /// The body as it is sent, looked through for what must not leave.
    pub fn body(self, prepared: &Prepared) -> OutgoingBody {
        match self {
            Self::Streamed(sending) => prepared.outbound(sending).boxed_unsync(),
            Self::Collected(bytes) => prepared.outbound(full(bytes)).boxed_unsync(),
            Self::None => self.copy(),
        }
    }
}

fn full(bytes: Bytes) -> OutgoingBody {
    Full::new(bytes)
        .map_err(|never| -> Box<dyn Error + Send + Sync> { match never {} })
        .boxed_unsync()
}
