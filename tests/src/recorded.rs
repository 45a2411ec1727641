//! What the audit log says of executions: one submission and one end of each.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use supervisor_api::{AuditRecord, ExecutionId, Outcome, What};

use crate::{Told, World, program};

/// What a log has of every execution.
#[derive(Debug, Default)]
pub struct Recorded {
    /// Those that were submitted.
    pub submitted: BTreeSet<ExecutionId>,
    /// How they ended.
    pub ended: BTreeMap<ExecutionId, Outcome>,
}

impl Recorded {
    /// Reads a supervisor's log. Fails unless its chain is whole and it has each submission and each end once.
    #[track_caller]
    pub fn read(world: &World) -> Self {
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
        let mut recorded = Self::default();
        for file in files {
            for line in fs::read_to_string(file).expect("readable").lines() {
                recorded.add(serde_json::from_str(line).expect("a record"));
            }
        }
        recorded
    }

    #[track_caller]
    fn add(&mut self, record: AuditRecord) {
        let Some(id) = record.event.subject.execution else { return };
        match record.event.what {
            What::Submission(_) => assert!(self.submitted.insert(id), "{id} was submitted twice"),
            What::Outcome(end) => {
                // A daemon that died before it could say so in its store says it again.
                let before = self.ended.insert(id, end.outcome.clone());
                let same = before.is_none_or(|before| before == end.outcome);
                assert!(same, "the log has two ends of {id}");
            }
            _ => {}
        }
    }

    /// Fails unless this execution was submitted, and ended so.
    #[track_caller]
    pub fn expect(&self, id: ExecutionId, end: Option<&Outcome>) {
        assert!(self.submitted.contains(&id), "the log knows nothing of {id}");
        assert_eq!(self.ended.get(&id), end, "{id}");
    }
}
