//! Whether a log is what was written: which records were changed, dropped, reordered, duplicated or
//! cut off.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::chain::{Digest32, Head, Parts, PublicKey};
use super::event::What;
use super::record::AuditRecord;
use crate::without::without;

/// Findings that are kept; a log of other bytes altogether has one a line.
const MAX_FINDINGS: usize = 1000;

/// What is wrong with a record, or with where one should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The line is not what was written.
    Changed,
    /// The line is whole and doesn't follow the one before it: one of the two was put there later.
    Replaced,
    /// The record is missing.
    Dropped,
    /// The record stands behind one that was written later.
    Reordered,
    /// The record stands there a second time.
    Duplicated,
    /// The end of the log is missing.
    Truncated,
    /// The last line has no end: a crash, or somebody who cut it. The daemon's next start says so.
    Torn,
    /// A signature is wrong, or by another key.
    Forged,
    /// What says where the log ended is not beside it: nothing tells whether its end was cut off.
    HeadMissing,
    /// What says where the log ended can't be read.
    HeadDamaged,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What.
    pub fault: Fault,
    /// The file.
    pub file: String,
    /// The line in it, from 1.
    pub line: u64,
    /// The first record it is about; 0 where it is about none.
    pub first: u64,
    /// The last record it is about.
    pub last: u64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// Whole records.
    pub records: u64,
    /// The number of the first.
    pub first: u64,
    /// The number of the last.
    pub last: u64,
    /// Checkpoints with a right signature.
    pub checkpoints: u64,
    /// The last record that a right signature vouches for. What comes after is chained only: who can
    /// write the file could have written it anew.
    pub signed: u64,
    /// What is wrong; empty if nothing is.
    pub findings: Vec<Finding>,
    /// Findings beyond those that are kept.
    pub more: u64,
}

/// Reads a log line by line.
#[derive(Debug)]
pub struct Verifier {
    keys: Vec<PublicKey>,
    head: Option<Head>,
    report: Report,
    /// The next record; 0 before the first.
    expected: u64,
    /// The hash of the record before, unless that line was not whole.
    last: Option<Digest32>,
    /// Lines since the last whole one that are none.
    broken: u64,
    /// What a later record has shown to be missing, and where that record stands.
    missing: Vec<(u64, u64, String, u64)>,
    /// What the first record follows.
    before: Option<(u64, Digest32)>,
    removals: Vec<(u64, Digest32, u64)>,
    place: (String, u64),
}

impl Verifier {
    /// A verifier that takes signatures of these keys, and holds the end of the log against this.
    pub fn new(keys: Vec<PublicKey>, head: Option<Head>) -> Self {
        Self {
            keys,
            head,
            report: Report::default(),
            expected: 0,
            last: None,
            broken: 0,
            missing: Vec::new(),
            before: None,
            removals: Vec::new(),
            place: (String::new(), 0),
        }
    }

    /// The next line, with its end if it has one.
    pub fn line(&mut self, file: &str, number: u64, bytes: &[u8]) {
        if self.place.0 != file {
            file.clone_into(&mut self.place.0);
        }
        self.place.1 = number;
        let Some(line) = bytes.strip_suffix(b"\n") else {
            let next = self.expected.max(1);
            return self.find(Fault::Torn, next, next);
        };
        match Parts::of(line).filter(|parts| parts.is_whole() || without("record-hash")) {
            None => {
                let suspect = self.expected.max(1) + self.broken;
                self.find(Fault::Changed, suspect, suspect);
                self.broken += 1;
            }
            Some(parts) => self.whole(&parts, line),
        }
    }

    /// What came of it, at the end.
    pub fn finish(mut self) -> Report {
        for (first, last, file, line) in std::mem::take(&mut self.missing) {
            self.place = (file, line);
            self.find(Fault::Dropped, first, last);
        }
        let (end, line) = std::mem::replace(&mut self.place, (String::new(), 1));
        // Where no line stands at all, it is the head that tells of some.
        let end = if end.is_empty() { "head".to_owned() } else { end };
        self.place.0.clone_from(&end);
        if let Some((seq, hash)) = self.before.filter(|(seq, _)| *seq > 0) {
            let told = |(last, its, at): &(u64, Digest32, u64)| {
                *last == seq && *its == hash && *at <= self.report.signed
            };
            if !self.removals.iter().any(told) {
                self.find(Fault::Dropped, 1, seq);
            }
        }
        self.place = (end, line.max(1));
        if let Some(head) = self.head {
            if !head.is_signed(&self.keys) {
                self.find(Fault::Forged, head.seq, head.seq);
            } else if head.seq > self.report.last + self.broken {
                self.find(Fault::Truncated, self.report.last + 1, head.seq);
            }
        }
        self.report
    }

    fn whole(&mut self, parts: &Parts<'_>, line: &[u8]) {
        let (seq, broken) = (parts.seq, std::mem::take(&mut self.broken));
        if self.expected == 0 {
            // What stands before the first whole record is lost if it was changed.
            self.expected = seq.saturating_sub(broken).max(1);
            self.before = (broken == 0).then_some((seq.saturating_sub(1), parts.prev));
        }
        if seq < self.expected {
            self.broken = broken;
            return self.late(seq);
        }
        if seq > self.expected + broken {
            let (file, number) = self.place.clone();
            self.missing.push((self.expected + broken, seq - 1, file, number));
        } else if broken == 0
            && self.last.is_some_and(|last| last != parts.prev)
            && !without("record-chain")
        {
            self.find(Fault::Replaced, seq.saturating_sub(1), seq);
        }
        self.expected = seq + 1;
        self.last = Some(parts.hash);
        self.report.records += 1;
        self.report.last = seq;
        if self.report.first == 0 {
            self.report.first = seq;
        }
        if self.head.is_some_and(|head| head.seq == seq && head.hash != parts.hash) {
            self.find(Fault::Replaced, seq, seq);
        }
        self.signature(parts);
        if parts.kind == "removal"
            && let Ok(record) = serde_json::from_slice::<AuditRecord>(line)
            && let What::Removal(removal) = record.event.what
            && let Some(hash) = Digest32::parse(&removal.last_hash)
        {
            self.removals.push((removal.last, hash, seq));
        }
    }

    /// A record with a number that has passed.
    fn late(&mut self, seq: u64) {
        if seq < self.report.first {
            // It belongs before the first that stands there.
            self.report.first = seq;
            self.before = self.before.filter(|_| seq > 1);
            return self.find(Fault::Reordered, seq, seq);
        }
        let gap = self.missing.iter().position(|(first, last, ..)| (*first..=*last).contains(&seq));
        let Some(gap) = gap else { return self.find(Fault::Duplicated, seq, seq) };
        let (first, last, file, line) = self.missing.swap_remove(gap);
        if first < seq {
            self.missing.push((first, seq - 1, file.clone(), line));
        }
        if seq < last {
            self.missing.push((seq + 1, last, file, line));
        }
        self.find(Fault::Reordered, seq, seq);
    }

    fn signature(&mut self, parts: &Parts<'_>) {
        let right = match (parts.kind == "checkpoint", parts.signature) {
            (false, None) => return,
            (true, Some(signature)) => {
                let signed = |key: &PublicKey| key.has_signed_checkpoint(&parts.hash, signature);
                self.keys.iter().any(signed) || without("record-signature")
            }
            (true, None) | (false, Some(_)) => false,
        };
        if right {
            self.report.checkpoints += 1;
            self.report.signed = parts.seq;
        } else {
            self.find(Fault::Forged, parts.seq, parts.seq);
        }
    }

    fn find(&mut self, fault: Fault, first: u64, last: u64) {
        if self.report.findings.len() >= MAX_FINDINGS {
            self.report.more += 1;
            return;
        }
        let (file, line) = self.place.clone();
        self.report.findings.push(Finding { fault, file, line, first, last });
    }
}

impl Report {
    /// Whether nothing is wrong.
    pub const fn is_whole(&self) -> bool {
        self.findings.is_empty()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, file, line, first, last } = self;
        match fault {
            Fault::HeadMissing => {
                return write!(
                    f,
                    "{file}: is missing: nothing tells whether the log's end was cut off"
                );
            }
            Fault::HeadDamaged => return write!(f, "{file}: is not what was written"),
            _ => {}
        }
        let which = if first == last {
            format!("record {first}")
        } else {
            format!("records {first} to {last}")
        };
        let what = match fault {
            Fault::Changed => "is not what was written",
            Fault::Replaced => "do not follow one another: one was put there later",
            Fault::Dropped if first == last => "is missing",
            Fault::Dropped => "are missing",
            Fault::Reordered => "stands behind one that was written later",
            Fault::Duplicated => "stands there a second time",
            Fault::Truncated => "at the end of the log: missing",
            Fault::Torn => "is torn: its line has no end",
            Fault::Forged => "is not signed by the key that was given",
            Fault::HeadMissing | Fault::HeadDamaged => "has no head",
        };
        write!(f, "{file}:{line}: {which} {what}")
    }
}
