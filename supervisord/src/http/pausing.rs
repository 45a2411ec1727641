//! Pausing and going on: what the front end calls, and the operations as HTTP.

use std::future::Future;

use axum::http::StatusCode;
use supervisor_api::{ApiError, Execution, ExecutionId, ExecutionList, SessionId};

use super::answer::{Answer, Problem, json};
use super::calls::{Call, to_the_end};
use super::operations::Operations;
use crate::supervisor::{Caller, Supervisor};

/// The operations that pause.
pub trait Pausing: Send + Sync + 'static {
    /// Freezes an execution and stops its clock.
    fn pause(
        &self,
        caller: &Caller,
        id: ExecutionId,
        reclaim: bool,
    ) -> impl Future<Output = Result<Execution, ApiError>> + Send;

    /// Lets it go on.
    fn resume(
        &self,
        caller: &Caller,
        id: ExecutionId,
    ) -> impl Future<Output = Result<Execution, ApiError>> + Send;

    /// Pauses all that runs in a session.
    fn pause_session(
        &self,
        caller: &Caller,
        id: SessionId,
        reclaim: bool,
    ) -> impl Future<Output = Result<ExecutionList, ApiError>> + Send;

    /// Lets all that is paused in it go on.
    fn resume_session(
        &self,
        caller: &Caller,
        id: SessionId,
    ) -> impl Future<Output = Result<ExecutionList, ApiError>> + Send;
}

impl Pausing for Supervisor {
    async fn pause(
        &self,
        caller: &Caller,
        id: ExecutionId,
        reclaim: bool,
    ) -> Result<Execution, ApiError> {
        Supervisor::pause(self, caller, id, reclaim).await
    }

    async fn resume(&self, caller: &Caller, id: ExecutionId) -> Result<Execution, ApiError> {
        Supervisor::resume(self, caller, id).await
    }

    async fn pause_session(
        &self,
        caller: &Caller,
        id: SessionId,
        reclaim: bool,
    ) -> Result<ExecutionList, ApiError> {
        Supervisor::pause_session(self, caller, id, reclaim).await
    }

    async fn resume_session(
        &self,
        caller: &Caller,
        id: SessionId,
    ) -> Result<ExecutionList, ApiError> {
        Supervisor::resume_session(self, caller, id).await
    }
}

/// `POST /v1/executions/{id}/pause`
pub async fn pause<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let reclaim = call.query.flag("reclaim")?;
    let (front, caller, id) = (call.front.clone(), call.caller, call.execution());
    let paused = async move { front.operations.pause(&caller, id, reclaim).await };
    json(StatusCode::OK, to_the_end(paused).await?)
}

/// `POST /v1/executions/{id}/resume`
pub async fn resume<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let (front, caller, id) = (call.front.clone(), call.caller, call.execution());
    let resumed = async move { front.operations.resume(&caller, id).await };
    json(StatusCode::OK, to_the_end(resumed).await?)
}

/// `POST /v1/sessions/{id}/pause`
pub async fn pause_session<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let reclaim = call.query.flag("reclaim")?;
    let (front, caller, id) = (call.front.clone(), call.caller, call.session());
    let paused = async move { front.operations.pause_session(&caller, id, reclaim).await };
    json(StatusCode::OK, to_the_end(paused).await?)
}

/// `POST /v1/sessions/{id}/resume`
pub async fn resume_session<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let (front, caller, id) = (call.front.clone(), call.caller, call.session());
    let resumed = async move { front.operations.resume_session(&caller, id).await };
    json(StatusCode::OK, to_the_end(resumed).await?)
}
