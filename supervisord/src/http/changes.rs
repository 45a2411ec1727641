//! What executions changed: what the front end calls, and the operations as HTTP.

use std::future::Future;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use supervisor_api::{ApiError, ChangeSet, ExecutionId};

use super::answer::{Problem, json};
use super::calls::Call;
use super::operations::Operations;
use crate::supervisor::{Caller, Supervisor};

/// The operations on changes.
pub trait Changes: Send + Sync + 'static {
    /// What an execution changed in its workspace.
    fn changes(
        &self,
        caller: &Caller,
        id: ExecutionId,
    ) -> impl Future<Output = Result<ChangeSet, ApiError>> + Send;
}

impl Changes for Supervisor {
    async fn changes(&self, caller: &Caller, id: ExecutionId) -> Result<ChangeSet, ApiError> {
        Supervisor::changes(self, caller, id).await
    }
}

/// `GET /v1/executions/{id}/changes`
pub async fn changes<O: Operations>(call: Call<O>) -> Result<Response<Body>, Problem> {
    json(StatusCode::OK, &call.front.operations.changes(&call.caller, call.execution()).await?)
}
