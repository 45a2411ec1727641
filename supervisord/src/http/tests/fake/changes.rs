//! The one execution there is changed nothing.

use supervisor_api::{ApiError, ChangeSet, ChangeSummary, ChangesMode, ExecutionId};

use super::Fake;
use crate::http::changes::Changes;
use crate::supervisor::Caller;

impl Changes for Fake {
    async fn changes(&self, caller: &Caller, id: ExecutionId) -> Result<ChangeSet, ApiError> {
        let found = self.find(caller, id)?;
        let summary = ChangeSummary {
            mode: ChangesMode::Record,
            added: 0,
            modified: 0,
            deleted: 0,
            hazardous: 0,
            complete: true,
        };
        let (changes, unnamed) = (Vec::new(), 0);
        Ok(ChangeSet { execution: id, session: found.session, summary, changes, unnamed })
    }
}
