//! What becomes of a credential's value, for the audit log and whoever follows. What a request or its answer is
//! refused for is returned, or told to whoever asked, who knows where it went and by which rule.

use std::fmt::Debug;

use super::name::CredentialName;
use crate::seam::Identity;

/// Something that happened to a credential. It holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
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
