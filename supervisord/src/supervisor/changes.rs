//! What executions changed in their workspaces.

use std::sync::Arc;

use supervisor_api::{
    Administration, ApiError, ChangeSet, ChangesMode, ChangesState, ErrorCode, Execution,
    ExecutionId, What,
};
use tokio::task::spawn_blocking;

use super::{Caller, Supervisor, internal, storage};
use crate::audit;
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

    /// Applies changes that are held back to the session, all or none.
    pub async fn apply_changes(
        &self,
        caller: &Caller,
        id: ExecutionId,
    ) -> Result<ChangeSet, ApiError> {
        let execution = self.held_back(caller, id).await?;
        let found = self.found_changes(id).await?;
        match self.changes_state(id)? {
            ChangesState::Held | ChangesState::Applying => {}
            ChangesState::Applied => return self.change_set(&execution, found), // asked once more
            other => return Err(not_held(other)),
        }
        let Some(mut found) = found else { return self.change_set(&execution, found) };
        if !found.complete {
            let problem = "not all changes are known, so they can't be applied";
            return Err(ApiError::new(ErrorCode::TooLarge, problem)
                .with_hint("make a session from the copy that holds them, which has all"));
        }
        self.note_changes(caller, &execution, "apply_changes")?;
        let changes = Arc::new(std::mem::take(&mut found.changes)); // megabytes, of which nobody needs two
        self.apply_held(id, changes.clone()).await?;
        found.changes = Arc::unwrap_or_clone(changes);
        self.inner.metrics.change_set("applied");
        tracing::info!(execution_id = %id, session_id = %execution.session, "changes were applied");
        self.change_set(&execution, Some(found))
    }

    /// Discards changes that are held back, and the copy that holds them.
    pub async fn discard_changes(
        &self,
        caller: &Caller,
        id: ExecutionId,
    ) -> Result<ChangeSet, ApiError> {
        let execution = self.held_back(caller, id).await?;
        match self.changes_state(id)? {
            ChangesState::Held | ChangesState::Applying => {
                self.note_changes(caller, &execution, "discard_changes")?;
                self.discard_held(id).await?;
                self.inner.metrics.change_set("discarded");
                tracing::info!(execution_id = %id, session_id = %execution.session, "changes were discarded");
            }
            ChangesState::Discarded => {} // asked once more
            other => return Err(not_held(other)),
        }
        let found = self.found_changes(id).await?.unwrap_or_default();
        self.change_set(&execution, Some(found))
    }

    /// A finished execution of the caller's own whose changes were held back. As with running, an
    /// administrator's right ends here.
    async fn held_back(&self, caller: &Caller, id: ExecutionId) -> Result<Execution, ApiError> {
        let execution = self.changed(caller, id).await?;
        if execution.owner_uid != caller.uid {
            let problem =
                "the changes are somebody else's, and only their owner applies or discards them";
            return Err(ApiError::new(ErrorCode::PermissionDenied, problem));
        }
        if execution.changes.is_none_or(|changes| changes.mode != ChangesMode::Hold) {
            let problem = "the execution's changes were not held back";
            return Err(ApiError::new(ErrorCode::Conflict, problem)
                .with_hint("submit with `changes` as `hold`"));
        }
        Ok(execution)
    }

    /// Records a person's word on changes; without a record nothing is done.
    fn note_changes(
        &self,
        caller: &Caller,
        execution: &Execution,
        act: &str,
    ) -> Result<(), ApiError> {
        let act = Administration { act: act.to_owned(), by: Some(caller.uid), object: None };
        let event = What::Administration(act).about(audit::subject(execution));
        Ok(self.inner.audit.record(event)?)
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

    pub(crate) async fn found_changes(
        &self,
        id: ExecutionId,
    ) -> Result<Option<Differences>, ApiError> {
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
                .with_hint("submit with `changes`, which is `record` or `hold`"));
        };
        let Some(found) = found else {
            let problem =
                "what the execution changed is not known, for it was lost or did not start";
            return Err(ApiError::new(ErrorCode::NotFound, problem));
        };
        Ok(ChangeSet {
            execution: execution.id,
            session: execution.session,
            state: match summary.mode {
                ChangesMode::Record => ChangesState::Recorded,
                ChangesMode::Hold => self.changes_state(execution.id)?,
            },
            summary,
            changes: found.changes,
            unnamed: found.unnamed,
        })
    }
}

impl Supervisor {
    /// Refuses what would leave changes that are held back with nobody who could apply them.
    pub(super) fn refuse_held(&self, execution: &Execution) -> Result<(), ApiError> {
        if execution.changes.is_none_or(|changes| changes.mode != ChangesMode::Hold)
            || !matches!(
                self.changes_state(execution.id)?,
                ChangesState::Held | ChangesState::Applying
            )
        {
            return Ok(());
        }
        let problem = "the execution's changes are held back";
        Err(ApiError::new(ErrorCode::Conflict, problem).with_hint("apply or discard them first"))
    }
}

fn not_held(state: ChangesState) -> ApiError {
    let problem = match state {
        ChangesState::Applied => "the changes were applied",
        ChangesState::Discarded => "the changes were discarded",
        _ => "the copy that held the changes is gone",
    };
    ApiError::new(ErrorCode::Conflict, problem)
}
