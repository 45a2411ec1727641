//! What can't be a message, found before anything is made of it.

use serde::de::IgnoredAny;
use serde_json::json;

use crate::MESSAGE_MAX;

/// How deep the values of a message may stand in each other.
const DEPTH: usize = 128;

/// JSON-RPC's code for what is no JSON.
const PARSE_ERROR: i32 = -32700;

/// The same for what is no request.
const INVALID_REQUEST: i32 = -32600;

/// The answer to what is no message, where it is none.
pub fn refusal(bytes: &[u8]) -> Option<String> {
    if bytes.len() > MESSAGE_MAX {
        return Some(too_long());
    }
    if is_deep(bytes) {
        let words = format!("the values of a message stand more than {DEPTH} deep in each other");
        return Some(invalid(&words));
    }
    let error = serde_json::from_slice::<IgnoredAny>(bytes).err()?;
    Some(answer(PARSE_ERROR, &format!("a message is no JSON: {error}")))
}

/// The answer to what is longer than a message.
pub fn too_long() -> String {
    answer(PARSE_ERROR, &format!("a message has more than {MESSAGE_MAX} bytes"))
}

/// The answer to what is JSON and no request.
pub fn invalid(words: &str) -> String {
    answer(INVALID_REQUEST, words)
}

fn answer(code: i32, words: &str) -> String {
    let error = json!({"code": code, "message": words});
    format!("{}\n", json!({"jsonrpc": "2.0", "id": null, "error": error}))
}

/// Whether brackets and braces outside of strings stand deeper in each other than they may.
fn is_deep(bytes: &[u8]) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth = depth.saturating_add(1),
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth >= DEPTH {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_json_or_too_deep_is_no_message() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        for (text, expected) in [
            ("{".to_owned(), Some("-32700")),
            (String::new(), Some("-32700")),
            (nested(DEPTH), Some("-32600")),
            (format!("\"{}\"", "[".repeat(DEPTH)), None),
            (format!("\"\\\"{}\"", "[".repeat(DEPTH)), None),
            (nested(DEPTH - 1), None),
            ("[],".repeat(DEPTH), Some("-32700")),
        ] {
            let told = refusal(text.as_bytes());
            assert_eq!(told.is_some(), expected.is_some(), "{text}: {told:?}");
            assert!(told.unwrap_or_default().contains(expected.unwrap_or_default()), "{text}");
        }
    }
}
