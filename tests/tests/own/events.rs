//! What a flood of refusals leaves in the audit log.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use supervisor_api::{AuditRecord, SubmitRequest, Suppression, What};
use supervisor_tests::{AGENT, OTHER_AGENT, World, bash, until_true};

/// The log keeps what happened before, however often somebody is refused.
#[test]
fn a_flood_of_refused_submissions_is_answered_and_counted_and_does_not_fill_the_log() {
    let mut world = World::open();
    let refused = SubmitRequest { policy: Some("nosuch".to_owned()), ..bash("true") };
    for _ in 0..200 {
        assert!(world.agent(AGENT).submit(&refused).is_err());
    }
    assert!(world.agent(OTHER_AGENT).submit(&refused).is_err());
    let told =
        || -> u64 { records(&world).iter().filter_map(suppressed).map(|told| told.refused).sum() };
    // By itself, every few seconds, so that a daemon that is killed takes no more with it.
    until_true("the rest is counted", || {
        of(&records(&world), AGENT, "submission") as u64 + told() == 200
    });
    world.daemon().kill();
    world.start_daemon();
    let records = records(&world);
    // A minute may have begun in the middle of it.
    let alone = of(&records, AGENT, "submission");
    assert!((60..=120).contains(&alone), "{alone}");
    let suppressed: Vec<_> = records.iter().filter_map(suppressed).collect();
    let sum: u64 = suppressed.iter().map(|told| told.refused).sum();
    assert_eq!(alone as u64 + sum, 200, "each is recorded or counted");
    for told in suppressed {
        assert_eq!(told.codes.values().sum::<u64>(), told.refused, "{told:?}");
    }
    let other = |kind| of(&records, OTHER_AGENT, kind);
    assert_eq!((other("submission"), other("suppression")), (1, 0));
}

fn of(records: &[AuditRecord], uid: u32, kind: &str) -> usize {
    let mine = |record: &&AuditRecord| {
        record.event.subject.uid == Some(uid) && record.event.what.kind() == kind
    };
    records.iter().filter(mine).count()
}

fn suppressed(record: &AuditRecord) -> Option<&Suppression> {
    match &record.event.what {
        What::Suppression(told) => Some(told),
        _ => None,
    }
}

fn records(world: &World) -> Vec<AuditRecord> {
    let state = world.state();
    let mut files: Vec<_> = std::fs::read_dir(state.join("audit")).unwrap().flatten().collect();
    files.sort_by_key(|file| file.file_name());
    let logs = files.iter().filter(|file| file.path().extension().is_some_and(|it| it == "jsonl"));
    let text: String = logs.map(|file| std::fs::read_to_string(file.path()).unwrap()).collect();
    // The last line may be half written.
    let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    lines.map(|line| serde_json::from_str(line).expect("a record")).collect()
}
