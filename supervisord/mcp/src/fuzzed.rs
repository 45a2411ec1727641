//! What holds for all messages of a client's and all answers of the daemon's: a target of the fuzzer (tests/fuzz), and
//! of an ordinary test.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use supervisor_api::{OPERATIONS, Operation};
use tokio::runtime;

use crate::{Asking, Door, Failure, Front, Question};

#[cfg(test)]
#[path = "../../../tests/fuzz/mutations.rs"]
mod mutations;

/// The revision whose messages say everything by themselves.
const REVISION: &str = "2026-07-28";

/// A daemon that gives the answers that it was given, and notes what it was asked.
#[derive(Debug, Default)]
struct Stage {
    answers: Mutex<VecDeque<Vec<u8>>>,
    asked: Mutex<Vec<(String, String)>>,
}

impl Door for Stage {
    fn ask(&self, question: Question) -> Asking<'_> {
        let asked = (question.method.to_string(), question.target);
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
        let answer = self.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let answer = answer.ok_or_else(|| Failure::Usage("there is no more".to_owned()));
        Box::pin(async { answer })
    }
}

/// A line that names a tool, one with its arguments, and answers of the daemon's. Whatever they are, the message has
/// an answer, and what the daemon is asked is one of its operations, with parameters that the operation has: a name
/// in the arguments can't make it another one.
pub fn messages(bytes: &[u8]) {
    for (method, target) in asked(bytes) {
        let meant = OPERATIONS.iter().find(|operation| is_meant(operation, &method, &target));
        assert!(meant.is_some(), "{method} {target}");
    }
}

/// What the daemon is asked about such a message.
fn asked(bytes: &[u8]) -> Vec<(String, String)> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let tool = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let arguments = lines.next().unwrap_or_default();
    let stage = Arc::new(Stage::default());
    let answers = lines.map(<[u8]>::to_vec).collect();
    *stage.answers.lock().unwrap_or_else(PoisonError::into_inner) = answers;
    let Some(request) = request(&tool, arguments) else { return Vec::new() };
    let door: Arc<dyn Door> = Arc::<Stage>::clone(&stage);
    let Ok(runtime) = runtime::Builder::new_current_thread().enable_time().build() else {
        return Vec::new();
    };
    let (status, body) = runtime.block_on(async {
        let (head, body) = Front::default().answer(door, 1000, request).await.into_parts();
        (head.status, body.collect().await.map(|body| body.to_bytes()).unwrap_or_default())
    });
    if status == StatusCode::OK {
        let answer: Result<Value, _> = serde_json::from_slice(&body);
        let version = answer.ok().and_then(|answer| answer.get("jsonrpc").cloned());
        assert_eq!(version, Some(json!("2.0")), "{body:?}");
    }
    stage.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The message; as it is where its arguments are no JSON.
fn request(tool: &str, arguments: &[u8]) -> Option<Request<Bytes>> {
    let (method, name) = match tool.strip_prefix("resources/read ") {
        Some(uri) => ("resources/read", uri),
        None => ("tools/call", tool),
    };
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": REVISION,
        "io.modelcontextprotocol/clientInfo": {"name": "fuzzer", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let body = match serde_json::from_slice::<Value>(arguments) {
        Ok(arguments) => {
            let params = json!({"name": name, "uri": name, "arguments": arguments, "_meta": meta});
            json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
                .to_string()
                .into()
        }
        Err(_) => Bytes::copy_from_slice(arguments),
    };
    let request = Request::post("/mcp")
        .header("Host", "localhost")
        .header("Accept", "application/json, text/event-stream")
        .header("Content-Type", "application/json")
        .header("MCP-Protocol-Version", REVISION)
        .header("Mcp-Method", method)
        .header("Mcp-Name", name.as_bytes());
    request.body(body).ok()
}

/// Whether this is what the daemon takes for the operation.
fn is_meant(operation: &Operation, method: &str, target: &str) -> bool {
    let Ok(uri) = target.parse::<Uri>() else { return false };
    let as_it_stands = uri.path_and_query().is_some_and(|read| read.as_str() == target);
    let mut found = uri.path().split('/');
    let mut fits = operation.path.split('/').all(|segment| match segment {
        rest if rest.starts_with("{*") => found.by_ref().next().is_some(),
        one if one.starts_with('{') => found.next().is_some_and(|found| !found.is_empty()),
        fixed => found.next() == Some(fixed),
    });
    fits &= operation.path.contains("{*") || found.next().is_none();
    let mut keys = uri.query().into_iter().flat_map(|query| query.split('&'));
    let known = keys.all(|pair| {
        let key = pair.split('=').next();
        operation.parameters.iter().any(|parameter| Some(parameter.name) == key)
    });
    as_it_stands && fits && known && operation.method.name() == method
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_asks_for_another_operation_than_its_tool_is_for() {
        mutations::hold("mcp_messages", 2_000, messages);
    }

    #[test]
    fn a_message_asks_for_what_its_tool_is_for() {
        let session = "se-aaaaaaaaaaaaaaaaaaaaaaaaaa";
        let read =
            format!("read_file\n{{\"session\": \"{session}\", \"path\": \"a/b?c=d\"}}\ntext");
        let target = format!("/v1/sessions/{session}/stat/a/b%3Fc%3Dd");
        let found = asked(read.as_bytes());
        assert!(found.contains(&("GET".to_owned(), target)), "{found:?}");
        assert_eq!(asked(b"no_such_tool\n{}"), []);
    }
}
