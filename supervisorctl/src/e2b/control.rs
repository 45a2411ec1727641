//! Sandboxes: made, listed, looked at, extended, paused, gone on with, ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::body::Body;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, StatusCode, Uri};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use supervisor_api::{CreateSession, ExtendSession, Session, SessionId, UniqueMap};

use super::answer::{Kind, Refusal, Reply, empty, json as answer_json};
use super::endpoint::{Endpoint, IDEMPOTENCY, METADATA, TEMPLATE, VARIABLES};
use super::request::{field, json as read_json, query};
use super::{metrics, snapshots};

/// The version of E2B's own daemon that this is like. Clients ask it for nothing that came later, such as
/// metadata of files.
const ENVD_VERSION: &str = "0.6.1";

/// What clients make the name of a sandbox's port of: one that nobody can ever have (RFC 6761), instead of E2B's own.
const DOMAIN: &str = "ports-are-not-served.invalid";

/// Seconds that a sandbox lives if its client says nothing.
const TIMEOUT: u64 = 300;

/// Seconds that a paused sandbox is kept: as long as a session may live.
const PAUSED: u64 = 30 * 24 * 3600;

/// Sandboxes of one page at the most.
pub const PAGE: usize = 100;

/// A request for a sandbox.
#[derive(Debug, Deserialize)]
struct NewSandbox {
    #[serde(rename = "templateID")]
    template: String,
    timeout: Option<u64>,
    metadata: Option<BTreeMap<String, String>>,
    #[serde(rename = "envVars")]
    variables: Option<BTreeMap<String, String>>,
    /// Tokens are asked for in any case.
    #[serde(rename = "secure")]
    _secure: Option<bool>,
    #[serde(rename = "autoResume")]
    auto_resume: Option<AutoResume>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct AutoResume {
    #[serde(default)]
    enabled: bool,
}

#[derive(Debug, Deserialize)]
struct Timeout {
    timeout: u64,
}

#[derive(Debug, Deserialize)]
struct Connect {
    timeout: Option<u64>,
    memory: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Pause {
    memory: Option<bool>,
}

/// Answers what the API key opens.
pub async fn answer(
    endpoint: &Arc<Endpoint>,
    parts: &Parts,
    segments: &[&str],
    body: Body,
) -> Result<Reply, Refusal> {
    let segments = match segments {
        ["v2", rest @ ..] => rest,
        all => all,
    };
    match (parts.method.as_str(), segments) {
        ("POST", ["sandboxes"]) => create(endpoint, &parts.headers, read_json(body).await?).await,
        ("GET", ["sandboxes"]) => list(endpoint, &parts.uri).await,
        ("GET", ["sandboxes", id]) => {
            let session = endpoint.sandbox(named(id)?).await?;
            Ok(answer_json(StatusCode::OK, &detail(endpoint, &session)))
        }
        ("GET", ["sandboxes", id, "metrics"]) => {
            let session = endpoint.sandbox(named(id)?).await?;
            metrics::answer(endpoint, &session, &parts.uri).await
        }
        ("DELETE", ["sandboxes", id]) => kill(endpoint, named(id)?).await,
        ("POST", ["sandboxes", id, "timeout"]) => {
            let session = endpoint.sandbox(named(id)?).await?;
            let Timeout { timeout } = read_json(body).await?;
            extend(endpoint, &session, timeout).await?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        ("POST", ["sandboxes", id, "pause"]) => {
            pause(endpoint, named(id)?, read_json(body).await?).await
        }
        ("POST", ["sandboxes", id, "connect" | "resume"]) => {
            connect(endpoint, named(id)?, read_json(body).await?).await
        }
        ("POST", ["sandboxes", id, "snapshots"]) => {
            snapshots::create(endpoint, named(id)?, read_json(body).await?).await
        }
        ("POST", ["sandboxes", id, "fork"]) => {
            snapshots::fork(endpoint, named(id)?, read_json(body).await?).await
        }
        ("GET", ["snapshots"]) => snapshots::list(endpoint, &parts.uri).await,
        ("DELETE", ["templates", name]) => snapshots::remove(endpoint, name).await,
        _ => Err(Refusal::unimplemented(unknown(&parts.method, segments))),
    }
}

fn unknown(method: &Method, segments: &[&str]) -> String {
    let what = match segments {
        ["sandboxes", _, "network"] => "what leaves a sandbox is its policy's to say",
        ["sandboxes", _, "logs"] => "`supervisorctl output` shows what was said",
        ["templates", ..] => "templates are policies and images of supervisord",
        ["secrets", ..] => "secrets are credentials of supervisord, which policies bind",
        ["volumes", ..] => "a sandbox has its own workspace and no volumes",
        _ => "this is not among what `supervisorctl e2b` does",
    };
    format!("{method} /{}: {what}", segments.join("/"))
}

/// The sandbox of this name.
pub fn named(id: &str) -> Result<SessionId, Refusal> {
    id.parse().map_err(|_| Refusal::new(Kind::NotFound, format!("Sandbox {id:?} not found")))
}

async fn create(
    endpoint: &Endpoint,
    headers: &HeaderMap,
    asked: NewSandbox,
) -> Result<Reply, Refusal> {
    check(&asked)?;
    let (policy, from) = match endpoint.policy_of(&asked.template) {
        Ok(policy) => (policy, None),
        Err(refusal) => match snapshots::find(endpoint, &asked.template).await? {
            Some(snapshot) => (None, Some(snapshot.id)),
            None => return Err(refusal),
        },
    };
    let key = field(headers, "idempotency-key");
    let _one_at_a_time = endpoint.creating.lock().await;
    if let Some(key) = key {
        let made =
            endpoint.sandboxes().await?.into_iter().find(|session| {
                session.labels.0.get(IDEMPOTENCY).is_some_and(|known| known == key)
            });
        if let Some(session) = made {
            return Ok(answer_json(StatusCode::CREATED, &handle(endpoint, &session)));
        }
    }
    let mut labels = BTreeMap::from([(TEMPLATE.to_owned(), asked.template)]);
    let variables = asked.variables.unwrap_or_default();
    if !variables.is_empty() {
        labels.insert(VARIABLES.to_owned(), variables.len().to_string());
    }
    labels.extend(key.map(|key| (IDEMPOTENCY.to_owned(), key.to_owned())));
    for (name, value) in asked.metadata.unwrap_or_default() {
        labels.insert(format!("{METADATA}{name}"), value);
    }
    let request = CreateSession {
        policy,
        from,
        labels: UniqueMap(labels),
        time_to_live: Some(asked.timeout.unwrap_or(TIMEOUT)),
        ..CreateSession::default()
    };
    let session = endpoint.client.create_session(&request).await?;
    endpoint.with(session.id, |kept| kept.variables = Some(variables));
    Ok(answer_json(StatusCode::CREATED, &handle(endpoint, &session)))
}

/// Refuses what would have no effect. What is left out, off or empty asks for nothing.
fn check(asked: &NewSandbox) -> Result<(), Refusal> {
    if asked.auto_resume.as_ref().is_some_and(|resume| resume.enabled) {
        return Err(Refusal::unimplemented(
            "a paused sandbox goes on when its client connects to it",
        ));
    }
    for (name, value) in &asked.others {
        let nothing = match value {
            Value::Null => true,
            Value::Bool(on) => !on && name != "allow_internet_access",
            Value::Object(map) => map.is_empty(),
            Value::Array(list) => list.is_empty(),
            _ => false,
        };
        if nothing {
            continue;
        }
        return Err(Refusal::unimplemented(match name.as_str() {
            "allow_internet_access" | "network" => format!(
                "what leaves a sandbox is its policy's to say: leave {name} out, and name a template that has the policy"
            ),
            "autoPause" | "autoPauseMemory" => {
                "a sandbox whose time is up is closed: leave on_timeout out, or pause it in time"
                    .to_owned()
            }
            _ => format!("`supervisorctl e2b` does nothing with {name}: leave it out"),
        }));
    }
    Ok(())
}

async fn kill(endpoint: &Endpoint, id: SessionId) -> Result<Reply, Refusal> {
    endpoint.sandbox(id).await?;
    endpoint.client.close_session(id).await?;
    endpoint.forget(id);
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn extend(endpoint: &Endpoint, session: &Session, seconds: u64) -> Result<Session, Refusal> {
    let request = ExtendSession { time_to_live: seconds };
    Ok(endpoint.client.extend_session(session.id, &request).await?)
}

async fn pause(endpoint: &Endpoint, id: SessionId, asked: Pause) -> Result<Reply, Refusal> {
    if asked.memory == Some(false) {
        return Err(Refusal::unimplemented("what is paused keeps its memory: leave the mode out"));
    }
    let session = endpoint.sandbox(id).await?;
    let _nobody_else_pauses = endpoint.pausing.lock().await;
    if endpoint.with(id, |kept| std::mem::replace(&mut kept.paused, true)) {
        return Err(Refusal::new(Kind::Conflict, format!("Sandbox {id} is already paused")));
    }
    let paused = async {
        endpoint.client.change_session(id, "pause", "pause").await?;
        extend(endpoint, &session, PAUSED).await
    };
    if let Err(refusal) = paused.await {
        endpoint.with(id, |kept| kept.paused = false);
        return Err(refusal);
    }
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn connect(endpoint: &Endpoint, id: SessionId, asked: Connect) -> Result<Reply, Refusal> {
    if asked.memory == Some(false) {
        return Err(Refusal::unimplemented(
            "what is paused goes on where it was: leave on_resume out",
        ));
    }
    let session = endpoint.sandbox(id).await?;
    let timeout = asked.timeout.unwrap_or(TIMEOUT);
    let _nobody_else_pauses = endpoint.pausing.lock().await;
    let was_paused = endpoint.with(id, |kept| kept.paused);
    // A process before this one may have paused it.
    endpoint.client.change_session(id, "resume", "resume").await?;
    endpoint.with(id, |kept| kept.paused = false);
    if was_paused || left(&session).is_none_or(|left| left < timeout) {
        extend(endpoint, &session, timeout).await?;
    }
    let status = if was_paused { StatusCode::CREATED } else { StatusCode::OK };
    Ok(answer_json(status, &handle(endpoint, &session)))
}

/// Seconds until a sandbox ends.
fn left(session: &Session) -> Option<u64> {
    let end: Timestamp = session.expires_at.parse().ok()?;
    u64::try_from(end.as_second() - Timestamp::now().as_second()).ok()
}

async fn list(endpoint: &Endpoint, uri: &Uri) -> Result<Reply, Refusal> {
    let asked = query(uri);
    for name in ["startedAfter", "started_after"] {
        if asked.contains_key(name) {
            return Err(Refusal::unimplemented(
                "sandboxes are not chosen by when they were started",
            ));
        }
    }
    // A client may send more than one state, each in a parameter or all in one.
    let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let states: Vec<String> = pairs
        .filter(|(name, _)| name == "state")
        .flat_map(|(_, value)| value.split(',').map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let wanted = asked.get("metadata").map(|text| metadata_query(text)).unwrap_or_default();
    let mut sandboxes: Vec<Value> = Vec::new();
    for session in endpoint.sandboxes().await? {
        let all = metadata(&session);
        let state = state(endpoint, &session);
        let chosen = (states.is_empty() || states.iter().any(|wanted| wanted == state))
            && wanted.iter().all(|(name, value)| all.get(name) == Some(value))
            && asked
                .get("template")
                .is_none_or(|name| Some(name) == session.labels.0.get(TEMPLATE));
        if chosen {
            sandboxes.push(detail(endpoint, &session));
        }
    }
    if asked.get("order").is_some_and(|order| order == "asc") {
        sandboxes.reverse();
    }
    let limit =
        asked.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(PAGE).clamp(1, PAGE);
    let begin: usize = asked.get("nextToken").and_then(|token| token.parse().ok()).unwrap_or(0);
    let page: Vec<&Value> = sandboxes.iter().skip(begin).take(limit).collect();
    let mut reply = answer_json(StatusCode::OK, &page);
    if begin.saturating_add(page.len()) < sandboxes.len() {
        let next = begin.saturating_add(page.len());
        reply.headers_mut().insert("x-next-token", next.into());
    }
    Ok(reply)
}

/// Metadata as it stands in a query: encoded twice.
fn metadata_query(text: &str) -> BTreeMap<String, String> {
    let decoded = |text: &str| {
        let pairs = form_urlencoded::parse(text.as_bytes());
        pairs.map(|(name, _)| name.into_owned()).next().unwrap_or_default()
    };
    let pairs = form_urlencoded::parse(text.as_bytes());
    pairs.map(|(name, value)| (decoded(&name), decoded(&value))).collect()
}

/// What a client needs to use a sandbox.
pub fn handle(endpoint: &Endpoint, session: &Session) -> Value {
    let token = endpoint.keys.token(session.id);
    json!({
        "templateID": session.labels.0.get(TEMPLATE),
        "sandboxID": session.id,
        "clientID": "supervisord",
        "domain": DOMAIN,
        "envdVersion": ENVD_VERSION,
        "envdAccessToken": token,
        "trafficAccessToken": token,
    })
}

/// What is told of a sandbox. Processors and memory are each command's own, by its policy, so they are 0 here.
fn detail(endpoint: &Endpoint, session: &Session) -> Value {
    json!({
        "templateID": session.labels.0.get(TEMPLATE),
        "sandboxID": session.id,
        "clientID": "supervisord",
        "startedAt": session.created_at,
        "endAt": session.expires_at,
        "envdVersion": ENVD_VERSION,
        "cpuCount": 0,
        "memoryMB": 0,
        "diskSizeMB": session.workspace_bytes >> 20,
        "state": state(endpoint, session),
        "metadata": metadata(session),
    })
}

fn state(endpoint: &Endpoint, session: &Session) -> &'static str {
    if endpoint.with(session.id, |kept| kept.paused) { "paused" } else { "running" }
}

fn metadata(session: &Session) -> BTreeMap<String, String> {
    let labels = session.labels.0.iter();
    labels
        .filter_map(|(name, value)| Some((name.strip_prefix(METADATA)?.to_owned(), value.clone())))
        .collect()
}
