//! Clients of the Model Context Protocol, as little as the tests need: messages over HTTP on the daemon's socket, byte by
//! byte where a test wants that, and a listener for clients that others wrote.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::client::Client;
use crate::http::Connection;

/// The revision whose messages say everything by themselves.
pub const CURRENT: &str = "2026-07-28";

/// The one before, in which conversations are begun.
pub const BEFORE: &str = "2025-11-25";

/// Header fields beside those that every message has.
pub type Fields<'a> = &'a [(&'a str, &'a str)];

/// Sends a message, and leaves its answer to be read.
pub fn send(caller: &Client, method: &str, fields: Fields<'_>, body: &[u8]) -> Connection {
    let mut head = format!("{method} /mcp HTTP/1.1\r\n");
    if !fields.iter().any(|(name, _)| *name == "Host") {
        head.push_str("Host: localhost\r\n");
    }
    head.push_str("Accept: application/json, text/event-stream\r\n");
    if method == "POST" {
        write!(head, "Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())
            .unwrap();
    }
    for (name, value) in fields {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    head.push_str("\r\n");
    let mut connection = caller.connect().expect("the daemon listens");
    // Whoever refuses may have closed by now; what it said is there to be read.
    connection.send(head.as_bytes()).and_then(|()| connection.send(body)).ok();
    connection
}

/// Sends a message of the current revision, of a client that knows no extension.
pub fn begin(caller: &Client, method: &str, parameters: Value, fields: Fields<'_>) -> Connection {
    begin_with(caller, method, parameters, &json!({}), fields)
}

/// Sends a message of the current revision, of a client that says that it has these capabilities.
pub fn begin_with(
    caller: &Client,
    method: &str,
    mut parameters: Value,
    capabilities: &Value,
    fields: Fields<'_>,
) -> Connection {
    parameters["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": CURRENT,
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": capabilities,
    });
    let named = ["name", "uri", "taskId"].iter().find_map(|name| parameters[name].as_str());
    let name = named.map(str::to_owned);
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters});
    let mut all = vec![("MCP-Protocol-Version", CURRENT), ("Mcp-Method", method)];
    all.extend(name.as_deref().map(|name| ("Mcp-Name", name)));
    all.extend(fields);
    send(caller, "POST", &all, message.to_string().as_bytes())
}

/// The answer to a message of the current revision.
#[track_caller]
pub fn ask(caller: &Client, method: &str, parameters: Value) -> Value {
    let reply = begin(caller, method, parameters, &[]).reply().expect("an answer");
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

/// What a tool answers.
#[track_caller]
pub fn call(caller: &Client, tool: &str, arguments: Value) -> Value {
    ask(caller, "tools/call", json!({"name": tool, "arguments": arguments}))["result"].take()
}

/// Begins a conversation as the revision before has it; its name.
#[track_caller]
pub fn greet(caller: &Client) -> String {
    let greeting = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": BEFORE, "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    }});
    let reply = send(caller, "POST", &[], greeting.to_string().as_bytes()).reply();
    let reply = reply.expect("an answer");
    let words = String::from_utf8_lossy(&reply.body).into_owned();
    assert!(reply.status == 200 && words.contains(BEFORE), "{reply:?}");
    reply.field("mcp-session-id").expect("a name").to_owned()
}

/// Sends a message of a conversation.
pub fn within(caller: &Client, method: &str, conversation: &str, message: &Value) -> Connection {
    let fields = [("MCP-Protocol-Version", BEFORE), ("Mcp-Session-Id", conversation)];
    send(caller, method, &fields, message.to_string().as_bytes())
}

/// A listener of `supervisorctl mcp`.
#[derive(Debug)]
pub struct Listener {
    child: Child,
    /// Where it listens.
    pub url: String,
}

impl Listener {
    /// One that this command starts.
    #[track_caller]
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut url = String::new();
        let output = child.stdout.take().expect("a pipe");
        BufReader::new(output).read_line(&mut url).expect("a line");
        Self { child, url: url.trim_end().to_owned() }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
