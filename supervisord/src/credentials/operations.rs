//! What administrators do with credentials, for whichever front end was asked. No operation tells a
//! value or takes one.

use supervisor_api::{ApiError, Credential, CredentialList, CredentialState, ErrorCode};
use supervisor_egress::credential::{Condition, CredentialName, Listing};
use tokio::task::spawn_blocking;

use super::loaded::CredentialError;
use super::notices::administered;
use crate::supervisor::{Caller, Role, Supervisor};

impl Supervisor {
    /// All credentials: names, kinds and how they are.
    ///
    /// # Errors
    /// For callers who are no administrators.
    pub fn credentials(&self, caller: &Caller) -> Result<CredentialList, ApiError> {
        administrators(caller)?;
        let listings = self.inner().credentials.list();
        Ok(CredentialList { credentials: listings.into_iter().map(describe).collect() })
    }

    /// Reads the value of one credential anew, also if it was revoked. Requests that go out from then
    /// on carry the new one; those under way finish with the old.
    ///
    /// # Errors
    /// For callers who are no administrators, if there is none of this name, and if its value can't be
    /// read; the old one then stays in force.
    pub async fn rotate_credential(
        &self,
        caller: &Caller,
        name: &str,
    ) -> Result<Credential, ApiError> {
        administrators(caller)?;
        self.inner().audit.admit()?;
        let name = known(name)?;
        let inner = self.inner().clone();
        let wanted = name.clone();
        let rotated = spawn_blocking(move || {
            let loaded = inner.settings.read_credential(&wanted)?;
            inner.credentials.rotate(&wanted, loaded)
        });
        ended(rotated.await)?.map_err(|error| refused(&error))?;
        tracing::info!(credential = %name, uid = caller.uid, "a credential was rotated");
        self.inner().audit.note(administered(&name, "rotate", caller.uid).about_nobody());
        self.credential(&name)
    }

    /// Lets no request have a credential any more, from the next one on and over restarts.
    ///
    /// # Errors
    /// For callers who are no administrators, and if there is none of this name. If it can't be kept
    /// over a restart, it is revoked even so.
    pub async fn revoke_credential(
        &self,
        caller: &Caller,
        name: &str,
    ) -> Result<Credential, ApiError> {
        administrators(caller)?;
        let name = known(name)?;
        let (inner, wanted) = (self.inner().clone(), name.clone());
        let revoked = spawn_blocking(move || inner.credentials.revoke(&wanted));
        let revoked = ended(revoked.await)?;
        if !revoked.as_ref().is_err_and(CredentialError::is_unknown) {
            // It is revoked, kept or not, and never refused for want of room.
            self.inner().audit.note(administered(&name, "revoke", caller.uid).about_nobody());
        }
        revoked.map_err(|error| refused(&error))?;
        tracing::warn!(credential = %name, uid = caller.uid, "a credential was revoked");
        self.credential(&name)
    }

    /// One credential, for those who follow all of them.
    ///
    /// # Errors
    /// When there is none of this name.
    pub(crate) fn credential(&self, name: &CredentialName) -> Result<Credential, ApiError> {
        let listings = self.inner().credentials.list();
        let found = listings.into_iter().find(|listing| listing.name == *name);
        found.map(describe).ok_or_else(not_found)
    }
}

fn describe(listing: Listing) -> Credential {
    let (state, reason, seconds) = match listing.condition {
        Condition::Ready(left) => (CredentialState::Ready, None, left.map(|left| left.as_secs())),
        Condition::Unfetched => (CredentialState::Unfetched, None, None),
        Condition::Failed(cause) => (CredentialState::Failed, Some(cause), None),
        Condition::Revoked => (CredentialState::Revoked, None, None),
    };
    Credential {
        name: listing.name.to_string(),
        kind: listing.kind.to_owned(),
        hosts: listing.bounds.iter().map(ToString::to_string).collect(),
        state,
        reason,
        expires_in_seconds: seconds,
    }
}

fn administrators(caller: &Caller) -> Result<(), ApiError> {
    match caller.role {
        Role::Admin => Ok(()),
        Role::Agent => {
            let problem = "only administrators look after credentials";
            Err(ApiError::new(ErrorCode::PermissionDenied, problem))
        }
    }
}

fn known(name: &str) -> Result<CredentialName, ApiError> {
    name.parse().map_err(|_| not_found())
}

fn not_found() -> ApiError {
    ApiError::new(ErrorCode::NotFound, "there is no credential of this name")
        .with_hint("supervisorctl credentials list shows them")
}

fn refused(error: &CredentialError) -> ApiError {
    if error.is_unknown() {
        return not_found();
    }
    ApiError::new(ErrorCode::Conflict, error.in_full())
        .with_hint("correct its source or the state directory, then try again")
}

fn ended<T, E>(result: Result<T, E>) -> Result<T, ApiError> {
    result.map_err(|_| ApiError::new(ErrorCode::Unavailable, "the daemon is ending"))
}
