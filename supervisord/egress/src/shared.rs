//! What all sandboxes of a daemon share: roots, resolver, pipes, and the bound on connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use crate::limits::Limits;
use crate::relay::Pipes;
use crate::resolve::{Names, Resolver};
use crate::tls::upstream::Roots;
use crate::totals::{Totals, Usage};

/// What a daemon sets for all traffic.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What upstream certificates are verified against.
    pub roots: Roots,
    /// Name servers and the table of hosts.
    pub names: Names,
    /// The bounds.
    pub limits: Limits,
}

/// One per daemon.
#[derive(Debug)]
pub struct Shared {
    pub(crate) roots: Roots,
    pub(crate) resolver: Resolver,
    pub(crate) limits: Limits,
    pub(crate) pipes: Pipes,
    pub(crate) connections: Count,
    pub(crate) sockets: Arc<Semaphore>,
    pub(crate) totals: Arc<Totals>,
}

/// Things of a kind that there are at once.
#[derive(Debug, Default)]
pub struct Count(Arc<AtomicUsize>);

/// One of them; dropping it says that it is gone.
#[derive(Debug)]
pub struct Counted(Arc<AtomicUsize>);

/// A connection's place among its session's and among all; kept by whatever goes on with it.
#[derive(Debug, Clone)]
pub struct Place {
    _of_session: Arc<Counted>,
    _of_all: Arc<Counted>,
    /// Its place among the few that the kernel may hold much of.
    _wide: Option<Arc<Counted>>,
}

impl Place {
    /// The place that was found.
    pub fn new(of_session: Counted, of_all: Counted, wide: Option<Counted>) -> Self {
        Self {
            _of_session: Arc::new(of_session),
            _of_all: Arc::new(of_all),
            _wide: wide.map(Arc::new),
        }
    }
}

impl Shared {
    /// What these settings make.
    pub fn new(settings: Settings) -> Self {
        Self {
            roots: settings.roots,
            resolver: Resolver::new(settings.names),
            sockets: Arc::new(Semaphore::new(settings.limits.upstreams_of_all)),
            limits: settings.limits,
            pipes: Pipes::default(),
            connections: Count::default(),
            totals: Arc::default(),
        }
    }

    /// What upstream certificates are verified against.
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// What the traffic of all sandboxes has come to.
    pub fn usage(&self) -> Usage {
        self.totals.usage(self.connections())
    }

    /// Connections that are being served, of all sandboxes.
    pub fn connections(&self) -> usize {
        self.connections.now()
    }
}

impl Count {
    /// Counts one more, unless there are as many as there may be.
    pub fn one_more(&self, most: usize) -> Option<Counted> {
        if self.0.fetch_add(1, Ordering::Relaxed) < most {
            return Some(Counted(self.0.clone()));
        }
        self.0.fetch_sub(1, Ordering::Relaxed);
        None
    }

    /// How many there are.
    pub fn now(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
