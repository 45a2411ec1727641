//! Examples in policy files (`[[expect]]`): a submission and what the policy is to say to it. They
//! are run at load; a file whose examples fail does not load.

use std::fmt;

use crate::diagnostic::Diagnostic;
use crate::document::Origin;
use crate::egress::ClientOrigins;
use crate::egress::example::RequestExample;
use crate::limit::{Limit, Limits, LimitsAsked};
use crate::resolved::Resolved;

/// What an example expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted,
    Refused(Limit),
}

/// One example, checked.
#[derive(Debug, Clone)]
pub(crate) enum Example {
    Submission(SubmissionExample),
    Request(RequestExample),
}

/// What a submission asks for.
#[derive(Debug, Clone)]
pub(crate) struct SubmissionExample {
    pub asked: LimitsAsked,
    pub verdict: Verdict,
    pub origin: Origin,
}

/// Why a submission's limit is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// It is above the most that the policy allows.
    AboveMaximum,
    /// It is below what anything runs under.
    BelowLeast,
    /// It is zero, and zero is not a limit.
    Zero,
}

impl Example {
    /// Where it stands.
    pub fn origin(&self) -> &Origin {
        match self {
            Self::Submission(example) => &example.origin,
            Self::Request(example) => &example.origin,
        }
    }

    /// Runs the example against a policy; says how it fails, if it does.
    pub fn failure(&self, policy: &Resolved, clients: &ClientOrigins) -> Option<Diagnostic> {
        match self {
            Self::Submission(example) => example.failure(&policy.maximum()),
            Self::Request(example) => example.failure(policy.egress(), clients),
        }
    }
}

impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(example) => f.write_str(&example.text),
            Self::Submission(example) => {
                f.write_str("submit")?;
                for limit in Limit::ALL {
                    if let Some(value) = example.asked.get(*limit) {
                        write!(f, " {limit} {}", limit.show(value))?;
                    }
                }
                Ok(())
            }
        }
    }
}

impl SubmissionExample {
    /// Runs the example against the most that may be asked for; says how it fails, if it does.
    pub fn failure(&self, maximum: &Limits) -> Option<Diagnostic> {
        let said = refused(&self.asked, maximum);
        let found = match (said, self.verdict) {
            (None, Verdict::Accepted) => return None,
            (Some((limit, ..)), Verdict::Refused(expected)) if limit == expected => return None,
            (None, Verdict::Refused(_)) => "accepted".to_owned(),
            (Some((limit, value, RefusalReason::Zero)), _) => {
                format!("refused for {limit}, which is {value}")
            }
            (Some((limit, value, RefusalReason::BelowLeast)), _) => {
                let (asked, least) = (limit.show(value), limit.show(limit.least()));
                format!("refused for {limit}: {asked} is below the least, {least}")
            }
            (Some((limit, value, RefusalReason::AboveMaximum)), _) => {
                let (asked, most) = (limit.show(value), limit.show(maximum.get(limit)));
                format!("refused for {limit}: {asked} is above the maximum, {most}")
            }
        };
        let message = format!("this example fails: the submission is {found}");
        Some(self.origin.diagnostic(message).with_hint("correct the policy, or what is expected"))
    }
}

/// The first limit that can't be had, in the order of [`Limit::ALL`], and the value asked for.
pub(crate) fn refused(
    asked: &LimitsAsked,
    maximum: &Limits,
) -> Option<(Limit, u64, RefusalReason)> {
    Limit::ALL.iter().find_map(|limit| {
        let value = asked.get(*limit)?;
        let reason = if value == 0 && !limit.zero_is_no_limit() {
            RefusalReason::Zero
        } else if value < limit.least() {
            RefusalReason::BelowLeast
        } else if limit.exceeds(value, maximum.get(*limit)) {
            RefusalReason::AboveMaximum
        } else {
            return None;
        };
        Some((*limit, value, reason))
    })
}
