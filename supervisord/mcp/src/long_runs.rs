//! What goes on after its request was answered, for clients that ask for it again (the protocol calls it a task):
//! the handle is the execution's id, so it is good in another process and after a restart as well.

use rmcp::model::{
    DetailedTask, ErrorData, GetTaskResult, JsonObject, Task, TaskPayload, TaskStatus,
};
use serde_json::Value;
use supervisor_api::{ErrorCode, Execution, ExecutionId, Outcome, State};

use crate::client::Client;
use crate::failure::Failure;

use crate::{runs, tools};

/// How long a client should wait before it asks again.
const POLL_MS: u64 = 1000;

/// How it stands.
pub fn describe(execution: &Execution) -> Task {
    let status = match (execution.state, &execution.outcome) {
        (State::Finished, Some(Outcome::Cancelled)) => TaskStatus::Cancelled,
        (State::Finished, _) => TaskStatus::Completed,
        _ => TaskStatus::Working,
    };
    let changed = execution.finished_at.as_ref().or(execution.started_at.as_ref());
    let changed = changed.unwrap_or(&execution.created_at);
    Task::new(execution.id.to_string(), status, &execution.created_at, changed)
        .with_status_message(execution.in_words())
        .with_poll_interval_ms(POLL_MS)
}

/// How it stands, with its result once it has one.
pub async fn get(client: &Client, id: &str) -> Result<GetTaskResult, ErrorData> {
    let execution = client.status(parsed(id)?, 0).await.map_err(|failure| told(&failure))?;
    let task = describe(&execution);
    let payload = match task.status {
        TaskStatus::Working => TaskPayload::Working,
        TaskStatus::Cancelled => TaskPayload::Cancelled,
        _ => TaskPayload::Completed { result: result(client, &execution).await? },
    };
    Ok(GetTaskResult::new(DetailedTask::new(task, payload)))
}

/// Ends it.
pub async fn cancel(client: &Client, id: &str) -> Result<(), ErrorData> {
    match client.cancel(parsed(id)?).await {
        Err(failure) if failure.code() != Some(ErrorCode::Conflict) => Err(told(&failure)),
        // One that has ended by itself needs no end.
        _ => Ok(()),
    }
}

async fn result(client: &Client, execution: &Execution) -> Result<JsonObject, ErrorData> {
    let told_it = runs::told(client, execution).await.and_then(tools::result);
    let result = told_it.map_err(|failure| told(&failure))?;
    match serde_json::to_value(result) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(ErrorData::internal_error("the result can't be written", None)),
    }
}

fn parsed(id: &str) -> Result<ExecutionId, ErrorData> {
    id.parse().map_err(|_| ErrorData::invalid_params(format!("there is no {id:?}"), None))
}

/// A failure as the protocol's own error.
pub fn told(failure: &Failure) -> ErrorData {
    let data = failure.to_json().get("error").cloned();
    match failure.code() {
        // What it names is not there, can't be, or is none that can be read.
        Some(ErrorCode::NotFound | ErrorCode::InvalidArgument | ErrorCode::Conflict) => {
            ErrorData::invalid_params(failure.chain(), data)
        }
        _ => ErrorData::internal_error(failure.chain(), data),
    }
}
