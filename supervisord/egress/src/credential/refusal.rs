//! Why a request was not sent, or its response not passed on, on account of a credential.

use std::fmt;

use super::name::CredentialName;

/// The stable code of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalCode {
    /// No credential of this name is configured.
    Unknown,
    /// An administrator has revoked it.
    Revoked,
    /// The policy binds it to a host that its definition does not allow.
    OutOfBounds,
    /// The request would have carried it without verified TLS.
    NotEncrypted,
    /// There is no valid value: its source does not deliver one.
    Unavailable,
    /// The request can't carry it: its form or its method does not allow it.
    Unsuitable,
    /// A placeholder stands where it is not replaced, or goes to a host that has no use for it.
    PlaceholderMisplaced,
    /// A decoy was on its way out.
    Canary,
    /// The response repeats the credential.
    Reflected,
    /// The response is compressed although that was not asked for, so nobody can see what is in it.
    Compressed,
}

/// A request that is not sent, or a response that is not passed on. It holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialRefusal {
    /// What kind of refusal.
    pub code: RefusalCode,
    /// Which credential, where it is known.
    pub credential: Option<CredentialName>,
    /// What happened, in a sentence.
    pub cause: String,
    /// What to do about it, in a sentence.
    pub remedy: String,
}

impl RefusalCode {
    /// The code as it stands in answers and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "credential_unknown",
            Self::Revoked => "credential_revoked",
            Self::OutOfBounds => "credential_out_of_bounds",
            Self::NotEncrypted => "credential_not_encrypted",
            Self::Unavailable => "credential_unavailable",
            Self::Unsuitable => "credential_unsuitable",
            Self::PlaceholderMisplaced => "placeholder_misplaced",
            Self::Canary => "canary",
            Self::Reflected => "credential_reflected",
            Self::Compressed => "response_compressed",
        }
    }

    /// The status of the answer: 502 where the upstream or a source of ours is at fault (RFC 9110
    /// §15.6.3), 403 where the request is.
    pub const fn status(self) -> u16 {
        match self {
            Self::Unavailable | Self::Reflected | Self::Compressed => 502,
            _ => 403,
        }
    }

    /// Whether somebody should look at it now: what was seen happens by no mistake of a program that
    /// means well.
    pub const fn is_alarm(self) -> bool {
        matches!(self, Self::PlaceholderMisplaced | Self::Canary | Self::Reflected)
    }
}

impl CredentialRefusal {
    /// A refusal on account of this credential.
    pub(crate) fn new(
        code: RefusalCode,
        credential: Option<&CredentialName>,
        cause: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (cause, remedy) = (cause.into(), remedy.into());
        Self { code, credential: credential.cloned(), cause, remedy }
    }
}

impl fmt::Display for CredentialRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl std::error::Error for CredentialRefusal {}
