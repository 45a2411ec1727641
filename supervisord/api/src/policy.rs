//! The policies that a daemon has in force.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A policy that a submission may name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// What it is for, in its author's words; empty if they said nothing.
    pub description: String,
    /// SHA-256 of its resolved form, in hexadecimal.
    pub digest: String,
    /// Whether submissions that name none get it.
    pub is_default: bool,
}

/// All of them, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyList {
    /// Which reading of configuration and policies since the daemon started.
    pub generation: u64,
    /// The policies.
    pub policies: Vec<Policy>,
}
