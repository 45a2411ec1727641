//! What holds for all requests, whoever sends them: targets of the fuzzer (tests/fuzz), and of ordinary tests.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use supervisor_api::{
    AnswerRequest, CreateInterpreter, CreateSession, CreateSnapshot, ExtendSession, MakeDirectory,
    MoveFile, OPERATIONS, RunCell, SubmitRequest, TerminalSize,
};

use super::bounds::{MAX_BODY, MAX_FIELDS, MAX_UPLOAD};
use super::parameters::{Encoded, Rules};
use super::range::Extent;
use super::{head, json};

/// A JSON body, for every request that has one. What is read is written as something that reads as the same, and
/// is JSON to others too; what isn't is refused in few words.
pub fn bodies(bytes: &[u8]) {
    body::<SubmitRequest>(bytes);
    body::<CreateSession>(bytes);
    body::<CreateSnapshot>(bytes);
    body::<ExtendSession>(bytes);
    body::<CreateInterpreter>(bytes);
    body::<RunCell>(bytes);
    body::<MoveFile>(bytes);
    body::<MakeDirectory>(bytes);
    body::<TerminalSize>(bytes);
    body::<AnswerRequest>(bytes);
}

fn body<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) {
    match json::parse::<T>(bytes) {
        Ok(request) => {
            assert!(serde_json::from_slice::<serde_json::Value>(bytes).is_ok());
            let written = serde_json::to_vec(&request).unwrap_or_default();
            assert_eq!(json::parse::<T>(&written).as_ref(), Ok(&request));
        }
        Err(error) => {
            let words = serde_json::to_vec(&error).unwrap_or_default();
            assert!((1..2048).contains(&words.len()), "{error:?}");
        }
    }
}

/// The query of a request, for every operation. What is read is within what the table of operations says.
pub fn queries(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for operation in OPERATIONS {
        let Ok(query) = Rules::of(operation).read(Some(&text)) else { continue };
        for parameter in operation.parameters {
            let schema: serde_json::Value =
                serde_json::from_str(parameter.schema).unwrap_or_default();
            let bound = |name: &str| schema.get(name).and_then(serde_json::Value::as_u64);
            if let Ok(number) = query.number(parameter.name) {
                assert!(bound("minimum").is_none_or(|least| least <= number), "{number}");
                assert!(bound("maximum").is_none_or(|most| number <= most), "{number}");
            }
            if let Ok(word) = query.word(parameter.name)
                && let Some(words) = schema.get("enum").and_then(serde_json::Value::as_array)
            {
                let is_left_out = text.split('&').all(|pair| {
                    pair.split_once('=').map_or(pair, |(name, _)| name) != parameter.name
                });
                let is_none = is_left_out && schema.get("default").is_none() && word.is_empty();
                assert!(is_none || words.iter().any(|known| known == word), "{word}");
            }
            drop(query.flag(parameter.name));
            if let Ok(Some(Encoded(text))) = query.value::<Encoded>(parameter.name) {
                let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
                assert_eq!(encoded.parse(), Ok(Encoded(text)));
            }
        }
    }
}

/// The head of a request, and what it says of ranges. What passes is read in full by the parser behind, as
/// it stands, with the body's length that was found.
pub fn heads(bytes: &[u8]) {
    let Some(length) = head::length(bytes, 0) else { return };
    assert_eq!(head::length(bytes, length - 1), Some(length));
    let bytes = bytes.get(..length).unwrap_or_default();
    let Ok(body) = head::check(bytes) else { return };
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    assert_eq!(request.parse(bytes), Ok(httparse::Status::Complete(length)));
    let target = request.path.unwrap_or_default();
    assert!(target.starts_with('/') && target.parse::<axum::http::Uri>().is_ok(), "{target}");
    let most = if request.method == Some("PUT") { MAX_UPLOAD } else { MAX_BODY };
    assert!(body <= most);
    let of = |name: &str| {
        let same = |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case(name);
        request.headers.iter().filter(same).count()
    };
    assert_eq!(of("transfer-encoding"), 0);
    assert!(of("content-length") == 1 || body == 0 && of("content-length") == 0);
    for field in request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("range")) {
        let Ok(range) = std::str::from_utf8(field.value) else { continue };
        for size in [0, 1, 1000, u64::MAX] {
            if let Extent::Part { first, last } = Extent::of(range, size) {
                assert!(first <= last && last < size, "{range} of {size}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::damaged_seeds;

    #[test]
    fn no_request_is_read_as_what_it_is_not() {
        damaged_seeds::hold("api_bodies", 2_000, bodies);
        damaged_seeds::hold("api_queries", 1_000, queries);
        damaged_seeds::hold("api_heads", 5_000, heads);
    }
}
