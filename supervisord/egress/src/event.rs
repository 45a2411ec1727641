//! What a sandbox's traffic does, for the audit log. Every decision is an event when it is taken, and
//! one that let bytes pass has another when it has ended, with the same number.

use std::future::ready;

use supervisor_policy::egress::{Decision, Destination, Protocol, Verdict};

use crate::credential::{CredentialRefusal, Pending};
use crate::refused::Refused;
use crate::seam::Overspent;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A decision, or a refusal that needed none.
    Decided(Decided),
    /// The end of what was allowed.
    Ended(Ended),
    /// A credential went into a request, or something was refused on its account.
    Credential(CredentialEvent),
}

/// What was done with a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialEvent {
    /// The number of the request.
    pub number: u64,
    /// Which credential, where it is known.
    pub credential: Option<String>,
    /// Where the request was going.
    pub destination: Destination,
    /// The rule that lets the request be made.
    pub rule: String,
    /// Why it is refused; nothing where it isn't.
    pub refusal: Option<CredentialRefusal>,
}

/// A decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// The number of this look-up, connection or request in its sandbox, counted from 1.
    pub number: u64,
    /// What was asked.
    pub subject: Subject,
    /// What was decided.
    pub verdict: Verdict,
    /// The rule that says so, with policy, file and line; `None` where no rule was asked.
    pub rule: Option<String>,
    /// The stable code.
    pub code: &'static str,
    /// Why it was refused, in a sentence.
    pub cause: Option<String>,
    /// What would help, in a sentence.
    pub remedy: Option<String>,
    /// The credentials that the request gets.
    pub credentials: Vec<String>,
    /// Somebody should look at this now.
    pub alarm: bool,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The address of a name, or what else was asked of it.
    LookUp(String),
    /// A connection that is passed on.
    Connection {
        /// Where to, as far as it could be told.
        destination: Option<Destination>,
        /// What is spoken, as far as it could be told.
        protocol: Option<Protocol>,
    },
    /// A request.
    Request {
        /// Where to.
        destination: Destination,
        /// HTTP or HTTPS.
        protocol: Protocol,
        /// The method.
        method: String,
        /// The path. Without the query, which may hold what nobody should read in a log.
        path: String,
        /// Whether it would become a WebSocket.
        websocket: bool,
        /// Bytes of the body where they are known.
        body: Option<u64>,
    },
}

/// The end of a connection or request that was allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The number of the decision.
    pub number: u64,
    /// The status of the response that was passed on or given.
    pub status: Option<u16>,
    /// Bytes sent to the upstream, heads included.
    pub sent: u64,
    /// Bytes received from it, heads included.
    pub received: u64,
    /// How it ended: `done`, or the code of what cut it short.
    pub how: &'static str,
    /// What went wrong, where it did not come to an end of its own and nobody is told otherwise.
    pub failure: Option<Failure>,
}

/// What went wrong with what was allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What, in a sentence.
    pub cause: String,
    /// What helps, in a sentence.
    pub remedy: String,
}

impl Failure {
    /// What a request is answered with that was allowed, unless that has a record of its own.
    pub fn of(refused: &Refused) -> Option<Self> {
        let (cause, remedy) = (refused.cause.clone(), refused.remedy.clone());
        (!refused.is_recorded).then_some(Self { cause, remedy })
    }

    /// A budget that is used up in the middle.
    pub fn overspent(overspent: &Overspent) -> Self {
        Self { cause: overspent.cause.clone(), remedy: overspent.remedy.clone() }
    }

    /// A budget that bytes have used up which nobody looks into.
    pub fn used_up() -> Self {
        Self {
            cause: "a budget was used up by it".to_owned(),
            remedy: "supervisorctl budgets shows what is left; have the policy's budgets raised."
                .to_owned(),
        }
    }

    /// The upstream did this with its answer.
    pub fn of_upstream(cause: &str) -> Self {
        let remedy = "The policy allows this; the upstream is at fault. Try again later.";
        Self { cause: cause.to_owned(), remedy: remedy.to_owned() }
    }
}

impl CredentialEvent {
    /// The same request, refused.
    pub fn refused(&self, refusal: &CredentialRefusal) -> Self {
        let credential = refusal.credential.as_ref().map(ToString::to_string);
        Self { credential, refusal: Some(refusal.clone()), ..self.clone() }
    }
}

/// Takes events. It must not block; where it can't keep up it has to end what it can't record.
pub trait Recorder: Send + Sync {
    /// Takes one event of one sandbox.
    fn record(&self, event: Event);

    /// Ready when there is room for what comes next; asked before every connection and every request, so
    /// that a sandbox which is too fast for its record waits.
    fn room(&self) -> Pending<'_, ()> {
        Box::pin(ready(()))
    }
}

impl Decided {
    /// What the rules decided.
    pub fn by_rules(number: u64, subject: Subject, decision: &Decision) -> Self {
        let refusal = decision.refusal();
        Self {
            number,
            subject,
            verdict: decision.verdict(),
            rule: Some(decision.rule().to_string()),
            code: decision.reason().as_str(),
            cause: refusal.map(|refusal| refusal.cause().to_owned()),
            remedy: refusal.map(|refusal| refusal.remedy().to_owned()),
            credentials: Vec::new(),
            alarm: false,
        }
    }

    /// What was refused, by a rule or before one was asked.
    pub fn refused(number: u64, subject: Subject, refused: &Refused) -> Self {
        Self {
            number,
            subject,
            verdict: Verdict::Deny,
            rule: refused.rule.clone(),
            code: refused.code,
            cause: Some(refused.cause.clone()),
            remedy: Some(refused.remedy.clone()),
            credentials: Vec::new(),
            alarm: refused.alarm,
        }
    }
}
