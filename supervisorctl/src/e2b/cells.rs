//! Code that is run in a context: a cell, whose output is told as it comes and whose results at its end. When its
//! client goes, it is interrupted.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::body::Body;
use serde::Deserialize;
use serde_json::Value;
use supervisor_api::{
    Cell, CellOutcome, CellState, ExecutionId, InterpreterState, Language, OutputChunk, RunCell,
    Session, SessionId,
};
use tokio::sync::oneshot;

use super::answer::{Pieces, Refusal, Reply, streamed};
use super::contexts::{self, Context, Turn, hidden, quoted, shell_quoted};
use super::endpoint::Endpoint;
use super::events::{self, Texts};
use super::request::json as read_json;
use crate::backoff::Backoff;
use crate::cli::Selection;
use crate::client::Client;
use crate::reader::OutputReader;

/// What clients take for lines of JSON.
const LINES_TYPE: &str = "application/json";

/// Code, as clients send it.
#[derive(Debug, Deserialize)]
struct Code {
    code: String,
    context_id: Option<String>,
    language: Option<String>,
    env_vars: Option<BTreeMap<String, String>>,
}

/// Where a cell runs.
struct Place<'a> {
    client: &'a Client,
    session: SessionId,
    interpreter: ExecutionId,
}

/// Runs code. The answer begins when it is the code's turn.
pub async fn execute(
    endpoint: &Arc<Endpoint>,
    session: Session,
    body: Body,
) -> Result<Reply, Refusal> {
    let asked: Code = read_json(body).await?;
    let contexts = endpoint.with(session.id, |kept| Arc::clone(&kept.contexts));
    let (id, language) = (asked.context_id.as_deref(), asked.language.as_deref());
    let context = contexts.chosen(endpoint, session.id, id, language).await?;
    let (begun, beginning) = oneshot::channel();
    // A client that goes drops this call, and the cell has to be interrupted all the same.
    tokio::spawn(attend(Arc::clone(endpoint), session, context, asked, begun));
    beginning.await.unwrap_or_else(|_| Err(Refusal::invalid("the code was not run")))
}

async fn attend(
    endpoint: Arc<Endpoint>,
    session: Session,
    context: Arc<Context>,
    asked: Code,
    begun: oneshot::Sender<Result<Reply, Refusal>>,
) {
    let mut begun = begun;
    let mut turn = tokio::select! {
        turn = context.turn.lock() => turn,
        () = begun.closed() => return,
    };
    let started = start(&endpoint, &session, &context, &mut turn, asked.env_vars.as_ref()).await;
    let interpreter = match started {
        Ok(Some(interpreter)) => interpreter,
        Ok(None) => {
            let told = ended_before(&endpoint.client, session.id, &mut turn).await;
            begun.send(told).ok();
            return;
        }
        Err(refusal) => {
            begun.send(Err(refusal)).ok();
            return;
        }
    };
    let place = Place { client: &endpoint.client, session: session.id, interpreter };
    let (pieces, reply) = streamed(LINES_TYPE);
    if begun.send(Ok(reply)).is_err() {
        return;
    }
    if let Err(refusal) = run(&place, &mut turn, asked.code, &pieces).await {
        let failed = std::io::Error::other(refusal.message);
        pieces.send(Err(failed)).await.ok();
    }
    if let Some(variables) = &asked.env_vars
        && let Some(interpreter) = turn.interpreter
        && let Err(refusal) = restore(&place, &context, variables, &mut turn, interpreter).await
    {
        let told = events::error("EnvironmentError", &refusal.message);
        if let Ok(line) = events::line(&told) {
            pieces.send(Ok(line)).await.ok();
        }
    }
}

/// Sees to it that there is an interpreter that has the variables; `None` if the one that was there has ended.
async fn start(
    endpoint: &Endpoint,
    session: &Session,
    context: &Context,
    turn: &mut Turn,
    variables: Option<&BTreeMap<String, String>>,
) -> Result<Option<ExecutionId>, Refusal> {
    let client = &endpoint.client;
    if let Some(id) = turn.interpreter {
        let state = client.interpreter(session.id, id).await?.state;
        if state == InterpreterState::Ended {
            return Ok(None);
        }
    }
    let id = context.begin(endpoint, session, turn).await?;
    if let Some(variables) = variables.filter(|variables| !variables.is_empty()) {
        let source = set(context.language, variables)?;
        hidden(client, session.id, id, source, turn).await?;
    }
    Ok(Some(id))
}

/// Tells that the interpreter has ended, once; the next code finds a new one.
async fn ended_before(
    client: &Client,
    session: SessionId,
    turn: &mut Turn,
) -> Result<Reply, Refusal> {
    let Some(id) = std::mem::take(turn).interpreter else {
        return Err(Refusal::invalid("there is no interpreter"));
    };
    let interpreter = client.interpreter(session, id).await?;
    let (pieces, reply) = streamed(LINES_TYPE);
    pieces.send(Ok(events::line(&events::ended(Some(&interpreter)))?)).await.ok();
    Ok(reply)
}

async fn run(
    place: &Place<'_>,
    turn: &mut Turn,
    source: String,
    pieces: &Pieces,
) -> Result<(), Refusal> {
    let wall_time = Some(turn.wall_time);
    let request = RunCell { source, wall_time, output_bytes: None, wait: false };
    let cell = place.client.run_cell(place.session, place.interpreter, &request).await?;
    turn.runs = turn.runs.saturating_add(1);
    tell(pieces, &events::count(turn.runs)).await?;
    let mut texts = Texts::default();
    let (cell, offset) = follow(place, cell.number, turn.offset, &mut texts, pieces).await?;
    turn.offset = cell.stdout.to.saturating_add(cell.stderr.to);
    catch_up(place, offset, turn.offset, &mut texts, pieces).await?;
    let interpreter = match cell.outcome {
        Some(CellOutcome::Lost) | None => {
            *turn = Turn::default();
            Some(place.client.interpreter(place.session, place.interpreter).await?)
        }
        _ => None,
    };
    let mut left = texts.rest();
    left.extend(events::of_cell(&cell, interpreter.as_ref()));
    for event in &left {
        tell(pieces, event).await?;
    }
    Ok(())
}

/// Tells a cell's output until it has ended, and interrupts it when its client goes. Gives the cell, and how far
/// its output was told.
async fn follow(
    place: &Place<'_>,
    number: u64,
    offset: u64,
    texts: &mut Texts,
    pieces: &Pieces,
) -> Result<(Cell, u64), Refusal> {
    let (client, id) = (place.client, place.interpreter);
    let mut reader = OutputReader::new(client, id, Selection::Both, offset, true);
    let mut ended = std::pin::pin!(end_of(place, number));
    let (mut there, mut flowing) = (true, true);
    loop {
        tokio::select! {
            cell = &mut ended => return Ok((cell?, reader.offset())),
            chunk = reader.next(), if flowing => match chunk? {
                Some(chunk) => told(texts, &chunk, pieces).await?,
                None => flowing = false,
            },
            () = pieces.closed(), if there => {
                there = false;
                // An interpreter that has just ended has nothing to interrupt.
                client.interrupt(place.session, id).await.ok();
            }
        }
    }
}

/// Tells what of a cell's output had not been read when it ended.
async fn catch_up(
    place: &Place<'_>,
    from: u64,
    to: u64,
    texts: &mut Texts,
    pieces: &Pieces,
) -> Result<(), Refusal> {
    let (client, id) = (place.client, place.interpreter);
    let mut reader = OutputReader::new(client, id, Selection::Both, from, false);
    while reader.offset() < to {
        let Some(mut chunk) = reader.next().await? else { break };
        let beyond = usize::try_from(reader.offset().saturating_sub(to)).unwrap_or(usize::MAX);
        let length = chunk.data.0.len().saturating_sub(beyond);
        chunk.data.0.truncate(length);
        told(texts, &chunk, pieces).await?;
    }
    Ok(())
}

/// Waits for a cell's end, over restarts of the daemon.
async fn end_of(place: &Place<'_>, number: u64) -> Result<Cell, Refusal> {
    let mut backoff = Backoff::default();
    loop {
        match place.client.cell(place.session, place.interpreter, number).await {
            Ok(cell) if cell.state == CellState::Done => return Ok(cell),
            Ok(_) => backoff.reset(),
            Err(failure) => backoff.wait(failure).await?,
        }
    }
}

async fn told(texts: &mut Texts, chunk: &OutputChunk, pieces: &Pieces) -> Result<(), Refusal> {
    match texts.event(chunk) {
        Some(event) => tell(pieces, &event).await,
        None => Ok(()),
    }
}

/// Sends an event. That the client has gone is noticed elsewhere.
async fn tell(pieces: &Pieces, event: &Value) -> Result<(), Refusal> {
    pieces.send(Ok(events::line(event)?)).await.ok();
    Ok(())
}

/// A cell that sets variables for the code that follows, and remembers what they were.
fn set(language: Language, variables: &BTreeMap<String, String>) -> Result<String, Refusal> {
    let text =
        serde_json::to_string(variables).map_err(|error| Refusal::invalid(error.to_string()))?;
    let quoted = quoted(&text)?;
    Ok(match language {
        Language::Python => format!(
            "import builtins as _b, json as _j, os as _o\n\
             _b._e2b_before = {{k: _o.environ.get(k) for k in _j.loads({quoted})}}\n\
             _o.environ.update(_j.loads({quoted}))\n\
             del _b, _j, _o\n"
        ),
        Language::Node => format!(
            "globalThis._e2bBefore = {{}}; for (const [k, v] of Object.entries(JSON.parse({quoted}))) \
             {{ globalThis._e2bBefore[k] = process.env[k]; process.env[k] = v; }} undefined"
        ),
        Language::Bash => {
            let mut lines = String::new();
            for (name, value) in variables {
                check_name(name)?;
                let value = shell_quoted(value);
                lines.push_str(&format!(
                    "_e2b_is_{name}=${{{name}+x}}; _e2b_was_{name}=${{{name}-}}; export {name}={value}\n"
                ));
            }
            lines
        }
    })
}

async fn restore(
    place: &Place<'_>,
    context: &Context,
    variables: &BTreeMap<String, String>,
    turn: &mut Turn,
    interpreter: ExecutionId,
) -> Result<(), Refusal> {
    if variables.is_empty() {
        return Ok(());
    }
    let source = match context.language {
        Language::Python => "import builtins as _b, os as _o\n\
             for _k, _v in _b._e2b_before.items():\n    \
                 _o.environ.pop(_k, None) if _v is None else _o.environ.__setitem__(_k, _v)\n\
             del _b._e2b_before, _b, _o, _k, _v\n"
            .to_owned(),
        Language::Node => "for (const [k, v] of Object.entries(globalThis._e2bBefore)) \
             { if (v === undefined) delete process.env[k]; else process.env[k] = v; } \
             delete globalThis._e2bBefore; undefined"
            .to_owned(),
        Language::Bash => {
            let mut lines = String::new();
            for name in variables.keys() {
                lines.push_str(&format!(
                    "if [ -n \"$_e2b_is_{name}\" ]; then export {name}=\"$_e2b_was_{name}\"; else unset {name}; fi; \
                     unset _e2b_is_{name} _e2b_was_{name}\n"
                ));
            }
            lines
        }
    };
    contexts::hidden(place.client, place.session, interpreter, source, turn).await
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let fits = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty();
    fits.then_some(()).ok_or_else(|| Refusal::invalid(format!("{name:?} is no name of a variable")))
}
