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
    told(approval, verdict, reason, times)
}

/// An answer of this caller's was recorded and could not be kept, so that it is not given: the question stands
/// as it did before, which this says.
pub fn not_kept(before: &Approval, by: u32) -> AuditEvent {
    let verdict = match before.state {
        ApprovalState::Waiting => Verdict::Ask,
        ApprovalState::Approved | ApprovalState::Spent => Verdict::Allow,
        ApprovalState::Denied | ApprovalState::Expired => Verdict::Deny,
    };
    let times = (before.state == ApprovalState::Approved).then_some(before.left);
    let before = Approval { answered_by: Some(by), ..before.clone() };
    told(&before, verdict, "answer_unkept", times)
}

fn told(approval: &Approval, verdict: Verdict, reason: &str, times: Option<u32>) -> AuditEvent {
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
