//! What is there is paused and goes on, by word.

use supervisor_api::{ApiError, Execution, ExecutionId, ExecutionList, SessionId};

use super::{Fake, sessions};
use crate::http::pausing::Pausing;
use crate::supervisor::Caller;

impl Pausing for Fake {
    async fn pause(
        &self,
        caller: &Caller,
        id: ExecutionId,
        _: bool,
    ) -> Result<Execution, ApiError> {
        self.find(caller, id)
    }

    async fn resume(&self, caller: &Caller, id: ExecutionId) -> Result<Execution, ApiError> {
        self.find(caller, id)
    }

    async fn pause_session(
        &self,
        caller: &Caller,
        id: SessionId,
        _: bool,
    ) -> Result<ExecutionList, ApiError> {
        sessions::find(caller, id)?;
        Ok(ExecutionList { executions: Vec::new(), next: None })
    }

    async fn resume_session(
        &self,
        caller: &Caller,
        id: SessionId,
    ) -> Result<ExecutionList, ApiError> {
        sessions::find(caller, id)?;
        Ok(ExecutionList { executions: Vec::new(), next: None })
    }
}
