//! What came of asking the rules. Only a decision yields a permit, and whoever resolves, dials or
//! forwards takes a permit, so that nothing happens undecided.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::egress::ask::ASK_TIMEOUT;
use crate::egress::binding::Binding;
use crate::egress::host::{Destination, HostName};
use crate::egress::rule::{Protocol, RuleSource, Verdict};

/// What is done with TLS of an allowed connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Treatment {
    /// Bytes are passed on unseen. TLS is passed by its server name.
    Pass,
    /// TLS is ended here, and each request in it is decided.
    Inspect,
}

/// Why it was decided so: a code that stays the same for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A rule allows it.
    Allowed,
    /// A rule asks a person.
    ApprovalNeeded,
    /// A rule denies it.
    DeniedByRule,
    /// No rule names the host.
    HostNotAllowed,
    /// Rules name the host, but not the port.
    PortNotAllowed,
    /// Rules name host and port, for another protocol.
    ProtocolNotAllowed,
    /// Rules name the host, for other paths.
    PathNotAllowed,
    /// Rules name host and path, for other methods.
    MethodNotAllowed,
    /// It would become a WebSocket, which no rule lets it.
    WebSocketNotAllowed,
    /// The body is larger than any rule lets through.
    BodyTooLarge,
    /// The target is not one, or can be read in two ways.
    InvalidTarget,
    /// The method is none, or one that is never forwarded.
    InvalidMethod,
    /// The address isn't public, and no rule names it.
    AddressNotAllowed,
    /// Its server may take it for another request, which isn't allowed as freely.
    TakenOtherwise,
}

/// The right to resolve a name, to connect, or to forward one request.
#[derive(Debug, Clone)]
pub struct Permit {
    pub(crate) grant: Grant,
    pub(crate) rule: Arc<RuleSource>,
    pub(crate) treatment: Treatment,
    pub(crate) max_body: Option<u64>,
    pub(crate) ask_timeout: Option<Duration>,
    pub(crate) target: Option<String>,
    pub(crate) bindings: Vec<Arc<Binding>>,
}

/// What a permit is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// To ask for the addresses of a name.
    LookUp(HostName),
    /// To connect; where the treatment is [`Treatment::Inspect`], each request is decided by itself.
    Connect(Destination, Protocol),
    /// To forward one request.
    Request(Destination, Protocol),
}

/// A refusal, for whoever asked.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) rule: Arc<RuleSource>,
    pub(crate) cause: String,
    pub(crate) remedy: String,
}

/// A decision.
#[derive(Debug, Clone)]
pub struct Decision(pub(crate) Outcome);

#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    Allow(Permit),
    Ask(Permit, Refusal),
    Deny(Refusal),
}

/// An address that was checked for a permit: the only thing that may be dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CheckedAddress(pub(crate) SocketAddr);

impl Decision {
    /// What it says.
    pub fn verdict(&self) -> Verdict {
        match &self.0 {
            Outcome::Allow(_) => Verdict::Allow,
            Outcome::Ask(..) => Verdict::Ask,
            Outcome::Deny(_) => Verdict::Deny,
        }
    }

    /// Whether what this is about may be done wherever the other may, with the same credentials and, where the length
    /// of its body isn't known yet, with as long a body. A person who is asked is shown both.
    pub fn is_as_free_as(&self, other: &Self, body: Option<u64>) -> bool {
        let (Some(own), Some(permit)) = (self.prospect(), other.prospect()) else { return false };
        let is_free = self.verdict() == Verdict::Allow || Arc::ptr_eq(&own.rule, &permit.rule);
        let most = |permit: &Permit| permit.max_body.unwrap_or(u64::MAX);
        let has_room = body.is_some() || most(own) >= most(permit);
        let is_bound =
            |binding: &Arc<Binding>| own.bindings.iter().any(|one| Arc::ptr_eq(one, binding));
        is_free && has_room && permit.bindings.iter().all(is_bound)
    }

    /// The denial of a request that its server may take for the one that this is about, which isn't allowed as freely.
    pub fn taken_otherwise(self, method: &str) -> Self {
        let what = match self.0 {
            Outcome::Deny(_) => return self,
            Outcome::Ask(..) => "which is not allowed without asking a person",
            Outcome::Allow(_) => "which may not have as long a body, or not the same credentials",
        };
        Self(Outcome::Deny(Refusal {
            reason: Reason::TakenOtherwise,
            rule: Arc::clone(self.rule()),
            cause: format!("its query asks the server to take it for a {method}, {what}"),
            remedy: "Send it as what it is, without _method.".to_owned(),
        }))
    }

    /// Why.
    pub fn reason(&self) -> Reason {
        match &self.0 {
            Outcome::Allow(_) => Reason::Allowed,
            Outcome::Ask(_, refusal) | Outcome::Deny(refusal) => refusal.reason,
        }
    }

    /// Who says so.
    pub fn rule(&self) -> &Arc<RuleSource> {
        match &self.0 {
            Outcome::Allow(permit) => &permit.rule,
            Outcome::Ask(_, refusal) | Outcome::Deny(refusal) => &refusal.rule,
        }
    }

    /// How long a person has to answer, where one is asked.
    pub fn patience(&self) -> Option<Duration> {
        match &self.0 {
            Outcome::Ask(permit, _) => Some(permit.ask_timeout.unwrap_or(ASK_TIMEOUT)),
            Outcome::Allow(_) | Outcome::Deny(_) => None,
        }
    }

    /// The permit to be, to look at: what is allowed, or would be if a person agreed.
    pub fn prospect(&self) -> Option<&Permit> {
        match &self.0 {
            Outcome::Allow(permit) | Outcome::Ask(permit, _) => Some(permit),
            Outcome::Deny(_) => None,
        }
    }

    /// What is done with TLS; `None` where it is denied.
    pub fn treatment(&self) -> Option<Treatment> {
        self.prospect().map(|permit| permit.treatment)
    }

    /// The refusal, where it isn't simply allowed.
    pub fn refusal(&self) -> Option<&Refusal> {
        match &self.0 {
            Outcome::Allow(_) => None,
            Outcome::Ask(_, refusal) | Outcome::Deny(refusal) => Some(refusal),
        }
    }

    /// The permit, where it is allowed without asking anybody.
    ///
    /// # Errors
    /// The refusal, where it is denied or a person has to be asked.
    pub fn permit(self) -> Result<Permit, Refusal> {
        match self.0 {
            Outcome::Allow(permit) => Ok(permit),
            Outcome::Ask(_, refusal) | Outcome::Deny(refusal) => Err(refusal),
        }
    }

    /// The permit, after a person has agreed to exactly this.
    ///
    /// # Errors
    /// The refusal, where it is denied: nobody can agree to that.
    pub fn permit_after_approval(self) -> Result<Permit, Refusal> {
        match self.0 {
            Outcome::Allow(permit) | Outcome::Ask(permit, _) => Ok(permit),
            Outcome::Deny(refusal) => Err(refusal),
        }
    }
}

impl Permit {
    /// What it is for.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Where to; `None` for a look-up.
    pub fn destination(&self) -> Option<&Destination> {
        match &self.grant {
            Grant::LookUp(_) => None,
            Grant::Connect(destination, _) | Grant::Request(destination, _) => Some(destination),
        }
    }

    /// The rule that allows it.
    pub fn rule(&self) -> &Arc<RuleSource> {
        &self.rule
    }

    /// What is done with TLS.
    pub fn treatment(&self) -> Treatment {
        self.treatment
    }

    /// Bytes that the body may have, to be enforced while it streams; any number if `None`.
    pub fn max_body(&self) -> Option<u64> {
        self.max_body
    }

    /// How long a person has to agree, where one is asked and the rule says so.
    pub fn ask_timeout(&self) -> Option<Duration> {
        self.ask_timeout
    }

    /// The target to forward in place of the one that was asked for, where the rules compare paths:
    /// what was judged is what is sent. `None` where the target can stay as it is.
    pub fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }

    /// The credentials for this request.
    pub fn bindings(&self) -> &[Arc<Binding>] {
        &self.bindings
    }
}

impl CheckedAddress {
    /// The address to dial.
    pub fn socket(&self) -> SocketAddr {
        self.0
    }

    /// The address without the port.
    pub fn ip(&self) -> IpAddr {
        self.0.ip()
    }
}

impl Refusal {
    /// Why: a code for programs.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Who says so.
    pub fn rule(&self) -> &Arc<RuleSource> {
        &self.rule
    }

    /// Why, in a sentence.
    pub fn cause(&self) -> &str {
        &self.cause
    }

    /// What to do, in a sentence.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }
}

impl Reason {
    /// Every reason, in the order of the documentation.
    pub const ALL: &[Reason] = &[
        Reason::Allowed,
        Reason::ApprovalNeeded,
        Reason::DeniedByRule,
        Reason::HostNotAllowed,
        Reason::PortNotAllowed,
        Reason::ProtocolNotAllowed,
        Reason::PathNotAllowed,
        Reason::MethodNotAllowed,
        Reason::WebSocketNotAllowed,
        Reason::BodyTooLarge,
        Reason::InvalidTarget,
        Reason::InvalidMethod,
        Reason::AddressNotAllowed,
        Reason::TakenOtherwise,
    ];

    /// The code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::Allowed => "allowed",
            Reason::ApprovalNeeded => "approval_needed",
            Reason::DeniedByRule => "denied_by_rule",
            Reason::HostNotAllowed => "host_not_allowed",
            Reason::PortNotAllowed => "port_not_allowed",
            Reason::ProtocolNotAllowed => "protocol_not_allowed",
            Reason::PathNotAllowed => "path_not_allowed",
            Reason::MethodNotAllowed => "method_not_allowed",
            Reason::WebSocketNotAllowed => "websocket_not_allowed",
            Reason::BodyTooLarge => "body_too_large",
            Reason::InvalidTarget => "invalid_target",
            Reason::InvalidMethod => "invalid_method",
            Reason::AddressNotAllowed => "address_not_allowed",
            Reason::TakenOtherwise => "taken_otherwise",
        }
    }

    /// The reason of this code.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == name)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.cause, self.rule)
    }
}

impl std::error::Error for Refusal {}
