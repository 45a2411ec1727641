//! A session as the store keeps it.

use serde::{Deserialize, Serialize};
use supervisor_api::{ExecutionId, SessionId, UniqueMap};

/// Seconds of a time to live at the most: 30 days. What is needed for longer belongs elsewhere.
pub const MAX_TIME_TO_LIVE: u64 = 30 * 24 * 3600;

/// Seconds of a time to live that nobody asked for.
pub const TIME_TO_LIVE: u64 = 3600;

/// Seconds before its end in which a session is called expiring, at the most; it is a tenth of its time
/// to live where that is less.
const NOTICE: u64 = 300;

/// A session as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its id, and its workspace's.
    pub id: SessionId,
    /// Whose it is.
    pub owner_uid: u32,
    /// The policy of its executions, by name.
    pub policy: String,
    /// The caller's own marks.
    pub labels: UniqueMap,
    /// Bytes of the workspace.
    pub workspace_bytes: u64,
    /// Inodes of the workspace.
    pub workspace_inodes: u64,
    /// When it was made, RFC 3339 in UTC.
    pub created_at: String,
    /// When it ends, in seconds since 1970.
    pub expires: i64,
    /// Seconds that it was given last.
    pub time_to_live: u64,
    /// The session that it is a snapshot of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_of: Option<SessionId>,
    /// The execution that runs on it and whose changes it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
}

/// Whose changes a copy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// The session that it is a copy of.
    pub session: SessionId,
    /// The execution that runs on it.
    pub execution: ExecutionId,
}

impl Record {
    /// When its end is announced, in seconds since 1970.
    pub fn notice(&self) -> i64 {
        let notice = NOTICE.min(self.time_to_live / 10);
        self.expires.saturating_sub_unsigned(notice)
    }
}
