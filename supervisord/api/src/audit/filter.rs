//! Which records to look for.

use super::event::Verdict;
use super::record::AuditRecord;
use super::time::AuditTime;
use crate::{ExecutionId, SessionId};

/// What a record has to be; what is left out is not asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// About this session.
    pub session: Option<SessionId>,
    /// About this execution.
    pub execution: Option<ExecutionId>,
    /// About what this uid owns.
    pub uid: Option<u32>,
    /// Of this kind, one of [`kinds`](super::kinds).
    pub kind: Option<String>,
    /// Decided by a rule whose text holds this.
    pub rule: Option<String>,
    /// About this host.
    pub host: Option<String>,
    /// About this credential, by name.
    pub credential: Option<String>,
    /// With this verdict.
    pub verdict: Option<Verdict>,
    /// Not before this time.
    pub since: Option<AuditTime>,
    /// Before this time.
    pub until: Option<AuditTime>,
}

impl AuditFilter {
    /// Whether a record is one of those.
    pub fn matches(&self, record: &AuditRecord) -> bool {
        let (what, subject) = (&record.event.what, &record.event.subject);
        let ruling = what.ruling();
        let asked = |holds: Option<bool>| holds.unwrap_or(true);
        asked(self.session.map(|session| subject.session == Some(session)))
            && asked(
                self.execution
                    .map(|id| subject.execution == Some(id) || what.concerns_execution(id)),
            )
            && asked(self.uid.map(|uid| subject.uid == Some(uid)))
            && asked(self.kind.as_ref().map(|kind| what.kind() == kind))
            && asked(self.host.as_ref().map(|host| what.host() == Some(host)))
            && asked(self.credential.as_ref().map(|credential| what.concerns(credential)))
            && asked(self.verdict.map(|wanted| ruling.is_some_and(|it| it.verdict == wanted)))
            && asked(self.rule.as_ref().map(|rule| {
                let found = ruling.and_then(|ruling| ruling.rule.as_ref());
                found.is_some_and(|found| found.contains(rule.as_str()))
            }))
            && self.is_in_time(&record.time)
    }

    /// Whether a record of this time can be one of those. Times of one form in one zone are in the
    /// order of their text.
    pub fn is_in_time(&self, time: &str) -> bool {
        self.since.as_ref().is_none_or(|since| time >= since.as_str())
            && self.until.as_ref().is_none_or(|until| time < until.as_str())
    }

    /// A text that every line of such a record holds, so that most others need not be read.
    pub fn mark(&self) -> Option<String> {
        let execution = self.execution.map(|id| id.to_string());
        let session = self.session.map(|id| id.to_string());
        let kind = self.kind.as_ref().map(|kind| format!("\"kind\":\"{kind}\""));
        let uid = self.uid.map(|uid| format!("\"uid\":{uid}"));
        execution.or(session).or(kind).or(uid)
    }
}
