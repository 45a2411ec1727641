//! What is kept of an end before it is recorded, for a daemon that comes after one that was killed: once a
//! sandbox is killed or removed, nobody could tell any more how its payload ended. The files are written
//! and not synced: with the host's power every sandbox is gone too, and with the daemon alone nothing of
//! them is.

use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use supervisor_api::{ArtifactList, ChangeSummary, ControlReport, ExecutionId, Outcome, Usage};
use tokio::task::spawn_blocking;

use super::ending::End;
use crate::fault::{self, Point};
use crate::places::{Note, Places};
use crate::regular;

/// An end as it will be recorded.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptEnd {
    outcome: Outcome,
    usage: Usage,
    artifacts: ArtifactList,
    #[serde(default)]
    changes: Option<ChangeSummary>,
    controls: Vec<ControlReport>,
}

/// Keeps an end. What can't be kept is lost only if the daemon is killed before it is recorded.
pub async fn keep_end(places: &Arc<Places>, id: ExecutionId, end: &End) {
    let End { outcome, usage, artifacts, changes, controls, .. } = end;
    let kept = KeptEnd {
        outcome: outcome.clone(),
        usage: *usage,
        artifacts: artifacts.clone(),
        changes: *changes,
        controls: controls.clone(),
    };
    keep(places, id, Note::End, kept).await;
    fault::reach(Point::EndKept);
}

/// The end that was kept, if one was.
///
/// # Errors
/// When it is damaged, which is not the same as none.
pub fn end(places: &Places, id: ExecutionId) -> io::Result<Option<End>> {
    let found: Option<KeptEnd> = find(places, id, Note::End)?;
    Ok(found.map(|KeptEnd { outcome, usage, artifacts, changes, controls }| End {
        outcome,
        usage,
        artifacts,
        changes,
        controls,
        sandbox: None,
    }))
}

/// Keeps why an execution is about to be ended.
pub async fn keep_reason(places: &Arc<Places>, id: ExecutionId, reason: &Outcome) {
    keep(places, id, Note::Reason, reason.clone()).await;
    fault::reach(Point::ReasonKept);
}

/// Why it was ended, if it was.
///
/// # Errors
/// When that is damaged.
pub fn reason(places: &Places, id: ExecutionId) -> io::Result<Option<Outcome>> {
    find(places, id, Note::Reason)
}

/// Forgets both, and the globs: the end is recorded.
pub async fn forget(places: &Arc<Places>, id: ExecutionId) {
    let places = places.clone();
    let forgotten = spawn_blocking(move || places.forget_notes(id)).await;
    if let Err(error) = forgotten.map_err(io::Error::other).flatten() {
        tracing::warn!(%error, execution_id = %id, "can't remove what was kept of an end");
    }
}

/// The list of artifacts may be megabytes, and a file system that is being synced lets nobody make a file for a while.
async fn keep<T>(places: &Arc<Places>, id: ExecutionId, note: Note, value: T)
where
    T: Serialize + Send + 'static,
{
    let places = places.clone();
    let kept = spawn_blocking(move || {
        let text = serde_json::to_vec(&value)?;
        places.keep_note(id, note, &text)
    });
    if let Err(error) = kept.await.map_err(io::Error::other).flatten() {
        tracing::warn!(%error, execution_id = %id, "can't keep an end until it is recorded");
    }
}

fn find<T>(places: &Places, id: ExecutionId, note: Note) -> io::Result<Option<T>>
where
    T: for<'a> Deserialize<'a>,
{
    let read = |text: Vec<u8>| {
        serde_json::from_slice(&text).map_err(|error| regular::damaged(note.name(), error))
    };
    places.note(id, note)?.map(read).transpose()
}
