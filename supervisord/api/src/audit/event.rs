//! What can be recorded.

mod log;
mod syscall;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ExecutionId, Mode, Outcome, SessionId, StartKind};

pub use log::{Checkpoint, Removal, Repair, Suppressed, Suppression, Suspension};
pub use syscall::DeniedCall;

/// Whom an event is about. What is not known, or makes no sense, is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Subject {
    /// The session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<ExecutionId>,
    /// The uid that owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was done.
    Allow,
    /// It was refused.
    Deny,
    /// A person was asked.
    Ask,
}

/// A decision: by which rule, why, and what would have made it another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ruling {
    /// What was decided.
    pub verdict: Verdict,
    /// The policy's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The rule within it, with its file and line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// A stable word for why.
    pub reason: String,
    /// Why, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What would have allowed it, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// The daemon began to serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Start {
    /// The daemon's version.
    pub version: String,
    /// Whether missing controls refuse or weaken.
    pub mode: Mode,
    /// Every policy in force: SHA-256 of its resolved form by its name.
    pub policies: BTreeMap<String, String>,
    /// The key that signs checkpoints from here on, in hexadecimal.
    pub key: String,
    /// What there was to hold the end of the log against.
    pub head: HeadState,
}

/// The signed statement of where the log ended, as a start found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HeadState {
    /// There was no log: it begins here.
    New,
    /// The log reaches it.
    Reached,
    /// It was missing: somebody accepted that nothing tells whether the end of the log is missing.
    Missing,
}

/// A submission, accepted or refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Submission {
    /// The decision.
    #[serde(flatten)]
    pub ruling: Ruling,
    /// The program, without its arguments, which may hold secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// The field of the request that was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// SHA-256 of the resolved policy, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_digest: Option<String>,
    /// The digest of the image, where it is one that root imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

/// The end of an execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ended {
    /// How it ended.
    pub outcome: Outcome,
    /// Time from start to end in milliseconds.
    pub wall_ms: u64,
    /// CPU time in milliseconds.
    pub cpu_ms: u64,
    /// Whether it found a sandbox parked; absent where it had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<StartKind>,
    /// Controls that held it in a weaker form, or not at all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weaker: Vec<String>,
}

/// A limit that was reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LimitHit {
    /// The decision: the limit is the rule.
    #[serde(flatten)]
    pub ruling: Ruling,
    /// The limit's name.
    pub limit: String,
    /// Its value, in its own unit.
    pub value: u64,
    /// How much was refused or cut, where that is known, in the limit's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<u64>,
}

/// Something that only an administrator may do, or did to what is somebody else's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Administration {
    /// What: the operation's name; `reload_failed` for one that changed nothing.
    pub act: String,
    /// Who: the uid that the kernel named; nobody for SIGHUP, whose sender isn't known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<u32>,
    /// To what, where it is no execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
}

/// What a start made of what an earlier daemon left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Recovery {
    /// `adopted`, `resumed`, `queued_again`, `written_off`, `destroyed`, or `put_off`: what can't be done yet; `missing`,
    /// a session without its workspace, `left`, workspaces of no session, `refused`, a start for which nothing of both
    /// belongs together, and `settled`, one that takes them as they are.
    pub act: String,
    /// Why, where it was not adopted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// A connection, a request or a look-up of a sandbox's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Traffic {
    /// The decision.
    #[serde(flatten)]
    pub ruling: Ruling,
    /// The host, or the name that was looked up.
    pub host: String,
    /// The port; 53 for a look-up.
    pub port: u16,
    /// `http`, `https`, `tcp` or `dns`.
    pub protocol: String,
    /// The method, where the request was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The path without its query, where the request was seen: the first 1,024 bytes of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How many bytes the path has, where these are only the first of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_bytes: Option<u64>,
    /// Whether it asked for a WebSocket.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub websocket: bool,
    /// The declared length of the request's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<u64>,
    /// The address that was dialled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The credential that was injected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// Bytes that went out.
    #[serde(default)]
    pub bytes_out: u64,
    /// Bytes that came in.
    #[serde(default)]
    pub bytes_in: u64,
    /// The upstream's status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What went wrong with what was allowed, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// Something that happened to a credential, or that was done with it. Never its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CredentialUse {
    /// The decision.
    #[serde(flatten)]
    pub ruling: Ruling,
    /// The credential's name.
    pub credential: String,
    /// `inject`, `refuse`, `refresh`, `rotate`, `revoke`, or `leak`: it, its placeholder or a decoy was
    /// where it never may be.
    pub act: String,
    /// Where it was going.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The administrator who did it, where it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<u32>,
}

/// A budget that had no more to give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exhaustion {
    /// The decision.
    #[serde(flatten)]
    pub ruling: Ruling,
    /// Whose budget: `session:…`, `credential:…` or `uid:…`.
    pub account: String,
    /// What it counts.
    pub meter: String,
    /// The limit.
    pub limit: u64,
    /// What was left of it.
    pub left: u64,
    /// What was asked for.
    pub asked: u64,
    /// Where the request was going.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// A person was asked, or answered, or didn't.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PersonsAnswer {
    /// The decision.
    #[serde(flatten)]
    pub ruling: Ruling,
    /// The approval's id.
    pub approval: String,
    /// Digest of the exact request.
    pub request: String,
    /// The host.
    pub host: String,
    /// The method, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Who answered; nobody if the deadline did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<u32>,
    /// For how many requests the answer is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}

/// Finished executions of one uid are about to be removed with all that is kept of them: those that came or ended
/// first, of too many or too much. If they can't be, it is tried again, and recorded again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Retirement {
    /// Which ones.
    pub executions: Vec<ExecutionId>,
    /// What there is too much of: `executions` or `kept_bytes`.
    pub of: String,
    /// How many executions of one uid may be kept, or how many bytes.
    pub most: u64,
}

macro_rules! whats {
    ($($(#[$doc:meta])* $variant:ident $(($body:ty))? = $name:literal,)*) => {
        /// What happened.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(tag = "kind")]
        pub enum What {
            $($(#[$doc])* #[serde(rename = $name)] $variant $(($body))?,)*
        }

        impl What {
            /// The word for it, `kind` in a record.
            #[allow(unused_variables, reason = "which variants have a body is for the table to say")]
            pub const fn kind(&self) -> &'static str {
                match self {
                    $(whats!(@pattern $variant $(($body))?) => $name,)*
                }
            }
        }

        /// Every kind there is.
        pub const fn kinds() -> &'static [&'static str] {
            &[$($name,)*]
        }
    };
    (@pattern $variant:ident ($body:ty)) => { What::$variant(_) };
    (@pattern $variant:ident) => { What::$variant };
}

whats! {
    /// The daemon began to serve.
    Start(Start) = "start",
    /// The daemon was told to end.
    Stop = "stop",
    /// A submission was accepted or refused.
    Submission(Submission) = "submission",
    /// An execution ended.
    Outcome(Ended) = "outcome",
    /// A limit was reached.
    Limit(LimitHit) = "limit",
    /// The payload made a system call that ends whoever makes it.
    Syscall(DeniedCall) = "syscall",
    /// An execution was to be ended.
    Cancellation(Administration) = "cancellation",
    /// An administrator acted.
    Administration(Administration) = "administration",
    /// A start took over what an earlier daemon left.
    Recovery(Recovery) = "recovery",
    /// A connection or a request.
    Egress(Traffic) = "egress",
    /// A name was looked up.
    Dns(Traffic) = "dns",
    /// A credential was used.
    Credential(CredentialUse) = "credential",
    /// A budget was exhausted.
    Budget(Exhaustion) = "budget",
    /// A person was asked or answered.
    Approval(PersonsAnswer) = "approval",
    /// All before it is signed.
    Checkpoint(Checkpoint) = "checkpoint",
    /// What a crash had left was cut off.
    Repair(Repair) = "repair",
    /// The oldest file goes.
    Removal(Removal) = "removal",
    /// The oldest of an owner's finished executions go.
    Retirement(Retirement) = "retirement",
    /// There was no room for a while.
    Suspension(Suspension) = "suspension",
    /// Refusals of one uid that are counted instead of recorded.
    Suppression(Suppression) = "suppression",
}

/// Something to record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEvent {
    /// What happened.
    #[serde(flatten)]
    pub what: What,
    /// Whom it is about.
    #[serde(flatten)]
    pub subject: Subject,
}

impl What {
    /// The decision in it, if it is one.
    pub const fn ruling(&self) -> Option<&Ruling> {
        match self {
            Self::Submission(event) => Some(&event.ruling),
            Self::Limit(event) => Some(&event.ruling),
            Self::Syscall(event) => Some(&event.ruling),
            Self::Egress(event) | Self::Dns(event) => Some(&event.ruling),
            Self::Credential(event) => Some(&event.ruling),
            Self::Budget(event) => Some(&event.ruling),
            Self::Approval(event) => Some(&event.ruling),
            _ => None,
        }
    }

    /// What went wrong with what was allowed.
    pub fn failure(&self) -> Option<&str> {
        match self {
            Self::Egress(event) => event.failure.as_deref(),
            _ => None,
        }
    }

    /// The host that it is about.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Egress(event) | Self::Dns(event) => Some(&event.host),
            Self::Approval(event) => Some(&event.host),
            Self::Credential(event) => event.host.as_deref(),
            Self::Budget(event) => event.host.as_deref(),
            _ => None,
        }
    }

    /// Whether it is about this execution, of which there may be several.
    pub fn concerns_execution(&self, id: ExecutionId) -> bool {
        match self {
            Self::Retirement(event) => event.executions.contains(&id),
            _ => false,
        }
    }

    /// Whether it is about this credential.
    pub fn concerns(&self, credential: &str) -> bool {
        match self {
            Self::Credential(event) => event.credential == credential,
            Self::Egress(event) => event
                .credential
                .as_ref()
                .is_some_and(|all| all.split(',').any(|it| it == credential)),
            Self::Budget(event) => event.account.strip_prefix("credential:") == Some(credential),
            _ => false,
        }
    }

    /// This, about nobody in particular.
    pub fn about_nobody(self) -> AuditEvent {
        self.about(Subject::default())
    }

    /// This, about somebody.
    pub const fn about(self, subject: Subject) -> AuditEvent {
        AuditEvent { what: self, subject }
    }
}

impl Ruling {
    /// A decision for this reason, by no rule yet.
    pub fn new(verdict: Verdict, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { verdict, policy: None, rule: None, reason, cause: None, remedy: None }
    }
}
