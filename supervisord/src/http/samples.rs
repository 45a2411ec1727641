//! What executions used over time: what the front end calls, and the operation as HTTP.

use std::future::Future;

use axum::http::StatusCode;
use supervisor_api::{ApiError, ExecutionId, SampleList};

use super::answer::{Answer, Problem, json};
use super::calls::Call;
use super::operations::Operations;
use crate::supervisor::{Caller, Supervisor};

/// The operation on samples.
pub trait Samples: Send + Sync + 'static {
    /// What an execution has used over time.
    fn samples(
        &self,
        caller: &Caller,
        id: ExecutionId,
    ) -> impl Future<Output = Result<SampleList, ApiError>> + Send;
}

impl Samples for Supervisor {
    async fn samples(&self, caller: &Caller, id: ExecutionId) -> Result<SampleList, ApiError> {
        Supervisor::samples(self, caller, id).await
    }
}

/// `GET /v1/executions/{id}/samples`
pub async fn samples<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    json(StatusCode::OK, call.front.operations.samples(&call.caller, call.execution()).await?)
}
