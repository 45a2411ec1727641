//! Answers: JSON, bytes as they come, and refusals in the form that each part of E2B's interface has for them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as HttpBody, Bytes, Frame};
use hyper::ext::ReasonPhrase;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;
use supervisor_api::{ErrorCode, SessionId};
use tokio::sync::mpsc;

use crate::failure::Failure;

use super::connect;

/// Pieces of a streamed answer that wait for a client which doesn't read.
const PIECES: usize = 16;

/// Characters of a refusal that stand beside its status.
const REASON: usize = 300;

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// An answer.
pub type Reply = Response<Body>;

/// Where the pieces of a streamed answer go.
pub type Pieces = mpsc::Sender<io::Result<Bytes>>;

/// What is refused, and why.
#[derive(Debug)]
pub struct Refusal {
    /// Which kind of refusal it is.
    pub kind: Kind,
    /// Why, in a sentence.
    pub message: String,
}

/// The kinds of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request makes no sense, or asks for what can't be.
    InvalidArgument,
    /// The key or token is missing or wrong.
    Unauthenticated,
    /// The policy, or the request's origin, doesn't allow it.
    PermissionDenied,
    /// There is no such thing.
    NotFound,
    /// There is one already.
    AlreadyExists,
    /// The state of things doesn't allow it.
    Conflict,
    /// It is larger than the bound.
    TooLarge,
    /// Its media type is not spoken.
    MediaType,
    /// There are too many at once.
    Busy,
    /// It has no room in the workspace.
    Full,
    /// Its time was up.
    DeadlineExceeded,
    /// This endpoint can't do that.
    Unimplemented,
    /// Something failed here.
    Internal,
    /// The daemon doesn't answer.
    Unavailable,
    /// The sandbox is gone or paused: clients look for exactly these words.
    Gone(Option<SessionId>),
}

/// The forms that refusals have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The control plane, and files: a status and a message.
    Api,
    /// A call of Connect with one answer.
    Unary,
    /// A call of Connect with a stream of answers.
    Stream,
    /// Code: plain text.
    Text,
}

impl Refusal {
    /// A refusal.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// A request that makes no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::InvalidArgument, message)
    }

    /// What this endpoint can't do.
    pub fn unimplemented(message: impl Into<String>) -> Self {
        Self::new(Kind::Unimplemented, message)
    }

    /// A sandbox that is gone, or paused.
    pub fn gone(id: Option<SessionId>) -> Self {
        Self::new(Kind::Gone(id), "The sandbox was not found")
    }

    /// The refusal as an answer.
    pub fn reply(&self, dialect: Dialect) -> Reply {
        if let Kind::Gone(id) = self.kind {
            let id = id.map(|id| id.to_string()).unwrap_or_default();
            let body = json!({"sandboxId": id, "message": self.message, "code": 502});
            return json(StatusCode::BAD_GATEWAY, &body);
        }
        let status = self.kind.status();
        match dialect {
            Dialect::Api => {
                json(status, &json!({"code": status.as_u16(), "message": self.message}))
            }
            Dialect::Unary => {
                let body = json!({"code": self.kind.code(), "message": self.message});
                json(self.kind.status_of_call(), &body)
            }
            Dialect::Stream if self.kind == Kind::MediaType => plain(status, &self.message),
            Dialect::Stream => {
                let bytes = connect::last(Some(self));
                with_type(StatusCode::OK, connect::STREAM_TYPE, bytes.into())
            }
            Dialect::Text => with_reason(plain(status, &self.message), &self.message),
        }
    }
}

impl Kind {
    /// The status in the control plane.
    pub fn status(self) -> StatusCode {
        match self {
            Kind::InvalidArgument => StatusCode::BAD_REQUEST,
            Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
            Kind::PermissionDenied => StatusCode::FORBIDDEN,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::AlreadyExists | Kind::Conflict => StatusCode::CONFLICT,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Kind::Busy => StatusCode::TOO_MANY_REQUESTS,
            Kind::Full => StatusCode::INSUFFICIENT_STORAGE,
            Kind::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            Kind::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Gone(_) => StatusCode::BAD_GATEWAY,
        }
    }

    /// The code in Connect's words.
    pub fn code(self) -> &'static str {
        match self {
            Kind::InvalidArgument | Kind::MediaType => "invalid_argument",
            Kind::Unauthenticated => "unauthenticated",
            Kind::PermissionDenied => "permission_denied",
            Kind::NotFound => "not_found",
            Kind::AlreadyExists => "already_exists",
            Kind::Conflict => "failed_precondition",
            Kind::TooLarge | Kind::Busy | Kind::Full => "resource_exhausted",
            Kind::DeadlineExceeded => "deadline_exceeded",
            Kind::Unimplemented => "unimplemented",
            Kind::Internal => "internal",
            Kind::Unavailable | Kind::Gone(_) => "unavailable",
        }
    }

    /// The status of a call of Connect, which follows from its code.
    fn status_of_call(self) -> StatusCode {
        match self {
            Kind::Conflict => StatusCode::BAD_REQUEST,
            Kind::TooLarge | Kind::Full => StatusCode::TOO_MANY_REQUESTS,
            other => other.status(),
        }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let kind = match &failure {
            Failure::Refused { error, .. } => match error.code {
                ErrorCode::InvalidArgument => Kind::InvalidArgument,
                ErrorCode::PermissionDenied | ErrorCode::PolicyDenied => Kind::PermissionDenied,
                ErrorCode::NotFound => Kind::NotFound,
                ErrorCode::Conflict => Kind::Conflict,
                ErrorCode::TooLarge => Kind::TooLarge,
                ErrorCode::Busy => Kind::Busy,
                ErrorCode::StorageFull => Kind::Full,
                ErrorCode::Unavailable => Kind::Unavailable,
                _ => Kind::Internal,
            },
            Failure::Usage(_) => Kind::InvalidArgument,
            Failure::Unreachable { .. } | Failure::Broken { .. } => Kind::Unavailable,
            _ => Kind::Internal,
        };
        Self::new(kind, failure.chain())
    }
}

/// A JSON answer.
pub fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    match serde_json::to_vec(value) {
        Ok(bytes) => with_type(status, "application/json", bytes.into()),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// An answer without a body.
pub fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(whole(Bytes::new()));
    *reply.status_mut() = status;
    reply
}

/// An answer whose pieces come later; whoever sends them finds the channel closed once the client has gone.
pub fn streamed(media_type: &'static str) -> (Pieces, Reply) {
    let (pieces, receiver) = mpsc::channel(PIECES);
    let mut reply = Response::new(Piped(receiver).boxed_unsync());
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    (pieces, reply)
}

fn plain(status: StatusCode, words: &str) -> Reply {
    with_type(status, "text/plain; charset=utf-8", words.to_owned().into())
}

/// The words where a status has its own: one of the clients shows those, and not the body.
fn with_reason(mut reply: Reply, words: &str) -> Reply {
    let visible = words.chars().filter(|c| c.is_ascii() && !c.is_ascii_control());
    if let Ok(reason) = ReasonPhrase::try_from(visible.take(REASON).collect::<String>()) {
        reply.extensions_mut().insert(reason);
    }
    reply
}

fn with_type(status: StatusCode, media_type: &'static str, bytes: Bytes) -> Reply {
    let mut reply = Response::new(whole(bytes));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    reply
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

struct Piped(mpsc::Receiver<io::Result<Bytes>>);

impl HttpBody for Piped {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
