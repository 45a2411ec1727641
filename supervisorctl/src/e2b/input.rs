//! What goes to a command while it runs.

use std::sync::Arc;

use super::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde_json::json;
use supervisor_api::{ExecutionId, Session};
use tokio::sync::Mutex;
use tokio::time;

use super::answer::{Kind, Refusal, Reply, streamed};
use super::connect::{self, Messages};
use super::endpoint::Endpoint;
use super::processes::{Selector, find};
use super::request::PATIENCE;

/// Bytes of one call to the daemon.
const PIECE: usize = 256 << 10;

/// How often a command that reads nothing is offered the same bytes; each time the daemon waits ten seconds.
const OFFERS: u32 = 6;

/// A command that input can be sent to.
#[derive(Debug)]
pub struct Command {
    /// The execution that it is.
    pub execution: ExecutionId,
    /// Whether its streams are a terminal.
    pub terminal: bool,
    /// Held while bytes are sent, so that those of one call stay together.
    sending: Mutex<()>,
}

impl Command {
    /// A command, of which nobody sends anything yet.
    pub fn new(execution: ExecutionId, terminal: bool) -> Self {
        Self { execution, terminal, sending: Mutex::default() }
    }
}

/// Bytes for a command.
#[derive(Debug, Deserialize)]
pub struct SendInput {
    process: Selector,
    input: Input,
}

#[derive(Debug, Deserialize)]
struct Input {
    stdin: Option<String>,
    pty: Option<String>,
}

/// The end of a command's input.
#[derive(Debug, Deserialize)]
pub struct CloseInput {
    process: Selector,
}

#[derive(Debug, Deserialize)]
struct StreamInput {
    start: Option<CloseInput>,
    data: Option<Data>,
}

#[derive(Debug, Deserialize)]
struct Data {
    input: Input,
}

/// Sends what one call holds.
pub async fn send(endpoint: &Endpoint, session: &Session, asked: SendInput) -> Result<(), Refusal> {
    let command = find(endpoint, session, asked.process).await?;
    pass(endpoint, &command, &asked.input).await
}

/// Ends a command's input.
pub async fn close(
    endpoint: &Endpoint,
    session: &Session,
    asked: CloseInput,
) -> Result<(), Refusal> {
    let command = find(endpoint, session, asked.process).await?;
    if command.terminal {
        let words = "the input of a terminal ends with the byte 4 (Ctrl-D)";
        return Err(Refusal::new(Kind::Conflict, words));
    }
    let _turn = command.sending.lock().await;
    endpoint.client.close_input(command.execution).await?;
    Ok(())
}

/// Sends what comes in a stream of messages, as it comes.
pub async fn stream(
    endpoint: &Endpoint,
    session: &Session,
    mut body: Body,
) -> Result<Reply, Refusal> {
    let mut messages = Messages::default();
    let mut command: Option<Arc<Command>> = None;
    loop {
        while let Some(message) = messages.next::<StreamInput>()? {
            if let Some(start) = message.start {
                command = Some(find(endpoint, session, start.process).await?);
            }
            let Some(data) = message.data else { continue };
            let Some(command) = &command else {
                return Err(Refusal::invalid("the first message says which process is meant"));
            };
            pass(endpoint, command, &data.input).await?;
        }
        // Whoever streams may take as long as the call may, which the client sees to.
        let Some(frame) = body.frame().await else { break };
        let frame =
            frame.map_err(|error| Refusal::invalid(format!("the stream broke off: {error}")))?;
        if let Ok(bytes) = frame.into_data() {
            messages.push(&bytes);
        }
    }
    let (pieces, reply) = streamed(connect::STREAM_TYPE);
    connect::send(&pieces, &json!({})).await?;
    connect::end(&pieces, Ok(())).await;
    Ok(reply)
}

async fn pass(endpoint: &Endpoint, command: &Command, input: &Input) -> Result<(), Refusal> {
    let encoded = match (command.terminal, &input.stdin, &input.pty) {
        (false, Some(encoded), None) | (true, None, Some(encoded)) => encoded,
        (true, Some(_), _) => return Err(Refusal::invalid("this is a terminal: send `pty`")),
        (false, _, Some(_)) => return Err(Refusal::invalid("this is no terminal: send `stdin`")),
        _ => return Ok(()),
    };
    let bytes = STANDARD.decode(encoded);
    let bytes =
        bytes.map_err(|error| Refusal::invalid(format!("the input is no base64: {error}")))?;
    let _turn = command.sending.lock().await;
    let client = &endpoint.client;
    let state = client.input(command.execution).await?;
    if !state.open {
        let words = "the input of this command is closed: start it with stdin";
        return Err(Refusal::new(Kind::Conflict, words));
    }
    let (mut offset, mut left, mut offers) = (state.offset, bytes.as_slice(), 0);
    while !left.is_empty() {
        let piece = left.get(..left.len().min(PIECE)).unwrap_or_default().to_vec();
        let sent = client.send_input(command.execution, offset, piece);
        let late = |_| Refusal::new(Kind::DeadlineExceeded, "the command takes no input");
        let state = time::timeout(PATIENCE, sent).await.map_err(late)??;
        let taken = usize::try_from(state.offset.saturating_sub(offset)).unwrap_or(usize::MAX);
        offers = if taken == 0 { offers + 1 } else { 0 };
        if offers >= OFFERS {
            let words = format!("the command reads nothing; {} bytes were not taken", left.len());
            return Err(Refusal::new(Kind::DeadlineExceeded, words));
        }
        left = left.get(taken..).unwrap_or_default();
        offset = state.offset;
    }
    Ok(())
}
