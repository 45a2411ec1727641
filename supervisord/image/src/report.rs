//! What is known of an image besides its tree.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Bounds, ImageId};

/// What whoever built an image wanted done with it. It is shown and not followed: programs and
/// variables are the submission's and the policy's to choose.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Variables, `NAME=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<String>,
    /// The working directory.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub working_directory: String,
    /// The program, and what comes before its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Arguments, or the program where there is no entrypoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The account it was meant to run as.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// What the builder says of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Something of an archive that is not in the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropped {
    /// Where it stood; bytes that are no text are replaced.
    pub path: String,
    /// What it was.
    pub what: String,
}

/// What the unpacker says of an archive it has unpacked. Nothing that holds a payload rests on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unpacked {
    /// What kind of archive it was.
    pub format: String,
    /// What the archive calls it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// The digest of the manifest by which registries know it, where the archive has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_digest: Option<String>,
    /// How many layers there were.
    pub layers: u64,
    /// How many of their digests were compared.
    pub verified_digests: u64,
    /// What its builder wanted done with it.
    #[serde(default)]
    pub config: Config,
    /// How much of each kind was left out.
    #[serde(default)]
    pub dropped_counts: BTreeMap<String, u64>,
    /// The first of what was left out.
    #[serde(default)]
    pub dropped: Vec<Dropped>,
    /// Paths that were made or written over, so that programs find in them what holds in a sandbox.
    #[serde(default)]
    pub written: Vec<String>,
}

/// What is asked of the unpacker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// What an archive may hold.
    pub bounds: Bounds,
    /// Which image of an archive with several.
    pub select: Option<String>,
}

/// The unpacker's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is done.
    Unpacked(Box<Unpacked>),
    /// The archive is refused.
    Refused(String),
}

/// What is kept beside an image's tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its id.
    pub id: ImageId,
    /// When it came, in UTC (RFC 3339).
    pub imported_at: String,
    /// Bytes of its files.
    pub bytes: u64,
    /// Files, directories and links in it.
    pub entries: u64,
    /// What the unpacker said.
    pub unpacked: Unpacked,
}
