//! All credentials of the daemon. Loading, rotating and revoking swap what later requests get;
//! requests under way keep what they have.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::request::Parts;

use super::bound::Bound;
use super::contents::{AtHost, Contents};
use super::entry::{Condition, Definition, Entry};
use super::name::CredentialName;
use super::notice::Notices;
use super::outbound::Unwelcome;
use super::place::{Binding, Place};
use super::placeholder::{Placeholder, PlaceholderKey};
use super::prepare;
use super::prepared::Prepared;
use super::refusal::CredentialRefusal;
use super::seam::{BodyDigest, Credentials, Pending, Wanted};
use super::secret::Secret;
use super::sigv4::{MAX_SIGNED_BODY, needs_digest};
use super::watch::Watch;

/// The vault.
#[derive(Debug)]
pub struct Vault {
    contents: Arc<Contents>,
    placeholders: PlaceholderKey,
    pub(super) notices: Arc<dyn Notices>,
}

/// What can be told about a credential: never its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Its name.
    pub name: CredentialName,
    /// Its kind.
    pub kind: &'static str,
    /// Where it may ever go.
    pub bounds: Vec<Bound>,
    /// How it is.
    pub condition: Condition,
}

impl Vault {
    /// An empty vault.
    pub fn new(placeholders: PlaceholderKey, notices: Arc<dyn Notices>) -> Self {
        Self { contents: Arc::default(), placeholders, notices }
    }

    /// Takes these credentials and decoys in place of all that there were. No request gets one that is revoked.
    pub fn load(
        &self,
        definitions: Vec<Definition>,
        canaries: &[Secret],
        revoked: &BTreeSet<CredentialName>,
    ) {
        let canaries = match canaries {
            [] => Vec::new(),
            some => vec![Arc::new(Watch::new(some.iter().map(Secret::expose)))],
        };
        self.contents.load(definitions, canaries, revoked, &self.notices);
    }

    /// Takes this credential in place of the one of its name. One that was revoked is in use again.
    pub fn rotate(&self, definition: Definition) {
        self.contents.rotate(definition, &self.notices);
    }

    /// Lets no request have a credential any more. Whether there is one of this name.
    pub fn revoke(&self, name: &CredentialName) -> bool {
        let entry = self.entry(name);
        if let Some(entry) = &entry {
            entry.revoke();
        }
        entry.is_some()
    }

    /// What can be told about all credentials, by name.
    pub fn list(&self) -> Vec<Listing> {
        let listing = |entry: &Arc<Entry>| Listing {
            name: entry.name.clone(),
            kind: entry.kind,
            bounds: entry.bounds.clone(),
            condition: entry.condition(),
        };
        self.contents.entries().iter().map(listing).collect()
    }

    /// What a payload of this session has in its environment instead of this credential.
    pub fn placeholder(&self, session: &str, credential: &CredentialName) -> Placeholder {
        self.placeholders.placeholder(session, credential)
    }

    pub(super) fn entry(&self, name: &CredentialName) -> Option<Arc<Entry>> {
        self.contents.entry(name)
    }

    /// What may not come back from a host.
    pub(super) fn at(&self, host: &str) -> Option<AtHost> {
        self.contents.at(host)
    }

    pub(super) fn canaries(&self) -> Vec<Arc<Watch>> {
        self.contents.canaries()
    }
}

impl Credentials for Vault {
    fn body_to_digest(&self, bindings: &[Binding], head: &Parts) -> Option<usize> {
        let needs = |binding: &Binding| match &binding.place {
            Place::SigV4 { service, .. } => needs_digest(service, &head.headers),
            _ => false,
        };
        bindings.iter().any(needs).then_some(MAX_SIGNED_BODY)
    }

    fn look_at_host(&self, host: &str) -> Result<(), CredentialRefusal> {
        let unwelcome = Unwelcome { canaries: self.canaries(), welcome: Vec::new() };
        unwelcome.look(host.as_bytes())
    }

    fn prepare<'a>(
        &'a self,
        wanted: &'a Wanted<'a>,
        head: &'a mut Parts,
    ) -> Pending<'a, Result<Prepared, CredentialRefusal>> {
        Box::pin(prepare::first(self, wanted, head))
    }

    fn renew<'a>(
        &'a self,
        wanted: &'a Wanted<'a>,
        prepared: &'a Prepared,
    ) -> Pending<'a, Result<Option<(Parts, Prepared)>, CredentialRefusal>> {
        Box::pin(prepare::again(self, wanted, prepared))
    }
}

impl BodyDigest {
    /// Whether the body is known to be empty.
    pub fn is_empty(self) -> bool {
        self == Self::Empty
    }
}
