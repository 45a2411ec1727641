//! What a sandbox with a way out is made with: an authority that it alone will trust, the variables that lead
//! its programs there, and its sockets, on which nobody listens to it yet.
//!
//! One that is parked has its own from before its execution is submitted, so that all of its files and variables
//! are there when its interpreter starts. Nothing is served, counted, asked or recorded of it until it is opened,
//! once, for the execution that has claimed the sandbox. If none does, its key goes with it: it is kept nowhere.

use std::sync::Arc;

use supervisor_api::{ApiError, SessionId};
use supervisor_egress::Authority;
use supervisor_launch::Listeners;
use supervisor_policy::Resolved;

use super::{KeptWay, Way, Whose, environment};
use crate::supervisor::{Inner, internal};

/// A way out before it is opened.
pub struct ClosedWay {
    session: SessionId,
    kept: KeptWay,
}

impl ClosedWay {
    /// A new one for a sandbox with these sockets, in a session that is there or is to be the execution's own.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn new(session: SessionId, listeners: Listeners) -> Result<Self, ApiError> {
        let authority = Authority::new().map_err(internal)?;
        Ok(Self { session, kept: KeptWay { authority, listeners, taken_over: 0 } })
    }

    /// The session that its placeholders are of.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The variables by which programs find the proxy, the certificates and their placeholders.
    ///
    /// # Errors
    /// When the policy binds something that can't be a credential.
    pub fn environment(
        &self,
        inner: &Inner,
        policy: &Resolved,
    ) -> Result<Vec<(String, String)>, ApiError> {
        let (vault, session) = (inner.credentials.vault(), self.session.to_string());
        environment::environment(policy.egress(), vault, &session)
    }

    /// The certificate of the sandbox's own authority, in PEM.
    pub fn certificate(&self) -> String {
        self.kept.authority.pem()
    }

    /// Opens it, for an execution of its session.
    ///
    /// # Errors
    /// When the policy wants what can't be served.
    pub fn open(
        self,
        inner: &Arc<Inner>,
        policy: &Arc<Resolved>,
        whose: Whose,
    ) -> Result<Way, ApiError> {
        Way::through(inner, policy, Whose { session: self.session, ..whose }, self.kept)
    }
}
