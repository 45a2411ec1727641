//! A request's body, read before a person is asked for it: the answer is to that body and no other.

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, StatusCode};
use hyper::body::{Body, Incoming};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::collected::{Uncollected, collect};
use super::trailers;
use crate::limits::{ASKED_BODY_PATIENCE, MAX_ASKED_BODIES, MAX_ASKED_BODY, MAX_ASKED_FIELDS};
use crate::refused::Refused;
use crate::session::Session;

/// All of a body.
pub struct Seen {
    /// The body.
    pub bytes: Bytes,
}

impl Seen {
    /// Reads a body to its end.
    ///
    /// # Errors
    ///
    /// When it is too long or too slow to be asked about, or too many are being asked about.
    pub async fn read(session: &Session, body: &mut Incoming) -> Result<Self, Refused> {
        let most = u64::try_from(MAX_ASKED_BODY).unwrap_or(u64::MAX);
        if body.size_hint().lower() > most {
            return Err(too_long());
        }
        let held = session.asked_bodies.one_more(MAX_ASKED_BODIES).ok_or_else(too_many)?;
        let reading = collect(body, MAX_ASKED_BODY, held);
        match timeout(ASKED_BODY_PATIENCE, reading).await {
            Ok(Ok(bytes)) => Ok(Self { bytes }),
            Ok(Err(Uncollected::Broken)) => Err(too_long()),
            Ok(Err(Uncollected::Trailers)) => Err(trailers::held()),
            Err(_elapsed) => Err(too_slow()),
        }
    }

    /// SHA-256 of it.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.bytes).into()
    }
}

/// Fields that choose nothing of what a request does: who asks, in which form the answer is wanted, what a
/// request is called in logs, and what this hop writes itself. All others are shown.
const HARMLESS: [&str; 28] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "amz-sdk-invocation-id",
    "amz-sdk-request",
    "b3",
    "cache-control",
    "content-length",
    "date",
    "dnt",
    "pragma",
    "priority",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-version",
    "te",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-amz-date",
    "x-amzn-trace-id",
    "x-b3-spanid",
    "x-b3-traceid",
    "x-request-id",
];

/// Fields whose values are secrets of the payload's: a person sees that it is this one, not what it is.
const SECRET: [HeaderName; 2] = [AUTHORIZATION, COOKIE];

/// The fields of a head, one a line and by name, as a person is shown them; of secrets and of what credentials
/// are put into, a digest. A program may have its placeholder there, or anything.
///
/// # Errors
///
/// When they are too long for that.
pub fn told_fields(headers: &HeaderMap, filled: &[HeaderName]) -> Result<Option<String>, Refused> {
    let mut names: Vec<&HeaderName> = headers.keys().collect();
    names.retain(|name| !HARMLESS.contains(&name.as_str()));
    names.sort_unstable_by_key(|name| name.as_str());
    let mut text = String::new();
    for name in names {
        for value in headers.get_all(name) {
            text.push_str(name.as_str());
            text.push_str(": ");
            if filled.contains(name) || SECRET.contains(name) {
                text.push_str("SHA-256 ");
                text.extend(Sha256::digest(value).iter().map(|byte| format!("{byte:02x}")));
            } else {
                text.extend(value.as_bytes().escape_ascii().map(char::from));
            }
            text.push('\n');
        }
    }
    match text.len() {
        0 => Ok(None),
        length if length <= MAX_ASKED_FIELDS => Ok(Some(text)),
        _ => Err(too_many_fields()),
    }
}

fn too_many_fields() -> Refused {
    Refused::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "http_request_denied",
        "fields_too_large_to_ask",
        format!(
            "a person is asked for this request, and its header fields are more than {MAX_ASKED_FIELDS} bytes"
        ),
        "Send fewer or shorter fields, or ask for a rule that allows the request.",
    )
}

fn too_long() -> Refused {
    Refused::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "http_request_denied",
        "body_too_large_to_ask",
        format!(
            "a person is asked for this request, and its body is no whole one of {MAX_ASKED_BODY} bytes at the most"
        ),
        "Send a smaller body, or ask for a rule that allows the request.",
    )
}

fn too_slow() -> Refused {
    Refused::new(
        StatusCode::REQUEST_TIMEOUT,
        "http_request_error",
        "body_timeout",
        "a person is asked for this request, and its body did not arrive in time",
        "Send the body without pauses.",
    )
}

fn too_many() -> Refused {
    Refused::new(
        StatusCode::FORBIDDEN,
        "http_request_denied",
        "too_many_questions",
        "too many requests with a body wait for an answer",
        "Wait for those.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(
        fields: &[(&'static str, &str)],
        filled: &[HeaderName],
    ) -> Result<Option<String>, Refused> {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().unwrap());
        }
        told_fields(&map, filled)
    }

    #[test]
    fn every_field_is_shown_that_is_not_known_to_choose_nothing() {
        let fields = [
            ("x-unheard-of", "drop\u{e9}"),
            ("user-agent", "curl"),
            ("accept", "*/*"),
            ("if-match", "*"),
        ];
        let lines = ["if-match: *", "x-unheard-of: drop\\xc3\\xa9", ""];
        assert_eq!(told(&fields, &[]), Ok(Some(lines.join("\n"))));
        assert_eq!(told(&[("user-agent", "curl")], &[]), Ok(None));
    }

    #[test]
    fn secrets_of_the_payload_are_told_apart_and_not_shown() {
        for name in ["cookie", "x-key"] {
            let filled = [HeaderName::from_static("x-key")];
            let of = |value: &str| told(&[(name, value)], &filled).unwrap().unwrap();
            assert!(of("a=1").starts_with(&format!("{name}: SHA-256 ")), "{}", of("a=1"));
            assert!(!of("a=1").contains("a=1") && of("a=1") != of("a=2"));
        }
    }

    #[test]
    fn more_than_somebody_can_be_shown_is_refused() {
        let long = "x".repeat(MAX_ASKED_FIELDS);
        let refused = told(&[("x-long", &long)], &[]).unwrap_err();
        assert_eq!((refused.status.as_u16(), refused.code), (413, "fields_too_large_to_ask"));
    }
}
