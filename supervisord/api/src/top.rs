//! What runs just now and what it uses.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ExecutionId, SessionId, State};

/// Shares of time in which processes stood still for want of something, in percent, over the last ten
/// seconds (psi.rst, `avg10`).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stall {
    /// At least one of them did.
    pub some: f64,
    /// All of them did; absent where the kernel does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full: Option<f64>,
}

/// Pressure stall information of one sandbox; absent is what the kernel does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pressure {
    /// For want of CPU (`cpu.pressure`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Stall>,
    /// For want of memory (`memory.pressure`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Stall>,
    /// For want of input and output (`io.pressure`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io: Option<Stall>,
}

/// What the traffic of one sandbox has come to, since the daemon serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopEgress {
    /// Connections that are being served just now.
    pub connections: u64,
    /// Requests that were allowed, and connections that are passed on.
    pub requests: u64,
    /// Requests, connections and look-ups that were refused.
    pub refused: u64,
    /// Bytes sent to upstreams, heads included.
    pub bytes_out: u64,
    /// Bytes received from them.
    pub bytes_in: u64,
}

/// One execution that has its turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopLine {
    /// Its id.
    pub id: ExecutionId,
    /// Its session.
    pub session: SessionId,
    /// Whose it is.
    pub owner_uid: u32,
    /// The policy in force.
    pub policy: String,
    /// Where it is in its life: `launching`, `running` or `collecting`.
    pub state: State,
    /// Time the payload started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When this was read, in microseconds of the daemon's own clock. Between two readings, CPU time by
    /// this time is the CPU in use.
    pub read_at_us: u64,
    /// CPU time so far, in microseconds; absent where it can't be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_us: Option<u64>,
    /// Memory in use, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// The limit of that.
    pub memory_max: u64,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// What it stood still for.
    pub pressure: Pressure,
    /// Bytes of output so far.
    pub output_bytes: u64,
    /// What its traffic has come to; absent where nothing may leave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<TopEgress>,
    /// The program and its arguments, cut short.
    pub command: String,
}

/// What runs just now: an agent's own, everybody's for an administrator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Top {
    /// Executions that have their turn, the oldest first.
    pub executions: Vec<TopLine>,
    /// How many wait for theirs.
    pub waiting: u64,
    /// Sandboxes that are parked ahead for the caller; for an administrator, for anybody.
    #[serde(default)]
    pub parked: u64,
    /// Bytes of memory that these hold.
    #[serde(default)]
    pub parked_memory: u64,
}
