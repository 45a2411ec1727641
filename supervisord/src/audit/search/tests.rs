//! Logs of hosts whose clocks were set.

use std::fs;

use supervisor_api::{Administration, Chain, ExecutionId, Subject, What};
use tempfile::TempDir;

use super::*;
use crate::clock;

/// A log of these files: the times of its records, each with the execution that it is about.
fn log(files: &[&[(&str, u8)]]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut chain = Chain::unknown();
    chain.next = 1;
    for file in files {
        let path = directory.path().join(format!("audit-{:020}.jsonl", chain.next));
        let mut bytes = Vec::new();
        for (time, execution) in *file {
            let act = Administration { act: "cancel".into(), by: None, object: None };
            let execution = Some(ExecutionId::from_bits(u128::from(*execution)));
            let event = What::Cancellation(act).about(Subject { execution, ..Subject::default() });
            bytes.extend_from_slice(&chain.seal(&at(time), &event).unwrap().line);
        }
        fs::write(path, bytes).unwrap();
    }
    directory
}

/// A time of a day as records have it.
fn at(time: &str) -> String {
    format!("2026-03-01T{time}.000000Z")
}

fn of_span(log: &TempDir, execution: u8, from: &str, to: Option<&str>) -> Vec<u64> {
    let execution = Some(ExecutionId::from_bits(u128::from(execution)));
    let filter = AuditFilter { execution, ..AuditFilter::default() };
    let time = |time: &str| at(time).parse().ok();
    let begun = clock::recorded_at(&at(from), 61);
    let span = Span { from: time(from), begun, to: to.and_then(time) };
    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let page = search(log.path(), &filter, Some(&span), after, 1).unwrap();
        found.extend(page.records.iter().map(|record| record.seq));
        match page.next {
            Some(next) => after = next,
            None => return found,
        }
    }
}

#[test]
fn what_belongs_to_an_execution_is_found_wherever_the_clock_was_set_meanwhile() {
    // The second file begins an hour before the end of the first.
    let first = [("10:00:00", 1), ("11:00:00", 2), ("13:00:00", 3), ("13:00:05", 4)];
    let second = [("12:00:00", 4), ("12:00:01", 3), ("12:30:00", 5), ("13:00:06", 6)];
    let third = [("13:10:00", 5), ("14:00:00", 6)];
    let log = log(&[&first, &second, &third]);
    for (execution, from, to, found) in [
        (1, "09:59:59", Some("10:01:00"), &[1][..]),
        (2, "10:59:59", Some("11:01:00"), &[2]),
        // Begun before the clock was set back, and ended after it.
        (3, "12:59:59", Some("12:01:01"), &[3, 6]),
        (4, "13:00:04", Some("12:01:00"), &[4, 5]),
        (5, "12:29:59", Some("13:11:00"), &[7, 9]),
        (6, "13:00:05", Some("14:01:00"), &[8, 10]),
        (6, "13:00:05", None, &[8, 10]),
        (6, "14:00:01", None, &[]),
    ] {
        assert_eq!(of_span(&log, execution, from, to), found, "{execution}");
    }
}

#[test]
fn records_of_a_time_are_found_in_every_file_that_has_some() {
    let log = log(&[
        &[("10:00:00", 1), ("13:00:00", 1)],
        &[("12:00:00", 1), ("12:59:59", 1), ("14:00:00", 1)],
        &[("11:00:00", 1), ("15:00:00", 1)],
    ]);
    for (since, until, after, found) in [
        (None, None, 0, &[1, 2, 3, 4, 5, 6, 7][..]),
        (Some("12:59:59"), None, 0, &[2, 4, 5, 7]),
        (None, Some("12:59:59"), 0, &[1, 3, 6]),
        (Some("12:00:00"), Some("13:30:00"), 0, &[2, 3, 4]),
        (Some("12:00:00"), Some("13:30:00"), 2, &[3, 4]),
        (Some("10:00:00"), None, 5, &[6, 7]),
        (Some("16:00:00"), None, 0, &[]),
        (None, Some("10:00:00"), 0, &[]),
    ] {
        let time = |time: Option<&str>| time.and_then(|time| at(time).parse().ok());
        let filter =
            AuditFilter { since: time(since), until: time(until), ..AuditFilter::default() };
        let page = search(log.path(), &filter, None, after, 100).unwrap();
        let numbers: Vec<u64> = page.records.iter().map(|record| record.seq).collect();
        assert_eq!(numbers, found, "{since:?} {until:?} {after}");
    }
}
