//! What is kept of an end before it is recorded, for a daemon that comes after one that was killed: once a
//! sandbox is killed or removed, nobody could tell any more how its payload ended. The files are written
//! and not synced: with the host's power every sandbox is gone too, and with the daemon alone nothing of
//! them is.

use serde::{Deserialize, Serialize};
use supervisor_api::{ArtifactList, ChangeSummary, ControlReport, ExecutionId, Outcome, Usage};

use super::ending::End;
use crate::fault::{self, Point};
use crate::places::{Note, Places};

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
pub fn keep_end(places: &Places, id: ExecutionId, end: &End) {
    let End { outcome, usage, artifacts, changes, controls, .. } = end;
    let kept = KeptEnd {
        outcome: outcome.clone(),
        usage: *usage,
        artifacts: artifacts.clone(),
        changes: *changes,
        controls: controls.clone(),
    };
    keep(places, id, Note::End, &kept);
    fault::reach(Point::EndKept);
}

/// The end that was kept.
pub fn end(places: &Places, id: ExecutionId) -> Option<End> {
    let KeptEnd { outcome, usage, artifacts, changes, controls } = find(places, id, Note::End)?;
    Some(End { outcome, usage, artifacts, changes, controls, sandbox: None })
}

/// Keeps why an execution is about to be ended.
pub fn keep_reason(places: &Places, id: ExecutionId, reason: &Outcome) {
    keep(places, id, Note::Reason, reason);
    fault::reach(Point::ReasonKept);
}

/// Why it was ended, if it was.
pub fn reason(places: &Places, id: ExecutionId) -> Option<Outcome> {
    find(places, id, Note::Reason)
}

/// Forgets both: the end is recorded.
pub fn forget(places: &Places, id: ExecutionId) {
    if let Err(error) = places.forget_notes(id) {
        tracing::warn!(%error, execution_id = %id, "can't remove what was kept of an end");
    }
}

fn keep<T: Serialize>(places: &Places, id: ExecutionId, note: Note, value: &T) {
    let kept = serde_json::to_vec(value).map_err(std::io::Error::from);
    if let Err(error) = kept.and_then(|text| places.keep_note(id, note, &text)) {
        tracing::warn!(%error, execution_id = %id, "can't keep an end until it is recorded");
    }
}

fn find<T: for<'a> Deserialize<'a>>(places: &Places, id: ExecutionId, note: Note) -> Option<T> {
    let found = places.note(id, note).and_then(|text| {
        text.map(|text| serde_json::from_slice(&text).map_err(std::io::Error::from)).transpose()
    });
    found.unwrap_or_else(|error| {
        tracing::error!(%error, execution_id = %id, "what was kept of an end can't be read");
        None
    })
}
