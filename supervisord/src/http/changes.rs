//! What executions changed: what the front end calls, and the operations as HTTP.

use std::future::Future;

use axum::http::StatusCode;
use supervisor_api::{ApiError, ChangeSet, ExecutionId};

use super::answer::{Answer, Problem, json};
use super::calls::{Call, to_the_end};
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

    /// Applies changes that are held back.
    fn apply_changes(
        &self,
        caller: &Caller,
        id: ExecutionId,
    ) -> impl Future<Output = Result<ChangeSet, ApiError>> + Send;

    /// Discards them.
    fn discard_changes(
        &self,
        caller: &Caller,
        id: ExecutionId,
    ) -> impl Future<Output = Result<ChangeSet, ApiError>> + Send;
}

impl Changes for Supervisor {
    async fn changes(&self, caller: &Caller, id: ExecutionId) -> Result<ChangeSet, ApiError> {
        Supervisor::changes(self, caller, id).await
    }

    async fn apply_changes(&self, caller: &Caller, id: ExecutionId) -> Result<ChangeSet, ApiError> {
        Supervisor::apply_changes(self, caller, id).await
    }

    async fn discard_changes(
        &self,
        caller: &Caller,
        id: ExecutionId,
    ) -> Result<ChangeSet, ApiError> {
        Supervisor::discard_changes(self, caller, id).await
    }
}

/// `GET /v1/executions/{id}/changes`
pub async fn changes<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    json(StatusCode::OK, call.front.operations.changes(&call.caller, call.execution()).await?)
}

/// `POST /v1/executions/{id}/changes/apply`
pub async fn apply<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let (front, caller, id) = (call.front.clone(), call.caller, call.execution());
    let applied = async move { front.operations.apply_changes(&caller, id).await };
    json(StatusCode::OK, to_the_end(applied).await?)
}

/// `POST /v1/executions/{id}/changes/discard`
pub async fn discard<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let (front, caller, id) = (call.front.clone(), call.caller, call.execution());
    let discarded = async move { front.operations.discard_changes(&caller, id).await };
    json(StatusCode::OK, to_the_end(discarded).await?)
}
