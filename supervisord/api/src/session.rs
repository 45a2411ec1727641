//! A session as callers see it: what they keep over several executions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{CopyReport, ExecutionId, PolicyReference, SessionId, UniqueMap};

/// Makes a session.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateSession {
    /// The policy of its executions; the caller's default policy if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The caller's own marks, shown in lists.
    #[serde(default, skip_serializing_if = "UniqueMap::is_empty")]
    pub labels: UniqueMap,
    /// Bytes of its workspace, at or below the policy's maximum; the policy's default if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_bytes: Option<u64>,
    /// Inodes of its workspace, in the same way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_inodes: Option<u64>,
    /// Seconds until it is closed, from now; an hour if left out, 30 days at the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_live: Option<u64>,
    /// The session or snapshot of the caller's own that its workspace begins as a copy of. What is left out
    /// above is as it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<SessionId>,
}

/// Keeps a session's workspace as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateSnapshot {
    /// The caller's own marks, shown in lists.
    #[serde(default, skip_serializing_if = "UniqueMap::is_empty")]
    pub labels: UniqueMap,
    /// Seconds until it is removed, from now; an hour if left out, 30 days at the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_live: Option<u64>,
}

/// Lets a session live on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtendSession {
    /// Seconds until it is closed, from now; 30 days at the most.
    pub time_to_live: u64,
}

/// Where a session is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// It takes executions and files.
    Open,
    /// Its time is almost up: the last tenth of it, five minutes at the most. It still takes everything.
    Expiring,
    /// It is being closed: what runs in it is ended, then its workspace is removed.
    Closing,
    /// It is gone. Only events say so: there is no such session any more.
    Closed,
}

/// What a caller keeps over several executions: a policy, a workspace, a time to live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// The caller's uid, as the kernel told it (SO_PEERCRED).
    pub owner_uid: u32,
    /// Where it is in its life.
    pub state: SessionState,
    /// Its policy, as it is resolved now. An execution is held to the policy of its own moment.
    pub policy: PolicyReference,
    /// The caller's own marks.
    #[serde(default, skip_serializing_if = "UniqueMap::is_empty")]
    pub labels: UniqueMap,
    /// Bytes that its workspace can hold.
    pub workspace_bytes: u64,
    /// Inodes that its workspace can hold.
    pub workspace_inodes: u64,
    /// When it was made, RFC 3339 in UTC.
    pub created_at: String,
    /// When it will be closed, RFC 3339 in UTC.
    pub expires_at: String,
    /// Executions in it that have not finished.
    pub executions: u64,
    /// The session that it is a snapshot of: nothing runs in it or changes its files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_of: Option<SessionId>,
    /// The execution whose changes it holds until they are applied or discarded: a copy of the session that
    /// it was submitted in, in which nothing else runs or changes its files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds_changes_of: Option<ExecutionId>,
    /// What was copied into it; only in the answer that says that it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied: Option<CopyReport>,
    /// What its workspace holds, where it could be counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<SessionUsage>,
}

/// What a session's workspace holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionUsage {
    /// Bytes.
    pub workspace_bytes: u64,
    /// Inodes: files, directories and links.
    pub workspace_inodes: u64,
}

/// The caller's sessions, newest first. There are never more than a caller may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionList {
    /// The sessions.
    pub sessions: Vec<Session>,
}
