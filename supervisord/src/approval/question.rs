//! What is asked, and its digest.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use supervisor_api::{Digest32, ExecutionId, RequestAsked, SessionId};

/// What begins every digest, so that none means anything else.
const FORM: &[u8] = b"supervisord approval 2";

/// A request that a rule has asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Whose request it is.
    pub execution: ExecutionId,
    /// The execution's session.
    pub session: SessionId,
    /// The execution's owner.
    pub uid: u32,
    /// The policy.
    pub policy: String,
    /// The rule, with its file and line.
    pub rule: String,
    /// The request.
    pub request: RequestAsked,
    /// How long to wait for an answer; an hour at the most.
    pub deadline: Duration,
}

impl Question {
    /// What an answer is bound to. Each part is preceded by its length, so that no two requests are
    /// alike; a part that is missing has a length that none has.
    pub fn digest(&self) -> Digest32 {
        let mut hash = Sha256::new();
        let mut part = |bytes: Option<&[u8]>| {
            let length = bytes.map_or(u64::MAX, |bytes| bytes.len() as u64);
            hash.update(length.to_be_bytes());
            hash.update(bytes.unwrap_or_default());
        };
        let RequestAsked {
            protocol,
            host,
            port,
            method,
            path,
            websocket,
            body,
            body_sha256,
            fields,
        } = &self.request;
        part(Some(FORM));
        part(Some(&self.execution.bits().to_be_bytes()));
        part(Some(self.policy.as_bytes()));
        part(Some(self.rule.as_bytes()));
        part(Some(protocol.as_bytes()));
        part(Some(host.as_bytes()));
        part(Some(&port.to_be_bytes()));
        part(method.as_ref().map(String::as_bytes));
        part(path.as_ref().map(String::as_bytes));
        part(Some(&[u8::from(*websocket)]));
        part(body.map(u64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice));
        part(body_sha256.as_ref().map(String::as_bytes));
        part(fields.as_ref().map(String::as_bytes));
        Digest32(hash.finalize().into())
    }
}
