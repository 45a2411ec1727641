//! What was changed in a statement whose signature does not fit any more: the digests of its fields are signed
//! besides the statement itself, so that the ones that are not what they were can be named. They prove nothing that
//! the statement's own signature does not.

use std::collections::BTreeMap;

use ring::signature::Ed25519KeyPair;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::audit::signature_of;
use crate::{Digest32, PublicKey};

/// What is signed begins with this, so that it is never taken for anything else that the key signs.
const TYPE: &str = "supervisord receipt fields v1\n";

/// How deep a field has parts of its own: `predicate.policy.digest`.
const DEPTH: usize = 2;

/// Digests of a statement's fields, signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedFields {
    /// SHA-256 of each field's value by the field's name, in hexadecimal.
    pub digests: BTreeMap<String, String>,
    /// Ed25519 over them by the statement's key, in hexadecimal.
    pub sig: String,
}

/// A field that is not as it was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldChange {
    /// It has another value.
    Changed(String),
    /// It is not there any more.
    Missing(String),
    /// It was not there.
    Added(String),
}

impl SignedFields {
    pub(super) fn sign(statement: &Value, key: &Ed25519KeyPair) -> Self {
        let digests = digests(statement);
        let sig = hexadecimal(&signature_of(key, &signed(&digests)));
        Self { digests, sig }
    }

    /// Whether one of these keys vouches for the digests.
    pub(super) fn is_whole(&self, keys: &[PublicKey]) -> bool {
        let Some(sig) = bytes(&self.sig) else { return false };
        keys.iter().any(|key| key.has_signed(&signed(&self.digests), &sig))
    }

    /// What is not as it was signed.
    pub(super) fn differences(&self, statement: &Value) -> Vec<FieldChange> {
        let mut found = digests(statement);
        let mut changes = Vec::new();
        for (name, digest) in &self.digests {
            match found.remove(name) {
                Some(other) if other == *digest => {}
                Some(_) => changes.push(FieldChange::Changed(name.clone())),
                None => changes.push(FieldChange::Missing(name.clone())),
            }
        }
        changes.extend(found.into_keys().map(FieldChange::Added));
        changes
    }
}

fn signed(digests: &BTreeMap<String, String>) -> Vec<u8> {
    let mut text = TYPE.to_owned();
    for (name, digest) in digests {
        text.push_str(&format!("{} {name} {digest}\n", name.len()));
    }
    text.into_bytes()
}

fn digests(statement: &Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let fields = statement.as_object().into_iter().flatten();
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("subject", Value::Array(subjects)) => take_subjects(subjects, &mut found),
            _ => take(name.clone(), value, 0, &mut found),
        }
    }
    found
}

fn take(name: String, value: &Value, depth: usize, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(parts) if depth < DEPTH && !parts.is_empty() => {
            for (part, value) in parts {
                take(format!("{name}.{part}"), value, depth.saturating_add(1), found);
            }
        }
        value => {
            let mut text = String::new();
            write_down(value, &mut text);
            found.insert(name, Digest32::of(text.as_bytes()).to_string());
        }
    }
}

/// Each by what it is about.
fn take_subjects(subjects: &[Value], found: &mut BTreeMap<String, String>) {
    for (number, subject) in subjects.iter().enumerate() {
        let name = match subject.get("name").and_then(Value::as_str) {
            Some(name) => format!("subject {name}"),
            None => format!("subject {number}"),
        };
        take(name, subject, DEPTH, found);
    }
}

/// A value in the one form that does not depend on the order of its parts.
fn write_down(value: &Value, text: &mut String) {
    match value {
        Value::Object(parts) => {
            let sorted: BTreeMap<_, _> = parts.iter().collect();
            text.push('{');
            for (name, value) in sorted {
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write_down(value, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(parts) => {
            text.push('[');
            for value in parts {
                write_down(value, text);
                text.push(',');
            }
            text.push(']');
        }
        value => text.push_str(&value.to_string()),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let is_plain = text.len().is_multiple_of(2)
        && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let digit = |at: usize| u8::from_str_radix(text.get(at..at.checked_add(2)?)?, 16).ok();
    if is_plain { (0..text.len()).step_by(2).map(digit).collect() } else { None }
}
