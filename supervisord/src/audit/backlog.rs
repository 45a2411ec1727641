//! How many records wait to be written, and how many of them of one source, so that a source that makes
//! them faster than the disk takes them waits by itself, and the queue has room for everybody else's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Events that wait for the writer before what they are about is refused, each of about half a kilobyte.
/// It takes thousands at once, so this many wait only when the disk stands still. What has happened waits
/// however much there is: it is bounded by what was allowed.
const QUEUE: usize = 16_384;

/// From so many on, everybody has only its share of the queue.
const BUSY: usize = QUEUE / 4;

/// Records of one source that wait before it is to pause: with 64 sandboxes at once half of all.
const SHARE: usize = 128;

/// The same while the queue is nearly empty. One sandbox makes hundreds of records between two looks of the
/// writer, and whoever pauses and goes on costs as much as its record.
const ALONE: usize = 1024;

/// What waits of all sources and could have been refused.
#[derive(Debug, Clone, Default)]
pub struct Queue(Arc<AtomicUsize>);

/// A place in the queue; dropped when its record is taken to be written.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

/// What of one source waits to be written.
#[derive(Debug, Clone)]
pub struct Backlog(Arc<Source>);

#[derive(Debug)]
struct Source {
    queue: Queue,
    waiting: AtomicUsize,
    /// Those who wait for room.
    paused: AtomicUsize,
    fewer: Notify,
    /// One of them was told of room and has not looked yet; it tells the next one.
    told: AtomicBool,
}

/// One record that waits; dropped when it is taken to be written.
#[derive(Debug)]
pub struct Waiting(Arc<Source>);

/// Somebody who waits for room, until this is dropped.
struct Paused<'a>(&'a Source);

impl Queue {
    /// A place for one more record, unless there are as many as there may be.
    pub fn place(&self) -> Option<Place> {
        if self.0.load(Ordering::Relaxed) >= QUEUE {
            return None;
        }
        self.0.fetch_add(1, Ordering::Relaxed);
        Some(Place(self.0.clone()))
    }

    /// One more source.
    pub fn source(&self) -> Backlog {
        Backlog(Arc::new(Source {
            queue: self.clone(),
            waiting: AtomicUsize::new(0),
            paused: AtomicUsize::new(0),
            fewer: Notify::new(),
            told: AtomicBool::new(false),
        }))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Backlog {
    /// One more record.
    pub fn one_more(&self) -> Waiting {
        self.0.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(self.0.clone())
    }

    /// Whether there is no room for more.
    pub fn is_full(&self) -> bool {
        self.0.is_full()
    }

    /// Returns once there is room for what comes next. Those who wait go on one after the other.
    pub async fn room(&self) {
        if !self.is_full() {
            return;
        }
        let source = &*self.0;
        let paused = Paused::new(source);
        loop {
            let fewer = source.fewer.notified();
            if !source.is_full() {
                break;
            }
            fewer.await;
            source.told.store(false, Ordering::SeqCst); // before the look that follows
        }
        drop(paused);
        // What goes on may make no record, so the next one is not to wait for that.
        source.tell();
    }
}

impl Source {
    fn is_full(&self) -> bool {
        let own = self.waiting.load(Ordering::SeqCst);
        own >= ALONE || own >= SHARE && self.queue.0.load(Ordering::Relaxed) >= BUSY
    }

    /// Tells one who waits that there is room. With a share of its own records taken there is, however
    /// many of others wait.
    fn tell(&self) {
        let anybody = self.paused.load(Ordering::SeqCst) > 0;
        if anybody && !self.is_full() && !self.told.swap(true, Ordering::SeqCst) {
            self.fewer.notify_one();
        }
    }
}

impl<'a> Paused<'a> {
    fn new(source: &'a Source) -> Self {
        source.paused.fetch_add(1, Ordering::SeqCst);
        Self(source)
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.paused.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
        self.0.tell();
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::yield_now;

    use super::*;

    async fn pausing(backlog: &Backlog, count: usize) -> Vec<tokio::task::JoinHandle<()>> {
        let paused = (0..count).map(|_| {
            let backlog = backlog.clone();
            tokio::spawn(async move { backlog.room().await })
        });
        let paused: Vec<_> = paused.collect();
        for _ in 0..16 {
            yield_now().await;
        }
        assert!(paused.iter().all(|one| !one.is_finished()));
        paused
    }

    #[tokio::test]
    async fn a_source_with_too_many_records_waits_and_all_who_wait_go_on() {
        let backlog = Queue::default().source();
        let mut waiting: Vec<Waiting> = (0..ALONE).map(|_| backlog.one_more()).collect();
        let mut paused = pausing(&backlog, 8).await;
        // One that is given up while it waits holds up nobody.
        paused.swap_remove(3).abort();
        waiting.pop();
        for one in paused {
            one.await.unwrap();
        }
        waiting.push(backlog.one_more());
        // Each time anew, as long as there are records.
        let paused = pausing(&backlog, 2).await;
        drop(waiting);
        for one in paused {
            one.await.unwrap();
        }
        backlog.room().await;
        assert_eq!(backlog.0.waiting.load(Ordering::SeqCst), 0);
        assert_eq!(backlog.0.paused.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn in_a_queue_that_fills_everybody_has_a_share_and_no_more() {
        let queue = Queue::default();
        let backlog = queue.source();
        let waiting: Vec<Waiting> = (0..SHARE).map(|_| backlog.one_more()).collect();
        backlog.room().await;
        let others: Vec<Place> = (0..BUSY).map(|_| queue.place().unwrap()).collect();
        let paused = pausing(&backlog, 4).await;
        let idle = queue.source();
        idle.room().await;
        // Its own records are enough: the others' may wait on.
        drop(waiting);
        for one in paused {
            one.await.unwrap();
        }
        let rest: Vec<Place> = std::iter::from_fn(|| queue.place()).collect();
        assert_eq!(others.len() + rest.len(), QUEUE);
    }
}
