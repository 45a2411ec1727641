//! Refusals as the payload gets them: a status, a Proxy-Status field (RFC 9209) and a problem in JSON
//! (RFC 9457) with a code for programs and a remedy for whoever reads it.

use std::fmt;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use hyper::ext::ReasonPhrase;
use serde::Serialize;
use supervisor_policy::egress::{Reason, Refusal};

use crate::credential::CredentialRefusal;
use crate::http::Violation;
use crate::seam::{Lack, Overspent};

/// The field by which an answer of ours differs from any upstream's.
pub const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// The name that stands in Proxy-Status; an upstream's own field with it is taken out.
pub const NAME: &str = "supervisord";

/// A refused request, connection or look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The status of an HTTP answer.
    pub status: StatusCode,
    /// The kind of error (RFC 9209 §2.3).
    pub error: &'static str,
    /// The stable code.
    pub code: &'static str,
    /// The rule that says so, with its file and line, where it was a rule.
    pub rule: Option<String>,
    /// Why, in a sentence.
    pub cause: String,
    /// What to do about it, in a sentence.
    pub remedy: String,
    /// Somebody should look at it now: no program that means well does this.
    pub alarm: bool,
    /// Whoever found it has recorded it as what it is.
    pub is_recorded: bool,
}

/// The body of an answer.
#[derive(Serialize)]
struct Problem<'a> {
    title: &'static str,
    status: u16,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    cause: &'a str,
    remedy: &'a str,
}

impl Refused {
    /// A refusal that no rule is behind.
    pub fn new(
        status: StatusCode,
        error: &'static str,
        code: &'static str,
        cause: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (cause, remedy) = (cause.into(), remedy.into());
        Self { status, error, code, rule: None, cause, remedy, alarm: false, is_recorded: false }
    }

    /// The refusal of what names two destinations.
    pub fn disagreement(one: impl fmt::Display, other: impl fmt::Display) -> Self {
        Self::new(
            StatusCode::MISDIRECTED_REQUEST,
            "http_request_denied",
            "destinations_disagree",
            format!("the request is for {one} and names {other} besides"),
            "Name one destination in the connection, the TLS server name and the request.",
        )
    }

    /// The refusal of TLS that is to be passed on by a name that may not be the one it is for.
    pub fn hidden_name(destination: impl fmt::Display) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "http_request_denied",
            "encrypted_client_hello",
            format!(
                "the TLS connection to {destination} has an encrypted hello (ECH), which may name \
                 another host, and a rule passes it on by its name"
            ),
            "Turn ECH off in the program, or have the rule say tls = \"inspect\".",
        )
    }

    /// The refusal of what is no host, with its spelling.
    pub fn bad_destination(text: &str, why: impl fmt::Display, hint: &str) -> Self {
        let shown: String = text.chars().take(crate::limits::MAX_ECHO).collect();
        Self::new(
            StatusCode::BAD_REQUEST,
            "http_request_error",
            "malformed_destination",
            format!("{shown:?} is no destination: {why}"),
            format!("Name a host and a port: {hint}."),
        )
    }

    /// The refusal of more of something than a session may have at once.
    pub fn too_many(what: &'static str) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "connection_limit_reached",
            "too_many_connections",
            format!("there are too many {what} at once"),
            "Close some of them, or use fewer in parallel.",
        )
    }

    /// The refusal of a look-up that no policy is asked about.
    pub fn look_up(code: &'static str) -> Self {
        let (cause, remedy) = match code {
            "not_a_host_name" => {
                ("it is not a host name that a policy can allow", "Ask for names of hosts.")
            }
            "too_many_names" => (
                "this sandbox has looked up too many names",
                "Look up fewer names in one execution.",
            ),
            _ => (
                "supervisord answers for single types of class IN only",
                "Ask for one type, such as A or AAAA.",
            ),
        };
        Self::new(StatusCode::FORBIDDEN, "dns_error", code, cause, remedy)
    }

    /// The refusal of a connection that would have to be inspected and can't be.
    pub fn cannot_inspect() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "proxy_internal_error",
            "tls_unavailable",
            "the connection has to be inspected, and no certificate for it can be made",
            "Tell the administrator of this host: supervisord's log has the cause.",
        )
    }

    /// The answer, without a body's length being known to change on the way.
    pub fn response(&self) -> Response<Bytes> {
        let body = Bytes::from(self.problem());
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let reason = match self.status.as_u16() {
            403 => &b"Forbidden by supervisord"[..],
            _ => b"Refused by supervisord",
        };
        response.extensions_mut().insert(ReasonPhrase::from_static(reason));
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        fields.insert(PROXY_STATUS, self.proxy_status());
        response
    }

    /// The whole answer for a connection that ends with it.
    pub fn last_words(&self) -> Vec<u8> {
        let response = self.response();
        let reason = self.status.canonical_reason().unwrap_or("Refused");
        let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", self.status.as_u16()).into_bytes();
        let mut field = |name: &HeaderName, value: &[u8]| {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        };
        for (name, value) in response.headers() {
            field(name, value.as_bytes());
        }
        field(&CONTENT_LENGTH, response.body().len().to_string().as_bytes());
        field(&CONNECTION, b"close");
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(response.body());
        bytes
    }

    fn proxy_status(&self) -> HeaderValue {
        // A quoted string (RFC 8941 §3.3.3): visible ASCII, with quotes and backslashes escaped.
        let mut details = String::new();
        for character in self.cause.chars().filter(|character| matches!(character, ' '..='~')) {
            if matches!(character, '"' | '\\') {
                details.push('\\');
            }
            details.push(character);
        }
        let text = format!("{NAME}; error={}; details=\"{details}\"", self.error);
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(NAME))
    }

    fn problem(&self) -> Vec<u8> {
        let problem = Problem {
            title: "Refused by supervisord",
            status: self.status.as_u16(),
            code: self.code,
            rule: self.rule.as_deref(),
            cause: &self.cause,
            remedy: &self.remedy,
        };
        match serde_json::to_vec_pretty(&problem) {
            Ok(mut json) => {
                json.push(b'\n');
                json
            }
            Err(error) => {
                tracing::error!(%error, "a problem can't be written as JSON");
                Vec::new()
            }
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl std::error::Error for Refused {}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let (status, error) = match refusal.reason() {
            Reason::AddressNotAllowed => (StatusCode::FORBIDDEN, "destination_ip_prohibited"),
            Reason::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "http_request_denied"),
            Reason::InvalidTarget | Reason::InvalidMethod => {
                (StatusCode::BAD_REQUEST, "http_request_error")
            }
            _ => (StatusCode::FORBIDDEN, "http_request_denied"),
        };
        Self {
            status,
            error,
            code: refusal.reason().as_str(),
            rule: Some(refusal.rule().to_string()),
            cause: refusal.cause().to_owned(),
            remedy: refusal.remedy().to_owned(),
            alarm: false,
            is_recorded: false,
        }
    }
}

impl From<Overspent> for Refused {
    fn from(overspent: Overspent) -> Self {
        let Overspent { lack, cause, remedy } = overspent;
        let (status, error) = match lack {
            Lack::Exhausted => (StatusCode::TOO_MANY_REQUESTS, "http_request_denied"),
            Lack::Unkept => (StatusCode::SERVICE_UNAVAILABLE, "proxy_internal_error"),
        };
        Self::new(status, error, lack.code(), cause, remedy)
    }
}

impl From<CredentialRefusal> for Refused {
    fn from(refusal: CredentialRefusal) -> Self {
        let status = refusal.code.status();
        let refused = Self::new(
            StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN),
            if status == 403 { "http_request_denied" } else { "proxy_internal_response" },
            refusal.code.as_str(),
            refusal.cause,
            refusal.remedy,
        );
        Self { alarm: refusal.code.is_alarm(), is_recorded: true, ..refused }
    }
}

impl From<Violation> for Refused {
    fn from(violation: Violation) -> Self {
        Self::new(
            violation.status(),
            "http_request_error",
            violation.code(),
            violation.to_string(),
            violation.remedy(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_us_and_carries_code_cause_and_remedy() {
        let refused = Refused::disagreement("up.test", "\"evil\u{7}é\\.test");
        let response = refused.response();
        assert_eq!(response.status(), 421);
        let status = response.headers()[PROXY_STATUS].to_str().unwrap();
        assert!(
            status.starts_with("supervisord; error=http_request_denied; details=\"the request")
        );
        assert!(status.ends_with("names \\\"evil\\\\.test besides\""), "{status}");
        let problem: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(problem["code"], "destinations_disagree");
        assert!(problem["remedy"].as_str().unwrap().contains("Name one destination"));
    }

    #[test]
    fn last_words_are_one_complete_answer() {
        let words = Refused::from(Violation::TooSlow).last_words();
        let text = String::from_utf8(words).unwrap();
        assert!(text.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{text}");
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())));
        assert!(head.contains("connection: close"));
    }
}
