//! Commands, started or come back to: each is an execution, whose output is told as it comes. It goes on when its
//! client goes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use supervisor_api::{
    Execution, ExecutionId, Limit, LimitsRequest, Outcome, OutputChunk, Session, State, Stream,
    SubmitRequest, UniqueMap,
};
use tokio::time::{self, MissedTickBehavior};

use super::answer::{Kind, Pieces, Refusal, Reply, streamed};
use super::connect;
use super::endpoint::{Endpoint, number};
use super::paths;
use super::processes::{self, COMMAND, Selector, Terminal};
use super::request::{deadline, field, only_message};
use crate::backoff::Backoff;
use crate::cli::Selection;
use crate::client::{Client, WAIT_MAX};
use crate::reader::OutputReader;

/// Seconds between two signs of life in a stream, where a client asks for none.
const KEEPALIVE: u64 = 50;

/// Bytes that a label holds.
const LABEL: usize = 256;

/// A command, as clients ask for it.
#[derive(Debug, Deserialize)]
struct Start {
    process: Process,
    pty: Option<Terminal>,
    stdin: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Process {
    #[serde(default)]
    cmd: String,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    envs: BTreeMap<String, String>,
    cwd: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Connect {
    process: Selector,
}

/// Starts a command.
pub async fn start(
    endpoint: &Arc<Endpoint>,
    session: Session,
    headers: &HeaderMap,
    body: Body,
) -> Result<Reply, Refusal> {
    let asked: Start = only_message(body).await?;
    let mut env = endpoint.variables(&session)?;
    env.extend(asked.process.envs);
    let cwd = asked.process.cwd.as_deref().map(paths::inside).transpose()?.flatten();
    let terminal = asked.pty.map(processes::size_of).transpose()?;
    let mut limits = LimitsRequest::default();
    let longest = endpoint.longest.saturating_mul(1000);
    limits.set(Limit::WallTime, deadline(headers).unwrap_or(longest));
    let label = cwd.as_deref().map(paths::absolute).filter(|cwd| cwd.len() <= LABEL);
    let mut argv = vec![asked.process.cmd];
    argv.extend(asked.process.args);
    let request = SubmitRequest {
        argv,
        env: UniqueMap(env),
        cwd,
        // Clients that don't say may send some.
        stdin_open: terminal.is_none() && asked.stdin.unwrap_or(true),
        terminal,
        limits,
        session: Some(session.id),
        labels: UniqueMap(BTreeMap::from([(COMMAND.to_owned(), label.unwrap_or_default())])),
        ..SubmitRequest::default()
    };
    let execution = endpoint.client.submit(&request, false).await?;
    processes::keep(endpoint, &execution);
    Ok(follow(endpoint, execution.id, execution.terminal, headers))
}

/// Comes back to a command. It tells its output from the beginning, so that nothing of it is missed.
pub async fn connect(
    endpoint: &Arc<Endpoint>,
    session: Session,
    headers: &HeaderMap,
    body: Body,
) -> Result<Reply, Refusal> {
    let asked: Connect = only_message(body).await?;
    let command = processes::find(endpoint, &session, asked.process).await?;
    Ok(follow(endpoint, command.execution, command.terminal, headers))
}

fn follow(endpoint: &Arc<Endpoint>, id: ExecutionId, terminal: bool, headers: &HeaderMap) -> Reply {
    let asked = field(headers, "keepalive-ping-interval").and_then(|seconds| seconds.parse().ok());
    let keepalive = Duration::from_secs(asked.unwrap_or(KEEPALIVE).clamp(1, 3600));
    let (pieces, reply) = streamed(connect::STREAM_TYPE);
    let endpoint = Arc::clone(endpoint);
    tokio::spawn(async move {
        let told = tell(&endpoint.client, id, terminal, keepalive, &pieces).await;
        connect::end(&pieces, told).await;
    });
    reply
}

async fn tell(
    client: &Client,
    id: ExecutionId,
    terminal: bool,
    keepalive: Duration,
    pieces: &Pieces,
) -> Result<(), Refusal> {
    let mut there = connect::send(pieces, &event("start", &json!({"pid": number(id)}))).await?;
    let mut signs = time::interval(keepalive);
    signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
    signs.reset();
    let mut reader = OutputReader::new(client, id, Selection::Both, 0, true);
    while there {
        let told = tokio::select! {
            chunk = reader.next() => match chunk? {
                Some(chunk) => event("data", &data(&chunk, terminal)),
                None => break,
            },
            _ = signs.tick() => event("keepalive", &json!({})),
            () = pieces.closed() => return Ok(()),
        };
        there = connect::send(pieces, &told).await?;
    }
    if there {
        let end = ended(&end_of(client, id).await?)?;
        connect::send(pieces, &event("end", &end)).await?;
    }
    Ok(())
}

fn event(name: &str, value: &Value) -> Value {
    json!({"event": {name: value}})
}

fn data(chunk: &OutputChunk, terminal: bool) -> Value {
    let name = match (terminal, chunk.stream) {
        (true, _) => "pty",
        (false, Stream::Stdout) => "stdout",
        (false, Stream::Stderr) => "stderr",
    };
    json!({name: STANDARD.encode(&chunk.data.0)})
}

/// Waits for the end, over restarts of the daemon.
async fn end_of(client: &Client, id: ExecutionId) -> Result<Execution, Refusal> {
    let mut backoff = Backoff::default();
    loop {
        match client.status(id, WAIT_MAX).await {
            Ok(execution) if execution.state == State::Finished => return Ok(execution),
            Ok(_) => backoff.reset(),
            Err(failure) => backoff.wait(failure).await?,
        }
    }
}

/// How a command ended. What ended otherwise than by itself has a status of its own, and words.
fn ended(execution: &Execution) -> Result<Value, Refusal> {
    let killed = |words: String| {
        Ok(json!({"exitCode": -1, "exited": false, "status": words, "error": words}))
    };
    match &execution.outcome {
        Some(Outcome::Exited { code }) => {
            let mut end =
                json!({"exitCode": code, "exited": true, "status": format!("exit status {code}")});
            let cut = execution.output.stdout.cut.saturating_add(execution.output.stderr.cut);
            if let (true, Some(end)) = (cut > 0, end.as_object_mut()) {
                let words = format!("{cut} bytes of output were cut at the limit output_bytes");
                end.insert("error".to_owned(), words.into());
            }
            Ok(end)
        }
        Some(Outcome::Signaled { name, .. }) => killed(format!("signal: {name}")),
        Some(Outcome::Cancelled) => killed("signal: killed".to_owned()),
        Some(Outcome::OutOfMemory) => {
            killed("signal: killed: the limit memory_max was reached".to_owned())
        }
        Some(Outcome::LimitExceeded { limit }) => {
            killed(format!("signal: killed: the limit {limit} was reached"))
        }
        Some(Outcome::TimedOut) => {
            let words = format!("the command ran for {} ms", execution.limits.wall_time);
            Err(Refusal::new(Kind::DeadlineExceeded, words))
        }
        Some(Outcome::SetupFailed { step, reason }) => {
            let words = format!("the command was not started: {step}: {reason}");
            Err(Refusal::new(Kind::Internal, words))
        }
        Some(Outcome::Lost { reason }) => {
            Err(Refusal::new(Kind::Internal, format!("the command was lost: {reason}")))
        }
        None => Err(Refusal::new(Kind::Internal, "the command has no outcome")),
    }
}
