//! What executions changed in their workspaces.

use supervisor_api::{ApiError, ChangeSet, ErrorCode, Execution, ExecutionId};
use tokio::task::spawn_blocking;

use super::{Caller, Supervisor, internal, storage};
use crate::places::ChangesFile;
use crate::workspace::Differences;

impl Supervisor {
    /// What an execution changed in its workspace.
    pub async fn changes(&self, caller: &Caller, id: ExecutionId) -> Result<ChangeSet, ApiError> {
        let execution = self.changed(caller, id).await?;
        self.note_administration(caller, &execution, "changes")?;
        let found = self.found_changes(id).await?;
        self.change_set(&execution, found)
    }

    /// A finished execution of the caller's.
    async fn changed(&self, caller: &Caller, id: ExecutionId) -> Result<Execution, ApiError> {
        if self.own_live(caller, id).is_some() {
            let problem = "changes are told when the execution has finished";
            return Err(ApiError::new(ErrorCode::Conflict, problem)
                .with_hint("ask for the status with wait first"));
        }
        self.recorded(caller, id).await
    }

    async fn found_changes(&self, id: ExecutionId) -> Result<Option<Differences>, ApiError> {
        let places = self.inner.places.clone();
        let read = spawn_blocking(move || {
            let found = places.changes(id, ChangesFile::Found)?;
            found.map(|found| serde_json::from_slice(&found)).transpose().map_err(Into::into)
        });
        read.await.map_err(internal)?.map_err(storage)
    }

    fn change_set(
        &self,
        execution: &Execution,
        found: Option<Differences>,
    ) -> Result<ChangeSet, ApiError> {
        let Some(summary) = execution.changes else {
            let problem = "nobody asked for the execution's changes";
            return Err(ApiError::new(ErrorCode::NotFound, problem)
                .with_hint("submit with `changes`, which is `record`"));
        };
        let Some(found) = found else {
            let problem =
                "what the execution changed is not known, for it was lost or did not start";
            return Err(ApiError::new(ErrorCode::NotFound, problem));
        };
        Ok(ChangeSet {
            execution: execution.id,
            session: execution.session,
            summary,
            changes: found.changes,
            unnamed: found.unnamed,
        })
    }
}
