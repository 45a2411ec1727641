//! What a sandbox's traffic needs from the daemon: a record of decisions, budgets, credentials, and
//! people to ask.

use std::fmt;
use std::sync::Arc;

use supervisor_policy::egress::{Binding, Budgets, Decision, Destination, Protocol};

use crate::credential::{Credentials, Pending};
use crate::event::Recorder;
use crate::relay::Reservation;

/// Whose traffic it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The session, as it stands in the API.
    pub session: Arc<str>,
    /// The execution within it.
    pub execution: Arc<str>,
    /// Who owns the session.
    pub uid: u32,
}

/// What one sandbox's traffic is given.
#[derive(Clone)]
pub struct Seams {
    /// Takes every decision.
    pub recorder: Arc<dyn Recorder>,
    /// Keeps the budgets.
    pub ledger: Arc<dyn Ledger>,
    /// Puts credentials into requests.
    pub credentials: Arc<dyn Credentials>,
    /// Asks people.
    pub approvals: Arc<dyn Approvals>,
}

/// What is about to be used of a session's budgets.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Whose budgets.
    pub identity: &'a Identity,
    /// What the session may use.
    pub budgets: &'a Budgets,
    /// The credentials that will be used, each with budgets of its own.
    pub bindings: &'a [Arc<Binding>],
    /// Where to.
    pub destination: &'a Destination,
    /// Whether the method isn't safe (RFC 9110 §9.2.1). A connection that is passed on is taken for
    /// one with such requests in it.
    pub is_unsafe: bool,
    /// Bytes that will be sent, as far as they are known before.
    pub bytes_out: u64,
}

/// Why nothing is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// A budget doesn't suffice.
    Exhausted,
    /// Budgets can't be kept for now, and nothing is spent uncounted.
    Unkept,
}

impl Lack {
    /// The word for it in answers and records.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Exhausted => "budget_exhausted",
            Self::Unkept => "budgets_unkept",
        }
    }
}

/// Nothing is spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overspent {
    /// Why.
    pub lack: Lack,
    /// Which budget, what it is and what is left of it, in a sentence.
    pub cause: String,
    /// What to do about it, in a sentence.
    pub remedy: String,
}

impl std::fmt::Display for Overspent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.cause)
    }
}

impl std::error::Error for Overspent {}

/// Keeps budgets.
pub trait Ledger: Send + Sync {
    /// Sets aside what a request or connection needs. `None` where nothing is counted.
    ///
    /// # Errors
    ///
    /// When a budget doesn't suffice; nothing may be sent.
    fn reserve<'a>(&'a self, claim: &'a Claim<'a>) -> Pending<'a, Reserved>;
}

/// What was set aside, if anything is counted.
pub type Reserved = Result<Option<Box<dyn Reservation>>, Overspent>;

/// A request that a person has to agree to.
#[derive(Debug)]
pub struct Question<'a> {
    /// Whose request.
    pub identity: &'a Identity,
    /// What the rules say, with the rule that asks.
    pub decision: &'a Decision,
    /// Where to.
    pub destination: &'a Destination,
    /// What is spoken there.
    pub protocol: Protocol,
    /// The method; empty for plain TCP.
    pub method: &'a str,
    /// The target in origin form; empty for plain TCP.
    pub target: &'a str,
    /// Whether it would become a WebSocket.
    pub websocket: bool,
    /// Bytes of the body; none for plain TCP.
    pub body: Option<u64>,
    /// SHA-256 of the body, where there is one.
    pub body_sha256: Option<[u8; 32]>,
    /// The fields of its head that say what a request with this target and body does, one a line.
    pub fields: Option<&'a str>,
}

/// Why a request that had to be agreed to is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declined {
    /// The stable code, such as `approval_denied` or `approval_timed_out`.
    pub code: &'static str,
    /// What happened, in a sentence.
    pub cause: String,
    /// What to do about it, in a sentence.
    pub remedy: String,
}

/// Asks people.
pub trait Approvals: Send + Sync {
    /// Waits for an answer, with a deadline that denies. Dropping the future withdraws the question.
    ///
    /// # Errors
    ///
    /// When nobody has agreed.
    fn ask<'a>(&'a self, question: &'a Question<'a>) -> Pending<'a, Result<(), Declined>>;
}

impl fmt::Debug for Seams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seams").finish_non_exhaustive()
    }
}
