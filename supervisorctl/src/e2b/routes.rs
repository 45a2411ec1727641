//! Which request goes where, and who may make it: the API key for sandboxes, a sandbox's own token for what is in it.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, StatusCode, header};
use supervisor_api::{Session, SessionId};

use super::answer::{Dialect, Kind, Refusal, Reply, empty};
use super::body::Body;
use super::endpoint::Endpoint;
use super::request::{check_type, check_user, field, query};
use super::{
    cells, connect, contexts, control, files, filesystem, input, processes, start, watching,
};

/// The fields in which clients show a sandbox's token.
const TOKENS: [&str; 2] = ["x-access-token", "e2b-traffic-access-token"];

/// Answers a request.
pub async fn answer(endpoint: Arc<Endpoint>, request: Request<Incoming>) -> Reply {
    let (parts, body) = request.into_parts();
    let (body, rest) = Body::of(body);
    let dialect = dialect(&parts);
    let answered = match check_origin(&endpoint, &parts) {
        Ok(()) => route(endpoint, parts, body).await,
        Err(refusal) => Err(refusal),
    };
    rest.settle(answered.unwrap_or_else(|refusal| refusal.reply(dialect))).await
}

/// Whether whoever asks knows the endpoint's key, or the token of a sandbox.
pub fn shows_key<B>(endpoint: &Endpoint, request: &Request<B>) -> bool {
    let headers = request.headers();
    check_key(endpoint, headers).is_ok() || named(endpoint, headers).is_ok()
}

async fn route(endpoint: Arc<Endpoint>, parts: Parts, body: Body) -> Result<Reply, Refusal> {
    let path = parts.uri.path().to_owned();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match segments.as_slice() {
        ["health"] if parts.method == Method::GET => {
            sandbox(&endpoint, &parts.headers).await?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        ["files"] => {
            check_user(&parts.headers, &query(&parts.uri))?;
            let session = sandbox(&endpoint, &parts.headers).await?;
            files::answer(&endpoint, &session, &parts, body).await
        }
        ["execute"] if parts.method == Method::POST => {
            let session = sandbox(&endpoint, &parts.headers).await?;
            cells::execute(&endpoint, session, body).await
        }
        ["contexts", rest @ ..] => {
            let session = sandbox(&endpoint, &parts.headers).await?;
            contexts::answer(&endpoint, &session, &parts.method, rest, body).await
        }
        [service @ ("process.Process" | "filesystem.Filesystem"), call] => {
            check_user(&parts.headers, &query(&parts.uri))?;
            let session = sandbox(&endpoint, &parts.headers).await?;
            called(endpoint, session, (service, call), &parts, body).await
        }
        _ => {
            check_key(&endpoint, &parts.headers)?;
            control::answer(&endpoint, &parts, &segments, body).await
        }
    }
}

async fn called(
    endpoint: Arc<Endpoint>,
    session: Session,
    (service, call): (&str, &str),
    parts: &Parts,
    body: Body,
) -> Result<Reply, Refusal> {
    if parts.method != Method::POST {
        return Err(Refusal::unimplemented("calls are made by POST"));
    }
    let expected = match is_stream(call) {
        true => connect::STREAM_TYPE,
        false => connect::UNARY_TYPE,
    };
    check_type(&parts.headers, expected)?;
    match (service, call) {
        ("process.Process", "Start") => {
            start::start(&endpoint, session, &parts.headers, body).await
        }
        ("process.Process", "Connect") => {
            start::connect(&endpoint, session, &parts.headers, body).await
        }
        ("process.Process", "StreamInput") => input::stream(&endpoint, &session, body).await,
        ("process.Process", call) => processes::answer(&endpoint, &session, call, body).await,
        (_, "WatchDir") => watching::stream(&endpoint, &session, &parts.headers, body).await,
        (_, "CreateWatcher" | "GetWatcherEvents" | "RemoveWatcher") => {
            watching::answer(&endpoint, &session, call, body).await
        }
        _ => filesystem::answer(&endpoint, &session, call, body).await,
    }
}

/// The sandbox that a request names, if it shows its token.
async fn sandbox(endpoint: &Endpoint, headers: &HeaderMap) -> Result<Session, Refusal> {
    endpoint.running(named(endpoint, headers)?).await
}

fn named(endpoint: &Endpoint, headers: &HeaderMap) -> Result<SessionId, Refusal> {
    let named = field(headers, "e2b-sandbox-id")
        .ok_or_else(|| Refusal::invalid("the field E2b-Sandbox-Id says which sandbox is meant"))?;
    let id = named.parse().map_err(|_| Refusal::gone(None))?;
    let mut shown = TOKENS.iter().filter_map(|name| headers.get(*name));
    if !shown.any(|token| endpoint.keys.is_token(id, token.as_bytes())) {
        let words = "the field X-Access-Token is missing, or is not this sandbox's";
        return Err(Refusal::new(Kind::Unauthenticated, words));
    }
    Ok(id)
}

fn check_key(endpoint: &Endpoint, headers: &HeaderMap) -> Result<(), Refusal> {
    match headers.get("x-api-key") {
        Some(key) if endpoint.keys.is_key(key.as_bytes()) => Ok(()),
        _ => {
            let words = "the field X-API-Key is missing, or is not the key of this endpoint";
            Err(Refusal::new(Kind::Unauthenticated, words))
        }
    }
}

/// Refuses what a browser was talked into: a name that leads to loopback, or another site's page.
fn check_origin(endpoint: &Endpoint, parts: &Parts) -> Result<(), Refusal> {
    let hosts = ["127.0.0.1", "localhost", "[::1]"].map(|host| format!("{host}:{}", endpoint.port));
    let given = parts.uri.authority().map(|authority| authority.as_str());
    let named = field(&parts.headers, header::HOST.as_str());
    let is_ours = |name: &str| hosts.iter().any(|host| host.eq_ignore_ascii_case(name));
    let ours = given.is_none_or(is_ours) && named.is_some_and(is_ours);
    if !ours || parts.headers.get_all(header::HOST).iter().count() != 1 {
        let words = format!("the field Host has to be {}", hosts.join(" or "));
        return Err(Refusal::new(Kind::PermissionDenied, words));
    }
    if parts.headers.contains_key(header::ORIGIN) {
        return Err(Refusal::new(Kind::PermissionDenied, "pages of browsers are not served"));
    }
    Ok(())
}

fn is_stream(call: &str) -> bool {
    matches!(call, "Start" | "Connect" | "StreamInput" | "WatchDir")
}

fn dialect(parts: &Parts) -> Dialect {
    let path = parts.uri.path();
    match path.trim_start_matches('/').split_once('/') {
        Some(("process.Process" | "filesystem.Filesystem", call)) if is_stream(call) => {
            Dialect::Stream
        }
        Some(("process.Process" | "filesystem.Filesystem", _)) => Dialect::Unary,
        Some(("contexts", _)) => Dialect::Text,
        _ if matches!(path, "/execute" | "/contexts") => Dialect::Text,
        _ => Dialect::Api,
    }
}
