//! Work of callers that may take long, a few pieces at once, fairly: each uid has so many pieces at once, and those of
//! several uids come in the order in which they were asked for. So whoever asks waits for a few pieces of each other
//! uid at the most, however many that has asked for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use supervisor_api::ApiError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::supervisor::internal;

/// Who is at work.
#[derive(Debug)]
pub struct InTurn {
    of_one: usize,
    by_uid: Mutex<HashMap<u32, Arc<Semaphore>>>,
    all: Arc<Semaphore>,
}

/// A piece that may be worked at; dropping it lets the next one in.
#[derive(Debug)]
pub struct Piece {
    _own: OwnedSemaphorePermit,
    _among_all: OwnedSemaphorePermit,
}

impl InTurn {
    /// So many at once, and so many of one uid.
    pub fn new(all: usize, of_one: usize) -> Self {
        Self { of_one, by_uid: Mutex::default(), all: Arc::new(Semaphore::new(all)) }
    }

    /// One more of this uid, when it is its turn.
    ///
    /// # Errors
    /// Never; there is no end to the waiting but its own.
    pub async fn turn(&self, uid: u32) -> Result<Piece, ApiError> {
        // First its own, or whoever asks often would stand in the line of all as often.
        let own = self.line_of(uid).acquire_owned().await.map_err(internal)?;
        let among_all = self.all.clone().acquire_owned().await.map_err(internal)?;
        Ok(Piece { _own: own, _among_all: among_all })
    }

    fn line_of(&self, uid: u32) -> Arc<Semaphore> {
        // Nothing between two changes of it panics, so a poisoned one is whole.
        let mut lines = self.by_uid.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody has a permit of those, nor waits for one: uids that are long gone don't pile up.
        lines.retain(|_, line| Arc::strong_count(line) > 1);
        lines.entry(uid).or_insert_with(|| Arc::new(Semaphore::new(self.of_one))).clone()
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::{JoinHandle, yield_now};

    use super::*;

    fn ask(line: &Arc<InTurn>, uid: u32) -> JoinHandle<Piece> {
        let line = line.clone();
        tokio::spawn(async move { line.turn(uid).await.unwrap() })
    }

    #[tokio::test]
    async fn whoever_asks_waits_for_a_few_pieces_of_each_other_uid_at_the_most() {
        let line = Arc::new(InTurn::new(3, 2));
        let first = [line.turn(1).await.unwrap(), line.turn(1).await.unwrap()];
        let mut more: Vec<_> = (0..10).map(|_| ask(&line, 1)).collect();
        yield_now().await;
        assert!(more.iter().all(|each| !each.is_finished()), "two of one uid");
        let other = line.turn(2).await.unwrap();
        let third = ask(&line, 3);
        yield_now().await;
        assert!(!third.is_finished(), "three of all");
        drop(first);
        let third = third.await.unwrap();
        drop((other, third));
        for each in more.drain(..) {
            drop(each.await.unwrap());
        }
    }

    #[tokio::test]
    async fn of_uids_that_are_gone_nothing_stays() {
        let line = Arc::new(InTurn::new(1, 1));
        let held = line.turn(0).await.unwrap();
        for uid in 1..100 {
            let waiting = ask(&line, uid);
            yield_now().await;
            waiting.abort();
            assert!(waiting.await.is_err());
        }
        drop(held);
        drop(line.turn(200).await.unwrap());
        drop(line.turn(201).await.unwrap());
        assert_eq!(line.by_uid.lock().unwrap().len(), 1);
    }
}
