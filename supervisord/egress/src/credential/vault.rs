//! All credentials of the daemon. Loading, rotating and revoking swap what later requests get;
//! requests under way keep what they have.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use http::request::Parts;

use super::bound::Bound;
use super::entry::{Condition, Definition, Entry};
use super::name::CredentialName;
use super::notice::Notices;
use super::place::{Binding, Place};
use super::placeholder::{Placeholder, PlaceholderKey};
use super::prepare;
use super::prepared::Prepared;
use super::refusal::CredentialRefusal;
use super::seam::{BodyDigest, Credentials, Pending, Wanted};
use super::secret::Secret;
use super::sigv4::{MAX_SIGNED_BODY, needs_digest};
use super::value::Current;
use super::watch::Watch;

/// The vault.
#[derive(Debug)]
pub struct Vault {
    contents: RwLock<Contents>,
    placeholders: PlaceholderKey,
    pub(super) notices: Arc<dyn Notices>,
}

#[derive(Debug, Default)]
struct Contents {
    entries: BTreeMap<CredentialName, Arc<Entry>>,
    canaries: Vec<Arc<Watch>>,
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
        Self { contents: RwLock::default(), placeholders, notices }
    }

    /// Takes these credentials and decoys in place of all that there were.
    pub fn load(&self, definitions: Vec<Definition>, canaries: &[Secret]) {
        let entry = |each: Definition| Arc::new(Entry::new(each, self.notices.clone()));
        let entries =
            definitions.into_iter().map(|each| (each.name.clone(), entry(each))).collect();
        let canaries = match canaries {
            [] => Vec::new(),
            some => vec![Arc::new(Watch::new(some.iter().map(Secret::expose)))],
        };
        self.write(|contents| *contents = Contents { entries, canaries });
    }

    /// Takes this credential in place of the one of its name. One that was revoked is in use again.
    pub fn rotate(&self, definition: Definition) {
        let name = definition.name.clone();
        let entry = Arc::new(Entry::new(definition, self.notices.clone()));
        self.write(|contents| drop(contents.entries.insert(name, entry)));
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
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let listing = |entry: &Arc<Entry>| Listing {
            name: entry.name.clone(),
            kind: entry.kind,
            bounds: entry.bounds.clone(),
            condition: entry.condition(),
        };
        contents.entries.values().map(listing).collect()
    }

    /// What a payload of this session has in its environment instead of this credential.
    pub fn placeholder(&self, session: &str, credential: &CredentialName) -> Placeholder {
        self.placeholders.placeholder(session, credential)
    }

    pub(super) fn entry(&self, name: &CredentialName) -> Option<Arc<Entry>> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        contents.entries.get(name).cloned()
    }

    /// What may not come back from a host: the values of all credentials that may ever go there, and those
    /// before them while they hold. An upstream that was sent one by an earlier request may tell it in answer
    /// to any other.
    pub(super) fn held_for(&self, host: &str) -> Vec<(CredentialName, Arc<Current>)> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        let bound = |entry: &&Arc<Entry>| entry.bounds.iter().any(|bound| bound.names(host));
        let held = |entry: &Arc<Entry>| {
            let name = entry.name.clone();
            entry.held().into_iter().map(move |value| (name.clone(), value))
        };
        contents.entries.values().filter(bound).flat_map(held).collect()
    }

    pub(super) fn canaries(&self) -> Vec<Arc<Watch>> {
        self.contents.read().unwrap_or_else(PoisonError::into_inner).canaries.clone()
    }

    fn write(&self, change: impl FnOnce(&mut Contents)) {
        // Nothing panics while it is held.
        change(&mut self.contents.write().unwrap_or_else(PoisonError::into_inner));
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
