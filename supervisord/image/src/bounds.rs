//! What an archive may hold. Every number ends an import before anything of it is kept.

use serde::{Deserialize, Serialize};

/// Bounds of one import, chosen by root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Bytes of all files of all layers together, and of each layer once it is decompressed.
    pub bytes: u64,
    /// Entries of all layers together, those that a later layer replaces among them.
    pub entries: u64,
    /// Layers.
    pub layers: u64,
}

impl Default for Bounds {
    /// A large scientific image has 10 GiB and 300,000 entries; overlay file systems, for which other
    /// tools make layers, end at 127 of them.
    fn default() -> Self {
        Self { bytes: 32 << 30, entries: 1_000_000, layers: 127 }
    }
}

/// Bytes of one name in a path; the kernel's own bound (NAME_MAX).
pub const MAX_NAME: usize = 255;

/// Bytes of a path, and of what a link leads to; the kernel's own bound is one more (PATH_MAX).
pub const MAX_PATH: usize = 4095;

/// Directories in directories. Package trees have 40; the walk of a tree holds a descriptor for each.
pub const MAX_DEPTH: usize = 256;

/// Bytes of extended fields of one entry. Linux has 64 KiB of attributes for a file.
pub const MAX_FIELDS: u64 = 256 << 10;

/// Bytes of a JSON document in an archive; the largest configurations that are seen have 100 KiB.
pub const MAX_JSON: u64 = 4 << 20;

/// Ids of users and groups, from 0: what one id map of an image has room for.
pub const IDS: u32 = 65_536;
