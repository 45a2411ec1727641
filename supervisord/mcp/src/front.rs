//! The server over HTTP (the protocol's "Streamable HTTP"): each POST is one message, answered by one JSON value or
//! by events until it is done. A client that goes away before has its request cancelled: at once, or in revision
//! 2025-11-25 if it does not come back for the rest.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use rmcp::ServerHandler;
use rmcp::model::ProtocolVersion;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use serde::Deserialize;
use serde_json::Value;

use crate::answers::{Again, RETRY, Reader};
use crate::conversations::{Conversations, Refused, UnderWay};
use crate::door::Door;
use crate::server::Server;
use crate::{MESSAGE_MAX, message};

/// Names a conversation of a revision with a handshake.
const CONVERSATION: HeaderName = HeaderName::from_static("mcp-session-id");

/// Names the last event that a client has seen of an answer.
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");

/// Names the revision.
const REVISION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// Under which names, and from pages of which origins, a browser may come. None has a way to a Unix socket; with a
/// TCP listener before it, a page that has its own name resolve to this host gets no further.
const HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
const ORIGINS: [&str; 3] = ["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"];

/// A body that comes bit by bit.
pub type Coming = BoxBody<Bytes, Infallible>;

/// Answers the messages of everybody.
#[derive(Debug, Clone, Default)]
pub struct Front(Arc<Conversations>);

/// As much of a message as is looked at here; the server reads all of it.
#[derive(Debug, Default, Deserialize)]
struct Glance {
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    id: Option<Value>,
    #[serde(default)]
    params: Option<Cancelled>,
}

/// What a message says that cancels another.
#[derive(Debug, Deserialize)]
struct Cancelled {
    #[serde(default, rename = "requestId")]
    request: Option<Value>,
}

impl Front {
    /// Answers one message of this uid's, who has this door.
    pub async fn answer(
        &self,
        door: Arc<dyn Door>,
        owner: u32,
        request: Request<Bytes>,
    ) -> Response<Coming> {
        self.serve(Server::new(door), owner, request).await
    }

    /// Has a server answer one message of this uid's.
    pub async fn serve(
        &self,
        server: impl ServerHandler + Clone,
        owner: u32,
        request: Request<Bytes>,
    ) -> Response<Coming> {
        if request.method() == Method::POST
            && let Some(refused) = message::refusal(request.body())
        {
            return text(StatusCode::BAD_REQUEST, &refused);
        }
        // What else is wrong with it is for the server to say.
        let glance = glance(request.body());
        let conversation = field(request.headers(), &CONVERSATION);
        let Some(name) = conversation else {
            let begins = glance.method.as_deref() == Some("initialize");
            let mut response = respond(server, request, None).await;
            if begins && response.status() == StatusCode::OK {
                let name = self.0.begin(owner).and_then(|name| HeaderValue::try_from(name).ok());
                if let Some(name) = name {
                    response.headers_mut().insert(CONVERSATION, name);
                }
            }
            return response;
        };
        if !self.0.hear(owner, &name) {
            let words = "there is no such conversation: begin anew with initialize\n";
            return text(StatusCode::NOT_FOUND, words);
        }
        if request.method() == Method::GET
            && let Some(last) = field(request.headers(), &LAST_EVENT)
        {
            return match self.0.answer(owner, &name, &last) {
                Some(answer) => {
                    let again = NeverSessionManager::default();
                    let again = again.with_event_store(Arc::new(Again(answer)));
                    handle(server, request, again, config(false)).await
                }
                None => text(StatusCode::GONE, "the answer with this event is kept no more\n"),
            };
        }
        let ends = request.method() == Method::DELETE;
        let under_way = match self.note(owner, &name, &glance) {
            Ok(under_way) => under_way,
            Err(refused) => return refusal(refused),
        };
        let response = respond(server, request, under_way).await;
        // Whence it comes has been looked at by then, and that is all that the server knows of this method.
        if ends && response.status() == StatusCode::METHOD_NOT_ALLOWED {
            self.0.end(owner, &name);
            return text(StatusCode::OK, "");
        }
        response
    }

    /// Notes a request of a conversation, or cancels one.
    fn note(&self, owner: u32, name: &str, glance: &Glance) -> Result<Option<UnderWay>, Refused> {
        if glance.method.as_deref() == Some("notifications/cancelled") {
            let request = glance.params.as_ref().and_then(|params| params.request.as_ref());
            if let Some(request) = request {
                self.0.cancel(name, &request.to_string());
            }
            return Ok(None);
        }
        match (&glance.method, &glance.id) {
            (Some(_), Some(id)) => self.0.enter(owner, name, id.to_string()).map(Some),
            _ => Ok(None),
        }
    }
}

/// Has the message answered, until it is cancelled.
async fn respond(
    server: impl ServerHandler + Clone,
    request: Request<Bytes>,
    under_way: Option<UnderWay>,
) -> Response<Coming> {
    let revision = field(request.headers(), &REVISION).unwrap_or_default();
    // A revision with a handshake has its answers as events, so that something comes while it is waited for; the
    // one without has them so where there is something to tell meanwhile.
    let config = config(revision.as_str() >= ProtocolVersion::V_2026_07_28.as_str());
    let never = NeverSessionManager::default();
    let Some(mut under_way) = under_way else {
        return handle(server, request, never, config).await;
    };
    let kept = revision == ProtocolVersion::V_2025_11_25.as_str();
    if let Some(answer) = kept.then(|| under_way.keep()).flatten() {
        let reader = answer.reader();
        let keeping = never.with_event_store(Arc::new(answer.keeping()));
        let token = config.cancellation_token.clone();
        tokio::spawn(under_way.attend(answer, move || token.cancel()));
        let response = handle(server, request, keeping, config).await;
        return response.map(|body| Listened { body, _reader: reader }.boxed());
    }
    tokio::select! {
        response = handle(server, request, never, config) => {
            response.map(|body| Cancellable { body, under_way: Some(under_way) }.boxed())
        }
        // Whoever cancels a request does not wait for its answer.
        _ = &mut under_way.cancelled => text(StatusCode::OK, ""),
    }
}

async fn handle(
    server: impl ServerHandler + Clone,
    request: Request<Bytes>,
    sessions: NeverSessionManager,
    config: StreamableHttpServerConfig,
) -> Response<Coming> {
    let server = move || Ok(server.clone());
    let service = StreamableHttpService::new(server, Arc::new(sessions), config);
    let is_json = is_json(request.headers());
    let response = service.handle(request.map(Full::new)).await;
    // The crate says this of JSON too that is no message.
    if is_json && response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        let words =
            "it is JSON, and neither a request nor a notification nor an answer of JSON-RPC 2.0";
        return text(StatusCode::BAD_REQUEST, &message::invalid(words));
    }
    response
}

/// Whether a body is said to be JSON.
fn is_json(fields: &HeaderMap) -> bool {
    let kind = fields.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let essence = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

fn config(plain: bool) -> StreamableHttpServerConfig {
    StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(plain)
        .with_sse_retry(Some(RETRY))
        .with_allowed_hosts(HOSTS)
        .with_allowed_origins(ORIGINS)
        .enforce_origin_validation()
        .with_max_request_body_bytes(MESSAGE_MAX)
}

/// Reads what is looked at here. What is no object is no message.
fn glance(body: &[u8]) -> Glance {
    let object = Some(body).filter(|body| body.trim_ascii_start().first() == Some(&b'{'));
    object.and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default()
}

fn refusal(refused: Refused) -> Response<Coming> {
    let words = match refused {
        Refused::LongId => "the id of a request is too long",
        Refused::Taken => "a request of this id is under way in this conversation",
        Refused::Full => {
            let words = "too many requests are under way: wait for one, or cancel it\n";
            return text(StatusCode::TOO_MANY_REQUESTS, words);
        }
    };
    text(StatusCode::BAD_REQUEST, &message::invalid(words))
}

fn field(fields: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = fields.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn text(status: StatusCode, words: &str) -> Response<Coming> {
    let mut response = Response::new(Full::<Bytes>::from(words.to_owned()).boxed());
    *response.status_mut() = status;
    let kind = if words.starts_with('{') { "application/json" } else { "text/plain" };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A body that somebody reads.
struct Listened {
    body: Coming,
    _reader: Reader,
}

impl Body for Listened {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }
}

/// A body that ends when its request is cancelled.
struct Cancellable {
    body: Coming,
    /// Until the end, however it comes.
    under_way: Option<UnderWay>,
}

impl Body for Cancellable {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(under_way) = &mut self.under_way else { return Poll::Ready(None) };
        if Pin::new(&mut under_way.cancelled).poll(context).is_ready() {
            // What makes the body sees that nobody reads it any more.
            self.body = Full::<Bytes>::default().boxed();
            self.under_way = None;
            return Poll::Ready(None);
        }
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if matches!(frame, Poll::Ready(None)) {
            self.under_way = None;
        }
        frame
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
