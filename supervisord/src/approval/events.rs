//! What the audit log says of questions and answers.

use supervisor_api::{
    Approval, ApprovalState, AuditEvent, PersonsAnswer, Ruling, Subject, Verdict, What,
};

/// A question as it stands now; `times` is how often an approval is good for.
pub fn event(approval: &Approval, times: Option<u32>) -> AuditEvent {
    let (verdict, reason) = match approval.state {
        ApprovalState::Waiting => (Verdict::Ask, "approval_needed"),
        ApprovalState::Approved | ApprovalState::Spent => (Verdict::Allow, "approved"),
        ApprovalState::Denied => (Verdict::Deny, "approval_denied"),
        ApprovalState::Expired => (Verdict::Deny, "approval_expired"),
    };
    let ruling = Ruling {
        policy: Some(approval.policy.clone()),
        rule: Some(approval.rule.clone()),
        remedy: (verdict == Verdict::Deny)
            .then(|| "have it approved with `supervisorctl approvals approve` in time".to_owned()),
        ..Ruling::new(verdict, reason)
    };
    let answer = PersonsAnswer {
        ruling,
        approval: approval.id.to_string(),
        request: approval.digest.clone(),
        host: approval.request.host.clone(),
        method: approval.request.method.clone(),
        by: approval.answered_by,
        times,
    };
    What::Approval(answer).about(Subject {
        session: Some(approval.session),
        execution: Some(approval.execution),
        uid: Some(approval.owner_uid),
    })
}
