//! Ends that can't be recorded for now, by a disk that is full or fails. Such an end is told when it
//! is recorded, which may take as long as the disk does: whoever waits for it is told that.

use std::collections::{HashMap, HashSet};
use std::future::pending;

use supervisor_api::{ApiError, ExecutionId};
use tokio::sync::watch;

/// All of them, and why.
#[derive(Debug, Default)]
pub struct Delayed(watch::Sender<HashMap<ExecutionId, ApiError>>);

impl Delayed {
    /// An end could not be recorded, and is tried again.
    pub fn note(&self, id: ExecutionId, why: ApiError) {
        self.0.send_if_modified(|all| all.insert(id, why).is_none());
    }

    /// It is recorded, or will not be by this daemon.
    pub fn is_over(&self, id: ExecutionId) {
        self.0.send_if_modified(|all| all.remove(&id).is_some());
    }

    /// Waits until the end of one of these can't be recorded; why not, and what comes of it for whoever waits.
    pub async fn any_of(&self, ids: &HashSet<ExecutionId>, so: &str) -> ApiError {
        let mut all = self.0.subscribe();
        let of_these =
            |all: &HashMap<ExecutionId, ApiError>| ids.iter().find_map(|id| all.get(id).cloned());
        let found = all.wait_for(|all| of_these(all).is_some()).await;
        match found.ok().and_then(|all| of_these(&all)) {
            Some(why) => ApiError { detail: format!("{}; {so}", why.detail), ..why },
            None => pending().await, // the daemon ends
        }
    }
}

#[cfg(test)]
mod tests {
    use supervisor_api::ErrorCode;

    use super::*;

    #[tokio::test]
    async fn whoever_waits_is_told_of_those_ends_alone_and_of_none_that_is_recorded() {
        let (delayed, ids) = (Delayed::default(), [1, 2, 3].map(ExecutionId::from_bits));
        let why = || ApiError::new(ErrorCode::Unavailable, "the disk fails");
        delayed.note(ids[0], why());
        delayed.note(ids[2], why());
        delayed.is_over(ids[2]);
        let mine = HashSet::from([ids[1], ids[2]]);
        let told = delayed.any_of(&mine, "it waits");
        tokio::pin!(told);
        assert!(futures_are_pending(told.as_mut()).await);
        delayed.note(ids[1], why());
        let told = told.await;
        assert_eq!(
            (told.code, &*told.detail),
            (ErrorCode::Unavailable, "the disk fails; it waits")
        );
    }

    async fn futures_are_pending<F: Future + Unpin>(future: F) -> bool {
        tokio::select! {
            biased;
            _ = future => false,
            () = std::future::ready(()) => true,
        }
    }
}
