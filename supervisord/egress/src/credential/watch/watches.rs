//! What one response or stream is searched for: what its request carried, and whatever else its host was or
//! will be sent by other requests while it lasts.

use std::sync::Arc;

use super::super::contents::AtHost;
use super::Watch;

/// What is searched for.
#[derive(Debug, Clone, Default)]
pub struct Watches {
    /// What the request carried.
    own: Vec<Arc<Watch>>,
    /// Where it went, if other credentials may go there.
    at: Option<Arc<AtHost>>,
    /// All of it, as of the changes that were seen last.
    all: Vec<Arc<Watch>>,
    seen: u64,
}

impl Watches {
    /// What a request carried that went to this host.
    pub fn new(own: Vec<Arc<Watch>>, at: Option<AtHost>) -> Self {
        let all = own.clone();
        let mut watches = Self { own, at: at.map(Arc::new), all, seen: 0 };
        watches.renew();
        watches
    }

    /// Looks for what has come since; whether there may be something.
    pub fn renew(&mut self) -> bool {
        let Some(at) = &self.at else { return false };
        let changes = at.changes();
        if changes == self.seen {
            return false;
        }
        self.seen = changes;
        self.all.clone_from(&self.own);
        for (_, watch) in at.held() {
            if !self.all.iter().any(|known| Arc::ptr_eq(known, &watch)) {
                self.all.push(watch);
            }
        }
        true
    }

    /// All of it, as it was looked up last.
    pub fn all(&self) -> &[Arc<Watch>] {
        &self.all
    }

    /// Whether there is nothing, and never will be.
    pub fn is_empty(&self) -> bool {
        self.at.is_none() && self.all.is_empty()
    }
}

impl From<Vec<Arc<Watch>>> for Watches {
    fn from(own: Vec<Arc<Watch>>) -> Self {
        Self::new(own, None)
    }
}
