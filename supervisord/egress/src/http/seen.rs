//! A request's body, read before a person is asked for it: the answer is to that body and no other.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Incoming};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use crate::limits::{ASKED_BODY_PATIENCE, MAX_ASKED_BODIES, MAX_ASKED_BODY, MAX_ASKED_FIELDS};
use crate::refused::Refused;
use crate::session::Session;
use crate::shared::Counted;

/// All of a body.
pub struct Seen {
    /// The body.
    pub bytes: Bytes,
    /// It is one of those that are held at once.
    _held: Counted,
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
        let reading = Limited::new(body, MAX_ASKED_BODY).collect();
        match timeout(ASKED_BODY_PATIENCE, reading).await {
            Ok(Ok(read)) => Ok(Self { bytes: read.to_bytes(), _held: held }),
            Ok(Err(_)) => Err(too_long()),
            Err(_elapsed) => Err(too_slow()),
        }
    }

    /// SHA-256 of it.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.bytes).into()
    }
}

/// Fields by which an interface may choose what a request does, beside its target and body.
const TELLING: [&str; 9] = [
    "content-type",
    "content-encoding",
    "x-amz-target",
    "soapaction",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
];

/// Those fields of a head, one a line, as a person is shown them.
///
/// # Errors
///
/// When they are too long for that.
pub fn telling_fields(headers: &HeaderMap) -> Result<Option<String>, Refused> {
    let mut text = String::new();
    for name in TELLING {
        for value in headers.get_all(name) {
            text.push_str(name);
            text.push_str(": ");
            text.extend(value.as_bytes().escape_ascii().map(char::from));
            text.push('\n');
        }
    }
    match text.len() {
        0 => Ok(None),
        length if length <= MAX_ASKED_FIELDS => Ok(Some(text)),
        _ => Err(too_long()),
    }
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
