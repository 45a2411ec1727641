//! Records as they are read and handed out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::AuditEvent;

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditRecord {
    /// Its number; the first record of a log is 1, and none is left out.
    pub seq: u64,
    /// When, RFC 3339 in UTC with microseconds.
    pub time: String,
    /// What, about whom.
    #[serde(flatten)]
    pub event: AuditEvent,
    /// The hash of the record before, in hexadecimal.
    pub prev: String,
    /// SHA-256 over this line's bytes before `,"hash":`, in hexadecimal.
    pub hash: String,
    /// A checkpoint's Ed25519 signature, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// Some records, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditPage {
    /// The records.
    pub records: Vec<AuditRecord>,
    /// Give this as `after` to go on; absent when all of the log was looked at. A page may be short,
    /// or empty, and still have this: a call looks at so many bytes at the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// What checkpoints are checked with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditKey {
    /// Always `ed25519`.
    pub algorithm: String,
    /// The public key, in hexadecimal.
    pub public_key: String,
}
