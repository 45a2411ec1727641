//! The operations on what executions changed.

use supervisor_api::{ChangeSet, ExecutionId};

use super::sessions::LONG;
use super::{Client, get, post};
use crate::connection::Call;
use crate::failure::Failure;

impl Client {
    /// What an execution changed in its workspace.
    pub async fn changes(&self, id: ExecutionId) -> Result<ChangeSet, Failure> {
        let target = format!("/v1/executions/{id}/changes");
        self.json(get(format!("tell what {id} changed"), target)).await
    }

    /// Applies changes that are held back. To be repeated as often as one likes.
    pub async fn apply_changes(&self, id: ExecutionId) -> Result<ChangeSet, Failure> {
        self.settle(format!("apply the changes of {id}"), id, "apply").await
    }

    /// Discards them. To be repeated as often as one likes.
    pub async fn discard_changes(&self, id: ExecutionId) -> Result<ChangeSet, Failure> {
        self.settle(format!("discard the changes of {id}"), id, "discard").await
    }

    async fn settle(
        &self,
        operation: String,
        id: ExecutionId,
        how: &str,
    ) -> Result<ChangeSet, Failure> {
        let call = post(operation, format!("/v1/executions/{id}/changes/{how}"));
        self.json(Call { patience: LONG, ..call }).await
    }
}
