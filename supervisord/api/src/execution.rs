//! An execution as callers see it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ApprovalId, ChangeSummary, ControlReport, Digest32, ExecutionId, Inputs, Language, Limit,
    Limits, SessionId, UniqueMap,
};

/// Where an execution is in its life: `queued → launching → running → collecting → finished`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Recorded, waiting for its turn.
    Queued,
    /// Its sandbox is being made.
    Launching,
    /// The payload runs.
    Running,
    /// The payload is frozen until somebody lets it go on; its time stands still.
    Paused,
    /// The payload has ended; artifacts are being collected.
    Collecting,
    /// The outcome is on disk.
    Finished,
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// The payload exited.
    Exited {
        /// Its exit status, 0–255.
        code: u8,
    },
    /// A signal ended the payload.
    Signaled {
        /// The signal's number.
        signal: u8,
        /// Its name, such as `SIGSEGV`.
        name: String,
    },
    /// The wall time was up.
    TimedOut,
    /// The memory limit was reached and the whole execution was killed.
    OutOfMemory,
    /// Another limit was reached and the whole execution was killed.
    LimitExceeded {
        /// Which one.
        limit: Limit,
    },
    /// The caller or an administrator ended it.
    Cancelled,
    /// The sandbox could not be made, or the payload's program could not be executed; nothing of
    /// the payload ran.
    SetupFailed {
        /// The step, such as `mount_proc` or `exec`.
        step: String,
        /// The cause in words.
        reason: String,
    },
    /// The supervisor lost sight of it; nothing of it runs any more.
    Lost {
        /// Why.
        reason: String,
    },
}

impl Outcome {
    /// The word that stands for it in JSON (`type`), in metrics and on the bus.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Exited { .. } => "exited",
            Self::Signaled { .. } => "signaled",
            Self::TimedOut => "timed_out",
            Self::OutOfMemory => "out_of_memory",
            Self::LimitExceeded { .. } => "limit_exceeded",
            Self::Cancelled => "cancelled",
            Self::SetupFailed { .. } => "setup_failed",
            Self::Lost { .. } => "lost",
        }
    }
}

/// What an execution found at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StartKind {
    /// A sandbox that had been parked ahead, with its interpreter running.
    Warm,
    /// Nothing: its sandbox was made for it then.
    Cold,
}

impl StartKind {
    /// The word that stands for it in JSON and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Cold => "cold",
        }
    }
}

/// What an execution used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// From the payload's start to its end, in milliseconds, without the time in which it was paused. For a
    /// warm start that is the claim.
    pub wall_ms: u64,
    /// Milliseconds in which it was paused and has gone on since.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub paused_ms: u64,
    /// Bytes of memory that it gave back when it was paused; absent where nobody asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_reclaimed: Option<u64>,
    /// CPU time of all processes, in milliseconds; what an interpreter used while it was parked is not in it.
    pub cpu_ms: u64,
    /// CPU time that its interpreter had used while it was parked, in milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub parked_cpu_ms: u64,
    /// The most memory in use at once, in bytes; absent where it can't be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_peak: Option<u64>,
    /// The most processes and threads at once; absent where it can't be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids_peak: Option<u64>,
    /// Forks that `pids_max` refused; absent where it can't be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids_refused: Option<u64>,
    /// Bytes in the workspace at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_bytes: Option<u64>,
    /// Inodes in the workspace at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_inodes: Option<u64>,
}

/// For what stands in few executions only.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What was kept of one output stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamSummary {
    /// Bytes kept, which can be read.
    pub kept: u64,
    /// Bytes cut: what came after `output_bytes`, or had no room on the state's disk where less was kept.
    pub cut: u64,
    /// SHA-256 of the bytes kept, in hexadecimal; absent until it has finished, and where nothing was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest32>,
}

/// What was kept of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputSummary {
    /// Standard output.
    pub stdout: StreamSummary,
    /// Standard error.
    pub stderr: StreamSummary,
    /// SHA-256 of the daemon's own note of the order in which both came; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_sha256: Option<Digest32>,
}

/// The policy that was in force, to the byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyReference {
    /// Its name.
    pub name: String,
    /// SHA-256 of its resolved form, in hexadecimal.
    pub digest: String,
}

/// An image that root imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageReference {
    /// The name by which it was asked for; a digest where it was asked for by that.
    pub name: String,
    /// Its digest, `sha256:` and 64 digits.
    pub digest: String,
    /// Whether its files could be changed, for the session alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub writable: bool,
}

/// One run of a payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Execution {
    /// Its id.
    pub id: ExecutionId,
    /// Its session; a one-shot submission has one of its own.
    pub session: SessionId,
    /// The caller's uid, as the kernel told it (SO_PEERCRED).
    pub owner_uid: u32,
    /// Where it is in its life.
    pub state: State,
    /// While it is queued: how many turns there will be until it has had its own, if all are of the
    /// same length and no ceiling of its owner's is in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<u64>,
    /// How it ended, once it is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The program and its arguments, as they were handed to execve.
    pub argv: Vec<String>,
    /// The language, where source was submitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// What it was given, by digest.
    #[serde(default, skip_serializing_if = "Inputs::is_empty")]
    pub inputs: Inputs,
    /// The caller's own marks.
    #[serde(default, skip_serializing_if = "UniqueMap::is_empty")]
    pub labels: UniqueMap,
    /// Whether its standard input stays open while it runs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stdin_open: bool,
    /// Whether its standard streams are a pseudo-terminal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub terminal: bool,
    /// The policy in force.
    pub policy: PolicyReference,
    /// The image that its root is, where it isn't made of the host's own programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageReference>,
    /// The limits in force.
    pub limits: Limits,
    /// Time of submission, RFC 3339 in UTC.
    pub created_at: String,
    /// Time the payload started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// Since when it is paused, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<String>,
    /// Whether it found a sandbox parked; absent where it had none, or where that can't be told any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<StartKind>,
    /// Time the outcome was on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// What it used; so far while it runs.
    pub usage: Usage,
    /// What was kept of its output.
    pub output: OutputSummary,
    /// Number of artifacts kept.
    pub artifact_count: u64,
    /// Whether artifacts were left out because of a limit.
    pub artifacts_truncated: bool,
    /// Bytes that are kept of it, record and files, once it has finished; absent where that is little.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_bytes: Option<u64>,
    /// How many changes it made in its workspace, where it was submitted with `changes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<ChangeSummary>,
    /// The controls that held it.
    pub controls: Vec<ControlReport>,
    /// Questions to a person that requests of it wait for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<ApprovalId>,
}

/// A page of executions, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecutionList {
    /// The executions of this page.
    pub executions: Vec<Execution>,
    /// Give this as `after` to get the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<ExecutionId>,
}
