//! What the log records of itself.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// All before it is vouched for by its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Checkpoint {
    /// Records since the checkpoint before.
    pub records: u64,
    /// The first 16 digits of SHA-256 of the public key.
    pub key: String,
    /// Whether the daemon ended here, of its own accord.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closing: bool,
}

/// A start found bytes after the last whole record, which a crash had left, and cut them off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Repair {
    /// How many bytes.
    pub bytes: u64,
    /// SHA-256 of them, in hexadecimal.
    pub sha256: String,
    /// The file that they were moved to, beside the log.
    pub kept: String,
}

/// The oldest file of the log goes, because the log may not grow without bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Removal {
    /// Its name.
    pub file: String,
    /// Its first record.
    pub first: u64,
    /// Its last record.
    pub last: u64,
    /// The last record's hash.
    pub last_hash: String,
}

/// For a while there was no room for records, so new work was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Suspension {
    /// Refusals that could not be recorded one by one.
    pub refused: u64,
    /// When it began, RFC 3339 in UTC.
    pub since: String,
}

/// What it is of which more was refused than is recorded one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Suppressed {
    /// Submissions.
    #[default]
    Submissions,
    /// Requests, connections and look-ups of an execution's sandbox.
    Traffic,
}

/// One uid has more refused in a minute than is recorded one by one. It is told when that begins and every
/// few seconds, so that a daemon that is killed takes few of them with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Suppression {
    /// Of what.
    #[serde(default)]
    pub of: Suppressed,
    /// Refusals that have no record of their own.
    pub refused: u64,
    /// The same by the code of the refusal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub codes: BTreeMap<String, u64>,
    /// When the minute began, RFC 3339 in UTC.
    pub since: String,
}
