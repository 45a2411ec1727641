//! Values that were in use for a credential before the one that is: renewed, rotated away or revoked. Upstreams
//! were sent them, and may tell them while they still hold. What is kept is what they are searched for by.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::bound::Bound;
use super::value::Current;
use super::watch::Watch;

/// How many of one credential are watched for, by each [`End`]. Tokens are renewed long before they end, each after most of its
/// life; one that says nothing of its end is renewed when it is rejected, such as every five minutes.
const MOST: usize = 16;

/// How long one that its source gave no end is watched for.
const WITHOUT_END: Duration = Duration::from_secs(3600);

/// How long one is watched for after its end: servers take a token for some minutes more, because clocks differ.
const LEEWAY: Duration = Duration::from_secs(600);

/// Former values of a credential, the oldest first. They outlive its definition.
#[derive(Debug, Default)]
pub(super) struct Former(Mutex<Vec<Past>>);

#[derive(Debug)]
struct Past {
    watch: Arc<Watch>,
    /// Where it may have gone.
    bounds: Vec<Bound>,
    /// Until when it holds for sure.
    holds: Instant,
    /// Until when it may, and is watched for.
    until: Instant,
    end: End,
}

/// Why a value is in use no more. Of each there are as many at the most: whoever reads the configuration anew
/// pushes out none that was renewed, and ends no renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// A newer one was fetched.
    Renewed,
    /// Its credential was revoked or rotated, or read anew with the configuration.
    Left,
}

impl Former {
    /// One more, which was in use until now and may have gone to these hosts.
    pub fn add(&self, value: &Current, bounds: &[Bound], end: End) {
        let now = Instant::now();
        let holds = value.ends.unwrap_or_else(|| now + WITHOUT_END);
        let until = value.ends.map_or(holds, |ends| ends + LEEWAY);
        let mut all = self.held();
        if all.iter().any(|past| Arc::ptr_eq(&past.watch, &value.watch)) {
            return;
        }
        let same = all.iter().enumerate().filter(|(_, past)| past.end == end);
        if same.clone().count() >= MOST
            && let Some((first_to_end, _)) = same.min_by_key(|(_, past)| past.until)
        {
            all.remove(first_to_end);
        }
        all.push(Past { watch: value.watch.clone(), bounds: bounds.to_owned(), holds, until, end });
    }

    /// Those that may have gone to a host and may still be worth something.
    pub fn at(&self, host: &str) -> Vec<Arc<Watch>> {
        let all = self.held();
        let there = all.iter().filter(|past| past.bounds.iter().any(|bound| bound.names(host)));
        there.map(|past| past.watch.clone()).collect()
    }

    /// Whether one more that is renewed would push out one that still holds.
    pub fn is_full(&self) -> bool {
        let now = Instant::now();
        let holds = |past: &&Past| past.end == End::Renewed && now < past.holds;
        self.held().iter().filter(holds).count() >= MOST
    }

    /// Whether none is worth anything any more.
    pub fn is_empty(&self) -> bool {
        self.held().is_empty()
    }

    /// All that still hold; the others are forgotten.
    fn held(&self) -> MutexGuard<'_, Vec<Past>> {
        let now = Instant::now();
        // Nothing panics while it is held.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|past| now < past.until);
        all
    }
}
