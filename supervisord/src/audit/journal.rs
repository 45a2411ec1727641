//! Records in the journal too: a second copy, in another's keeping.

use supervisor_api::AuditEvent;

/// The same record for journald: its fields for the journal's own filters, its line to the byte.
pub fn tell_journal(line: &[u8], event: &AuditEvent) {
    let (what, subject) = (&event.what, &event.subject);
    let ruling = what.ruling();
    let rule = ruling.and_then(|ruling| ruling.rule.as_deref()).unwrap_or_default();
    let reason = ruling.map(|ruling| ruling.reason.as_str()).unwrap_or_default();
    let text = |id: Option<String>| id.unwrap_or_default();
    tracing::info!(
        target: "supervisord::audit::journal",
        kind = what.kind(),
        session = text(subject.session.map(|id| id.to_string())),
        execution = text(subject.execution.map(|id| id.to_string())),
        uid = subject.uid,
        host = what.host().unwrap_or_default(),
        rule,
        reason,
        "{}",
        String::from_utf8_lossy(line).trim_end(),
    );
}
