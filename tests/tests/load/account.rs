//! The audit log has one submission and one end of every execution, the one that its caller was told.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use supervisor_api::{AuditRecord, ExecutionId, Outcome, What};
use supervisor_tests::{Told, World, program};

use crate::caller::End;

/// Fails unless it is so.
#[track_caller]
pub fn expect(world: &World, ends: &BTreeMap<ExecutionId, End>) {
    let mut verify = Command::new(program("supervisorctl"));
    verify.args(["audit", "verify", "--state"]).arg(world.state());
    let verified = Told::of(verify);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let mut files: Vec<_> = fs::read_dir(world.state().join("audit"))
        .expect("there is a log")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
        .collect();
    files.sort();
    let (mut submitted, mut ended) = (BTreeSet::new(), BTreeMap::new());
    for file in files {
        for line in fs::read_to_string(file).expect("readable").lines() {
            let record: AuditRecord = serde_json::from_str(line).expect("a record");
            let Some(id) = record.event.subject.execution else { continue };
            match record.event.what {
                What::Submission(_) => assert!(submitted.insert(id), "{id} was submitted twice"),
                What::Outcome(end) => {
                    // A daemon that died before it could say so in its store says it again.
                    let before = ended.insert(id, end.outcome.clone());
                    let same = before.is_none_or(|before| before == end.outcome);
                    assert!(same, "the log has two ends of {id}");
                }
                _ => {}
            }
        }
    }
    for (id, end) in ends {
        assert!(submitted.contains(id), "the log knows nothing of {id}");
        assert_eq!(ended.get(id), Some(&end.outcome), "{id}");
    }
    // What a daemon recorded and died over before it told anybody is no execution: nothing of it ran.
    for id in submitted.difference(&ends.keys().copied().collect()) {
        let end = ended.get(id);
        assert!(matches!(end, None | Some(Outcome::Lost { .. })), "nobody knows of {id}: {end:?}");
    }
}
