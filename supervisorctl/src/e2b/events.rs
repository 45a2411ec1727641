//! What code has to show, as E2B's clients read it: one JSON object a line.

use hyper::body::Bytes;
use serde_json::{Map, Value, json};
use supervisor_api::{
    Cell, CellOutcome, CellResult, CellResultKind, Interpreter, OutputChunk, Stream,
};

use super::answer::{Kind, Refusal};

/// Media types that clients have a name for.
const NAMES: [(&str, &str); 9] = [
    ("text/plain", "text"),
    ("text/html", "html"),
    ("text/markdown", "markdown"),
    ("image/svg+xml", "svg"),
    ("image/png", "png"),
    ("image/jpeg", "jpeg"),
    ("application/pdf", "pdf"),
    ("text/latex", "latex"),
    ("application/javascript", "javascript"),
];

/// An event as a line.
pub fn line(event: &Value) -> Result<Bytes, Refusal> {
    let mut bytes = serde_json::to_vec(event)
        .map_err(|error| Refusal::new(Kind::Internal, error.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes.into())
}

/// How often code was run in this context.
pub fn count(runs: u64) -> Value {
    json!({"type": "number_of_executions", "execution_count": runs})
}

/// What a cell shows, and the error that ended it.
pub fn of_cell(cell: &Cell, interpreter: Option<&Interpreter>) -> Vec<Value> {
    let mut events: Vec<Value> = cell.results.iter().map(result).collect();
    let cut = cell.stdout.cut.saturating_add(cell.stderr.cut);
    if cut > 0 {
        events.push(words(
            "stderr",
            format!("[{cut} bytes of output were cut at the limit output_bytes]\n"),
        ));
    }
    if cell.results_dropped > 0 {
        let left_out = format!(
            "[{} representations were left out: a cell's take 2 MiB]\n",
            cell.results_dropped
        );
        events.push(words("stderr", left_out));
    }
    events.extend(failure(cell, interpreter));
    events
}

/// An error that is no exception of the code.
pub fn error(name: &str, value: &str) -> Value {
    json!({"type": "error", "name": name, "value": value, "traceback": format!("{name}: {value}")})
}

fn failure(cell: &Cell, interpreter: Option<&Interpreter>) -> Option<Value> {
    if let Some(failed) = &cell.error {
        return Some(json!({
            "type": "error",
            "name": failed.name,
            "value": failed.value,
            "traceback": failed.traceback.join("\n"),
        }));
    }
    match cell.outcome {
        Some(CellOutcome::Ok) => {
            let status = cell.exit_status.filter(|status| *status != 0)?;
            Some(error("CommandFailed", &format!("the last command ended with {status}")))
        }
        Some(CellOutcome::Interrupted) => {
            Some(error("KeyboardInterrupt", "the code was interrupted"))
        }
        Some(CellOutcome::TimedOut) => {
            let words = format!(
                "the code ran for {} ms, which is what the policy gives it",
                cell.wall_time
            );
            Some(error("TimeoutError", &words))
        }
        Some(CellOutcome::OutputExceeded) => {
            let words = format!("the code wrote more than {} bytes", cell.output_bytes);
            Some(error("OutputExceeded", &words))
        }
        Some(CellOutcome::Error) => Some(error("Error", "the code failed")),
        Some(CellOutcome::Lost) | None => Some(ended(interpreter)),
    }
}

/// The context's interpreter has ended.
pub fn ended(interpreter: Option<&Interpreter>) -> Value {
    let why = interpreter.and_then(|interpreter| match (&interpreter.outcome, interpreter.end) {
        (Some(outcome), Some(end)) => Some(format!(" ({end:?}: {})", outcome.name())),
        (None, Some(end)) => Some(format!(" ({end:?})")),
        _ => None,
    });
    let words = format!(
        "the interpreter has ended{}, and its variables with it; the next code finds a new one",
        why.unwrap_or_default()
    );
    error("ContextEnded", &words)
}

fn result(result: &CellResult) -> Value {
    let (mut fields, mut extra) = (Map::new(), Map::new());
    for (media_type, text) in &result.data {
        let known = NAMES.iter().find(|(name, _)| name == media_type);
        match known {
            Some((_, name)) => fields.insert((*name).to_owned(), json!(text)),
            None if media_type == "application/json" => {
                let value = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
                fields.insert("json".to_owned(), value)
            }
            None => extra.insert(media_type.clone(), json!(text)),
        };
    }
    if !extra.is_empty() {
        fields.insert("extra".to_owned(), Value::Object(extra));
    }
    fields.insert("type".to_owned(), json!("result"));
    fields.insert("is_main_result".to_owned(), json!(result.kind == CellResultKind::Value));
    Value::Object(fields)
}

fn words(stream: &str, text: String) -> Value {
    let now = jiff::Timestamp::now().as_nanosecond();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    json!({"type": stream, "text": text, "timestamp": now})
}

/// Bytes of two streams on their way to becoming text. A character whose bytes have not all come waits for them.
#[derive(Debug, Default)]
pub struct Texts {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Texts {
    /// The text that is complete with this chunk.
    pub fn event(&mut self, chunk: &OutputChunk) -> Option<Value> {
        let (name, left) = match chunk.stream {
            Stream::Stdout => ("stdout", &mut self.stdout),
            Stream::Stderr => ("stderr", &mut self.stderr),
        };
        left.extend_from_slice(&chunk.data.0);
        let incomplete = match std::str::from_utf8(left) {
            Err(error) if error.error_len().is_none() => left.split_off(error.valid_up_to()),
            _ => Vec::new(),
        };
        // What begins a character and was preceded by what is none stays with it.
        let text = String::from_utf8_lossy(left).into_owned();
        *left = incomplete;
        (!text.is_empty()).then(|| words(name, text))
    }

    /// What is left at the end.
    pub fn rest(&mut self) -> Vec<Value> {
        let left = [
            ("stdout", std::mem::take(&mut self.stdout)),
            ("stderr", std::mem::take(&mut self.stderr)),
        ];
        let left = left.into_iter().filter(|(_, bytes)| !bytes.is_empty());
        left.map(|(name, bytes)| words(name, String::from_utf8_lossy(&bytes).into_owned()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use supervisor_api::Content;

    use super::*;

    #[test]
    fn a_character_that_comes_in_pieces_is_one() {
        let mut texts = Texts::default();
        let mut said = String::new();
        for byte in "aé𝄞z".bytes().chain([0xff, 0xe2]) {
            let chunk =
                OutputChunk { offset: 0, stream: Stream::Stdout, data: Content(vec![byte]) };
            let events = texts.event(&chunk);
            said.extend(
                events.iter().filter_map(|event| event.get("text")?.as_str().map(str::to_owned)),
            );
        }
        assert_eq!(said, "aé𝄞z\u{fffd}");
        assert_eq!(texts.rest().len(), 1);
    }
}
