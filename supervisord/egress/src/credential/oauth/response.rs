//! What a token endpoint answers (RFC 6749 §5), read strictly.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

use super::super::secret::Secret;
use super::super::source::SourceError;
use super::super::text::Text;

/// How long a token is used whose server doesn't say for how long it holds (RFC 6749 §5.1 recommends
/// that it does).
const UNKNOWN_LIFETIME: Duration = Duration::from_secs(300);

/// The longest life that is believed: a year. More is a mistake of units.
const MAX_LIFETIME: u64 = 365 * 24 * 60 * 60;

/// Error codes of RFC 6749 §5.2, which may be repeated. Nothing else that a server says is.
const CODES: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

/// What a server gave.
#[derive(Debug)]
pub struct Tokens {
    /// The token.
    pub access: Secret,
    /// The refresh token to use next.
    pub refresh: Option<Secret>,
    /// How long the token is used.
    pub lifetime: Duration,
    /// The same, where the server says so: it may hold for longer where it doesn't.
    pub told: Option<Duration>,
}

/// A success. Members that are not known are passed over, as RFC 6749 §5.1 demands; a member that
/// occurs twice is an error.
#[derive(Deserialize)]
struct Success<'a> {
    #[serde(borrow)]
    access_token: Text<'a>,
    #[serde(borrow)]
    token_type: Text<'a>,
    expires_in: Option<u64>,
    #[serde(borrow)]
    refresh_token: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Failure<'a> {
    #[serde(borrow)]
    error: Cow<'a, str>,
}

/// Reads a response.
///
/// # Errors
/// It is no success, or not as RFC 6749 §5.1 has it.
pub fn read(status: StatusCode, body: &[u8]) -> Result<Tokens, SourceError> {
    if status != StatusCode::OK {
        let known = serde_json::from_slice::<Failure<'_>>(body)
            .ok()
            .and_then(|failure| CODES.into_iter().find(|code| *code == failure.error));
        let code = known.map_or(String::new(), |code| format!(" with {code}"));
        return Err(SourceError::new(format!(
            "the token endpoint answered {}{code}",
            status.as_u16()
        )));
    }
    // The library's error would repeat what it stumbled over.
    let malformed = |_| SourceError::new("the token endpoint's response is not as RFC 6749 has it");
    let success: Success<'_> = serde_json::from_slice(body).map_err(malformed)?;
    if !success.token_type.as_str().eq_ignore_ascii_case("bearer") {
        return Err(SourceError::new("the token endpoint gave a token that is not of type bearer"));
    }
    let told = match success.expires_in {
        None => None,
        Some(seconds @ 1..=MAX_LIFETIME) => Some(Duration::from_secs(seconds)),
        Some(_) => return Err(SourceError::new("the token endpoint gave a token without a life")),
    };
    let refresh = success.refresh_token.as_ref();
    Ok(Tokens {
        access: success.access_token.secret("access token")?,
        refresh: refresh.map(|token| token.secret("refresh token")).transpose()?,
        lifetime: told.unwrap_or(UNKNOWN_LIFETIME),
        told,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_ok(body: &str) -> Result<Tokens, String> {
        read(StatusCode::OK, body.as_bytes()).map_err(|error| error.chain())
    }

    #[test]
    fn a_response_is_read_as_the_standard_has_it() {
        let tokens = read_ok(
            r#"{"access_token":"2YotnFZFEjr1zCsicMWpAA","token_type":"Bearer","expires_in":3600,
                "refresh_token":"tGzv3JOkF0XG5Qx2TlKW\/A","example_parameter":["x"]}"#,
        )
        .expect("valid");
        assert!(tokens.access.is(b"2YotnFZFEjr1zCsicMWpAA"));
        assert!(tokens.refresh.is_some_and(|token| token.is(b"tGzv3JOkF0XG5Qx2TlKW/A")));
        assert_eq!(tokens.lifetime, Duration::from_secs(3600));
        let tokens = read_ok(r#"{"access_token":"0123456789","token_type":"bearer"}"#);
        let tokens = tokens.expect("valid");
        assert_eq!((tokens.lifetime, tokens.told), (UNKNOWN_LIFETIME, None), "a guess");
    }

    #[test]
    fn a_response_that_is_not_quite_so_is_refused_and_not_repeated() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"access_token":"0123456789"}"#,
            r#"{"access_token":"0123456789","token_type":"mac"}"#,
            r#"{"access_token":"0123456789","token_type":"bearer","expires_in":"3600"}"#,
            r#"{"access_token":"0123456789","token_type":"bearer","expires_in":-1}"#,
            r#"{"access_token":"0123456789","token_type":"bearer","expires_in":0}"#,
            r#"{"access_token":"0123456789","token_type":"bearer","expires_in":99999999999}"#,
            r#"{"access_token":"0123456789","access_token":"1123456789","token_type":"bearer"}"#,
            r#"{"access_token":"0123456789\r\nX-Evil: 1","token_type":"bearer"}"#,
            r#"{"access_token":"","token_type":"bearer"}"#,
            r#"{"access_token":7,"token_type":"bearer"}"#,
            r#"{"access_token":"0123456789","token_type":"bearer"} 0123456789"#,
        ] {
            let error = read_ok(body).expect_err(body);
            assert!(!error.contains("0123456789"), "{error}");
        }
    }

    #[test]
    fn an_error_is_repeated_only_by_its_standard_code() {
        for (body, expected) in [
            (
                r#"{"error":"invalid_grant","error_description":"0123456789"}"#,
                "the token endpoint answered 400 with invalid_grant",
            ),
            (r#"{"error":"0123456789"}"#, "the token endpoint answered 400"),
            ("0123456789", "the token endpoint answered 400"),
        ] {
            let error = read(StatusCode::BAD_REQUEST, body.as_bytes()).unwrap_err();
            assert_eq!(error.chain(), expected);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..200), status in 200u16..600) {
            let status = StatusCode::from_u16(status).expect("a status");
            prop_assert!(read(status, &body).is_err());
        }
    }
}
