//! Recorded decisions, put to a policy again: which of them would be others now, and which rules were
//! never needed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::egress::Egress;
use crate::egress::decision::{Decision, Reason};
use crate::egress::question::Question;
use crate::egress::rule::{RuleSource, Verdict};

/// A decision that was made once.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// What was asked.
    pub question: Question,
    /// What was decided.
    pub verdict: Verdict,
    /// Why, by its code.
    pub reason: String,
    /// Whose session it was; empty where nobody noted it.
    pub session: String,
}

/// What a policy says to recorded decisions.
#[derive(Debug, Clone, Default)]
pub struct Replay {
    /// Decisions that would be others, each once, with the sessions.
    pub changes: Vec<Reversal>,
    /// Rules that decided nothing.
    pub unused: Vec<Arc<RuleSource>>,
    /// Decisions that were replayed.
    pub replayed: usize,
}

/// A decision that would be another one.
#[derive(Debug, Clone)]
pub struct Reversal {
    /// What was asked.
    pub question: Question,
    /// What was decided.
    pub recorded: Verdict,
    /// What would be decided.
    pub now: Decision,
    /// How often it was asked.
    pub times: usize,
    /// In which sessions.
    pub sessions: BTreeSet<String>,
}

impl Egress {
    /// Puts recorded decisions to these rules.
    pub fn replay<'a>(&self, recorded: impl IntoIterator<Item = &'a Recorded>) -> Replay {
        let mut replay = Replay::default();
        let mut used: BTreeSet<String> = BTreeSet::new();
        let mut known: BTreeMap<(&Question, Verdict), usize> = BTreeMap::new();
        for decision in recorded {
            replay.replayed += 1;
            let now = decision.question.put_to(self);
            if let Some(rule) = now.rule().rule() {
                used.insert(rule.to_owned());
            }
            // What the resolver or a budget refused is for no rule to change.
            if now.verdict() == decision.verdict || !is_of_rules(decision) {
                continue;
            }
            let key = (&decision.question, decision.verdict);
            let at = *known.entry(key).or_insert(replay.changes.len());
            if replay.changes.get(at).is_none() {
                replay.changes.push(Reversal {
                    question: decision.question.clone(),
                    recorded: decision.verdict,
                    now,
                    times: 0,
                    sessions: BTreeSet::new(),
                });
            }
            if let Some(change) = replay.changes.get_mut(at) {
                change.times += 1;
                change.sessions.insert(decision.session.clone());
            }
        }
        let unused = self.rules.iter().filter(|rule| !used.contains(rule.name()));
        replay.unused = unused.map(|rule| Arc::clone(&rule.source)).collect();
        replay
    }
}

/// Whether rules decided it by what is on record, and not an address, a budget, a broken connection, or a query or field
/// that isn't recorded.
fn is_of_rules(decision: &Recorded) -> bool {
    decision.verdict != Verdict::Deny
        || Reason::from_name(&decision.reason).is_some_and(|reason| {
            !matches!(reason, Reason::AddressNotAllowed | Reason::TakenOtherwise)
        })
}
