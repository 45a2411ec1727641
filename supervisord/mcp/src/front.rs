//! The server over HTTP (the protocol's "Streamable HTTP"): each POST is one message, answered by one JSON value or
//! by events until it is done. A client that goes away before has its request cancelled.

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
use serde_json::error::Category;

use crate::MESSAGE_MAX;
use crate::conversations::{Conversations, UnderWay};
use crate::door::Door;
use crate::server::Server;
use crate::stdio::parse_error;

/// Names a conversation of a revision with a handshake.
const CONVERSATION: HeaderName = HeaderName::from_static("mcp-session-id");

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
        let glance = match serde_json::from_slice::<Glance>(request.body()) {
            Ok(glance) => glance,
            Err(error) if request.method() == Method::POST && is_no_json(&error) => {
                return text(StatusCode::BAD_REQUEST, &parse_error(&error.to_string()));
            }
            // What is wrong with it is for the server to say.
            Err(_) => Glance::default(),
        };
        let conversation = conversation(request.headers());
        if let Some(name) = &conversation
            && !self.0.hear(owner, name)
        {
            let words = "there is no such conversation: begin anew with initialize\n";
            return text(StatusCode::NOT_FOUND, words);
        }
        let ends = request.method() == Method::DELETE;
        let begins = glance.method.as_deref() == Some("initialize") && conversation.is_none();
        let under_way = self.note(conversation.as_deref(), &glance);
        let mut response = respond(server, request, under_way).await;
        match conversation {
            // Whence it comes has been looked at by then, and that is all that the server knows of this method.
            Some(name) if ends && response.status() == StatusCode::METHOD_NOT_ALLOWED => {
                self.0.end(owner, &name);
                return text(StatusCode::OK, "");
            }
            None if begins && response.status() == StatusCode::OK => {
                let name = self.0.begin(owner).and_then(|name| HeaderValue::try_from(name).ok());
                if let Some(name) = name {
                    response.headers_mut().insert(CONVERSATION, name);
                }
            }
            _ => {}
        }
        response
    }

    /// Notes a request of a conversation, or cancels one.
    fn note(&self, conversation: Option<&str>, glance: &Glance) -> Option<UnderWay> {
        let name = conversation?;
        if glance.method.as_deref() == Some("notifications/cancelled") {
            let request = glance.params.as_ref().and_then(|params| params.request.as_ref())?;
            self.0.cancel(name, &request.to_string());
            return None;
        }
        self.0.enter(name, glance.id.as_ref()?.to_string())
    }
}

/// Has the message answered, until it is cancelled.
async fn respond(
    server: impl ServerHandler + Clone,
    request: Request<Bytes>,
    under_way: Option<UnderWay>,
) -> Response<Coming> {
    // A revision with a handshake has its answers as events, so that something comes while it is waited for; the
    // one without has them so where there is something to tell meanwhile.
    let plain = is_current(request.headers());
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(plain)
        .with_allowed_hosts(HOSTS)
        .with_allowed_origins(ORIGINS)
        .enforce_origin_validation()
        .with_max_request_body_bytes(MESSAGE_MAX);
    let server = move || Ok(server.clone());
    let sessions = Arc::new(NeverSessionManager::default());
    let service = StreamableHttpService::new(server, sessions, config);
    let answered = service.handle(request.map(Full::new));
    let Some(mut under_way) = under_way else { return answered.await };
    tokio::select! {
        response = answered => {
            response.map(|body| Cancellable { body, under_way: Some(under_way) }.boxed())
        }
        // Whoever cancels a request does not wait for its answer.
        _ = &mut under_way.cancelled => text(StatusCode::OK, ""),
    }
}

fn is_no_json(error: &serde_json::Error) -> bool {
    matches!(error.classify(), Category::Syntax | Category::Eof)
}

fn conversation(fields: &HeaderMap) -> Option<String> {
    let name = fields.get(CONVERSATION)?;
    Some(String::from_utf8_lossy(name.as_bytes()).into_owned())
}

fn is_current(fields: &HeaderMap) -> bool {
    let revision = fields.get(REVISION).and_then(|value| value.to_str().ok());
    revision.is_some_and(|revision| revision >= ProtocolVersion::V_2026_07_28.as_str())
}

fn text(status: StatusCode, words: &str) -> Response<Coming> {
    let mut response = Response::new(Full::<Bytes>::from(words.to_owned()).boxed());
    *response.status_mut() = status;
    let kind = if words.starts_with('{') { "application/json" } else { "text/plain" };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
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
