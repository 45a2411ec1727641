//! A log of every kind of damage, and a verifier that has to find it.

use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::*;

struct Log {
    key: Ed25519KeyPair,
    chain: Chain,
    lines: Vec<Vec<u8>>,
}

fn key() -> Ed25519KeyPair {
    let bytes = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    Ed25519KeyPair::from_pkcs8(bytes.as_ref()).unwrap()
}

fn public(key: &Ed25519KeyPair) -> PublicKey {
    PublicKey::new(key.public_key().as_ref().try_into().unwrap())
}

const TIME: &str = "2026-01-01T00:00:00.000000Z";

impl Log {
    fn new() -> Self {
        Self { key: key(), chain: Chain::default(), lines: Vec::new() }
    }

    /// So many records, a checkpoint after every fourth and at the end.
    fn of(count: u64) -> Self {
        let mut log = Self::new();
        for number in 1..=count {
            log.cancellation(number as u32);
            if number % 4 == 0 || number == count {
                log.checkpoint();
            }
        }
        log
    }

    fn cancellation(&mut self, by: u32) {
        let act = Administration { act: "cancel".into(), by: Some(by), object: None };
        let event = What::Cancellation(act).about_nobody();
        self.lines.push(self.chain.seal(TIME, &event).unwrap().line);
    }

    fn checkpoint(&mut self) {
        let checkpoint = Checkpoint { records: 4, key: "k".into(), closing: false };
        let event = What::Checkpoint(checkpoint).about_nobody();
        let line = self.chain.seal_checkpoint(TIME, &event, &self.key).unwrap().line;
        self.lines.push(line);
    }

    fn verify(&self, bytes: &[u8]) -> Report {
        let head = Head::sign(&self.chain, &self.key);
        let mut verifier = Verifier::new(vec![public(&self.key)], Some(head));
        for (number, line) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
            verifier.line("log", number, line);
        }
        verifier.finish()
    }

    fn faults(&self, lines: &[Vec<u8>]) -> Vec<(Fault, u64, u64)> {
        let report = self.verify(&lines.concat());
        report.findings.iter().map(|it| (it.fault, it.first, it.last)).collect()
    }
}

#[test]
fn a_log_that_nobody_touched_is_whole() {
    let log = Log::of(9);
    let report = log.verify(&log.lines.concat());
    assert!(report.is_whole(), "{report:?}");
    assert_eq!((report.records, report.first, report.last, report.signed), (12, 1, 12, 12));
    assert_eq!(report.checkpoints, 3);
}

#[test]
fn a_record_reads_back_as_what_was_recorded() {
    let log = Log::of(1);
    let record: AuditRecord = serde_json::from_slice(&log.lines[0]).unwrap();
    assert_eq!((record.seq, record.event.what.kind()), (1, "cancellation"));
    assert_eq!(record.prev, Digest32::default().to_string());
    let again = serde_json::to_vec(&record).unwrap();
    let value = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
    assert_eq!(value(&again), value(&log.lines[0]));
}

#[test]
fn every_way_to_take_lines_away_or_about_is_told_apart() {
    let log = Log::of(9);
    let with = |edit: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut lines = log.lines.clone();
        edit(&mut lines);
        log.faults(&lines)
    };
    assert_eq!(with(&|lines| drop(lines.remove(5))), [(Fault::Dropped, 6, 6)]);
    assert_eq!(with(&|lines| drop(lines.drain(2..9))), [(Fault::Dropped, 3, 9)]);
    assert_eq!(with(&|lines| drop(lines.drain(..3))), [(Fault::Dropped, 1, 3)]);
    assert_eq!(with(&|lines| lines.swap(5, 6)), [(Fault::Reordered, 6, 6)]);
    assert_eq!(with(&|lines| lines.insert(7, lines[2].clone())), [(Fault::Duplicated, 3, 3)]);
    assert_eq!(with(&|lines| lines.truncate(10)), [(Fault::Truncated, 11, 12)]);
    assert_eq!(with(&|lines| lines.truncate(5)), [(Fault::Truncated, 6, 12)]);
    assert_eq!(with(&|lines| lines.clear()), [(Fault::Truncated, 1, 12)]);
    let cut = with(&|lines| lines[11].truncate(40));
    assert_eq!(cut, [(Fault::Torn, 12, 12), (Fault::Truncated, 12, 12)]);
}

#[test]
fn a_record_that_was_written_anew_with_a_right_hash_is_found() {
    let log = Log::of(9);
    // Whoever does it can't sign: all from there on has to be sealed anew, up to the checkpoint.
    let mut forged = Log::of(2);
    forged.lines.truncate(2);
    forged.chain = Chain { next: 3, last: Digest32::parse(&hash_of(&log.lines[1])).unwrap() };
    forged.cancellation(0);
    let mut lines = log.lines.clone();
    lines[2].clone_from(&forged.lines[2]);
    assert_eq!(log.faults(&lines), [(Fault::Replaced, 3, 4)]);
    forged.cancellation(4);
    forged.checkpoint();
    lines[2..5].clone_from_slice(&forged.lines[2..5]);
    assert_eq!(log.faults(&lines), [(Fault::Forged, 5, 5), (Fault::Replaced, 5, 6)]);
}

#[test]
fn every_byte_of_a_log_counts() {
    let log = Log::of(1);
    let bytes = log.lines.concat();
    for at in 0..bytes.len() {
        // One bit of each, and the one that makes a letter another case.
        for bit in [0x01, 0x20] {
            let mut other = bytes.clone();
            other[at] ^= bit;
            let report = log.verify(&other);
            assert!(!report.is_whole(), "byte {at} of {}", other.escape_ascii());
        }
    }
}

fn hash_of(line: &[u8]) -> String {
    serde_json::from_slice::<AuditRecord>(line).unwrap().hash
}

#[test]
fn a_beginning_that_is_gone_needs_a_signed_statement() {
    let mut log = Log::of(8);
    let last: AuditRecord = serde_json::from_slice(&log.lines[4]).unwrap();
    let removal = |hash: &str| Removal {
        file: "audit-1".into(),
        first: 1,
        last: 5,
        last_hash: hash.to_owned(),
    };
    let gone = |log: &Log| log.faults(&log.lines[5..]);
    assert_eq!(gone(&log), [(Fault::Dropped, 1, 5)]);
    let event = What::Removal(removal(&"0".repeat(64))).about_nobody();
    log.lines.push(log.chain.seal(TIME, &event).unwrap().line);
    log.checkpoint();
    assert_eq!(gone(&log), [(Fault::Dropped, 1, 5)]);
    let event = What::Removal(removal(&last.hash)).about_nobody();
    log.lines.push(log.chain.seal(TIME, &event).unwrap().line);
    assert_eq!(gone(&log), [(Fault::Dropped, 1, 5)], "not signed yet");
    log.checkpoint();
    assert_eq!(gone(&log), []);
    assert_eq!(log.faults(&log.lines[6..]), [(Fault::Dropped, 1, 6)]);
}

#[test]
fn a_head_has_one_spelling_and_one_signer() {
    let log = Log::of(2);
    let head = Head::sign(&log.chain, &log.key);
    let text = head.to_string();
    assert_eq!(Head::parse(&text), Some(head));
    assert!(head.is_signed(&[public(&log.key)]) && !head.is_signed(&[public(&key())]));
    assert_eq!(Head::parse(&text.to_uppercase()), None);
    assert_eq!(Head::parse(text.trim_end()), None);
}

proptest! {
    #[test]
    fn every_change_of_a_single_byte_is_found(place: prop::sample::Index, value: u8) {
        let log = Log::of(9);
        let mut bytes = log.lines.concat();
        let at = place.index(bytes.len());
        prop_assume!(bytes[at] != value);
        bytes[at] = value;
        let report = log.verify(&bytes);
        prop_assert!(!report.is_whole(), "byte {at} as {value}");
    }

    #[test]
    fn every_byte_that_is_taken_away_or_put_in_is_found(place: prop::sample::Index, value: u8) {
        let log = Log::of(5);
        let bytes = log.lines.concat();
        let at = place.index(bytes.len());
        let mut less = bytes.clone();
        less.remove(at);
        prop_assert!(!log.verify(&less).is_whole(), "without byte {at}");
        let mut more = bytes;
        more.insert(at, value);
        prop_assert!(!log.verify(&more).is_whole(), "with {value} at {at}");
    }

    #[test]
    fn no_bytes_make_the_verifier_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        drop(Log::of(1).verify(&bytes));
    }
}
