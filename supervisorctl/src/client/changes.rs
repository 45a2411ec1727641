//! The operations on what executions changed.

use supervisor_api::{ChangeSet, ExecutionId};

use super::{Client, get};
use crate::failure::Failure;

impl Client {
    /// What an execution changed in its workspace.
    pub async fn changes(&self, id: ExecutionId) -> Result<ChangeSet, Failure> {
        let target = format!("/v1/executions/{id}/changes");
        self.json(get(format!("tell what {id} changed"), target)).await
    }
}
