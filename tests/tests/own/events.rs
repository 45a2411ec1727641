//! What a flood of refusals leaves in the audit log.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use supervisor_api::{AuditRecord, SubmitRequest};
use supervisor_tests::{AGENT, OTHER_AGENT, World, bash};

/// The log keeps what happened before, however often somebody is refused.
#[test]
fn a_flood_of_refused_submissions_is_answered_and_counted_and_does_not_fill_the_log() {
    let mut world = World::open();
    let refused = SubmitRequest { policy: Some("nosuch".to_owned()), ..bash("true") };
    for _ in 0..200 {
        assert!(world.agent(AGENT).submit(&refused).is_err());
    }
    assert!(world.agent(OTHER_AGENT).submit(&refused).is_err());
    world.daemon().end();
    world.start_daemon();
    let state = world.state();
    let mut files: Vec<_> = std::fs::read_dir(state.join("audit")).unwrap().flatten().collect();
    files.sort_by_key(|file| file.file_name());
    let logs = files.iter().filter(|file| file.path().extension().is_some_and(|it| it == "jsonl"));
    let text: String = logs.map(|file| std::fs::read_to_string(file.path()).unwrap()).collect();
    let records: Vec<AuditRecord> =
        text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect();
    let of = |uid: u32, kind: &str| {
        let mine = |record: &&AuditRecord| {
            record.event.subject.uid == Some(uid) && record.event.what.kind() == kind
        };
        records.iter().filter(mine).count()
    };
    // A minute may have begun in the middle of it.
    assert!((60..=120).contains(&of(AGENT, "submission")), "{}", of(AGENT, "submission"));
    let suppressed = records.iter().filter_map(|record| match &record.event.what {
        supervisor_api::What::Suppression(told) => Some(told.refused),
        _ => None,
    });
    let sum: u64 = suppressed.sum();
    assert_eq!(of(AGENT, "submission") as u64 + sum, 200, "each is recorded or counted");
    assert_eq!((of(OTHER_AGENT, "submission"), of(OTHER_AGENT, "suppression")), (1, 0));
}
