//! Executions are cancelled, and what is left of them is removed.

use std::collections::HashSet;

use supervisor_api::{ApiError, ErrorCode, Execution, ExecutionId};

use super::{Caller, Supervisor, from_store, internal};
use crate::audit;
use crate::keeping;
use crate::outcome;
use crate::recovery::Failure;
use crate::store::StoreError;

impl Supervisor {
    /// Ends an execution; returns when nothing of it runs any more. A launcher that stands still is not waited for, and
    /// the execution ends with what it does next.
    pub async fn cancel(&self, caller: &Caller, id: ExecutionId) -> Result<Execution, ApiError> {
        let Some(live) = self.own_live(caller, id) else {
            // A finished execution stays as it ended: cancelling twice is no error.
            return self.recorded(caller, id).await;
        };
        // Never refused for want of room: what ends is no new work.
        self.inner.audit.note(audit::cancellation(&live.snapshot(), caller.uid));
        live.cancelled.send_replace(true);
        let this = HashSet::from([id]);
        let so = "the execution is cancelled, and its end is told once it is recorded";
        let finished = async {
            tokio::select! {
                biased;
                finished = self.finished(&live) => finished,
                why = self.inner.delayed.any_of(&this, so) => Err(why),
            }
        };
        let finished = self.inner.launcher.unless_silent(finished).await;
        finished.unwrap_or_else(|_| {
            let so = "the execution is cancelled, and ends once its sandbox is removed";
            Err(outcome::launcher_is_silent(so))
        })
    }

    /// Removes a finished execution with all that is kept of it. The audit log keeps what it has.
    pub async fn remove(&self, caller: &Caller, id: ExecutionId) -> Result<Execution, ApiError> {
        if self.own_live(caller, id).is_some() {
            let problem = "the execution has not finished";
            return Err(ApiError::new(ErrorCode::Conflict, problem).with_hint("cancel it first"));
        }
        let execution = self.recorded(caller, id).await?;
        self.refuse_held(&execution)?;
        // Never refused for want of room, which this makes.
        self.inner.audit.note(audit::administration(&execution, "remove", caller.uid));
        keeping::remove(&self.inner, id).await.map_err(not_removed)?;
        Ok(execution)
    }
}

fn not_removed(failure: Failure) -> ApiError {
    match failure.downcast::<StoreError>() {
        Ok(error) if matches!(*error, StoreError::Full { .. }) => from_store(&error).with_hint(
            "its files are gone and its record is not: make room on that file system, and remove it again",
        ),
        Ok(error) => from_store(&error),
        Err(error) => internal(error),
    }
}
