//! What changes, as callers follow it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Approval, Credential, ExecutionId, Mode, Outcome, SessionId, SessionState, State};

/// Something is in another state. Who follows is told first how everything is that has not ended, then
/// every change; of several that come faster than they are read, the last is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// An execution.
    Execution(ExecutionEvent),
    /// A session.
    Session(SessionEvent),
    /// A question to a person.
    Approval(Box<Approval>),
    /// Configuration and policies.
    Generation(GenerationEvent),
    /// A credential, for administrators: it was rotated, revoked or fetched, or its source has failed.
    Credential(Credential),
}

/// The state of an execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionEvent {
    /// Which one.
    pub execution: ExecutionId,
    /// Its session.
    pub session: SessionId,
    /// Whose it is.
    pub owner_uid: u32,
    /// Where it is in its life.
    pub state: State,
    /// How it ended, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// The state of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionEvent {
    /// Which one.
    pub session: SessionId,
    /// Whose it is.
    pub owner_uid: u32,
    /// Where it is in its life; `closed` once it is gone.
    pub state: SessionState,
    /// When it will be closed, RFC 3339 in UTC.
    pub expires_at: String,
    /// Executions in it that have not finished.
    pub executions: u64,
}

/// What is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GenerationEvent {
    /// Which reading of configuration and policies since the daemon started.
    pub generation: u64,
    /// Whether missing controls refuse or weaken.
    pub mode: Mode,
}
