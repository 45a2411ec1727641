//! What the daemon answers, operation by operation.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::{Request, Response};
use serde_json::{Value, json};
use supervisor_api::{
    ApiError, ArtifactList, ErrorCode, Execution, NDJSON, OPERATIONS, Outcome, OutputChunk,
    PROBLEM_JSON, State,
};
use tokio::sync::mpsc;

use super::{Recorded, Shared, execution};

/// Any answer.
pub type Answer = Response<Pieces>;

/// A body that comes in pieces from a channel; an error breaks the connection.
pub struct Pieces(mpsc::UnboundedReceiver<io::Result<Bytes>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        poll: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(poll).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// The answer to one request, which is recorded.
pub async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let path = head.uri.path().to_owned();
    let Some(operation) = operation(head.method.as_str(), &path) else {
        return Ok(problem(ApiError::new(ErrorCode::NotFound, "not in the table of operations")));
    };
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let recorded = Recorded { operation, target: head.uri.to_string(), body };
    let query = recorded.target.split_once('?').map_or("", |(_, query)| query).to_owned();
    shared.requests.lock().expect("whole").push(recorded);
    shared.came.notify_all();
    Ok(match operation {
        "submit" => submit(&shared),
        "list" => json_answer(200, &json!({"executions": [shared.present()]})),
        "status" => status(&shared, &query).await,
        "output" => output(&shared, &query),
        "input" => problem(ApiError::new(ErrorCode::Conflict, "the execution has ended")),
        "cancel" => {
            shared.cancelled.send_replace(true);
            shared.script.lock().expect("whole").execution.outcome = Some(Outcome::Cancelled);
            json_answer(200, &json!(shared.present()))
        }
        "remove" => json_answer(200, &json!(shared.present())),
        "artifacts" => json_answer(200, &json!(shared.artifacts())),
        "artifact" => artifact_answer(&shared, &path),
        "top" => json_answer(200, &top(&shared)),
        "reload" => match shared.script.lock().expect("whole").refusal.clone() {
            Some(error) => problem(error),
            None => json_answer(
                200,
                &json!({"generation": 2, "mode": "strict", "policies": ["default", "own"]}),
            ),
        },
        "decisions" if shared.script.lock().expect("whole").story => {
            json_answer(200, &json!({ "records": story() }))
        }
        "decisions" if shared.script.lock().expect("whole").refusals > 0 => {
            json_answer(200, &refusals(&shared, &query))
        }
        "audit" | "decisions" => json_answer(200, &json!({"records": records()})),
        "audit_key" => {
            json_answer(200, &json!({"algorithm": "ed25519", "public_key": "ab".repeat(32)}))
        }
        "policies" => json_answer(200, &policies()),
        "budgets" => json_answer(200, &budgets()),
        "approvals" => json_answer(200, &json!({"approvals": [approval()]})),
        "approvals_follow" => bytes_answer(200, NDJSON, format!("{}\n", approval()).into_bytes()),
        "approval" | "answer" => json_answer(200, &approval()),
        "credentials" => json_answer(200, &json!({"credentials": [credential("ready")]})),
        "rotate_credential" => json_answer(200, &credential("ready")),
        "revoke_credential" => json_answer(200, &credential("revoked")),
        _ => json_answer(200, &doctor()),
    })
}

/// The operation of the table that a request is for.
fn operation(method: &str, path: &str) -> Option<&'static str> {
    let fits = |template: &str| {
        let (mut left, mut right) = (template.split('/'), path.split('/'));
        loop {
            match (left.next(), right.next()) {
                (None, None) => return true,
                (Some(part), Some(_)) if part.starts_with("{*") => return true,
                (Some(part), Some(other)) if part.starts_with('{') || part == other => {}
                _ => return false,
            }
        }
    };
    let found = OPERATIONS
        .iter()
        .find(|operation| operation.method.name() == method && fits(operation.path));
    found.map(|operation| operation.id)
}

impl Shared {
    /// The execution as it is now.
    fn present(&self) -> Execution {
        let script = self.script.lock().expect("whole");
        let mut execution = script.execution.clone();
        if script.runs_until_cancelled && !*self.cancelled.borrow() {
            execution.state = State::Running;
            execution.outcome = None;
        }
        execution
    }

    fn artifacts(&self) -> ArtifactList {
        let script = self.script.lock().expect("whole");
        let artifacts = script.artifacts.iter().map(|(artifact, _)| artifact.clone()).collect();
        let truncated = script.execution.artifacts_truncated;
        ArtifactList { artifacts, refused: script.refused.clone(), truncated }
    }
}

fn credential(state: &str) -> Value {
    json!({"name": "forge", "kind": "static", "hosts": ["api.example.com"], "state": state})
}

fn submit(shared: &Shared) -> Answer {
    if let Some(error) = shared.script.lock().expect("whole").refusal.clone() {
        return problem(error);
    }
    let execution = Execution { state: State::Queued, outcome: None, ..shared.present() };
    json_answer(201, &json!(execution))
}

async fn status(shared: &Shared, query: &str) -> Answer {
    if parameter(query, "wait") != Some("0")
        && shared.script.lock().expect("whole").runs_until_cancelled
    {
        shared.cancelled.subscribe().wait_for(|cancelled| *cancelled).await.expect("open");
    }
    json_answer(200, &json!(shared.present()))
}

fn output(shared: &Arc<Shared>, query: &str) -> Answer {
    let mut script = shared.script.lock().expect("whole");
    if script.busy > 0 {
        script.busy -= 1;
        return problem(ApiError::new(ErrorCode::Busy, "too many readers"));
    }
    let offset: u64 = parameter(query, "offset").expect("given").parse().expect("a number");
    let stream = parameter(query, "stream").expect("given").to_owned();
    let follow = parameter(query, "follow") == Some("true") && script.runs_until_cancelled;
    let breaks = script.breaks.pop_front();
    let mut pieces = Vec::new();
    if stream == "both" {
        // From the chunk that holds the offset, as a daemon that keeps whole chunks does it.
        let held = |chunk: &&OutputChunk| chunk.offset + chunk.data.0.len() as u64 > offset;
        for chunk in script.chunks.iter().filter(held) {
            pieces.push(Bytes::from(json!(chunk).to_string() + "\n"));
        }
    } else {
        let of = |chunk: &&OutputChunk| json!(chunk.stream) == json!(stream);
        let bytes: Vec<u8> =
            script.chunks.iter().filter(of).flat_map(|chunk| chunk.data.0.clone()).collect();
        let rest = bytes.into_iter().skip(usize::try_from(offset).expect("small")).collect();
        pieces.push(Bytes::from_owner::<Vec<u8>>(rest));
    }
    drop(script);
    let (sender, receiver) = mpsc::unbounded_channel();
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        for piece in pieces.iter().take(breaks.unwrap_or(usize::MAX)) {
            sender.send(Ok(piece.clone())).ok();
        }
        if breaks.is_some() {
            // Half of the next line, so that the reader has to throw it away.
            sender.send(Ok(Bytes::from_static(b"{\"offset\":"))).ok();
            tokio::task::yield_now().await;
            sender.send(Err(io::Error::other("broken on purpose"))).ok();
        } else if follow {
            shared.cancelled.subscribe().wait_for(|cancelled| *cancelled).await.expect("open");
        }
    });
    let answer = Response::builder().header("content-type", NDJSON);
    answer.body(Pieces(receiver)).expect("an answer")
}

fn artifact_answer(shared: &Shared, path: &str) -> Answer {
    let encoded = path.split_once("/artifacts/").expect("an artifact's path").1;
    let script = shared.script.lock().expect("whole");
    let found = script.artifacts.iter().find(|(artifact, _)| artifact.path == decoded(encoded));
    match found {
        Some((_, bytes)) => bytes_answer(200, "application/octet-stream", bytes.clone()),
        None => problem(ApiError::new(ErrorCode::NotFound, "no such artifact")),
    }
}

fn decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next().expect("a digit"), rest.next().expect("a digit")];
            let digits = std::str::from_utf8(&digits).expect("digits").to_owned();
            bytes.push(u8::from_str_radix(&digits, 16).expect("hexadecimal"));
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}

/// Every look is a second after the last, and a quarter of it was spent on the CPU.
fn top(shared: &Shared) -> Value {
    let looks = shared.requests.lock().expect("whole");
    let seconds = looks.iter().filter(|request| request.operation == "top").count();
    let execution = execution(Outcome::Cancelled);
    json!({"waiting": 3, "executions": [{
        "id": execution.id, "session": execution.session, "owner_uid": 2001, "policy": "default",
        "state": "running", "read_at_us": seconds * 1_000_000, "cpu_us": seconds * 250_000,
        "memory": 5 << 20, "memory_max": 1 << 30, "pids": 2, "output_bytes": 7,
        "pressure": {"memory": {"some": 1.5, "full": 0.5}}, "command": "sleep 300"}]})
}

fn doctor() -> Value {
    let controls = execution(Outcome::Cancelled).controls;
    json!({"version": "0.1.0", "mode": "best-effort", "kernel": "6.18", "healthy": false,
           "controls": controls})
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

fn json_answer(status: u16, value: &Value) -> Answer {
    bytes_answer(status, "application/json", value.to_string().into_bytes())
}

fn problem(error: ApiError) -> Answer {
    bytes_answer(error.status, PROBLEM_JSON, json!(error).to_string().into_bytes())
}

fn bytes_answer(status: u16, media_type: &str, bytes: Vec<u8>) -> Answer {
    let (sender, receiver) = mpsc::unbounded_channel();
    sender.send(Ok(Bytes::from(bytes))).expect("open");
    Response::builder()
        .status(status)
        .header("content-type", media_type)
        .body(Pieces(receiver))
        .expect("an answer")
}

/// A request that was allowed and one that wasn't.
fn records() -> Value {
    json!([record(1, "allow", "ok.example"), record(2, "deny", "a.example")])
}

/// A submission, refusals that were counted, and a request that was allowed and failed.
fn story() -> Value {
    let mut submission = record(1, "allow", "a.example");
    submission["kind"] = "submission".into();
    let mut counted = record(2, "deny", "a.example");
    counted["kind"] = "suppression".into();
    let more = [
        ("of", json!("traffic")),
        ("refused", json!(41)),
        ("codes", json!({"host_not_allowed": 40, "canary": 1})),
        ("since", json!("2026-01-01T00:00:00.000Z")),
    ];
    more.into_iter().for_each(|(name, value)| counted[name] = value);
    let mut failed = record(3, "allow", "a.example");
    let more = [
        ("reason", json!("ended")),
        ("cause", json!("upstream_tls")),
        ("remedy", json!("tell whoever runs it")),
        ("path_bytes", json!(16_000)),
        ("failure", json!("the upstream's certificate does not hold: expired")),
    ];
    more.into_iter().for_each(|(name, value)| failed[name] = value);
    json!([submission, counted, failed])
}

/// A page of them.
fn refusals(shared: &Shared, query: &str) -> Value {
    let all = shared.script.lock().expect("whole").refusals;
    let after = query.split('&').find_map(|pair| pair.strip_prefix("after=")).unwrap_or("0");
    let first = after.parse::<u64>().expect("a number") + 1;
    let last = (first + 999).min(all);
    let records: Vec<_> = (first..=last).map(|seq| record(seq, "deny", "a.example")).collect();
    let mut page = json!({ "records": records });
    if last < all {
        page["next"] = last.into();
    }
    page
}

fn record(seq: u64, verdict: &str, host: &str) -> Value {
    json!({
        "seq": seq, "time": "2026-01-01T00:00:00.000000Z", "kind": "egress", "verdict": verdict,
        "rule": "egress 2 (p.toml:9)", "reason": "not_allowed", "remedy": "add a rule",
        "host": host, "port": 443, "protocol": "https", "method": "GET", "path": "/x",
        "execution": super::ID, "prev": "ab".repeat(32), "hash": "cd".repeat(32),
    })
}

fn policies() -> Value {
    let policy = |name: &str, is_default: bool| json!({"name": name, "description": "", "digest": "ab".repeat(32), "is_default": is_default});
    json!({"generation": 2, "policies": [policy("default", true), policy("own", false)]})
}

fn budgets() -> Value {
    let meter = |name: &str, limit: u64, spent: u64| json!({"meter": name, "limit": limit, "spent": spent, "left": limit - spent});
    let meters = [meter("requests", 10, 3), meter("bytes_out", 4096, 2048)];
    json!({"budgets": [{"account": "uid:1000", "owner_uid": 1000, "meters": meters}]})
}

fn approval() -> Value {
    json!({
        "id": "ap-faaaaaaaaaaaaaaaaaaaaaaaaa", "state": "waiting", "execution": super::ID,
        "session": "se-aaaaaaaaaaaaaaaaaaaaaaaaaa", "owner_uid": 1000, "policy": "p",
        "rule": "egress 1 (p.toml:3)",
        "request": {"protocol": "https", "host": "a.example", "port": 443, "method": "POST",
            "path": "/x", "body": 3},
        "digest": "ab".repeat(32), "asked_at": "2026-01-01T00:00:00Z",
        "deadline": "2026-01-01T00:01:00Z", "left": 0,
    })
}
