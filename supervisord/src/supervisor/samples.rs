//! What executions used over time, for whoever may see them.

use supervisor_api::{ApiError, ExecutionId, SampleList};
use tokio::task::spawn_blocking;

use super::{Caller, Supervisor, internal, storage};
use crate::samples::{kept, none, so_far};

impl Supervisor {
    /// What an execution has used over time.
    pub async fn samples(&self, caller: &Caller, id: ExecutionId) -> Result<SampleList, ApiError> {
        if let Some(live) = self.own_live(caller, id) {
            return Ok(so_far(&live));
        }
        self.recorded(caller, id).await?;
        let places = self.inner.places.clone();
        let found = spawn_blocking(move || kept(&places, id)).await.map_err(internal)?;
        Ok(found.map_err(storage)?.unwrap_or_else(none))
    }
}
