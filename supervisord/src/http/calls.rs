//! The operations as HTTP: each function turns a request into a call, and what comes back into an
//! answer.

use std::future::Future;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Request, StatusCode, header};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error as ValueError;
use supervisor_api::{
    AnswerRequest, ApiError, ApprovalId, AuditFilter, AuditTime, BadTime, ErrorCode, Execution,
    ExecutionId, NDJSON, OPENMETRICS, State, Stream, SubmitRequest, Verdict,
};
use tokio::time::Instant;

use super::answer::{Answer, JSON, Problem, json, with_type};
use super::operations::Operations;
use super::parameters::{Encoded, Query};
use super::routes::Front;
use super::{body, download, streaming};
use crate::supervisor::{Caller, ListQuery, OutputQuery};

/// How long one look at an unfinished execution takes while a submission is waited for.
pub const WAIT: Duration = Duration::from_secs(60);

/// A request on its way to an operation.
pub struct Call<O> {
    /// What all requests share.
    pub front: Arc<Front<O>>,
    /// Who asks.
    pub caller: Caller,
    /// The path's parameters by name, decoded.
    pub path: Vec<(String, String)>,
    /// The query, with no parameter that the operation doesn't have.
    pub query: Query,
    /// The rest of it.
    pub request: Request<Body>,
}

/// The state of an execution, read from a query.
struct StateWord(State);

impl FromStr for StateWord {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        State::deserialize(text.into_deserializer()).map(Self)
    }
}

/// The verdict of a decision, read from a query.
struct VerdictWord(Verdict);

impl FromStr for VerdictWord {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Verdict::deserialize(text.into_deserializer()).map(Self)
    }
}

impl<O> Call<O> {
    /// The execution that the path names. What can't be an id is looked up as the one id that is
    /// never given out, so that it gets the very answer that any unknown or foreign one gets.
    pub fn execution(&self) -> ExecutionId {
        self.parameter("id").parse().unwrap_or(ExecutionId::from_bits(0))
    }

    /// The question that the path names, in the same way.
    fn approval(&self) -> ApprovalId {
        self.parameter("id").parse().unwrap_or(ApprovalId::from_bits(0))
    }

    /// A parameter of the path, decoded; empty if the path has none of that name.
    pub fn parameter(&self, name: &str) -> &str {
        let found = self.path.iter().find(|(given, _)| given == name);
        found.map_or("", |(_, value)| value.as_str())
    }
}

/// `POST /v1/executions`
pub async fn submit<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let Call { front, caller, request, .. } = call;
    let received = body::receive(request, &caller, &front.bodies, front.bounds.body).await?;
    let (request, share): (SubmitRequest, _) = super::json::read(received, &front.readers).await?;
    let wait = request.wait;
    let shared = front.clone();
    let mut execution = to_the_end(async move {
        let result = shared.operations.submit(&caller, request).await;
        drop(share); // the request is no longer in memory
        result
    })
    .await?;
    if wait {
        execution = finished(&front.operations, &caller, execution).await?;
    }
    let location = HeaderValue::from_str(&format!("/v1/executions/{}", execution.id));
    let mut response = json(StatusCode::CREATED, execution)?;
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// `GET /v1/executions`
pub async fn list<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let query = ListQuery {
        limit: u32::try_from(call.query.number("limit")?).unwrap_or(u32::MAX),
        after: call.query.value("after")?,
        state: call.query.value("state")?.map(|StateWord(state)| state),
        all: call.query.flag("all")?,
    };
    json(StatusCode::OK, call.front.operations.list(&call.caller, query).await?)
}

/// `GET /v1/executions/{id}`
pub async fn status<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let wait = Duration::from_secs(call.query.number("wait")?);
    let execution = call.front.operations.status(&call.caller, call.execution(), wait).await?;
    json(StatusCode::OK, execution)
}

/// `GET /v1/executions/{id}/output`
pub async fn output<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let stream = match call.query.word("stream")? {
        "stdout" => Some(Stream::Stdout),
        "stderr" => Some(Stream::Stderr),
        _ => None,
    };
    let offset = call.query.number("offset")?;
    let query = OutputQuery { stream, offset, follow: call.query.flag("follow")? };
    let removal = call.front.operations.removal(call.execution()); // before anything is opened
    let chunks = call.front.operations.output(&call.caller, call.execution(), query).await?;
    Ok(match stream {
        Some(_) => {
            let body = streaming::until(streaming::raw(chunks), removal);
            with_type(StatusCode::OK, download::BYTES, body)
        }
        None => {
            with_type(StatusCode::OK, NDJSON, streaming::until(streaming::lines(chunks), removal))
        }
    })
}

/// `POST /v1/executions/{id}/cancel`
pub async fn cancel<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let (front, caller, id) = (call.front.clone(), call.caller, call.execution());
    let cancelled = to_the_end(async move { front.operations.cancel(&caller, id).await }).await?;
    json(StatusCode::OK, cancelled)
}

/// `DELETE /v1/executions/{id}`
pub async fn remove<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let (front, caller, id) = (call.front.clone(), call.caller, call.execution());
    let removed = to_the_end(async move { front.operations.remove(&caller, id).await }).await?;
    json(StatusCode::OK, removed)
}

/// `GET /v1/executions/{id}/artifacts`
pub async fn artifacts<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    json(StatusCode::OK, call.front.operations.artifacts(&call.caller, call.execution()).await?)
}

/// `GET /v1/executions/{id}/artifacts/{*path}`
pub async fn artifact<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let path = call.parameter("path");
    let removal = call.front.operations.removal(call.execution()); // before anything is opened
    let found = call.front.operations.artifact(&call.caller, call.execution(), path).await?;
    let answer = download::answer(&found.0, found.1, call.request.headers())?;
    Ok(answer.map(|body| streaming::until(body, removal)))
}

/// `GET /v1/executions/{id}/receipt`
pub async fn receipt<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    json(StatusCode::OK, call.front.operations.receipt(&call.caller, call.execution()).await?)
}

/// `GET /v1/executions/{id}/decisions`
pub async fn decisions<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let (after, limit) = (call.query.number("after")?, limit_of(&call.query)?);
    let id = call.execution();
    json(StatusCode::OK, call.front.operations.decisions(&call.caller, id, after, limit).await?)
}

/// `GET /v1/audit`
pub async fn audit<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let query = &call.query;
    let text = |name| Ok::<_, ApiError>(query.value::<Encoded>(name)?.map(|Encoded(text)| text));
    let time = |name| text(name)?.map(|text| time_of(name, &text)).transpose();
    let kind = Some(query.word("kind")?).filter(|kind| !kind.is_empty()).map(str::to_owned);
    let filter = AuditFilter {
        session: query.value("session")?,
        execution: query.value("execution")?,
        uid: query.value("uid")?,
        kind,
        rule: text("rule")?,
        host: text("host")?,
        credential: text("credential")?,
        verdict: query.value("verdict")?.map(|VerdictWord(verdict)| verdict),
        since: time("since")?,
        until: time("until")?,
    };
    let (after, limit) = (query.number("after")?, limit_of(query)?);
    json(StatusCode::OK, call.front.operations.audit(&call.caller, filter, after, limit).await?)
}

fn time_of(name: &str, text: &str) -> Result<AuditTime, ApiError> {
    text.parse().map_err(|allowed: BadTime| {
        ApiError::invalid(name, "the parameter has no such value").with_hint(allowed.to_string())
    })
}

/// `GET /v1/audit/key`
pub async fn audit_key<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    json(StatusCode::OK, call.front.operations.audit_key())
}

fn limit_of(query: &Query) -> Result<usize, ApiError> {
    Ok(usize::try_from(query.number("limit")?).unwrap_or(usize::MAX))
}

/// `GET /v1/policies`
pub async fn policies<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    json(StatusCode::OK, call.front.operations.policies())
}

/// `GET /v1/budgets`
pub async fn budgets<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let all = call.query.flag("all")?;
    json(StatusCode::OK, call.front.operations.budgets(&call.caller, all)?)
}

/// `POST /v1/budgets/{account}/reset`
pub async fn reset_budget<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let account = call.parameter("account");
    json(StatusCode::OK, call.front.operations.reset_budget(&call.caller, account)?)
}

/// `GET /v1/approvals`
pub async fn approvals<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    json(StatusCode::OK, call.front.operations.approvals(&call.caller))
}

/// `GET /v1/approvals/events`
pub async fn approvals_follow<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let changes = call.front.operations.approval_changes(&call.caller);
    Ok(with_type(StatusCode::OK, NDJSON, streaming::changes(changes)))
}

/// `GET /v1/events`
pub async fn events<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let events = call.front.operations.events(&call.caller);
    Ok(with_type(StatusCode::OK, NDJSON, streaming::changes(events)))
}

/// `GET /v1/approvals/{id}`
pub async fn approval<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    json(StatusCode::OK, call.front.operations.approval(&call.caller, call.approval())?)
}

/// `POST /v1/approvals/{id}/answer`
pub async fn answer<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let id = call.approval();
    let Call { front, caller, request, .. } = call;
    let received = body::receive(request, &caller, &front.bodies, front.bounds.body).await?;
    let (answer, share): (AnswerRequest, _) = super::json::read(received, &front.readers).await?;
    drop(share);
    let given = async move { front.operations.answer(&caller, id, answer).await };
    json(StatusCode::OK, to_the_end(given).await?)
}

/// `GET /v1/doctor`
pub async fn doctor<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    json(StatusCode::OK, call.front.operations.doctor()?)
}

/// `GET /v1/top`
pub async fn top<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    json(StatusCode::OK, call.front.operations.top(&call.caller).await?)
}

/// `GET /metrics`
pub async fn metrics<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let text = call.front.operations.metrics(&call.caller)?;
    Ok(with_type(StatusCode::OK, OPENMETRICS, Body::from(text)))
}

/// `POST /v1/reload`
pub async fn reload<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let (front, caller) = (call.front.clone(), call.caller);
    let reloaded = to_the_end(async move { front.operations.reload(&caller).await }).await?;
    json(StatusCode::OK, reloaded)
}

/// `GET /v1/credentials`
pub async fn credentials<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    json(StatusCode::OK, call.front.operations.credentials(&call.caller)?)
}

/// `POST /v1/credentials/{name}/rotate`
pub async fn rotate_credential<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let (front, caller) = (call.front.clone(), call.caller);
    let name = call.parameter("name").to_owned();
    let rotate = async move { front.operations.rotate_credential(&caller, &name).await };
    json(StatusCode::OK, to_the_end(rotate).await?)
}

/// `POST /v1/credentials/{name}/revoke`
pub async fn revoke_credential<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let (front, caller) = (call.front.clone(), call.caller);
    let name = call.parameter("name").to_owned();
    let revoke = async move { front.operations.revoke_credential(&caller, &name).await };
    json(StatusCode::OK, to_the_end(revoke).await?)
}

/// `GET /v1/openapi.json`
pub async fn openapi<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    Ok(with_type(StatusCode::OK, JSON, Body::from(call.front.document.clone())))
}

/// Does what changes something to its end, even when the caller goes away meanwhile.
pub async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::spawn(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "an operation was lost");
        Err(ApiError::new(ErrorCode::Internal, "the operation was lost"))
    })
}

/// Waits for the end of an execution. A look that comes back early and unfinished means that the
/// supervisor is stopping: the caller is told how far the execution has come.
async fn finished<O: Operations>(
    operations: &Arc<O>,
    caller: &Caller,
    mut execution: Execution,
) -> Result<Execution, ApiError> {
    let mut before = Instant::now();
    while execution.state != State::Finished {
        execution = operations.status(caller, execution.id, WAIT).await?;
        let now = Instant::now();
        if now - before < WAIT {
            break;
        }
        before = now;
    }
    Ok(execution)
}
