//! The operations on interpreters and their cells, as HTTP.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use supervisor_api::{CellState, ExecutionId, RunCell};
use tokio::time::Instant;

use super::answer::{Answer, Problem, json};
use super::calls::{Call, WAIT, to_the_end};
use super::operations::Operations;
use super::sessions::read;

/// `POST /v1/sessions/{id}/interpreters`
pub async fn create<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let (front, caller, session) = (call.front.clone(), call.caller, call.session());
    let request = read(call).await?;
    let made = async move { front.operations.create_interpreter(&caller, session, request).await };
    let interpreter = to_the_end(made).await?;
    let place = format!("/v1/sessions/{session}/interpreters/{}", interpreter.id);
    let mut response = json(StatusCode::CREATED, interpreter)?;
    if let Ok(location) = HeaderValue::from_str(&place) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// `GET /v1/sessions/{id}/interpreters`
pub async fn list<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    json(StatusCode::OK, call.front.operations.interpreters(&call.caller, call.session())?)
}

/// `GET /v1/sessions/{id}/interpreters/{interpreter}`
pub async fn show<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let (session, id) = (call.session(), call.interpreter());
    json(StatusCode::OK, call.front.operations.interpreter(&call.caller, session, id).await?)
}

/// `DELETE /v1/sessions/{id}/interpreters/{interpreter}`
pub async fn close<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let (front, caller) = (call.front.clone(), call.caller);
    let (session, id) = (call.session(), call.interpreter());
    let closed = async move { front.operations.close_interpreter(&caller, session, id).await };
    json(StatusCode::OK, to_the_end(closed).await?)
}

/// `POST /v1/sessions/{id}/interpreters/{interpreter}/interrupt`
pub async fn interrupt<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let (session, id) = (call.session(), call.interpreter());
    json(StatusCode::OK, call.front.operations.interrupt(&call.caller, session, id).await?)
}

/// `POST /v1/sessions/{id}/interpreters/{interpreter}/cells`
pub async fn run<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let (front, caller) = (call.front.clone(), call.caller);
    let (session, id) = (call.session(), call.interpreter());
    let request: RunCell = read(call).await?;
    let wait = request.wait;
    let operations = &front.operations;
    let mut cell = operations.run_cell(&caller, session, id, request).await?;
    let mut before = Instant::now();
    while wait && cell.state != CellState::Done {
        cell = operations.cell(&caller, session, id, cell.number, WAIT).await?;
        if before.elapsed() < WAIT {
            break; // it has ended, or the daemon is stopping
        }
        before = Instant::now();
    }
    json(StatusCode::CREATED, cell)
}

/// `GET /v1/sessions/{id}/interpreters/{interpreter}/cells`
pub async fn cells<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let (session, id) = (call.session(), call.interpreter());
    json(StatusCode::OK, call.front.operations.cells(&call.caller, session, id).await?)
}

/// `GET /v1/sessions/{id}/interpreters/{interpreter}/cells/{number}`
pub async fn cell<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let (session, id) = (call.session(), call.interpreter());
    // What can't be a number is looked up as the one that is never given out.
    let number = call.parameter("number").parse().unwrap_or(0);
    let wait = Duration::from_secs(call.query.number("wait")?);
    json(StatusCode::OK, call.front.operations.cell(&call.caller, session, id, number, wait).await?)
}

impl<O> Call<O> {
    /// The interpreter that the path names, as [`Call::execution`] does it.
    fn interpreter(&self) -> ExecutionId {
        self.parameter("interpreter").parse().unwrap_or(ExecutionId::from_bits(0))
    }
}
