//! What a vault holds: credentials by name, decoys, and what was in use before. A response or stream that lasts
//! is searched for what comes here after it began, too: by another request its upstream may be sent that, and
//! tell it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::entry::{Definition, Entry};
use super::former::Former;
use super::name::CredentialName;
use super::notice::Notices;
use super::watch::Watch;

/// Grows whenever something else is to be searched for, in any vault of this process.
static CHANGES: AtomicU64 = AtomicU64::new(1);

/// What a vault holds.
#[derive(Debug, Default)]
pub(super) struct Contents(RwLock<Held>);

#[derive(Debug, Default)]
struct Held {
    entries: BTreeMap<CredentialName, Arc<Entry>>,
    /// What was in use before, also of names that there are no more; those go with their last value.
    former: BTreeMap<CredentialName, Arc<Former>>,
    canaries: Vec<Arc<Watch>>,
}

/// What may come back from one host, now and later.
#[derive(Debug)]
pub struct AtHost {
    contents: Arc<Contents>,
    host: String,
}

/// Something else is to be searched for. Said before anybody has the new value, so that none is told that a
/// stream has not heard of.
pub(super) fn changed() {
    CHANGES.fetch_add(1, Ordering::SeqCst);
}

impl Contents {
    /// Takes these credentials and decoys in place of all that there were. What is revoked is so from the start.
    pub fn load(
        &self,
        definitions: Vec<Definition>,
        canaries: Vec<Arc<Watch>>,
        revoked: &BTreeSet<CredentialName>,
        notices: &Arc<dyn Notices>,
    ) {
        let mut held = self.write();
        let before = std::mem::take(&mut held.entries);
        for definition in definitions {
            held.take(definition, notices);
        }
        let is_revoked = |entry: &&Arc<Entry>| revoked.contains(&entry.name);
        held.entries.values().filter(is_revoked).for_each(|entry| entry.begin_revoked());
        for (name, entry) in before {
            entry.leave(held.entries.get(&name).map(AsRef::as_ref));
        }
        let Held { entries, former, .. } = &mut *held;
        former.retain(|name, former| {
            // Whoever still fetches for a credential that is gone has it as well.
            entries.contains_key(name) || !former.is_empty() || Arc::strong_count(former) > 1
        });
        held.canaries = canaries;
        changed();
    }

    /// Takes this credential in place of the one of its name.
    pub fn rotate(&self, definition: Definition, notices: &Arc<dyn Notices>) {
        let mut held = self.write();
        let name = definition.name.clone();
        if let Some(before) = held.take(definition, notices) {
            before.leave(held.entries.get(&name).map(AsRef::as_ref));
        }
        changed();
    }

    /// All credentials, by name.
    pub fn entries(&self) -> Vec<Arc<Entry>> {
        self.read().entries.values().cloned().collect()
    }

    /// The credential of this name.
    pub fn entry(&self, name: &CredentialName) -> Option<Arc<Entry>> {
        self.read().entries.get(name).cloned()
    }

    /// The decoys.
    pub fn canaries(&self) -> Vec<Arc<Watch>> {
        self.read().canaries.clone()
    }

    /// What may come back from a host; nothing from one that no credential may go to, or may have gone to.
    pub fn at(self: &Arc<Self>, host: &str) -> Option<AtHost> {
        let held = self.read();
        let is_known = held.entries.values().any(|entry| entry.may_go_to(host))
            || held.former.values().any(|former| !former.at(host).is_empty());
        drop(held);
        is_known.then(|| AtHost { contents: self.clone(), host: host.to_owned() })
    }

    fn read(&self) -> RwLockReadGuard<'_, Held> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Held> {
        // Nothing panics while it is held.
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Takes a credential; what it replaces.
    fn take(&mut self, definition: Definition, notices: &Arc<dyn Notices>) -> Option<Arc<Entry>> {
        let name = definition.name.clone();
        let former = self.former.entry(name.clone()).or_default().clone();
        self.entries.insert(name, Arc::new(Entry::new(definition, notices.clone(), former)))
    }
}

impl AtHost {
    /// The values of all credentials that may ever go there, and those before them while they hold. An upstream
    /// that was sent one by an earlier request may tell it in answer to any other.
    pub fn held(&self) -> Vec<(CredentialName, Arc<Watch>)> {
        let held = self.contents.read();
        let bound = held.entries.values().filter(|entry| entry.may_go_to(&self.host));
        let now = bound.filter_map(|entry| Some((entry.name.clone(), entry.watch()?)));
        let before = held.former.iter().flat_map(|(name, former)| {
            former.at(&self.host).into_iter().map(move |watch| (name.clone(), watch))
        });
        now.chain(before).collect()
    }

    /// Whether a credential may go there that isn't among these.
    pub fn has_others(&self, names: &[&CredentialName]) -> bool {
        let held = self.contents.read();
        let bound = held.entries.values().filter(|entry| entry.may_go_to(&self.host));
        bound.into_iter().any(|entry| !names.contains(&&entry.name))
    }

    /// A number that is another one once something else may be held.
    pub fn changes(&self) -> u64 {
        CHANGES.load(Ordering::SeqCst)
    }
}
