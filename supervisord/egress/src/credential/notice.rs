//! What somebody besides the payload should hear of: for the audit log and for alarms.

use std::fmt::Debug;

use super::name::CredentialName;
use super::refusal::CredentialRefusal;
use crate::seam::Identity;

/// Something that happened to a credential. It holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A response or a request body was cut after its head had been passed on. What is refused before
    /// that is returned, and recorded by whoever asked.
    Refused {
        /// Whose traffic.
        whose: Identity,
        /// Why.
        refusal: CredentialRefusal,
    },
    /// A source delivered a new value.
    Renewed {
        /// Which credential.
        credential: CredentialName,
        /// Whose request had it fetched; others may have waited for it, too.
        whose: Identity,
    },
    /// A source failed.
    Failed {
        /// Which credential.
        credential: CredentialName,
        /// Whose request had it fetched; others may have waited for it, too.
        whose: Identity,
        /// The failure and its causes, in words that hold nothing the source has said.
        cause: String,
    },
}

/// Takes notices. It must not block.
pub trait Notices: Debug + Send + Sync {
    /// Takes one.
    fn notice(&self, notice: &Notice);
}
