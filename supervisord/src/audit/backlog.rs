//! How many records of one source wait to be written, so that a source that makes them faster than the
//! disk takes them waits by itself, and the queue has room for everybody else's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Records of one source that wait before it is to pause: with 64 sandboxes at once half of all.
const MOST: usize = 128;

/// What of one source waits to be written.
#[derive(Debug, Clone)]
pub struct Backlog(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    most: usize,
    waiting: AtomicUsize,
    fewer: Notify,
}

impl Default for Backlog {
    fn default() -> Self {
        Self::new(MOST)
    }
}

/// One record that waits; dropped when it is taken to be written.
#[derive(Debug)]
pub struct Waiting(Arc<Counts>);

impl Backlog {
    /// One that is full with so many records.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Counts { most, waiting: AtomicUsize::new(0), fewer: Notify::new() }))
    }

    /// One more record.
    pub fn one_more(&self) -> Waiting {
        self.0.waiting.fetch_add(1, Ordering::AcqRel);
        Waiting(self.0.clone())
    }

    /// Whether there is no room for more.
    pub fn is_full(&self) -> bool {
        self.0.waiting.load(Ordering::Acquire) >= self.0.most
    }

    /// Returns once there is room for what comes next. Those who wait go on one after the other.
    pub async fn room(&self) {
        loop {
            let fewer = self.0.fewer.notified();
            if !self.is_full() {
                // What goes on may make no record, so the next one is not to wait for that.
                self.0.fewer.notify_one();
                return;
            }
            fewer.await;
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
        self.0.fewer.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn a_source_with_too_many_records_waits_and_all_who_wait_go_on() {
        let backlog = Backlog::default();
        let mut waiting: Vec<Waiting> = (0..MOST).map(|_| backlog.one_more()).collect();
        let paused: Vec<_> = (0..8)
            .map(|_| {
                let backlog = backlog.clone();
                tokio::spawn(async move { backlog.room().await })
            })
            .collect();
        for _ in 0..16 {
            yield_now().await;
        }
        assert!(paused.iter().all(|one| !one.is_finished()));
        waiting.pop();
        for one in paused {
            one.await.unwrap();
        }
        waiting.push(backlog.one_more());
        drop(waiting);
        backlog.room().await;
        assert_eq!(backlog.0.waiting.load(Ordering::Acquire), 0);
    }
}
