//! Commands that run: listed, found by their numbers, ended.

use std::sync::Arc;

use super::body::Body;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use supervisor_api::{Execution, Session, SessionId, State, TerminalSize};

use super::answer::{Kind, Refusal, Reply, json as answer_json};
use super::endpoint::{Endpoint, number};
use super::input::{self, Command};
use super::request::json as read_json;
use crate::client::Page;

/// The label of a command's execution: its working directory, as far as it fits.
pub const COMMAND: &str = "e2b:command";

/// Executions on a page.
const PAGE: u16 = 200;

/// Numbers that are kept of one sandbox. What is forgotten is found again as long as it runs.
const NUMBERS: usize = 1024;

/// States of what has not ended.
const LIVING: [State; 5] =
    [State::Queued, State::Launching, State::Running, State::Paused, State::Collecting];

/// A command, as clients name it.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Selector {
    pid: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Signal {
    process: Selector,
    signal: String,
}

#[derive(Debug, Deserialize)]
struct Update {
    process: Selector,
    pty: Option<Terminal>,
}

/// A terminal, as clients ask for one.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Terminal {
    size: Option<Size>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Size {
    #[serde(default)]
    rows: u16,
    #[serde(default)]
    cols: u16,
}

/// Answers a call that has one answer.
pub async fn answer(
    endpoint: &Arc<Endpoint>,
    session: &Session,
    call: &str,
    body: Body,
) -> Result<Reply, Refusal> {
    match call {
        "List" => {
            let processes: Vec<Value> =
                living(endpoint, session.id).await?.iter().map(told).collect();
            return Ok(answer_json(StatusCode::OK, &json!({"processes": processes})));
        }
        "SendSignal" => signal(endpoint, session, read_json(body).await?).await?,
        "Update" => update(endpoint, session, read_json(body).await?).await?,
        "SendInput" => input::send(endpoint, session, read_json(body).await?).await?,
        "CloseStdin" => input::close(endpoint, session, read_json(body).await?).await?,
        _ => return Err(Refusal::unimplemented(format!("there is no call {call} here"))),
    }
    Ok(answer_json(StatusCode::OK, &json!({})))
}

/// The command with a number, if it has not ended.
pub async fn find(
    endpoint: &Endpoint,
    session: &Session,
    selector: Selector,
) -> Result<Arc<Command>, Refusal> {
    let pid =
        selector.pid.ok_or_else(|| Refusal::unimplemented("commands are named by `pid` only"))?;
    let missing = || Refusal::new(Kind::NotFound, format!("process with pid {pid} not found"));
    let known = endpoint.with(session.id, |kept| kept.commands.get(&pid).map(Arc::clone));
    if let Some(command) = known {
        let execution = endpoint.client.status(command.execution, 0).await?;
        return match execution.state {
            State::Finished => Err(missing()),
            _ => Ok(command),
        };
    }
    let all = living(endpoint, session.id).await?;
    let found = all.iter().find(|each| number(each.id) == pid).ok_or_else(missing)?;
    Ok(keep(endpoint, found))
}

/// Keeps the number of a command.
pub fn keep(endpoint: &Endpoint, execution: &Execution) -> Arc<Command> {
    let command = Arc::new(Command::new(execution.id, execution.terminal));
    endpoint.with(execution.session, |kept| {
        if kept.commands.len() >= NUMBERS {
            kept.commands.clear();
        }
        // Two that send input to one command have to find the same.
        Arc::clone(kept.commands.entry(number(execution.id)).or_insert(command))
    })
}

/// The size that a terminal is to have.
pub fn size_of(terminal: Terminal) -> Result<TerminalSize, Refusal> {
    match terminal.size {
        Some(Size { rows, cols }) if rows > 0 && cols > 0 => {
            Ok(TerminalSize { rows, columns: cols })
        }
        _ => Err(Refusal::invalid("a terminal has rows and columns")),
    }
}

async fn living(endpoint: &Endpoint, session: SessionId) -> Result<Vec<Execution>, Refusal> {
    let mut found = Vec::new();
    for state in LIVING {
        let mut after = None;
        loop {
            let page = Page { limit: PAGE, after, state: Some(state), all: false };
            let list = endpoint.client.list(page).await?;
            found.extend(list.executions.into_iter().filter(|execution| {
                execution.session == session && execution.labels.0.contains_key(COMMAND)
            }));
            after = list.next;
            if after.is_none() {
                break;
            }
        }
    }
    found.sort_by(|one, other| one.created_at.cmp(&other.created_at));
    found.dedup_by_key(|execution| execution.id); // one that changed its state meanwhile
    Ok(found)
}

fn told(execution: &Execution) -> Value {
    let (program, arguments) = match execution.argv.split_first() {
        Some((program, arguments)) => (program.as_str(), arguments),
        None => ("", &[][..]),
    };
    let mut config = json!({"cmd": program, "args": arguments, "envs": {}});
    let cwd = execution.labels.0.get(COMMAND).filter(|cwd| !cwd.is_empty());
    if let (Some(cwd), Some(config)) = (cwd, config.as_object_mut()) {
        config.insert("cwd".to_owned(), json!(cwd));
    }
    json!({"pid": number(execution.id), "config": config})
}

async fn signal(endpoint: &Endpoint, session: &Session, asked: Signal) -> Result<(), Refusal> {
    if asked.signal != "SIGNAL_SIGKILL" {
        let words = format!("{} is not sent; SIGNAL_SIGKILL ends a command", asked.signal);
        return Err(Refusal::unimplemented(words));
    }
    let command = find(endpoint, session, asked.process).await?;
    endpoint.client.cancel(command.execution).await?;
    Ok(())
}

async fn update(endpoint: &Endpoint, session: &Session, asked: Update) -> Result<(), Refusal> {
    let command = find(endpoint, session, asked.process).await?;
    let Some(terminal) = asked.pty else { return Ok(()) };
    endpoint.client.resize_terminal(command.execution, size_of(terminal)?).await?;
    Ok(())
}
