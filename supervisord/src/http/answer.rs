//! Answers: JSON, problems (RFC 9457), and the header fields that every answer has. No header field
//! repeats a byte of the request.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use supervisor_api::{ApiError, ErrorCode, PROBLEM_JSON};

use super::writing::{Refusable, Writing, Written};
use crate::supervisor::Caller;

/// Media type of answers that are one JSON value.
pub const JSON: &str = "application/json";

/// Seconds after which a refused caller may try again.
const RETRY_AFTER: &str = "1";

/// An error as an answer.
#[derive(Debug)]
pub struct Problem(pub ApiError);

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(body_of(&self.0)));
        *response.status_mut() = status_of(&self.0);
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if self.0.code == ErrorCode::Busy {
            fields.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
        }
        response
    }
}

/// An answer. If it is long, its body has yet to be written.
pub struct Answer {
    response: Response<Body>,
    body: Option<Written>,
}

impl Answer {
    /// Its header fields.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        self.response.headers_mut()
    }

    /// The same answer, with this done to its body. One that has yet to be written stays as it is.
    pub fn map(self, change: impl FnOnce(Body) -> Body) -> Self {
        Self { response: self.response.map(change), body: self.body }
    }

    /// The whole answer to this caller.
    ///
    /// # Errors
    /// [`ErrorCode::Busy`] as [`Writing::write`].
    pub async fn whole(
        self,
        caller: &Caller,
        writing: &Writing,
        refusable: Refusable,
    ) -> Result<Response<Body>, Problem> {
        let body = match self.body {
            None => return Ok(self.response),
            Some(Written::Short(bytes)) => Body::from(bytes),
            Some(Written::Long(write)) => writing.write(caller, write, refusable).await?,
        };
        Ok(self.response.map(|_| body))
    }
}

impl From<Response<Body>> for Answer {
    fn from(response: Response<Body>) -> Self {
        Self { response, body: None }
    }
}

/// A value as JSON.
///
/// # Errors
///
/// [`ErrorCode::Internal`] when the value has no JSON form, which none of the interface's lacks.
pub fn json(status: StatusCode, value: impl Serialize + Send + 'static) -> Result<Answer, Problem> {
    let body = Written::new(value)?;
    Ok(Answer { body: Some(body), ..with_type(status, JSON, Body::empty()) })
}

/// A body of this media type.
pub fn with_type(status: StatusCode, media_type: &'static str, body: Body) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.into()
}

/// The same answer with the fields that every answer has: output and records belong to one uid and
/// are no cache's business, and no client may guess that bytes are something else.
pub fn finish(mut response: Response<Body>) -> Response<Body> {
    let fields = response.headers_mut();
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A whole answer in bytes, for a connection that hyper doesn't have or no longer has.
pub fn last_words(error: &ApiError) -> Vec<u8> {
    let body = body_of(error);
    let retry = match error.code {
        ErrorCode::Busy => format!("retry-after: {RETRY_AFTER}\r\n"),
        _ => String::new(),
    };
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\n\
         content-type: {PROBLEM_JSON}\r\n\
         content-length: {length}\r\n\
         cache-control: no-store\r\n\
         x-content-type-options: nosniff\r\n\
         {retry}\
         connection: close\r\n\r\n",
        status = status_of(error),
        length = body.len(),
    )
    .into_bytes();
    bytes.extend_from_slice(&body);
    bytes
}

fn status_of(error: &ApiError) -> StatusCode {
    StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn body_of(error: &ApiError) -> Vec<u8> {
    // Text and one number: there is nothing in it that could fail.
    serde_json::to_vec(error).unwrap_or_default()
}
