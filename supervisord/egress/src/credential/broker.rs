//! A program that gives out values, behind a Unix socket.
//!
//! The daemon can't start programs, so the program is a service of its own, mostly one that systemd
//! starts when somebody connects. For each value the daemon connects, writes one line of JSON and reads
//! one:
//! ```text
//! {"credential":"forge","reason":"needed"}
//! {"token":"…","expires_at":"2026-11-21T20:00:00Z"}
//! ```
//! `reason` is `needed`, `ahead` or `rejected`. An answer for `aws` has `access_key_id`,
//! `secret_access_key` and perhaps `session_token` in place of `token`. `expires_at` (RFC 3339) may be
//! left out of a value without end. Who listens must be root or the uid that the configuration names,
//! by SO_PEERCRED.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::temporal::Pieces;
use jiff::tz::TimeZone;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use zeroize::Zeroizing;

use super::name::CredentialName;
use super::seam::Pending;
use super::source::{Source, SourceError, Why};
use super::text::Text;
use super::value::{AwsKey, Delivery, Value};

/// Bytes of an answer at the most: three values of the longest kind, and their names.
const MAX_ANSWER: usize = 64 * 1024;

/// A source behind a Unix socket.
pub struct Broker {
    credential: CredentialName,
    socket: PathBuf,
    uid: u32,
}

/// An answer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer<'a> {
    #[serde(borrow)]
    token: Option<Text<'a>>,
    access_key_id: Option<String>,
    #[serde(borrow)]
    secret_access_key: Option<Text<'a>>,
    #[serde(borrow)]
    session_token: Option<Text<'a>>,
    expires_at: Option<String>,
}

impl Broker {
    /// A broker behind this socket, where root or this uid must listen.
    pub fn new(credential: CredentialName, socket: PathBuf, uid: u32) -> Self {
        Self { credential, socket, uid }
    }

    async fn ask(&self, why: Why) -> Result<Delivery, SourceError> {
        let failed = |error: io::Error| {
            SourceError::caused(format!("asking the broker {}", self.socket.display()), error)
        };
        let mut stream = UnixStream::connect(&self.socket).await.map_err(failed)?;
        let uid = stream.peer_cred().map_err(failed)?.uid();
        if uid != 0 && uid != self.uid {
            return Err(SourceError::new(format!(
                "uid {uid} listens on {}, which is neither root nor uid {}",
                self.socket.display(),
                self.uid
            )));
        }
        let reason = match why {
            Why::Needed => "needed",
            Why::Ahead => "ahead",
            Why::Rejected => "rejected",
        };
        // Neither text has a character that JSON escapes.
        let question =
            format!("{{\"credential\":\"{}\",\"reason\":\"{reason}\"}}\n", self.credential);
        stream.write_all(question.as_bytes()).await.map_err(failed)?;
        let mut answer = Zeroizing::new(vec![0; MAX_ANSWER]);
        let line = read_line(&mut stream, &mut answer).await.map_err(failed)?;
        read(line, Timestamp::now())
    }
}

impl Source for Broker {
    fn fetch(&self, why: Why) -> Pending<'_, Result<Delivery, SourceError>> {
        Box::pin(self.ask(why))
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// Reads a value as JSON: a token, or a key that signs.
///
/// # Errors
/// It is malformed or has ended. The error says nothing of what stands there.
pub fn read(text: &[u8], now: Timestamp) -> Result<Delivery, SourceError> {
    let malformed = |_| SourceError::new("the answer is no JSON object with a token or a key");
    let answer: Answer<'_> = serde_json::from_slice(text).map_err(malformed)?;
    let lifetime = match answer.expires_at {
        None => None,
        Some(end) => match Duration::try_from(time_of(&end)?.duration_since(now)) {
            Ok(left) if !left.is_zero() => Some(left),
            _ => return Err(SourceError::new("the value has ended already")),
        },
    };
    let value = match (answer.token, answer.access_key_id, answer.secret_access_key) {
        (Some(token), None, None) if answer.session_token.is_none() => {
            Value::Text(token.secret("token")?)
        }
        (None, Some(id), Some(key)) => {
            if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(SourceError::new("access_key_id is not letters and digits"));
            }
            let token = answer.session_token.as_ref();
            let session_token = token.map(|token| token.secret("session token")).transpose()?;
            Value::Aws(AwsKey { id, secret: key.secret("secret access key")?, session_token })
        }
        _ => {
            return Err(SourceError::new(
                "the answer has neither a token nor a whole key, or both",
            ));
        }
    };
    Ok(Delivery { value, lifetime, told: lifetime })
}

/// A time of RFC 3339. The last two days of the calendar, which others write for "never", are later than any instant is
/// here, and are the last one.
fn time_of(text: &str) -> Result<Timestamp, SourceError> {
    let is_last = |pieces: Pieces<'_>| {
        let has_offset = pieces.time().is_some() && pieces.offset().is_some();
        has_offset && pieces.date() >= Timestamp::MAX.to_zoned(TimeZone::UTC).date()
    };
    match text.parse() {
        Ok(time) => Ok(time),
        Err(_) if Pieces::parse(text).is_ok_and(is_last) => Ok(Timestamp::MAX),
        Err(_) => Err(SourceError::new("expires_at is no time of RFC 3339")),
    }
}

/// Reads up to a line end or the end of the stream.
async fn read_line<'a>(stream: &mut UnixStream, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let mut length = 0;
    loop {
        let free = buffer.get_mut(length..).unwrap_or_default();
        if free.is_empty() {
            return Err(io::Error::other(format!("the answer is longer than {MAX_ANSWER} bytes")));
        }
        let count = stream.read(free).await?;
        let read = free.get(..count).unwrap_or_default();
        if let Some(end) = read.iter().position(|byte| *byte == b'\n') {
            return Ok(buffer.get(..length + end).unwrap_or_default());
        }
        length += count;
        if count == 0 {
            return Ok(buffer.get(..length).unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_at_noon(text: &str) -> Result<Delivery, String> {
        read(text.as_bytes(), noon()).map_err(|error| error.chain())
    }

    fn noon() -> Timestamp {
        "2026-11-21T12:00:00Z".parse().expect("a time")
    }

    #[test]
    fn an_answer_is_a_token_or_a_key_with_or_without_an_end() {
        let token = read_at_noon(r#"{"token":"0123456789","expires_at":"2026-11-21T12:10:00Z"}"#);
        let token = token.expect("valid");
        assert_eq!(token.lifetime, Some(Duration::from_secs(600)));
        assert!(matches!(token.value, Value::Text(secret) if secret.is(b"0123456789")));
        let key =
            read_at_noon(r#"{"access_key_id":"AKIDEXAMPLE","secret_access_key":"0123456789"}"#);
        assert!(matches!(
            key.expect("valid"),
            Delivery { value: Value::Aws(_), lifetime: None, .. }
        ));
        let forever = Timestamp::MAX.duration_since(noon()).unsigned_abs();
        for never in ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59.9999999+00:00"] {
            let text = format!(r#"{{"token":"0123456789","expires_at":"{never}"}}"#);
            assert_eq!(read_at_noon(&text).expect("valid").lifetime, Some(forever), "{never}");
        }
    }

    #[test]
    fn an_answer_that_is_not_quite_so_is_refused_and_not_repeated() {
        for text in [
            "",
            "{}",
            r#"{"token":"0123456789","session_token":"0123456789"}"#,
            r#"{"token":"0123456789","access_key_id":"A","secret_access_key":"0123456789"}"#,
            r#"{"access_key_id":"A"}"#,
            r#"{"access_key_id":"A/B, x","secret_access_key":"0123456789"}"#,
            r#"{"token":"0123456789","expires_at":"2026-11-21T12:00:00Z"}"#,
            r#"{"token":"0123456789","expires_at":1}"#,
            r#"{"token":"0123456789","0123456789":1}"#,
            r#"{"token":"0123456789\n"}"#,
        ] {
            let error = read_at_noon(text).expect_err(text);
            assert!(!error.contains("0123456789"), "{error}");
        }
    }
}
