//! The one workspace there is, in which one thing has changed.

use supervisor_api::{
    ApiError, CreateSnapshot, FileChange, FileChangeKind, Session, SessionId, SessionList,
};

use super::{Fake, sessions};
use crate::http::operations::Follow;
use crate::http::workspaces::Workspaces;
use crate::supervisor::Caller;

/// One change, once.
pub struct FakeFileChanges(Option<FileChange>);

impl Follow for FakeFileChanges {
    type Item = FileChange;

    async fn next(&mut self) -> Option<FileChange> {
        self.0.take()
    }
}

impl Workspaces for Fake {
    type FileChanges = FakeFileChanges;

    async fn watch_files(
        &self,
        caller: &Caller,
        id: SessionId,
        since: Option<u64>,
    ) -> Result<FakeFileChanges, ApiError> {
        sessions::find(caller, id)?;
        let sequence = since.unwrap_or_default();
        let (kind, path) = (FileChangeKind::Watching, String::new());
        Ok(FakeFileChanges(Some(FileChange { sequence, kind, path, to: None })))
    }

    async fn create_snapshot(
        &self,
        caller: &Caller,
        id: SessionId,
        request: CreateSnapshot,
    ) -> Result<Session, ApiError> {
        let session = sessions::find(caller, id)?;
        Ok(Session { snapshot_of: Some(id), labels: request.labels, ..session })
    }

    fn snapshots(&self, caller: &Caller, id: SessionId) -> Result<SessionList, ApiError> {
        let session = sessions::find(caller, id)?;
        Ok(SessionList { sessions: vec![Session { snapshot_of: Some(id), ..session }] })
    }
}
