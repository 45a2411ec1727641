//! Executions that wait for their turn are in the store with their submission, so that they have their turn
//! under the next daemon if this one ends:
//!
//! ```text
//! waits ──recorded whole──▶ told ──turn, sandbox──▶ begin recorded ──start──▶ recorded as running: forgotten
//! doesn't wait ──recorded whole, as begun──▶ told ────────────────────▲
//! ```
//!
//! One whose begin is not recorded has not started. Of one whose begin is recorded nobody knows without
//! looking at its sandbox: if its payload has not started it waits again, and if the sandbox is gone it is lost.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use supervisor_api::{Execution, Outcome, State};
use tokio::task::spawn_blocking;

use super::{go_on, launch, leave};
use crate::admission::InLine;
use crate::fault::{self, Point};
use crate::live::Live;
use crate::plan::Plan;
use crate::store::StoreError;
use crate::supervisor::{Inner, from_store};

/// Bytes of a submission that are recorded though it doesn't wait: more would take longer to write than many a program
/// runs, and all that they are good for is a daemon that is killed in the milliseconds of a start.
const KEPT_OF_WHAT_STARTS: u64 = 64 << 10;

/// Records an execution for the first time; whole, if it waits for its turn or is little.
pub(super) async fn insert(
    inner: &Inner,
    live: &Live,
    plan: &Plan,
    first: &Execution,
) -> Result<(), StoreError> {
    let waits = || inner.admission.position(first.owner_uid, first.id).is_some();
    let invalid = |source| StoreError::Record { id: first.id.to_string(), source };
    if !waits() {
        let starts = matches!(first.state, State::Queued | State::Launching);
        if !starts || plan.need().submission > KEPT_OF_WHAT_STARTS {
            return inner.store.insert(first).await;
        }
        let text = serde_json::to_string(&plan.submission(first)).map_err(invalid)?;
        return inner.store.insert_starting(first, text).await;
    }
    let submission = plan.submission(first);
    // It may be megabytes, and nobody is in a hurry who waits.
    let text = spawn_blocking(move || serde_json::to_string(&submission)).await;
    let text = text.map_err(|_| StoreError::Closed)?.map_err(invalid)?;
    if !waits() {
        return inner.store.insert_starting(first, text).await; // its turn has come meanwhile
    }
    // What is queued in the store stays in order: its begin comes after this.
    live.waits.store(true, Ordering::Relaxed);
    inner.store.insert_waiting(first, text).await
}

/// Has it on disk that an execution which waited is about to start.
pub(super) async fn begin(inner: &Inner, live: &Live) -> Result<(), Outcome> {
    if !live.waits.load(Ordering::Relaxed) {
        return Ok(());
    }
    match inner.store.begin(live.id()).await {
        Ok(()) => {
            live.waits.store(false, Ordering::Relaxed);
            fault::reach(Point::BeginRecorded);
            Ok(())
        }
        Err(StoreError::Closed) => pending().await, // the next daemon starts it
        Err(error) => Err(Outcome::SetupFailed {
            step: "record_start".to_owned(),
            reason: from_store(&error).detail,
        }),
    }
}

/// Drives an execution that waited under an earlier daemon, from its place in line to its end.
pub async fn drive_again(inner: Arc<Inner>, live: Arc<Live>, plan: Plan, turn: InLine) {
    let launched = launch(&inner, &live, &plan, (turn, None)).await;
    go_on(&inner, &live, &plan, launched).await;
    leave(&inner, live, plan.way.is_some()).await;
}
