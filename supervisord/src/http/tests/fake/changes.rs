//! The one execution there is changed nothing.

use supervisor_api::{ApiError, ChangeSet, ChangeSummary, ChangesMode, ChangesState, ExecutionId};

use super::Fake;
use crate::http::changes::Changes;
use crate::supervisor::Caller;

impl Changes for Fake {
    async fn changes(&self, caller: &Caller, id: ExecutionId) -> Result<ChangeSet, ApiError> {
        let found = self.find(caller, id)?;
        let summary = ChangeSummary {
            mode: ChangesMode::Record,
            held_in: None,
            added: 0,
            modified: 0,
            deleted: 0,
            hazardous: 0,
            complete: true,
        };
        let (changes, unnamed) = (Vec::new(), 0);
        let (session, state) = (found.session, ChangesState::Recorded);
        Ok(ChangeSet { execution: id, session, state, summary, changes, unnamed })
    }

    async fn apply_changes(&self, caller: &Caller, id: ExecutionId) -> Result<ChangeSet, ApiError> {
        Ok(ChangeSet { state: ChangesState::Applied, ..self.changes(caller, id).await? })
    }

    async fn discard_changes(
        &self,
        caller: &Caller,
        id: ExecutionId,
    ) -> Result<ChangeSet, ApiError> {
        Ok(ChangeSet { state: ChangesState::Discarded, ..self.changes(caller, id).await? })
    }
}
