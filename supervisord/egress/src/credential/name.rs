//! The name by which configuration, policies and people speak of a credential.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use supervisor_policy::is_name;

/// The name of a credential: 1 to 64 characters of `a-z`, `0-9` and `-`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CredentialName(Arc<str>);

/// A text that can't name a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidName;

impl CredentialName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CredentialName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if is_name(text) { Ok(Self(text.into())) } else { Err(InvalidName) }
    }
}

impl fmt::Display for CredentialName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a credential's name is 1 to 64 characters of a-z, 0-9 and -")
    }
}

impl std::error::Error for InvalidName {}
