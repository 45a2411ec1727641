//! The one session there is, and what takes its files.

use axum::body::Bytes;
use supervisor_api::{
    ApiError, ErrorCode, FileEntry, FileKind, PolicyReference, Session, SessionId, SessionState,
    SessionUsage, UniqueMap, UnpackReport,
};

use super::OWNER;
use crate::http::operations::Receiver;
use crate::supervisor::{Caller, Role};

/// The one session there is.
pub const SESSION: SessionId = SessionId::from_bits(8);

/// Bytes that a file may have before there is no room for it.
pub const ROOM: usize = 1 << 20;

/// Takes what is sent, up to [`ROOM`].
#[derive(Default)]
pub struct FakeUpload(usize);

/// Takes what is sent, and stops listening after [`ROOM`].
#[derive(Default)]
pub struct FakeUnpacking(usize);

impl Receiver for FakeUpload {
    type Outcome = FileEntry;

    async fn write(&mut self, piece: Bytes) -> Result<bool, ApiError> {
        self.0 += piece.len();
        if self.0 > ROOM {
            return Err(ApiError::new(ErrorCode::StorageFull, "it does not fit"));
        }
        Ok(true)
    }

    async fn finish(self) -> Result<FileEntry, ApiError> {
        Ok(FileEntry { size: self.0 as u64, ..entry() })
    }
}

impl Receiver for FakeUnpacking {
    type Outcome = UnpackReport;

    async fn write(&mut self, piece: Bytes) -> Result<bool, ApiError> {
        self.0 += piece.len();
        Ok(self.0 <= ROOM)
    }

    async fn finish(self) -> Result<UnpackReport, ApiError> {
        if self.0 > ROOM {
            return Err(ApiError::new(ErrorCode::TooLarge, "the archive is too large"));
        }
        Ok(UnpackReport { bytes: self.0 as u64, ..UnpackReport::default() })
    }
}

pub fn find(caller: &Caller, id: SessionId) -> Result<Session, ApiError> {
    if id == SESSION && (caller.uid == OWNER || caller.role == Role::Admin) {
        return Ok(session());
    }
    Err(ApiError::new(ErrorCode::NotFound, "there is no such session"))
}

pub fn entry() -> FileEntry {
    FileEntry {
        path: "out/plot one.png".into(),
        kind: FileKind::File,
        size: 3,
        mode: 0o644,
        modified_at: "2026-01-01T00:00:00Z".into(),
        target: None,
    }
}

pub fn session() -> Session {
    Session {
        id: SESSION,
        owner_uid: OWNER,
        state: SessionState::Open,
        policy: PolicyReference { name: "default".into(), digest: "cd".repeat(32) },
        labels: UniqueMap::default(),
        workspace_bytes: 1 << 20,
        workspace_inodes: 100,
        created_at: "2026-01-01T00:00:00Z".into(),
        expires_at: "2026-01-01T01:00:00Z".into(),
        executions: 0,
        snapshot_of: None,
        holds_changes_of: None,
        copied: None,
        usage: Some(SessionUsage { workspace_bytes: 0, workspace_inodes: 0 }),
    }
}
