//! Whether a request head can be read in one way only. It is stricter than the parser behind it, so
//! that no server after us can see another request in the bytes than the one that was decided on.

use http::header;
use httparse::Status;

use super::upgrade::is_websocket;
use super::violation::Violation;
use crate::limits::{MAX_FIELDS, MAX_TARGET};

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Following {
    /// A body of this many bytes, and then another head.
    Length(u64),
    /// A body in chunks (RFC 9112 §7.1), and then another head.
    Chunks,
    /// Bytes that are not HTTP any more if the request is granted; if it isn't, the connection ends.
    Other,
}

/// What ends a head.
const END: &[u8] = b"\r\n\r\n";

/// Bytes of a Content-Length's digits; 10^18 is past any body.
const MAX_LENGTH_DIGITS: usize = 18;

/// The length of the head that starts `bytes`, its empty line included; `None` while it is not
/// complete. The first `known` bytes have been searched before.
pub fn length(bytes: &[u8], known: usize) -> Option<usize> {
    let start = known.saturating_sub(END.len() - 1);
    let rest = bytes.get(start..)?;
    // Line feeds are rare, so this looks at few windows.
    let mut from = 0;
    loop {
        let feed = from + memchr_feed(rest.get(from..)?)?;
        if rest.get(..=feed).is_some_and(|front| front.ends_with(END)) {
            return Some(start + feed + 1);
        }
        from = feed + 1;
    }
}

/// Checks a complete head and says what follows it.
///
/// # Errors
///
/// A [`Violation`] where anything in it is malformed, ambiguous or past a bound.
pub fn check(head: &[u8]) -> Result<Following, Violation> {
    check_lines(head)?;
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        Ok(Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(Violation::Malformed("the request line is missing")),
        Err(error) => return Err(syntax(error)),
    }
    let method = request.method.unwrap_or_default();
    if method.is_empty() || !method.bytes().all(is_token) {
        return Err(Violation::Malformed("the method is malformed"));
    }
    check_target(method, request.path.unwrap_or_default())?;
    framing(method, request.version == Some(1), request.headers)
}

/// A lone CR or LF, a NUL, or a space at the start of a line is read differently by different
/// servers.
fn check_lines(head: &[u8]) -> Result<(), Violation> {
    let mut before = b'\n';
    for byte in head.iter().copied() {
        match byte {
            0 => return Err(Violation::Malformed("the head holds a NUL byte")),
            b'\n' if before != b'\r' => {
                return Err(Violation::Malformed("a line of the head does not end in CR LF"));
            }
            b' ' | b'\t' if before == b'\n' => {
                return Err(Violation::Malformed("a line of the head begins with a space"));
            }
            byte if before == b'\r' && byte != b'\n' => {
                return Err(Violation::Malformed("a line of the head does not end in CR LF"));
            }
            _ => {}
        }
        before = byte;
    }
    match head {
        [b'\r' | b'\n', ..] => Err(Violation::Malformed("there is an empty line before the head")),
        _ => Ok(()),
    }
}

/// The characters of RFC 3986 and those that clients send although they should not, but none that
/// servers take for something else: controls, spaces, backslashes, fragments, other scripts.
fn check_target(method: &str, target: &str) -> Result<(), Violation> {
    if target.len() > MAX_TARGET {
        return Err(Violation::TargetTooLong);
    }
    let fits = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'\\');
    if !target.bytes().all(fits) {
        return Err(Violation::Malformed("the target has a character that no target has"));
    }
    let known = match method {
        "CONNECT" => !target.contains('/'),
        _ => target.starts_with('/') || target == "*" || target.contains("://"),
    };
    if !known {
        return Err(Violation::Malformed("the target has no form that fits the method"));
    }
    // What serves the connection reads it so, and would answer what it can't read without a reason or a record.
    match http::Uri::try_from(target) {
        Ok(_) => Ok(()),
        Err(_) => Err(Violation::Malformed("the target has a character that can't stand there")),
    }
}

fn framing(
    method: &str,
    is_1_1: bool,
    fields: &[httparse::Header<'_>],
) -> Result<Following, Violation> {
    let mut length = None;
    let mut chunked = false;
    let mut hosts = 0;
    for field in fields {
        check_value(field.value)?;
        if named(field, &header::CONTENT_LENGTH) {
            if length.replace(content_length(field.value)?).is_some() {
                return Err(Violation::Malformed("Content-Length stands there twice"));
            }
        } else if named(field, &header::TRANSFER_ENCODING) {
            let plain = field.value.eq_ignore_ascii_case(b"chunked");
            if !plain || !is_1_1 || std::mem::replace(&mut chunked, true) {
                return Err(Violation::Malformed("Transfer-Encoding is not just chunked"));
            }
        } else if named(field, &header::HOST) {
            hosts += 1;
        }
    }
    match hosts {
        // RFC 9112 §3.2, of every method: what stands in the target is no substitute.
        0 if is_1_1 => return Err(Violation::Malformed("the request has no Host field")),
        0 | 1 => {}
        _ => return Err(Violation::Malformed("Host stands there twice")),
    }
    let following = match (length, chunked) {
        (Some(_), true) => {
            let what = "Content-Length and Transfer-Encoding exclude each other";
            return Err(Violation::Malformed(what));
        }
        (None, true) => Following::Chunks,
        (length, false) => Following::Length(length.unwrap_or(0)),
    };
    let upgrades = fields.iter().filter(|field| named(field, &header::UPGRADE));
    if method != "CONNECT" && !is_websocket(upgrades.map(|field| field.value)) {
        return Ok(following);
    }
    match following {
        Following::Length(0) => Ok(Following::Other),
        _ => Err(Violation::Malformed("a request for another protocol has a body")),
    }
}

/// RFC 9110 §5.5: visible characters, spaces, tabs and bytes past ASCII.
fn check_value(value: &[u8]) -> Result<(), Violation> {
    match value.iter().all(|byte| *byte >= b' ' && *byte != 0x7f || *byte == b'\t') {
        true => Ok(()),
        false => Err(Violation::Malformed("a field's value has a control character")),
    }
}

fn named(field: &httparse::Header<'_>, name: &header::HeaderName) -> bool {
    field.name.eq_ignore_ascii_case(name.as_str())
}

fn content_length(value: &[u8]) -> Result<u64, Violation> {
    const BAD: Violation = Violation::Malformed("Content-Length is not a number");
    let digits = std::str::from_utf8(value).map_err(|_| BAD)?;
    if digits.len() > MAX_LENGTH_DIGITS || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(BAD);
    }
    digits.parse().map_err(|_| BAD)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn memchr_feed(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n')
}

fn syntax(error: httparse::Error) -> Violation {
    match error {
        httparse::Error::HeaderName => Violation::Malformed("a field's name is malformed"),
        httparse::Error::HeaderValue => Violation::Malformed("a field's value is malformed"),
        httparse::Error::TooManyHeaders => Violation::HeadTooLong("there are too many fields"),
        httparse::Error::Version => Violation::Version,
        _ => Violation::Malformed("the request line is malformed"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn post(fields: &str) -> Result<Following, Violation> {
        check(format!("POST /ok HTTP/1.1\r\nHost: up.test\r\n{fields}\r\n").as_bytes())
    }

    #[test]
    fn framing_that_two_servers_could_read_differently_is_refused() {
        for fields in [
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 0\r\nContent-Length: 44\r\n",
            "Content-Length: 0\r\nContent-Length: 0\r\n",
            "Content-Length: 0, 44\r\n",
            "Content-Length: +0\r\n",
            "Content-Length: 0x0\r\n",
            "Content-Length: \r\n",
            "Content-Length: 9999999999999999999\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding : chunked\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 0\n",
            "X: a\r\n b\r\nContent-Length: 0\r\n",
            "Content-Length: 0\r\nX\x00Y: 1\r\n",
            " Content-Length: 44\r\n",
            "X: a\rb\r\n",
            "X: a\x01b\r\n",
            "Host: other.test\r\n",
            "Upgrade: websocket\r\nContent-Length: 4\r\n",
            "Upgrade: websocket\r\nTransfer-Encoding: chunked\r\n",
        ] {
            assert!(matches!(post(fields), Err(Violation::Malformed(_))), "{fields:?}");
        }
        let old = b"POST /ok HTTP/1.0\r\nHost: up.test\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(check(old).is_err());
    }

    #[test]
    fn a_request_names_its_host_unless_it_is_older_than_that() {
        for line in ["GET /ok", "GET http://up.test/ok", "CONNECT up.test:443", "OPTIONS *"] {
            let bare = check(format!("{line} HTTP/1.1\r\nX: y\r\n\r\n").as_bytes());
            assert!(matches!(bare, Err(Violation::Malformed(_))), "{line}: {bare:?}");
            let old = check(format!("{line} HTTP/1.0\r\n\r\n").as_bytes());
            assert!(old.is_ok(), "{line}: {old:?}");
        }
    }

    #[test]
    fn ordinary_requests_pass_with_what_follows_them() {
        assert_eq!(post(""), Ok(Following::Length(0)));
        assert_eq!(post("Content-Length: 007\r\n"), Ok(Following::Length(7)));
        assert_eq!(post("Transfer-Encoding:\tChunked\r\n"), Ok(Following::Chunks));
        let connect = b"CONNECT up.test:443 HTTP/1.1\r\nHost: up.test:443\r\n\r\n";
        assert_eq!(check(connect), Ok(Following::Other));
        assert_eq!(post("Upgrade: WebSocket\r\n"), Ok(Following::Other));
        assert_eq!(post("Upgrade: h2c\r\n"), Ok(Following::Length(0)));
    }

    #[test]
    fn targets_with_characters_that_servers_take_for_others_are_refused() {
        for target in ["/a#b", "/a\\b", "/\u{1}", "/é", "a", "", "up.test/", "/a b"] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: up.test\r\n\r\n");
            assert!(check(head.as_bytes()).is_err(), "{target:?}");
        }
        for target in ["/a|b{c}\"^~", "*", "http://up.test/a?b=c", "/"] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: up.test\r\n\r\n");
            assert!(check(head.as_bytes()).is_ok(), "{target:?}");
        }
        for target in ["a%00b:443", "[:443", "up.test:443:443", "<a>:443"] {
            let head = format!("CONNECT {target} HTTP/1.1\r\nHost: up.test\r\n\r\n");
            assert!(matches!(check(head.as_bytes()), Err(Violation::Malformed(_))), "{target:?}");
        }
        let long = format!("GET /{} HTTP/1.1\r\nHost: up.test\r\n\r\n", "a".repeat(MAX_TARGET));
        assert_eq!(check(long.as_bytes()), Err(Violation::TargetTooLong));
    }

    #[test]
    fn http_2_without_tls_is_refused_by_its_version() {
        assert_eq!(check(b"PRI * HTTP/2.0\r\n\r\n"), Err(Violation::Version));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let ended = check(&bytes);
            prop_assert!(ended.is_ok() || ended.is_err());
        }

        #[test]
        fn a_head_s_end_is_found_wherever_it_is_cut(
            before in "[ -~\r\n]{0,40}", after in "[ -~\r\n]{0,40}", cut in any::<prop::sample::Index>(),
        ) {
            let bytes = format!("{before}\r\n\r\n{after}").into_bytes();
            let whole = bytes.windows(4).position(|window| window == END).map(|at| at + 4);
            prop_assert_eq!(length(&bytes, 0), whole);
            let known = cut.index(bytes.len());
            if length(&bytes[..known], 0).is_none() {
                prop_assert_eq!(length(&bytes, known), whole);
            }
        }
    }
}
