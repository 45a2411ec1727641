//! Whether a request head is one that can be read in one way only. It is stricter than the parser
//! behind it, so what passes here is never answered by that parser's own bare error.

use axum::http::{HeaderName, Method, Uri, header};
use httparse::Status;
use supervisor_api::{ApiError, ErrorCode};

use super::bounds::{MAX_BODY, MAX_FIELDS, MAX_HEAD, MAX_UPLOAD};

/// What ends a head.
const END: &[u8] = b"\r\n\r\n";

/// The length of the head that starts `bytes`, its empty line included; `None` while it is not
/// complete. The first `known` bytes have been searched before.
pub fn length(bytes: &[u8], known: usize) -> Option<usize> {
    let start = known.saturating_sub(END.len() - 1);
    let rest = bytes.get(start..)?;
    let found = rest.windows(END.len()).position(|window| window == END)?;
    Some(start + found + END.len())
}

/// Checks a complete head and returns the length of the body that follows it, in bytes.
///
/// # Errors
///
/// [`ErrorCode::InvalidArgument`] for what is malformed or ambiguous,
/// [`ErrorCode::LengthRequired`] for a body in chunks, [`ErrorCode::TooLarge`] for one past
/// [`MAX_BODY`].
pub fn check(head: &[u8]) -> Result<u64, ApiError> {
    check_line_ends(head)?;
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        Ok(Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(malformed("the request line is missing")),
        Err(error) => return Err(syntax(error)),
    }
    let method = request.method.unwrap_or_default();
    check_target(method, request.path.unwrap_or_default())?;
    // Only what takes the place of a file is passed on as it arrives, and may be as long as a file.
    let most = if method == Method::PUT.as_str() { MAX_UPLOAD } else { MAX_BODY };
    body_length(request.headers, most)
}

/// The refusal of a head that is not complete at [`MAX_HEAD`].
pub fn too_long() -> ApiError {
    malformed("the request head is too long").with_hint(format!(
        "a request line and its header fields take {MAX_HEAD} bytes at the most"
    ))
}

/// The refusal of bytes that end within a head.
pub fn cut_off() -> ApiError {
    malformed("the request ended within its head")
}

/// The refusal of a head that takes too long.
pub fn too_slow() -> ApiError {
    ApiError::new(ErrorCode::RequestTimeout, "the request head did not arrive in time")
}

/// A lone CR or LF, or a NUL, is read differently by different parsers.
fn check_line_ends(head: &[u8]) -> Result<(), ApiError> {
    let mut before = 0u8;
    for byte in head.iter().copied() {
        if byte == 0 {
            return Err(malformed("the request head holds a NUL byte"));
        }
        if (byte == b'\n') != (before == b'\r') {
            return Err(malformed("a line of the request head does not end in CR LF"));
        }
        before = byte;
    }
    Ok(())
}

fn check_target(method: &str, target: &str) -> Result<(), ApiError> {
    Method::from_bytes(method.as_bytes()).map_err(|_| malformed("the method is malformed"))?;
    if !target.starts_with('/') || !target.is_ascii() || target.parse::<Uri>().is_err() {
        return Err(malformed("the request target is not a path")
            .with_hint("start it with `/v1/` and percent-encode what is not ASCII"));
    }
    Ok(())
}

fn body_length(fields: &[httparse::Header<'_>], most: u64) -> Result<u64, ApiError> {
    let mut length = None;
    let mut chunked = false;
    let mut host = false;
    for field in fields {
        if named(field, &header::CONTENT_LENGTH) {
            if length.is_some() {
                return Err(malformed("Content-Length stands there twice"));
            }
            length = Some(parse_length(field.value)?);
        } else if named(field, &header::TRANSFER_ENCODING) {
            chunked = true;
        } else if named(field, &header::HOST) {
            if host {
                return Err(malformed("Host stands there twice"));
            }
            host = true;
        }
    }
    match (length, chunked) {
        (Some(_), true) => {
            Err(malformed("Content-Length and Transfer-Encoding exclude each other"))
        }
        (None, true) => Err(length_required()),
        (Some(length), false) if length > most => Err(too_large()),
        (length, false) => Ok(length.unwrap_or(0)),
    }
}

fn named(field: &httparse::Header<'_>, name: &HeaderName) -> bool {
    field.name.eq_ignore_ascii_case(name.as_str())
}

/// The number in a Content-Length; past 64 bits it is the largest there is.
///
/// # Errors
///
/// [`ErrorCode::InvalidArgument`] for anything but digits.
pub fn parse_length(value: &[u8]) -> Result<u64, ApiError> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(malformed("Content-Length is not a number"));
    }
    // Digits that don't fit 64 bits are a length past any bound.
    let length = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
    Ok(length.unwrap_or(u64::MAX))
}

/// The refusal of a body whose length is not given.
pub fn length_required() -> ApiError {
    ApiError::new(ErrorCode::LengthRequired, "the request body has no Content-Length")
        .with_hint("send Content-Length; bodies in chunks are not taken")
}

/// The refusal of a body past [`MAX_BODY`].
pub fn too_large() -> ApiError {
    ApiError::new(ErrorCode::TooLarge, "the request body is too large").with_hint(format!(
        "a body takes {MAX_BODY} bytes at the most, which is 24 MiB of files in base64"
    ))
}

fn syntax(error: httparse::Error) -> ApiError {
    malformed(match error {
        httparse::Error::HeaderName => "a header field's name is malformed",
        httparse::Error::HeaderValue => "a header field's value is malformed",
        httparse::Error::TooManyHeaders => "there are more than 64 header fields",
        httparse::Error::Version => "the protocol is not HTTP/1.1",
        httparse::Error::NewLine | httparse::Error::Status | httparse::Error::Token => {
            "the request line is malformed"
        }
    })
}

fn malformed(detail: &str) -> ApiError {
    ApiError::new(ErrorCode::InvalidArgument, detail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code(head: &str) -> Result<u64, ErrorCode> {
        check(head.as_bytes()).map_err(|error| error.code)
    }

    fn post(fields: &str) -> Result<u64, ErrorCode> {
        code(&format!("POST /v1/executions HTTP/1.1\r\n{fields}\r\n"))
    }

    #[test]
    fn an_ordinary_head_says_how_long_its_body_is() {
        assert_eq!(post("Host: localhost\r\nContent-Length: 12\r\n"), Ok(12));
        assert_eq!(post("content-length:0\r\n"), Ok(0));
        assert_eq!(post("Content-Length: 33554432\r\n"), Ok(MAX_BODY));
        assert_eq!(code("GET /v1/doctor HTTP/1.1\r\n\r\n"), Ok(0));
        assert_eq!(code("GET /v1/doctor HTTP/1.0\r\n\r\n"), Ok(0));
    }

    #[test]
    fn every_ambiguous_framing_is_refused() {
        let invalid = Err(ErrorCode::InvalidArgument);
        for fields in [
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
            "Content-Length: 0\r\nContent-Length: 44\r\n",
            "Content-Length: 4\r\nContent-Length: 4\r\n",
            "Content-Length: 0, 44\r\n",
            "Content-Length: +0\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: 0x0\r\n",
            "Content-Length: \r\n",
            "Content-Length : 0\r\n",
            "Content-Length\r\n",
            "Transfer-Encoding : chunked\r\n",
            " Content-Length: 44\r\n",
            "X: a\r\n b\r\nContent-Length: 0\r\n",
            "X: a\r\n\tb\r\n",
            "Content-Length: 0\n",
            "X: a\rb\r\n",
            "X\0Y: 1\r\n",
            "X: a\0b\r\n",
            "Host: a\r\nHost: b\r\n",
        ] {
            assert_eq!(post(fields), invalid, "{fields:?}");
        }
    }

    #[test]
    fn a_body_in_chunks_or_past_the_bound_has_a_code_of_its_own() {
        for fields in [
            "Transfer-Encoding: chunked\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding:\tchunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        ] {
            assert_eq!(post(fields), Err(ErrorCode::LengthRequired), "{fields:?}");
        }
        for length in ["33554433", "1099511627776", "18446744073709551616", &"9".repeat(100)] {
            let fields = format!("Content-Length: {length}\r\n");
            assert_eq!(post(&fields), Err(ErrorCode::TooLarge), "{fields:?}");
        }
    }

    #[test]
    fn a_target_is_a_path_and_nothing_else() {
        for line in [
            "GET http://localhost/v1/doctor HTTP/1.1",
            "CONNECT localhost:80 HTTP/1.1",
            "OPTIONS * HTTP/1.1",
            "GET v1/doctor HTTP/1.1",
            "GET /v1/d\u{f6}ctor HTTP/1.1",
            "GET  /v1/doctor HTTP/1.1",
            "GET /v1/doctor",
            "GET /v1/doctor HTTP/2.0",
            "PRI * HTTP/2.0",
            "G\u{7f}T / HTTP/1.1",
            "",
        ] {
            let head = format!("{line}\r\n\r\n");
            assert_eq!(code(&head), Err(ErrorCode::InvalidArgument), "{line:?}");
        }
    }

    #[test]
    fn the_number_of_header_fields_is_bounded() {
        let fields = |count: usize| "A: b\r\n".repeat(count);
        assert_eq!(post(&fields(MAX_FIELDS)), Ok(0));
        assert_eq!(post(&fields(MAX_FIELDS + 1)), Err(ErrorCode::InvalidArgument));
    }

    proptest! {
        #[test]
        fn the_end_is_found_wherever_reading_stopped(
            before in "[a-z\r\n]{0,40}", known in 0usize..50,
        ) {
            let bytes = format!("{before}\r\n\r\nrest");
            let whole = length(bytes.as_bytes(), 0);
            let end = whole.unwrap_or(0);
            // What was searched before held no end.
            let known = known.min(end.saturating_sub(1));
            prop_assert_eq!(length(bytes.as_bytes(), known), whole);
        }

        #[test]
        fn no_bytes_make_the_check_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            drop(check(&bytes));
        }

        #[test]
        fn what_passes_is_read_by_the_parser_behind_in_full(
            target in "/[!-~]{0,30}",
            fields in prop::collection::vec(("[!-~]{1,12}", "[ -~\t]{0,20}"), 0..6),
        ) {
            let mut head = format!("GET {target} HTTP/1.1\r\n");
            for (name, value) in fields {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            head.push_str("\r\n");
            if check(head.as_bytes()).is_ok() {
                let mut parsed = [httparse::EMPTY_HEADER; MAX_FIELDS];
                let mut request = httparse::Request::new(&mut parsed);
                prop_assert_eq!(request.parse(head.as_bytes()), Ok(Status::Complete(head.len())));
                prop_assert!(target.parse::<Uri>().is_ok());
                for field in request.headers.iter() {
                    prop_assert!(HeaderName::from_bytes(field.name.as_bytes()).is_ok());
                }
            }
        }
    }
}
