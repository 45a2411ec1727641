//! Credentials on the daemon's side: which there are, where their values are read, what is kept of them
//! over a restart, and how administrators rotate and revoke them.
//!
//! Values are read when the daemon starts, when the configuration is read anew, and when a credential is
//! rotated. They are in memory, and in two more places: where root has put them, and, for refresh tokens
//! that a server has replaced, in `credentials/` in the state directory, readable for this daemon only and sealed with what
//! root has put.

mod configured;
mod endpoints;
mod kept;
mod loaded;
pub mod notices;
mod operations;
mod reading;
mod sealed;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use supervisor_egress::credential::{CredentialName, Dial, Listing, PlaceholderKey, Vault};
use tokio::sync::{OwnedMutexGuard, broadcast};
use tokio::time::timeout;

pub use configured::Configured;
pub use endpoints::TokenEndpoints;
pub use kept::Kept;
pub use loaded::{CredentialError, Loaded};

use crate::audit::Audit;
use crate::credentials::notices::Told;

/// The credentials of a daemon.
#[derive(Debug)]
pub struct Credentials {
    vault: Arc<Vault>,
    kept: Arc<Kept>,
    dial: Arc<dyn Dial>,
    changes: broadcast::Sender<CredentialName>,
}

/// How long the end of the daemon waits for token servers. They answer in less, or hardly ever; the unit gives it all
/// 30 seconds to stop (`TimeoutStopSec=`).
const LAST_ASKS: Duration = Duration::from_secs(10);

/// Changes that a slow follower may be behind; it is then told how all credentials are.
const CHANGES: usize = 64;

impl Credentials {
    /// The credentials that were read, with what is kept in the state directory.
    ///
    /// # Errors
    /// What is kept can't be read or written.
    pub fn open(
        state: &Path,
        loaded: Loaded,
        dial: Arc<dyn Dial>,
        audit: Audit,
    ) -> Result<Self, CredentialError> {
        let kept = Arc::new(Kept::open(state)?);
        let key = PlaceholderKey::new(&kept.placeholder_key()?);
        let (changes, _) = broadcast::channel(CHANGES);
        let vault = Arc::new(Vault::new(key, Arc::new(Told::new(audit, changes.clone()))));
        let credentials = Self { vault, kept, dial, changes };
        credentials.replace(loaded)?;
        Ok(credentials)
    }

    /// What the proxy asks for credentials, and what says which placeholder a session has.
    pub fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    /// Puts what was read in place of all that there was. What was revoked stays revoked.
    ///
    /// # Errors
    /// What is kept can't be read; everything stays as it was.
    pub fn replace(&self, loaded: Loaded) -> Result<(), CredentialError> {
        let revoked = self.kept.revoked()?;
        let (definitions, canaries) = loaded.definitions(&self.kept, &self.dial)?;
        self.vault.load(definitions, &canaries, &revoked);
        self.list().into_iter().for_each(|listing| self.changed(&listing.name));
        Ok(())
    }

    /// The name of every one that changes from now on.
    pub fn follow(&self) -> broadcast::Receiver<CredentialName> {
        self.changes.subscribe()
    }

    fn changed(&self, name: &CredentialName) {
        drop(self.changes.send(name.clone())); // nobody need be following
    }

    /// Puts one that was read in place of the one of its name, also if that was revoked.
    ///
    /// # Errors
    /// There is none of this name among what was read, or what is kept can't be written.
    fn rotate(&self, name: &CredentialName, loaded: Loaded) -> Result<(), CredentialError> {
        let (definitions, _) = loaded.definitions(&self.kept, &self.dial)?;
        let definition = definitions.into_iter().find(|definition| definition.name == *name);
        let definition = definition.ok_or_else(|| CredentialError::unknown(name))?;
        self.kept.set_revoked(name, false)?;
        self.vault.rotate(definition);
        self.changed(name);
        Ok(())
    }

    /// Lets no request have a credential any more, over restarts too.
    ///
    /// # Errors
    /// There is none of this name, or that it is revoked can't be kept; it is revoked even so.
    fn revoke(&self, name: &CredentialName) -> Result<(), CredentialError> {
        if !self.vault.revoke(name) {
            return Err(CredentialError::unknown(name));
        }
        self.changed(name);
        self.kept.set_revoked(name, true)
    }

    /// Waits for the refresh tokens that are under way: what a server has put in the place of one is lost if nobody
    /// reads its answer. None is sent as long as what this returns is held, which is until the daemon has ended.
    pub async fn close(&self) -> Vec<OwnedMutexGuard<()>> {
        timeout(LAST_ASKS, self.kept.settle()).await.unwrap_or_else(|_| {
            tracing::error!("a refresh token is still under way: its successor may be lost");
            Vec::new()
        })
    }

    fn list(&self) -> Vec<Listing> {
        self.vault.list()
    }
}

#[cfg(test)]
mod tests;
