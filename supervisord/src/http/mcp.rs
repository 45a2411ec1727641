//! `/mcp`: the operations by the Model Context Protocol. What it is made of is asked of the very routes that everybody
//! has, as whoever is at the other end of the connection, so it is checked, counted and recorded as any other
//! request.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode, header};
use axum::routing::Router;
use http_body_util::BodyExt;
use supervisor_api::{ApiError, ErrorCode};
use supervisor_mcp::{Asking, Door, Failure, Front, MESSAGE_MAX, Question, Sent};
use tower::Service;

use super::answer::{JSON, Problem};
use super::bounds::{ADMIN_BODIES, BODIES, BODIES_PER_UID, Bounds, MAX_VALUES};
use super::{body, download};
use crate::pool::Pool;
use crate::supervisor::Caller;
use crate::values::values;

/// Bytes of a problem document; ours have a few hundred.
const PROBLEM_MAX: usize = 1 << 20;

/// Answers the messages of agents.
#[derive(Clone)]
pub struct Agents {
    router: Router,
    front: Front,
    bodies: Arc<Pool>,
    bounds: Bounds,
    closing: Arc<AtomicBool>,
}

/// The way to the operations, as one caller.
struct Within {
    router: Router,
    caller: Caller,
    closing: Arc<AtomicBool>,
}

impl Agents {
    /// Asks these routes.
    pub fn new(router: Router, bounds: Bounds) -> Self {
        // Of its own, so that a message that is answered by means of a large body can't keep that one out.
        let bodies = Pool::new(BODIES, BODIES_PER_UID, ADMIN_BODIES);
        Self { router, front: Front::default(), bodies, bounds, closing: Arc::default() }
    }

    /// From now on what is waited for is left running when its client goes.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Answers one message.
    pub async fn answer(
        &self,
        caller: Caller,
        request: Request<Body>,
    ) -> Result<Response<Body>, Problem> {
        let (parts, body) = request.into_parts();
        let (message, share) = match parts.method {
            Method::POST => {
                let most = MESSAGE_MAX as u64;
                let whole = Request::from_parts(parts.clone(), body);
                let received =
                    body::receive_bytes(whole, &caller, &self.bodies, self.bounds.body, most);
                let received = received.await.map_err(of_message)?;
                check_values(&received.bytes)?;
                (received.bytes, received.share)
            }
            _ => {
                body::expect_none(&parts.headers)?;
                (Vec::new(), None)
            }
        };
        let (router, closing) = (self.router.clone(), Arc::clone(&self.closing));
        let door = Arc::new(Within { router, caller, closing });
        let message = Request::from_parts(parts, message.into());
        let response = self.front.answer(door, caller.uid, message).await;
        drop(share);
        Ok(response.map(Body::new))
    }
}

impl Door for Within {
    fn ask(&self, question: Question) -> Asking<'_> {
        Box::pin(async move {
            let operation = question.operation.clone();
            let (most, range) = (question.most, question.range);
            let request = self.request(question).map_err(Failure::broken(&operation))?;
            let mut router = self.router.clone();
            let Ok(response) = Service::call(&mut router, request).await;
            let status = response.status();
            let refused = !status.is_success();
            let most = if refused { PROBLEM_MAX } else { most };
            let bytes = beginning(response.into_body(), most).await;
            let bytes = bytes.map_err(Failure::broken(&operation))?;
            // What begins elsewhere than was asked for would be taken for what was asked for.
            if !refused
                && status != StatusCode::PARTIAL_CONTENT
                && range.is_some_and(|(first, _)| first > 0)
            {
                return Err(Failure::misunderstood(&operation)(
                    "the whole came where a part was asked for",
                ));
            }
            if !refused {
                return Ok(bytes);
            }
            let error = serde_json::from_slice(&bytes);
            let error = error.map_err(Failure::misunderstood(&operation))?;
            Err(Failure::Refused { operation, error: Box::new(error) })
        })
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }
}

impl Within {
    fn request(&self, question: Question) -> Result<Request<Body>, axum::http::Error> {
        let mut request =
            Request::builder().method(question.method).uri(question.target).extension(self.caller);
        if let Some((first, last)) = question.range {
            request = request.header(header::RANGE, format!("bytes={first}-{last}"));
        }
        let (kind, bytes) = match question.body {
            Sent::Nothing => return request.body(Body::empty()),
            Sent::Json(bytes) => (JSON, bytes),
            Sent::Bytes(bytes) => (download::BYTES, bytes),
        };
        request
            .header(header::CONTENT_TYPE, kind)
            .header(header::CONTENT_LENGTH, bytes.len())
            .body(Body::from(bytes))
    }
}

impl fmt::Debug for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Within").field("uid", &self.caller.uid).finish_non_exhaustive()
    }
}

/// The beginning of an answer; what comes after is not made.
async fn beginning(mut body: Body, most: usize) -> Result<Vec<u8>, axum::Error> {
    let mut bytes = Vec::new();
    while bytes.len() < most {
        let Some(frame) = body.frame().await else { break };
        if let Some(data) = frame?.data_ref() {
            let room = most.saturating_sub(bytes.len());
            bytes.extend_from_slice(data.get(..data.len().min(room)).unwrap_or_default());
        }
    }
    Ok(bytes)
}

/// Refuses a message of more values than a request may have, before any of them is made.
fn check_values(message: &[u8]) -> Result<(), ApiError> {
    if values(message) <= MAX_VALUES {
        return Ok(());
    }
    Err(too_large().with_hint(format!("a message has {MAX_VALUES} values at the most")))
}

fn of_message(error: ApiError) -> ApiError {
    match error.code {
        ErrorCode::TooLarge => {
            too_large().with_hint(format!("a message has {MESSAGE_MAX} bytes at the most"))
        }
        _ => error,
    }
}

fn too_large() -> ApiError {
    ApiError::new(ErrorCode::TooLarge, "the message is too large")
}
