//! What an execution used over time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an execution had used, and used, when it was looked at. Absent is what this host does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// For how long the payload had run then, in milliseconds, without the time in which it was paused.
    pub at_ms: u64,
    /// CPU time so far, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_us: Option<u64>,
    /// The most memory in use in the looks that this one stands for, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// The most processes and threads in them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// Bytes read from disks so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<u64>,
    /// Bytes written to disks so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<u64>,
}

/// What an execution used over time: 240 samples at the most. Whoever runs longer is looked at less often, and two
/// samples become one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SampleList {
    /// Milliseconds from one look to the next by now.
    pub interval_ms: u64,
    /// In the order of time. None where the execution ended before the first look, or had no sandbox yet.
    pub samples: Vec<Sample>,
}
