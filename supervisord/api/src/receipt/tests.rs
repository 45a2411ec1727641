//! An envelope is whole, or it says what isn't.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::*;
use crate::{AuditRecord, PublicKey};

fn key() -> (Ed25519KeyPair, PublicKey) {
    let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(made.as_ref()).unwrap();
    let public = PublicKey::new(pair.public_key().as_ref().try_into().unwrap());
    (pair, public)
}

fn limits() -> Value {
    let names = crate::Limit::ALL.iter().map(|limit| (limit.name().to_owned(), json!(1)));
    Value::Object(names.collect())
}

fn statement() -> Statement {
    let execution = json!({
        "id": ExecutionId::from_bits(7), "session": SessionId::from_bits(8), "owner_uid": 1000,
        "state": "finished", "outcome": {"type": "exited", "code": 0}, "argv": ["true"],
        "policy": {"name": "default", "digest": "cd"}, "limits": limits(),
        "created_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:00:02Z",
        "usage": {"wall_ms": 1, "cpu_ms": 1}, "controls": [], "artifact_count": 0,
        "output": {"stdout": {"kept": 0, "cut": 0}, "stderr": {"kept": 0, "cut": 0}},
        "artifacts_truncated": false,
    });
    let execution: Execution = serde_json::from_value(execution).unwrap();
    let predicate = Predicate::new(execution, None, "0.1.0").unwrap();
    Statement::new(vec![ReceiptSubject::new(STDOUT, "ab".repeat(32))], predicate)
}

#[test]
fn a_signed_statement_is_read_as_it_was_made() {
    let (pair, public) = key();
    let envelope = Envelope::sign(&statement(), &pair, &public).unwrap();
    assert_eq!(envelope.open(&[key().1, public]), Ok(statement()));
    assert_eq!(envelope, Envelope::sign(&statement(), &pair, &public).unwrap());
    assert_eq!(envelope.open(&[key().1]), Err(BadEnvelope::KeyId));
    assert_eq!(envelope.open(&[]), Err(BadEnvelope::KeyId));
}

#[test]
fn a_signed_statement_about_something_else_is_none_of_ours() {
    let (pair, public) = key();
    let other = Statement { predicate_type: "urn:other".into(), ..statement() };
    let envelope = Envelope::sign(&other, &pair, &public).unwrap();
    assert_eq!(envelope.open(&[public]), Err(BadEnvelope::Statement));
}

proptest! {
    #[test]
    fn every_change_of_one_byte_is_found(place in any::<prop::sample::Index>(), byte in 0x20u8..0x7f) {
        let (pair, public) = key();
        let envelope = Envelope::sign(&statement(), &pair, &public).unwrap();
        let text = serde_json::to_vec(&envelope).unwrap();
        let place = place.index(text.len());
        let mut changed = text.clone();
        changed[place] = byte;
        prop_assume!(changed != text);
        if let Ok(envelope) = serde_json::from_slice::<Envelope>(&changed) {
            prop_assert!(envelope.open(&[public]).is_err());
        }
    }
}

/// Every value of a statement that has no parts, by the name that the digests have for where it stands.
fn leaves(
    value: &Value,
    pointer: &str,
    name: &str,
    depth: usize,
    found: &mut Vec<(String, String)>,
) {
    let parts: Vec<(String, &Value)> = match value {
        Value::Object(parts) => parts.iter().map(|(part, it)| (part.clone(), it)).collect(),
        Value::Array(parts) => {
            parts.iter().enumerate().map(|(n, it)| (n.to_string(), it)).collect()
        }
        _ => return found.push((pointer.to_owned(), name.to_owned())),
    };
    for (part, it) in parts {
        let name = match depth {
            0 => part.clone(),
            1 | 2 if value.is_object() => format!("{name}.{part}"),
            _ => name.to_owned(),
        };
        leaves(it, &format!("{pointer}/{part}"), &name, depth + 1, found);
    }
}

#[test]
fn a_change_of_one_byte_in_any_field_is_told_by_the_fields_name() {
    let (pair, public) = key();
    let envelope = Envelope::sign(&statement(), &pair, &public).unwrap();
    assert_eq!(envelope.changes(&[public]), Some(Vec::new()));
    let whole = serde_json::to_value(statement()).unwrap();
    let mut found = Vec::new();
    leaves(&whole, "", "", 0, &mut found);
    assert!(found.len() > 30, "{found:?}");
    for (pointer, name) in found {
        let mut changed = whole.clone();
        let value = changed.pointer_mut(&pointer).unwrap();
        *value = match &*value {
            Value::String(text) => json!(format!("{}x", &text[..text.len() - 1])),
            Value::Number(number) => json!(number.as_u64().unwrap() ^ 1),
            Value::Bool(is) => json!(!is),
            other => panic!("{pointer}: {other}"),
        };
        let payload = STANDARD.encode(serde_json::to_vec(&changed).unwrap());
        let altered = Envelope { payload, ..envelope.clone() };
        assert_eq!(altered.open(&[public]), Err(BadEnvelope::Signature), "{pointer}");
        let changes = altered.changes(&[public]).expect("they are vouched for");
        let told = match name.as_str() {
            "subject.name" if pointer.ends_with("/name") => {
                vec![
                    FieldChange::Missing("subject stdout".into()),
                    FieldChange::Added("subject stdoux".into()),
                ]
            }
            "subject.digest" => vec![FieldChange::Changed("subject stdout".into())],
            name => vec![FieldChange::Changed(name.to_owned())],
        };
        assert_eq!(changes, told, "{pointer}");
    }
    assert_eq!(envelope.changes(&[key().1]), None, "another key vouches for nothing");
}

#[test]
fn what_vouches_for_the_fields_is_not_to_be_changed_either() {
    let (pair, public) = key();
    let envelope = Envelope::sign(&statement(), &pair, &public).unwrap();
    let fields = envelope.fields.clone().unwrap();
    let mut digests = fields.digests.clone();
    digests.insert("predicate.owner_uid".into(), "00".repeat(32));
    let last = if fields.sig.ends_with('0') { '1' } else { '0' };
    let sig = format!("{}{last}", &fields.sig[..fields.sig.len() - 1]);
    for fields in
        [SignedFields { digests, ..fields.clone() }, SignedFields { sig, ..fields.clone() }]
    {
        let altered = Envelope { fields: Some(fields), ..envelope.clone() };
        assert_eq!(altered.open(&[public]), Err(BadEnvelope::Fields));
    }
    // Receipts of before had none.
    let before = Envelope { fields: None, ..envelope };
    assert_eq!(before.open(&[public]), Ok(statement()));
}

#[test]
fn the_root_is_over_the_records_from_submission_to_outcome_and_counts_what_was_decided() {
    let id = ExecutionId::from_bits(7);
    let record = |seq: u64, hash: &str, mut event: Value| -> AuditRecord {
        let given = json!({"seq": seq, "time": "2026-01-01T00:00:00.000000Z", "prev": "00".repeat(32),
            "hash": hash.repeat(32), "execution": id});
        event.as_object_mut().unwrap().extend(given.as_object().unwrap().clone());
        serde_json::from_value(event).unwrap()
    };
    let submission = json!({"kind": "submission", "verdict": "allow", "reason": "accepted"});
    let egress = json!({"kind": "egress", "verdict": "allow", "reason": "rule", "host": "h", "port": 443,
        "protocol": "https", "credential": "forge,other"});
    let outcome =
        json!({"kind": "outcome", "outcome": {"type": "timed_out"}, "wall_ms": 1, "cpu_ms": 1});
    let mut root = DecisionsRoot::new(id);
    root.take(&record(1, "aa", submission.clone()));
    root.take(&record(2, "bb", egress));
    assert!(!root.is_complete());
    root.take(&record(3, "cc", outcome));
    root.take(&record(4, "dd", submission)); // after the end
    let found = root.finish().unwrap();
    let step = |root: Digest32, byte: u8| Digest32::of(&[root.0, [byte; 32]].concat());
    let expected = [0xaa, 0xbb, 0xcc].into_iter().fold(Digest32::default(), step);
    assert_eq!((found.root, found.records), (expected.to_string(), 3));
    assert_eq!((found.allowed, found.denied), (2, 0));
    assert_eq!(found.credential_uses["forge"], 1);
    assert!(DecisionsRoot::new(id).finish().is_none());
}
