//! AWS Signature Version 4 in header fields (AWS Signature Version 4 signing specification).
//!
//! The payload's client may sign with whatever key it was given; its signature is replaced. The body:
//! - a digest that the client states in `x-amz-content-sha256` is signed as it is; the service checks
//!   that it is the body's;
//! - for S3, `UNSIGNED-PAYLOAD` otherwise, so that nothing is buffered: TLS keeps the body whole;
//! - for other services the body is read first, up to [`MAX_SIGNED_BODY`], and its digest is signed;
//! - bodies whose chunks the client has signed itself (`STREAMING-AWS4-…`) are refused, because those
//!   signatures are of another key.

pub(crate) mod canonical;

use std::fmt::Write;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ring::{digest, hmac};
use zeroize::Zeroizing;

use self::canonical::Canonical;
use super::query;
use super::seam::BodyDigest;
use super::secret::sealed;
use super::value::AwsKey;

/// Bytes of a body that is read before it is sent, because its digest is signed. Calls of services
/// other than S3 are documents of some kilobytes; the largest that are common, of DynamoDB, stay
/// within 16 items of 64 KiB on average.
pub const MAX_SIGNED_BODY: usize = 1 << 20;

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const DIGEST: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// Services whose paths are escaped once and whose bodies may go unsigned: S3 and its kin.
const S3: [&str; 3] = ["s3", "s3express", "s3-object-lambda"];

/// What S3 takes in place of a digest: the body goes unsigned, or in chunks that are unsigned.
const UNSIGNED: [&str; 2] = ["UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"];

/// Why a request can't be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsignable {
    /// The query is signed already.
    Presigned,
    /// The body was signed by the client in chunks.
    SignedChunks,
    /// The digest that the client states is none.
    InvalidDigest,
    /// The body's digest is needed and not known.
    NoDigest,
    /// The clock can't be read as a date.
    Clock,
}

/// What a signature is for.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Such as `eu-central-1`.
    pub region: &'a str,
    /// Such as `s3`.
    pub service: &'a str,
}

/// Whether the body of a request must be read before it can be signed.
pub fn needs_digest(service: &str, fields: &HeaderMap) -> bool {
    !S3.contains(&service) && !fields.contains_key(DIGEST)
}

/// Signs a request's head. `host` is what the Host field or the authority will say.
///
/// # Errors
/// The request can't be signed.
pub fn sign(
    head: &mut Parts,
    key: &AwsKey,
    scope: Scope<'_>,
    host: &str,
    body: BodyDigest,
    now: Timestamp,
) -> Result<(), Unsignable> {
    let query = head.uri.query().unwrap_or_default();
    if query::pairs(query).any(|(name, _)| name.eq_ignore_ascii_case("X-Amz-Signature")) {
        return Err(Unsignable::Presigned);
    }
    let is_s3 = S3.contains(&scope.service);
    let digest = body_digest(&head.headers, is_s3, body)?;
    let time = now.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
    put(&mut head.headers, DATE, &time)?;
    head.headers.remove(TOKEN);
    if let Some(token) = &key.session_token {
        let bytes = sealed(Zeroizing::new(token.expose().to_vec()));
        let mut value = HeaderValue::from_maybe_shared(bytes).map_err(|_| Unsignable::Clock)?;
        value.set_sensitive(true);
        head.headers.insert(TOKEN, value);
    }
    if is_s3 {
        put(&mut head.headers, DIGEST, &digest)?;
    }
    let canonical = Canonical::of(head, host, is_s3, &digest, is_signed);
    let authorization = authorization(&canonical, key, scope, &time)?;
    let mut value = HeaderValue::from_str(&authorization).map_err(|_| Unsignable::Clock)?;
    value.set_sensitive(true);
    head.headers.insert(header::AUTHORIZATION, value);
    Ok(())
}

/// Which fields a signature covers, besides the host: those that mean something to the service, and
/// none that is changed on the way.
fn is_signed(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-amz-")
        || name == header::CONTENT_TYPE
        || name.as_str() == "content-md5"
}

/// The value of Authorization.
fn authorization(
    canonical: &Canonical,
    key: &AwsKey,
    scope: Scope<'_>,
    time: &str,
) -> Result<String, Unsignable> {
    let date = time.get(..8).ok_or(Unsignable::Clock)?;
    let Scope { region, service } = scope;
    let scope = format!("{date}/{region}/{service}/aws4_request");
    let hash = hexadecimal(digest::digest(&digest::SHA256, canonical.text.as_bytes()).as_ref());
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{hash}");
    let mut secret = Zeroizing::new(Vec::with_capacity(4 + key.secret.expose().len()));
    secret.extend_from_slice(b"AWS4");
    secret.extend_from_slice(key.secret.expose());
    let mut signing = mac(&secret, date.as_bytes());
    for part in [region, service, "aws4_request"] {
        signing = mac(signing.as_ref(), part.as_bytes());
    }
    let signature = hexadecimal(mac(signing.as_ref(), to_sign.as_bytes()).as_ref());
    Ok(format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={}, Signature={signature}",
        key.id, canonical.signed,
    ))
}

/// What is signed as the body's digest.
fn body_digest(fields: &HeaderMap, is_s3: bool, body: BodyDigest) -> Result<String, Unsignable> {
    let mut stated = fields.get_all(DIGEST).iter();
    if let Some(value) = stated.next() {
        let text = value.to_str().map_err(|_| Unsignable::InvalidDigest)?;
        let is_digest = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        return match stated.next() {
            None if is_digest || (is_s3 && UNSIGNED.contains(&text)) => Ok(text.to_owned()),
            None if text.starts_with("STREAMING-AWS4-") => Err(Unsignable::SignedChunks),
            _ => Err(Unsignable::InvalidDigest),
        };
    }
    match body {
        BodyDigest::Sha256(digest) => Ok(hexadecimal(&digest)),
        BodyDigest::Empty => Ok(hexadecimal(digest::digest(&digest::SHA256, &[]).as_ref())),
        BodyDigest::Unknown if is_s3 => {
            Ok(UNSIGNED.first().copied().unwrap_or_default().to_owned())
        }
        BodyDigest::Unknown => Err(Unsignable::NoDigest),
    }
}

fn mac(key: &[u8], text: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text)
}

fn put(fields: &mut HeaderMap, name: HeaderName, value: &str) -> Result<(), Unsignable> {
    let value = HeaderValue::from_str(value).map_err(|_| Unsignable::InvalidDigest)?;
    fields.insert(name, value);
    Ok(())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String can't fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

impl Unsignable {
    /// What is wrong, and what to do about it.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Presigned => (
                "the query of the request carries a signature already",
                "Send the request without X-Amz-Signature; it is signed on the way.",
            ),
            Self::SignedChunks => (
                "the chunks of the body are signed by the client with a key of its own",
                "Let the client send the payload unsigned, or state its digest in \
                 x-amz-content-sha256.",
            ),
            Self::InvalidDigest => (
                "x-amz-content-sha256 is neither a digest nor a form of body that can be signed here",
                "State one SHA-256 digest in hexadecimal, or leave the field out.",
            ),
            Self::NoDigest => (
                "the body is too long to be read before it is signed",
                "State its digest in x-amz-content-sha256, or send no more than 1 MiB.",
            ),
            Self::Clock => {
                ("the request can't be dated and signed", "Have the clock of the host looked at.")
            }
        }
    }
}

#[cfg(test)]
mod tests;
