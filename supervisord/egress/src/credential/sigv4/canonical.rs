//! The canonical form of a request, which both sides compute and sign.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::HeaderName;
use http::request::Parts;

use super::super::query::{decoded, encode, pairs};

/// A canonical request.
#[derive(Debug)]
pub struct Canonical {
    /// All of it.
    pub text: String,
    /// The names of the fields in it.
    pub signed: String,
}

impl Canonical {
    /// The canonical form of a request to this host, with the fields that are to be signed.
    pub fn of(
        head: &Parts,
        host: &str,
        is_s3: bool,
        digest: &str,
        is_signed: impl Fn(&HeaderName) -> bool,
    ) -> Self {
        let mut fields = BTreeMap::from([("host", host.to_owned())]);
        for name in head.headers.keys().filter(|name| is_signed(name)) {
            let values = head.headers.get_all(name).iter();
            let values = values.map(|value| squeezed(&String::from_utf8_lossy(value.as_bytes())));
            fields.insert(name.as_str(), values.collect::<Vec<_>>().join(","));
        }
        let signed = fields.keys().copied().collect::<Vec<_>>().join(";");
        let fields: String =
            fields.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let path =
            if is_s3 { escaped_once(head.uri.path()) } else { escaped_twice(head.uri.path()) };
        let query = sorted(head.uri.query().unwrap_or_default());
        let method = head.method.as_str();
        let text = format!("{method}\n{path}\n{query}\n{fields}\n{signed}\n{digest}");
        Self { text, signed }
    }
}

/// A value without spaces around it, and with one where there were several.
fn squeezed(value: &str) -> String {
    value.split([' ', '\t']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The path as S3 takes it: each segment escaped as it should have been.
fn escaped_once(path: &str) -> String {
    let segments = path.split('/').map(|segment| reencoded(&decoded(segment, false)));
    segments.collect::<Vec<_>>().join("/")
}

/// The path as other services take it: dot segments and empty ones resolved, and what was sent
/// escaped once more.
fn escaped_twice(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match &*decoded(segment, false) {
            b"" | b"." => {}
            b".." => {
                kept.pop();
            }
            _ => kept.push(segment),
        }
    }
    let mut text: String =
        kept.iter().map(|segment| format!("/{}", reencoded(segment.as_bytes()))).collect();
    if kept.is_empty() || ends_a_directory(path) {
        text.push('/');
    }
    text
}

fn ends_a_directory(path: &str) -> bool {
    let last = path.rsplit('/').next().map(|last| decoded(last, false));
    matches!(last.as_deref(), Some(b"" | b"." | b".."))
}

/// The parameters, escaped as they should be and sorted by name, then by value.
fn sorted(query: &str) -> String {
    let encoded = |text| reencoded(&decoded(text, false));
    let mut all: Vec<_> =
        pairs(query).map(|(name, value)| (encoded(name), encoded(value))).collect();
    all.sort();
    let all: Vec<_> = all.iter().map(|(name, value)| format!("{name}={value}")).collect();
    all.join("&")
}

fn reencoded(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    encode(bytes, &mut out);
    match String::from_utf8_lossy(&out) {
        Cow::Borrowed(text) => text.to_owned(),
        Cow::Owned(text) => text, // not reached: what is escaped is US-ASCII
    }
}
