//! Output as it is read: by stream, from an offset, live.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Content;

/// An output stream of the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// One line of the answer to `stream=both`: bytes in the order in which they were read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputChunk {
    /// Offset of the first byte, counted over both streams together. A reader that was cut off
    /// goes on from the offset after its last whole chunk and misses and repeats nothing.
    pub offset: u64,
    /// Where the bytes came from.
    pub stream: Stream,
    /// The bytes.
    pub data: Content,
}
