//! Files kept of an execution.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A file that was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// Path relative to the workspace.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the bytes, in hexadecimal.
    pub sha256: String,
    /// Media type, told by the bytes' signature, else by the name's ending.
    pub media_type: String,
}

/// A path that matched a glob and was not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RefusedArtifact {
    /// Path relative to the workspace; bytes that are not UTF-8 are replaced.
    pub path: String,
    /// Why: `symbolic_link`, `not_regular_file`, `hard_link`, `artifact_bytes`, `artifact_count`,
    /// `invalid_name`, `no_room`, `too_deep`, `unreadable` or `changed`.
    pub reason: String,
}

/// The artifacts of an execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArtifactList {
    /// What was kept.
    pub artifacts: Vec<Artifact>,
    /// What matched and was not kept; at most 100 are listed.
    pub refused: Vec<RefusedArtifact>,
    /// Whether something was left out because of a limit.
    pub truncated: bool,
}
