//! Asking a person, as traffic does it.

use std::sync::Arc;

use supervisor_api::{Digest32, RequestAsked};
use supervisor_egress::credential::Pending;
use supervisor_egress::{Declined, Question};
use supervisor_policy::egress::{ASK_TIMEOUT, Ask, Protocol, Verdict};

use crate::approval::{self, Answer};
use crate::supervisor::Inner;
use crate::traffic::Whose;

/// Asks what the rules of one sandbox want to have asked.
pub struct Approvals {
    inner: Arc<Inner>,
    policy: String,
    whose: Whose,
}

impl Approvals {
    /// For the sandbox of one execution under a policy of this name.
    pub fn new(inner: Arc<Inner>, policy: &str, whose: Whose) -> Self {
        Self { inner, policy: policy.to_owned(), whose }
    }

    /// Whether the policy that is in force now asks this by the same rule.
    fn still_asks(&self, question: &Question<'_>, rule: &str) -> bool {
        let generation = self.inner.settings.current();
        let Some(policy) = generation.policies.resolve(&self.policy) else { return false };
        let decision = match question.protocol {
            Protocol::Tcp => policy.egress().connect(question.destination, question.protocol),
            _ if question.method.is_empty() => {
                policy.egress().connect(question.destination, question.protocol)
            }
            protocol => policy.egress().request(&Ask {
                destination: question.destination,
                protocol,
                method: question.method,
                target: question.target,
                websocket: question.websocket,
                body: question.body,
            }),
        };
        decision.verdict() == Verdict::Ask && decision.rule().to_string() == rule
    }

    async fn answer(&self, question: &Question<'_>) -> Result<(), Declined> {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let rule = question.decision.rule().to_string();
        let asked = approval::Question {
            execution: self.whose.execution,
            session: self.whose.session,
            uid: self.whose.uid,
            policy: self.policy.clone(),
            rule: rule.clone(),
            request: RequestAsked {
                protocol: question.protocol.as_str().to_owned(),
                host: question.destination.host.to_string(),
                port: question.destination.port,
                method: text(question.method),
                path: text(question.target),
                websocket: question.websocket,
                body: question.body,
                fields: question.fields.map(str::to_owned),
                body_sha256: question.body_sha256.map(|digest| Digest32(digest).to_string()),
            },
            deadline: question.decision.patience().unwrap_or(ASK_TIMEOUT),
        };
        let still_asks = || self.still_asks(question, &rule);
        match self.inner.approvals.ask(&asked, still_asks).await {
            Answer::Approved { .. } => Ok(()),
            Answer::Refused { reason, .. } => Err(declined(reason)),
        }
    }
}

impl supervisor_egress::Approvals for Approvals {
    fn ask<'a>(&'a self, question: &'a Question<'a>) -> Pending<'a, Result<(), Declined>> {
        Box::pin(self.answer(question))
    }
}

/// What a payload is told of an answer that is not yes.
fn declined(code: &'static str) -> Declined {
    let (cause, remedy) = match code {
        "approval_denied" => ("a person has denied this request", "Do without it."),
        "approval_expired" => ("nobody has answered in time", "Ask an operator, and try again."),
        "approval_spent" => ("it was made as often as it may be", "Ask an operator for more."),
        "policy_changed" => ("the policy has changed while it waited", "Try again."),
        "too_many_questions" => (
            "too many requests wait for an answer, or had none within the last hour",
            "Wait for those, or an hour.",
        ),
        _ => ("the question can't be kept", "Tell the administrator of this host."),
    };
    Declined { code, cause: cause.to_owned(), remedy: remedy.to_owned() }
}
