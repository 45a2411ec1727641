//! Who dials where one connection may do for many requests: one at a time, and the others wait to share it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::pool::Key;
use crate::refused::Refused;

/// The destinations of one session at which turns are taken.
#[derive(Default)]
pub struct Turns(Mutex<HashMap<Key, Arc<Turn>>>);

/// The turns at one destination.
pub struct Turn {
    since: Instant,
    /// Whoever dials holds this; when and why the last one had no success.
    pub failed: tokio::sync::Mutex<Option<(Instant, Refused)>>,
    one_each: AtomicBool,
}

impl Turns {
    /// The turns at this destination.
    pub fn at(&self, key: &Key) -> Arc<Turn> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = || {
            let (failed, one_each) = (tokio::sync::Mutex::new(None), AtomicBool::new(false));
            Arc::new(Turn { since: Instant::now(), failed, one_each })
        };
        turns.entry(key.clone()).or_insert_with(turn).clone()
    }

    /// Forgets what is that old, but nobody who waits.
    pub fn sweep(&self, patience: Duration) {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1 || turn.since.elapsed() < patience);
    }
}

impl Turn {
    /// Whether the upstream has said that each request needs a connection of its own, so that nobody has
    /// to wait for another's.
    pub fn is_one_each(&self) -> bool {
        self.one_each.load(Ordering::Relaxed)
    }

    /// The upstream speaks HTTP/1.1.
    pub fn one_each(&self) {
        self.one_each.store(true, Ordering::Relaxed);
    }
}
