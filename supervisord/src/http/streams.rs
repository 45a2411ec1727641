//! The operations on what goes to a payload while it runs, as HTTP.

use axum::http::StatusCode;
use supervisor_api::TerminalSize;

use super::answer::{Answer, Problem, json};
use super::body;
use super::bounds::MAX_INPUT;
use super::calls::{Call, to_the_end};
use super::operations::Operations;

/// `GET /v1/executions/{id}/stdin`
pub async fn input<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    json(StatusCode::OK, call.front.operations.input(&call.caller, call.execution()).await?)
}

/// `POST /v1/executions/{id}/stdin`
pub async fn send<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let (id, offset) = (call.execution(), call.query.value("offset")?);
    let Call { front, caller, request, .. } = call;
    let deadline = front.bounds.body;
    let received =
        body::receive_bytes(request, &caller, &front.bodies, deadline, MAX_INPUT).await?;
    let sent = async move {
        let sent = front.operations.send_input(&caller, id, offset, received.bytes).await;
        drop(received.share); // the bytes are no longer in memory
        sent
    };
    json(StatusCode::OK, to_the_end(sent).await?)
}

/// `POST /v1/executions/{id}/stdin/close`
pub async fn close<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let (id, offset) = (call.execution(), call.query.value("offset")?);
    let Call { front, caller, .. } = call;
    let closed = async move { front.operations.close_input(&caller, id, offset).await };
    json(StatusCode::OK, to_the_end(closed).await?)
}

/// `POST /v1/executions/{id}/terminal`
pub async fn resize<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let id = call.execution();
    let Call { front, caller, request, .. } = call;
    let received = body::receive(request, &caller, &front.bodies, front.bounds.body).await?;
    let (size, _share): (TerminalSize, _) = super::json::read(received, &front.readers).await?;
    let resized = async move { front.operations.resize_terminal(&caller, id, size).await };
    json(StatusCode::OK, to_the_end(resized).await?)
}
