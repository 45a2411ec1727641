//! The operations on sessions and their files, as HTTP.

use axum::body::Bytes;
use axum::http::{HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use supervisor_api::{ApiError, ErrorCode, SessionId};
use tokio::time::timeout;

use super::answer::{Answer, Problem, json, with_type};
use super::calls::{Call, to_the_end};
use super::operations::{Operations, Receiver};
use super::parameters::Encoded;
use super::{body, download, streaming};
use crate::workspace::FilePage;

/// Media type of archives.
const TAR: &str = "application/x-tar";

/// `POST /v1/sessions`
pub async fn create<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let (front, caller) = (call.front.clone(), call.caller);
    let request = read(call).await?;
    let made = async move { front.operations.create_session(&caller, request).await };
    let session = to_the_end(made).await?;
    let location = HeaderValue::from_str(&format!("/v1/sessions/{}", session.id));
    let mut response = json(StatusCode::CREATED, session)?;
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// `GET /v1/sessions`
pub async fn list<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let all = call.query.flag("all")?;
    json(StatusCode::OK, call.front.operations.sessions(&call.caller, all).await?)
}

/// `GET /v1/sessions/{id}`
pub async fn show<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    json(StatusCode::OK, call.front.operations.session(&call.caller, call.session()).await?)
}

/// `POST /v1/sessions/{id}/extend`
pub async fn extend<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let (front, caller, id) = (call.front.clone(), call.caller, call.session());
    let request = read(call).await?;
    let extended = async move { front.operations.extend_session(&caller, id, request).await };
    json(StatusCode::OK, to_the_end(extended).await?)
}

/// `DELETE /v1/sessions/{id}`
pub async fn close<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let (front, caller, id) = (call.front.clone(), call.caller, call.session());
    let closed = async move { front.operations.close_session(&caller, id).await };
    json(StatusCode::OK, to_the_end(closed).await?)
}

/// `GET /v1/sessions/{id}/tree` and `GET /v1/sessions/{id}/tree/{*path}`
pub async fn tree<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let path = Some(call.parameter("path")).filter(|path| !path.is_empty());
    let after = call.query.value("after")?.map(|Encoded(name)| name);
    let limit = usize::try_from(call.query.number("limit")?).unwrap_or(usize::MAX);
    let page = FilePage { after, limit };
    let operations = &call.front.operations;
    let listed = operations.list_files(&call.caller, call.session(), path, page).await?;
    json(StatusCode::OK, listed)
}

/// `GET /v1/sessions/{id}/stat/{*path}`
pub async fn stat<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let path = call.parameter("path");
    let entry = call.front.operations.stat_file(&call.caller, call.session(), path).await?;
    json(StatusCode::OK, entry)
}

/// `GET /v1/sessions/{id}/files/{*path}`
pub async fn read_file<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let path = call.parameter("path");
    let file = call.front.operations.open_file(&call.caller, call.session(), path).await?;
    download::file(path, file, call.request.headers())
}

/// `PUT /v1/sessions/{id}/files/{*path}`
pub async fn write_file<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let (path, executable) = (call.parameter("path"), call.query.flag("executable")?);
    let operations = &call.front.operations;
    let begun = operations.begin_file(&call.caller, call.session(), path, executable);
    let receiver = begun.await?;
    json(StatusCode::OK, receive(call, receiver).await?)
}

/// `DELETE /v1/sessions/{id}/files/{*path}`
pub async fn remove_file<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let (front, caller, id) = (call.front.clone(), call.caller, call.session());
    let (path, recursive) = (call.parameter("path").to_owned(), call.query.flag("recursive")?);
    let removed = async move { front.operations.remove_file(&caller, id, &path, recursive).await };
    json(StatusCode::OK, to_the_end(removed).await?)
}

/// `POST /v1/sessions/{id}/directories`
pub async fn make_directory<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let (front, caller, id) = (call.front.clone(), call.caller, call.session());
    let request = read(call).await?;
    let made = async move { front.operations.make_directory(&caller, id, request).await };
    json(StatusCode::OK, to_the_end(made).await?)
}

/// `POST /v1/sessions/{id}/move`
pub async fn move_file<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let (front, caller, id) = (call.front.clone(), call.caller, call.session());
    let request = read(call).await?;
    let moved = async move { front.operations.move_file(&caller, id, request).await };
    json(StatusCode::OK, to_the_end(moved).await?)
}

/// `GET /v1/sessions/{id}/archive`
pub async fn pack<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let pieces = call.front.operations.pack_session(&call.caller, call.session()).await?;
    let body = streaming::unfold(pieces, |mut pieces| async move {
        Ok(pieces.next().await?.map(|piece| (piece, pieces)))
    });
    Ok(with_type(StatusCode::OK, TAR, body))
}

/// `PUT /v1/sessions/{id}/archive`
pub async fn unpack<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let begun = call.front.operations.begin_unpacking(&call.caller, call.session());
    let receiver = begun.await?;
    json(StatusCode::OK, receive(call, receiver).await?)
}

impl<O> Call<O> {
    /// The session that the path names, as [`Call::execution`] does it.
    pub fn session(&self) -> SessionId {
        self.parameter("id").parse().unwrap_or(SessionId::from_bits(0))
    }
}

/// Reads a small JSON body.
pub async fn read<O: Operations, T: DeserializeOwned + Send + 'static>(
    call: Call<O>,
) -> Result<T, Problem> {
    let Call { front, caller, request, .. } = call;
    let received = body::receive(request, &caller, &front.bodies, front.bounds.body).await?;
    let (value, _share) = super::json::read(received, &front.readers).await?;
    Ok(value)
}

/// Hands a body over piece by piece, however long it is: none of it is kept here. The caller has a
/// deadline for each piece, not for all of them.
async fn receive<O: Operations, R: Receiver>(
    call: Call<O>,
    mut receiver: R,
) -> Result<R::Outcome, Problem> {
    let length = body::declared_upload(call.request.headers())?;
    let mut body = call.request.into_body();
    let mut left = length;
    while left > 0 {
        let frame = timeout(call.front.bounds.body, body.frame()).await.map_err(|_| {
            ApiError::new(ErrorCode::RequestTimeout, "the request body did not arrive in time")
        })?;
        let Some(Ok(frame)) = frame else { break };
        let piece: Bytes = frame.into_data().unwrap_or_default();
        left = left.saturating_sub(piece.len() as u64);
        if !receiver.write(piece).await? {
            return Ok(receiver.finish().await?); // it says why it takes no more
        }
    }
    if left > 0 {
        let problem = "the request ended within its body";
        return Err(ApiError::new(ErrorCode::InvalidArgument, problem).into());
    }
    Ok(receiver.finish().await?)
}
