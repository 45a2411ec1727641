//! Credentials as administrators see them: never a value.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether requests can have a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CredentialState {
    /// It has a value.
    Ready,
    /// Its value is fetched when it is needed first.
    Unfetched,
    /// Its source has failed, as `reason` says; it is asked again when a request needs it.
    Failed,
    /// It was revoked; requests that need it are refused until it is rotated.
    Revoked,
}

/// One credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// Its name, by which policies bind it.
    pub name: String,
    /// Its kind: `static`, `aws`, `oauth2` or `broker`.
    pub kind: String,
    /// Where it may ever go, whatever policies say.
    pub hosts: Vec<String>,
    /// Whether requests can have it.
    pub state: CredentialState,
    /// Why its source has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// For how many seconds its value holds; a newer one is fetched before. Absent for one without
    /// end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_seconds: Option<u64>,
}

/// All credentials, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialList {
    /// The credentials.
    pub credentials: Vec<Credential>,
}
