//! What the audit log says about one execution, as one digest.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AuditRecord, Digest32, ExecutionId, Verdict, What};

/// What was decided about an execution.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Decisions {
    /// Over the records of the audit log about the execution, from its submission to its outcome: SHA-256
    /// of the root so far and the record's own hash, 32 bytes each, beginning with 32 zero bytes. In
    /// hexadecimal.
    pub root: String,
    /// How many records.
    pub records: u64,
    /// Of them, decisions that allowed something.
    pub allowed: u64,
    /// Decisions that refused something, those that were counted instead of recorded among them.
    pub denied: u64,
    /// Requests that carried a credential, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub credential_uses: BTreeMap<String, u64>,
}

/// Adds up records, oldest first.
#[derive(Debug)]
pub struct DecisionsRoot {
    execution: ExecutionId,
    root: Digest32,
    found: Decisions,
    begun: bool,
    ended: bool,
}

impl DecisionsRoot {
    /// Nothing yet.
    pub fn new(execution: ExecutionId) -> Self {
        let (root, found) = (Digest32::default(), Decisions::default());
        Self { execution, root, found, begun: false, ended: false }
    }

    /// Takes a record. Those about others, or after the outcome, are passed over.
    pub fn take(&mut self, record: &AuditRecord) {
        if self.ended || record.event.subject.execution != Some(self.execution) {
            return;
        }
        let Some(hash) = Digest32::parse(&record.hash) else { return };
        self.root = Digest32::of(&[self.root.0, hash.0].concat());
        self.found.records += 1;
        match record.event.what.ruling().map(|ruling| ruling.verdict) {
            Some(Verdict::Allow) => self.found.allowed += 1,
            Some(Verdict::Deny) => self.found.denied += 1,
            Some(Verdict::Ask) | None => {}
        }
        match &record.event.what {
            What::Submission(_) => self.begun = true,
            What::Outcome(_) => self.ended = true,
            What::Suppression(more) => self.found.denied += more.refused,
            What::Egress(traffic) if traffic.ruling.verdict == Verdict::Allow => {
                let names = traffic.credential.iter().flat_map(|names| names.split(','));
                for name in names {
                    *self.found.credential_uses.entry(name.to_owned()).or_default() += 1;
                }
            }
            _ => {}
        }
    }

    /// Whether no record after this one counts.
    pub const fn is_complete(&self) -> bool {
        self.ended
    }

    /// What was found, if both the submission and the outcome were.
    pub fn finish(self) -> Option<Decisions> {
        let Self { root, found, begun, ended, .. } = self;
        (begun && ended).then(|| Decisions { root: root.to_string(), ..found })
    }
}
