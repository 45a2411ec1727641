//! Questions to a person, and the answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ApprovalId, ExecutionId, SessionId};

/// How a question stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalState {
    /// Nobody has answered.
    Waiting,
    /// The request may be made, as often as `left` says.
    Approved,
    /// The request was made as often as it might.
    Spent,
    /// The request may not be made.
    Denied,
    /// Nobody answered in time, so the request may not be made.
    Expired,
}

/// The exact request that is asked for. A word of it changed is another request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestAsked {
    /// `http`, `https` or `tcp`.
    pub protocol: String,
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The method, where the request is seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The path with its query, where the request is seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Whether it asks for a WebSocket.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub websocket: bool,
    /// The length of its body, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<u64>,
    /// SHA-256 of its body in hexadecimal, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_sha256: Option<String>,
    /// Its header fields that say what a request with this path and body does (Content-Type, X-Amz-Target
    /// and the like), one a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields: Option<String>,
}

/// A question, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Its id.
    pub id: ApprovalId,
    /// How it stands.
    pub state: ApprovalState,
    /// Whose request it is.
    pub execution: ExecutionId,
    /// The execution's session.
    pub session: SessionId,
    /// The execution's owner.
    pub owner_uid: u32,
    /// The policy that has it asked.
    pub policy: String,
    /// The rule, with its file and line.
    pub rule: String,
    /// What is asked for.
    pub request: RequestAsked,
    /// SHA-256 over the request, its execution and the rule, in hexadecimal: what an answer is bound to.
    pub digest: String,
    /// When, RFC 3339 in UTC.
    pub asked_at: String,
    /// When it is denied if nobody has answered.
    pub deadline: String,
    /// Who answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_by: Option<u32>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<String>,
    /// How often the request may still be made.
    pub left: u32,
}

/// Questions of executions that have not finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalList {
    /// Oldest first.
    pub approvals: Vec<Approval>,
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerRequest {
    /// Whether the request may be made.
    pub approve: bool,
    /// How often, 1 to 1000; once if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}
