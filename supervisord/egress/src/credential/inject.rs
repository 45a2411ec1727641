//! Puts values into their places in a request's head.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use http::{HeaderName, HeaderValue, header};
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::name::CredentialName;
use super::place::{Binding, Place, Template};
use super::placeholder::Placeholder;
use super::query::{decoded, pairs, with_parameter};
use super::refusal::{CredentialRefusal, RefusalCode};
use super::seam::Wanted;
use super::secret::{Secret, sealed};
use super::sigv4::{self, Scope};
use super::value::{AwsKey, Value};

/// The port that the Host field leaves out.
const HTTPS: u16 = 443;

/// Whether a payload's placeholder stands where a binding wants it.
pub fn is_in_place(head: &Parts, place: &Place, placeholder: &Placeholder) -> bool {
    match place {
        Place::Header { name, .. } => is_in_field(head, name, placeholder),
        Place::Basic { .. } | Place::SigV4 { .. } => {
            is_in_field(head, &header::AUTHORIZATION, placeholder)
        }
        Place::Query { name } => pairs(head.uri.query().unwrap_or_default())
            .filter(|(given, _)| *decoded(given, true) == *name.as_bytes())
            .any(|(_, value)| holds(&decoded(value, true), placeholder)),
    }
}

/// User and password of a field value with the Basic scheme (RFC 7617 §2).
pub fn basic(value: &HeaderValue) -> Option<Vec<u8>> {
    let (scheme, rest) = value.as_bytes().split_at_checked(6)?;
    scheme
        .eq_ignore_ascii_case(b"basic ")
        .then(|| STANDARD.decode(rest.trim_ascii()).ok())
        .flatten()
}

/// Puts a value into its place. What the payload has put there is replaced.
///
/// # Errors
/// The value is not of the kind that the place takes, or the request can't carry it.
pub fn put(
    head: &mut Parts,
    wanted: &Wanted<'_>,
    binding: &Binding,
    value: &Value,
) -> Result<(), CredentialRefusal> {
    let name = &binding.credential;
    match (&binding.place, value) {
        (Place::Header { name: field, template }, Value::Text(secret)) => {
            let value = filled(template, secret.expose());
            set(head, field, value).ok_or_else(|| too_long(name))
        }
        (Place::Basic { user }, Value::Text(secret)) => {
            set(head, &header::AUTHORIZATION, with_user(user, secret)).ok_or_else(|| too_long(name))
        }
        (Place::Query { name: parameter }, Value::Text(secret)) => {
            let target = with_parameter(&head.uri, parameter, secret.expose());
            head.uri = target.ok_or_else(|| too_long(name))?;
            Ok(())
        }
        (Place::SigV4 { region, service }, Value::Aws(key)) => {
            sign(head, wanted, name, key, Scope { region, service })
        }
        (Place::SigV4 { .. }, Value::Text(_)) | (_, Value::Aws(_)) => Err(CredentialRefusal::new(
            RefusalCode::Unsuitable,
            Some(name),
            format!("the policy wants credential {name} where a value of its kind can't go"),
            "Have the policy's binding agree with the credential's kind: aws keys sign, others don't.",
        )),
    }
}

fn sign(
    head: &mut Parts,
    wanted: &Wanted<'_>,
    name: &CredentialName,
    key: &AwsKey,
    scope: Scope<'_>,
) -> Result<(), CredentialRefusal> {
    let bracketed = match wanted.host.contains(':') {
        true => format!("[{}]", wanted.host),
        false => wanted.host.to_owned(),
    };
    let host = match wanted.port {
        HTTPS => bracketed,
        port => format!("{bracketed}:{port}"),
    };
    sigv4::sign(head, key, scope, &host, wanted.body, Timestamp::now()).map_err(|problem| {
        let (cause, remedy) = problem.words();
        CredentialRefusal::new(RefusalCode::Unsuitable, Some(name), cause, remedy)
    })
}

fn set(head: &mut Parts, name: &HeaderName, value: Zeroizing<Vec<u8>>) -> Option<()> {
    let mut value = HeaderValue::from_maybe_shared(sealed(value)).ok()?;
    value.set_sensitive(true); // neither printed nor put into a table of HTTP/2's (RFC 7541 §7.1.3)
    head.headers.insert(name, value);
    Some(())
}

fn filled(template: &Template, secret: &[u8]) -> Zeroizing<Vec<u8>> {
    let parts = [template.before(), secret, template.after()];
    let mut text = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| text.extend_from_slice(part));
    text
}

fn with_user(user: &str, secret: &Secret) -> Zeroizing<Vec<u8>> {
    let plain_length = user.len() + 1 + secret.expose().len();
    let mut plain = Zeroizing::new(Vec::with_capacity(plain_length));
    plain.extend_from_slice(user.as_bytes());
    plain.push(b':');
    plain.extend_from_slice(secret.expose());
    let scheme = b"Basic ";
    let mut text = Zeroizing::new(vec![0; scheme.len() + plain_length.div_ceil(3) * 4]);
    let (start, encoded) = text.split_at_mut(scheme.len());
    start.copy_from_slice(scheme);
    // The slice has the very length that base64 with padding takes.
    STANDARD.encode_slice(&*plain, encoded).unwrap_or_default();
    text
}

fn is_in_field(head: &Parts, name: &HeaderName, placeholder: &Placeholder) -> bool {
    head.headers.get_all(name).iter().any(|value| {
        holds(value.as_bytes(), placeholder)
            || basic(value).is_some_and(|plain| holds(&plain, placeholder))
    })
}

fn holds(text: &[u8], placeholder: &Placeholder) -> bool {
    let placeholder = placeholder.as_bytes();
    text.windows(placeholder.len()).any(|window| window == placeholder)
}

fn too_long(name: &CredentialName) -> CredentialRefusal {
    CredentialRefusal::new(
        RefusalCode::Unsuitable,
        Some(name),
        format!("the request has no room for credential {name}"),
        "Send a shorter query or shorter header fields.",
    )
}
