//! What an execution changes in its workspace: looked at before it is given anything, and again when nothing of
//! it runs any more. The first look is kept, for a daemon that comes after this one.

use std::os::fd::{AsFd as _, OwnedFd};

use supervisor_api::{ApiError, ChangeSummary, Outcome};
use supervisor_launch::Descriptor;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::fault::{self, Point};
use crate::in_turn::Piece;
use crate::launcher::Sandbox;
use crate::live::Live;
use crate::places::ChangesFile;
use crate::supervisor::Inner;
use crate::workspace::{Differences, Manifest};

/// Bytes of files that are digested before an execution: what half a second of one core does at the most.
const DIGESTED_BEFORE: u64 = 64 << 20;

/// Bytes of changed files that are digested after it.
const DIGESTED_AFTER: u64 = 512 << 20;

/// Looks at the workspace and keeps what was seen. What can't be told afterwards doesn't run.
pub(super) async fn look_before(
    inner: &Inner,
    live: &Live,
    sandbox: &Sandbox,
) -> Result<(), Outcome> {
    if live.execution.borrow().changes.is_none() {
        return Ok(());
    }
    let failed = |reason: String| {
        tracing::error!(reason, execution_id = %live.id(), "can't look at a workspace");
        Outcome::Lost { reason: "its workspace could not be looked at before it ran".to_owned() }
    };
    let workspace = workspace(sandbox).ok_or_else(|| failed("there is none".to_owned()))?;
    let (places, id) = (inner.places.clone(), live.id());
    let turn = turn_to_look(inner, live).await?;
    let looked = spawn_blocking(move || {
        let _turn = turn;
        let manifest = Manifest::take(workspace.as_fd(), DIGESTED_BEFORE)?;
        places.make(id, &[])?;
        places.keep_changes(id, ChangesFile::Before, &serde_json::to_vec(&manifest)?)
    });
    let looked = looked.await.map_err(std::io::Error::other).flatten();
    looked.map_err(|error| failed(error.to_string()))?;
    fault::reach(Point::WorkspaceSeen);
    Ok(())
}

/// Holds the workspace, in which nothing runs any more, against what was seen before, and keeps what is other.
pub(super) async fn look_after(
    inner: &Inner,
    live: &Live,
    sandbox: &Sandbox,
) -> Option<ChangeSummary> {
    let asked = live.execution.borrow().changes?;
    let workspace = workspace(sandbox)?;
    let (places, id) = (inner.places.clone(), live.id());
    let owner = live.execution.borrow().owner_uid;
    let turn = inner.threads.look(owner).await;
    let looked = spawn_blocking(move || {
        let _turn = turn; // none only while the daemon ends
        if let Some(found) = places.changes(id, ChangesFile::Found)? {
            return Ok(serde_json::from_slice(&found)?); // by a daemon that was killed after that
        }
        let before = places.changes(id, ChangesFile::Before)?;
        let before = before.ok_or_else(|| std::io::Error::other("nothing was seen before"))?;
        let before: Manifest = serde_json::from_slice(&before)?;
        let found = Differences::since(&before, workspace.as_fd(), DIGESTED_AFTER)?;
        places.keep_changes(id, ChangesFile::Found, &serde_json::to_vec(&found)?)?;
        places.forget_changes(id, ChangesFile::Before)?;
        std::io::Result::Ok(found)
    });
    match looked.await.map_err(std::io::Error::other).flatten() {
        Ok(found) => {
            fault::reach(Point::ChangesKept);
            Some(ChangeSummary {
                added: found.added,
                modified: found.modified,
                deleted: found.deleted,
                hazardous: found.hazardous,
                complete: found.complete,
                ..asked
            })
        }
        Err(error) => {
            tracing::error!(%error, execution_id = %id, "can't tell what an execution changed");
            None
        }
    }
}

/// A turn to look into its workspace before it runs.
async fn turn_to_look(inner: &Inner, live: &Live) -> Result<Option<Piece>, Outcome> {
    let owner = live.execution.borrow().owner_uid;
    unless_cancelled(inner.threads.look(owner), live.cancelled.subscribe()).await
}

/// A turn to write there before it runs.
pub(super) async fn turn_to_write(inner: &Inner, live: &Live) -> Result<Option<Piece>, Outcome> {
    let owner = live.execution.borrow().owner_uid;
    unless_cancelled(inner.threads.write(owner), live.cancelled.subscribe()).await
}

/// A turn for which others are waited for, and its owner's own; not by one that is to end. None only while the daemon
/// ends.
async fn unless_cancelled(
    turn: impl Future<Output = Result<Piece, ApiError>>,
    mut cancelled: watch::Receiver<bool>,
) -> Result<Option<Piece>, Outcome> {
    tokio::select! {
        biased;
        _ = cancelled.wait_for(|cancelled| *cancelled) => Err(Outcome::Cancelled),
        turn = turn => Ok(turn.ok()),
    }
}

fn workspace(sandbox: &Sandbox) -> Option<OwnedFd> {
    sandbox.get(Descriptor::Workspace)?.try_clone().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::task::yield_now;

    use super::*;
    use crate::threads::Threads;

    #[tokio::test]
    async fn one_that_is_cancelled_waits_for_nobody_s_look() {
        let threads = Arc::new(Threads::default());
        let looks = [threads.look(1).await.unwrap(), threads.look(1).await.unwrap()];
        let cancelled = watch::Sender::new(false);
        let wait = |owner| {
            let (threads, cancelled) = (threads.clone(), cancelled.subscribe());
            tokio::spawn(async move { unless_cancelled(threads.look(owner), cancelled).await })
        };
        let waiting = wait(1);
        yield_now().await;
        assert!(!waiting.is_finished());
        assert!(matches!(wait(2).await, Ok(Ok(Some(_)))), "it is another's turn");
        cancelled.send_replace(true);
        assert!(matches!(waiting.await, Ok(Err(Outcome::Cancelled))));
        assert!(matches!(wait(2).await, Ok(Err(Outcome::Cancelled))), "nor is it looked then");
        drop(looks);
    }
}
