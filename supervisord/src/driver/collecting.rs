//! Artifacts are copied out of a workspace in which nothing runs any more.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use supervisor_api::{ArtifactList, ExecutionId, RefusedArtifact};
use supervisor_launch::Descriptor;
use tokio::task::spawn_blocking;

use crate::fault::{self, Point};
use crate::launcher::Sandbox;
use crate::live::Live;
use crate::places::Places;
use crate::supervisor::{Inner, is_full};
use crate::workspace::{self, CollectLimits, GlobSelection, NO_ROOM, Space};

const NOTHING: ArtifactList =
    ArtifactList { artifacts: Vec::new(), refused: Vec::new(), truncated: false };

/// Copies the artifacts out of the workspace. What can't be kept is left out, and nothing of it stays on the disk.
pub(super) async fn collect(
    inner: &Inner,
    live: &Live,
    sandbox: &Sandbox,
    globs: &GlobSelection,
) -> ArtifactList {
    if globs.is_empty() {
        return NOTHING;
    }
    let Some(Ok(workspace)) = sandbox.get(Descriptor::Workspace).map(|fd| fd.try_clone()) else {
        return ArtifactList { truncated: true, ..NOTHING };
    };
    let (places, id, globs) = (inner.places.clone(), live.id(), globs.clone());
    let limits = live.snapshot().limits;
    let (bytes, count) = (limits.artifact_bytes, limits.artifact_count);
    let room = inner.room.clone();
    let owner = live.execution.borrow().owner_uid;
    let turn = inner.threads.look(owner).await;
    let collected = spawn_blocking(move || {
        let _turn = turn; // none only while the daemon ends
        let limits = CollectLimits { bytes, count, room: Space::Of(&room) };
        match collect_in(&places, id, &workspace, &globs, limits) {
            // Somebody else filled the disk meanwhile. What was kept gives way to the record of the end, for which nothing
            // else is left, and what matches is listed as left out.
            Err(error) if is_full(&error) => {
                tracing::warn!(%error, execution_id = %id, "artifacts are left out");
                let limits = CollectLimits { room: Space::Bytes(0), ..limits };
                collect_in(&places, id, &workspace, &globs, limits)
            }
            collected => collected,
        }
    });
    collected.await.map_err(io::Error::other).flatten().unwrap_or_else(|error| {
        tracing::error!(%error, execution_id = %id, "can't collect artifacts");
        let path = ".".to_owned();
        let all = |reason: &str| RefusedArtifact { path, reason: reason.to_owned() };
        let refused = is_full(&error).then(|| all(NO_ROOM)).into_iter().collect();
        ArtifactList { refused, truncated: true, ..NOTHING }
    })
}

/// Fills an empty store, and leaves none where that fails: no list would be of what is in it.
fn collect_in(
    places: &Places,
    id: ExecutionId,
    workspace: &OwnedFd,
    globs: &GlobSelection,
    limits: CollectLimits<'_>,
) -> io::Result<ArtifactList> {
    let collected = places.make_artifacts(id).and_then(|store| {
        fault::reach(Point::ArtifactsBegun);
        workspace::collect(workspace.as_fd(), globs, store.as_fd(), limits)
    });
    if collected.is_err()
        && let Err(error) = places.remove_artifacts(id)
    {
        tracing::error!(%error, execution_id = %id, "artifacts that are in no list can't be removed");
    }
    Ok(collected?.list)
}
