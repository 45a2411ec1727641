//! Request bodies as values: one reading of the bytes or none, and an error that names the field
//! and the place.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use supervisor_api::{ApiError, ErrorCode};
use tokio::sync::Semaphore;

use super::body::Received;
use super::bounds::{MAX_ECHO, MAX_VALUES};
use super::strict::{Progress, Strict};
use crate::pool::Share;

/// Reads a body; a large one away from the threads that serve connections, and with a permit of
/// `readers`. What is reserved for the body is handed on to who holds the value.
///
/// # Errors
///
/// [`ErrorCode::InvalidArgument`], as [`parse`].
pub async fn read<T: DeserializeOwned + Send + 'static>(
    body: Received,
    readers: &Arc<Semaphore>,
) -> Result<(T, Option<Share>), ApiError> {
    if body.share.is_none() {
        return parse(&body.bytes).map(|value| (value, None));
    }
    let permit = readers.clone().acquire_owned().await.map_err(|_| lost())?;
    // All of it moves along: when the caller goes away, the reading still goes on.
    let reading = tokio::task::spawn_blocking(move || {
        let value = parse(&body.bytes)?;
        drop(permit);
        Ok((value, body.share))
    });
    reading.await.map_err(|_| lost())?
}

fn lost() -> ApiError {
    ApiError::new(ErrorCode::Internal, "the request body could not be read")
}

/// Reads bytes as one JSON value and nothing after it. Nesting ends at 128 levels, values at
/// [`MAX_VALUES`].
///
/// # Errors
///
/// [`ErrorCode::InvalidArgument`] with the field, and with line and column as a hint.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    if bytes.is_empty() {
        return Err(ApiError::new(ErrorCode::InvalidArgument, "the request body is empty"));
    }
    let progress = Progress::new(MAX_VALUES);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = T::deserialize(Strict::new(&mut reader, &progress))
        .map_err(|error| explain(&error, &progress.path()))?;
    reader.end().map_err(|error| explain(&error, ""))?;
    Ok(value)
}

fn explain(error: &serde_json::Error, path: &str) -> ApiError {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let place = format!(" at line {line} column {column}");
    let detail = shorten(text.strip_suffix(&place).unwrap_or(&text));
    let explained = ApiError::new(ErrorCode::InvalidArgument, detail)
        .with_hint(format!("see line {line}, column {column} of the request body"));
    if path.is_empty() { explained } else { explained.with_field(shorten(path)) }
}

/// The text up to a bound: some of it is the caller's own and may be as long as a body.
pub fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_ECHO) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use supervisor_api::{Language, SubmitRequest};

    use super::*;

    fn refused(body: &[u8]) -> ApiError {
        match parse::<SubmitRequest>(body) {
            Ok(request) => panic!("{:?} reads as {request:?}", String::from_utf8_lossy(body)),
            Err(error) => error,
        }
    }

    fn field(body: &str) -> Option<String> {
        refused(body.as_bytes()).field
    }

    #[test]
    fn an_error_names_the_field_it_is_about() {
        for (body, expected) in [
            (r#"{"uid":0}"#, "uid"),
            (r#"{"argv":["true"],"peer":{"uid":0}}"#, "peer"),
            (r#"{"limits":{"memory":1}}"#, "limits.memory"),
            (r#"{"limits":{"memory_max":-1}}"#, "limits.memory_max"),
            (r#"{"limits":{"memory_max":1e400}}"#, "limits.memory_max"),
            (r#"{"limits":{"memory_max":1e18}}"#, "limits.memory_max"),
            (r#"{"limits":{"memory_max":18446744073709551616}}"#, "limits.memory_max"),
            (r#"{"limits":{"memory_max":NaN}}"#, "limits.memory_max"),
            (r#"{"limits":{"memory_max":0x10}}"#, "limits"),
            (r#"{"limits":{"memory_max":"0x10"}}"#, "limits.memory_max"),
            (r#"{"limits":{"wall_time":0.0000001}}"#, "limits.wall_time"),
            (r#"{"limits":{"pids_max":1},"limits":{"pids_max":2}}"#, "limits"),
            (r#"{"limits":{"pids_max":1,"pids_max":2}}"#, "limits.pids_max"),
            (r#"{"env":{"A":"1","A":"2"}}"#, "env"),
            (r#"{"env":{"A":1}}"#, "env.A"),
            (r#"{"argv":"true"}"#, "argv"),
            (r#"{"argv":["true",1]}"#, "argv[1]"),
            (r#"{"argv":["\ud800"]}"#, "argv[0]"),
            (r#"{"argv":null}"#, "argv"),
            (r#"{"wait":1}"#, "wait"),
            (r#"{"language":"ruby"}"#, "language"),
            (r#"{"language":{"python":null}}"#, "language"),
            (r#"{"files":[{"path":"a"}]}"#, "files[0]"),
            (r#"{"files":[{"path":"a","content":{"base64":"="}}]}"#, "files[0].content"),
            (r#"{"files":[{"path":"a","content":{"hex":"00"}}]}"#, "files[0].content"),
            (r#"{"stdin":{"base64":"","base64":""}}"#, "stdin.base64"),
        ] {
            assert_eq!(field(body).as_deref(), Some(expected), "{body}");
        }
    }

    #[test]
    fn an_array_never_stands_for_an_object() {
        for body in [
            r#"[["true"]]"#,
            "[]",
            r#"{"limits":[1073741824]}"#,
            r#"{"artifacts":[["*"]]}"#,
            r#"{"files":[["a","b"]]}"#,
        ] {
            let error = refused(body.as_bytes());
            assert_eq!(error.code, ErrorCode::InvalidArgument);
            assert!(error.detail.contains("expected an object"), "{body}: {error}");
        }
    }

    #[test]
    fn what_is_not_one_json_object_is_refused() {
        for body in [
            b"".as_slice(),
            b" ",
            b"null",
            b"\"x\"",
            b"{",
            b"{}{}",
            b"{} x",
            b"{\"argv\":[\"true\"]}\0",
            b"\xff\xfe{}",
            b"{\"argv\":[\"\xff\"]}",
            b"\xef\xbb\xbf{}",
            b"{'argv':[]}",
            b"{\"argv\":[\"a\nb\"]}",
            b"{/**/}",
        ] {
            assert_eq!(refused(body).code, ErrorCode::InvalidArgument);
        }
    }

    #[test]
    fn nesting_of_any_depth_ends_in_an_error() {
        for body in [
            "[".repeat(200_000),
            "{\"a\":".repeat(100_000),
            format!("{{\"argv\":{}", "[".repeat(200_000)),
            format!("{{\"stdin\":{}", "{\"base64\":".repeat(100_000)),
        ] {
            assert_eq!(refused(body.as_bytes()).code, ErrorCode::InvalidArgument);
        }
    }

    #[test]
    fn the_number_of_values_is_bounded() {
        let body = |count: usize| format!("{{\"argv\":[{}\"\"]}}", "\"\",".repeat(count));
        assert!(parse::<SubmitRequest>(body(MAX_VALUES - 4).as_bytes()).is_ok());
        let error = refused(body(MAX_VALUES).as_bytes());
        assert_eq!(error.detail, "too many values");
    }

    #[test]
    fn an_error_repeats_little_of_what_was_sent() {
        let body = format!("{{\"{}\":1}}", "ä".repeat(100_000));
        let error = refused(body.as_bytes());
        assert!(error.detail.len() < 1000 && error.field.is_some_and(|field| field.len() < 1000));
        assert!(error.hint.is_some_and(|hint| hint.contains("line 1, column")));
    }

    #[test]
    fn a_whole_submission_is_read() {
        let body = r#"{"language":"python","source":"print()","args":["a"],"env":{"A":"b"},
            "stdin":"x","files":[{"path":"a","content":{"base64":"AAE="},"executable":true}],
            "limits":{"memory_max":18446744073709551615,"pids_max":null},
            "artifacts":{"globs":["*.png"]},"labels":{"k":"v"},"wait":true}"#;
        let request: SubmitRequest = parse(body.as_bytes()).expect("a good body");
        assert_eq!(request.language, Some(Language::Python));
        assert_eq!(request.limits.memory_max, Some(u64::MAX));
        assert_eq!(request.limits.pids_max, None);
        assert_eq!(request.files[0].content.0, [0, 1]);
        assert!(request.wait);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(parse::<SubmitRequest>(&bytes));
        }

        #[test]
        fn what_is_written_reads_back(
            argv in prop::collection::vec(any::<String>(), 0..5),
            env in prop::collection::btree_map(any::<String>(), any::<String>(), 0..5),
            stdin in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
        ) {
            let request = SubmitRequest {
                argv,
                env: supervisor_api::UniqueMap(env),
                stdin: stdin.map(supervisor_api::Content),
                ..SubmitRequest::default()
            };
            let bytes = serde_json::to_vec(&request).expect("a request has a JSON form");
            prop_assert_eq!(parse::<SubmitRequest>(&bytes), Ok(request));
        }
    }
}
