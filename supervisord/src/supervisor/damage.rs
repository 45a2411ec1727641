//! What was kept of an execution, held against what its record says of it: what a disk or a hand has changed since is
//! refused by its name, and neither sent nor signed as what the execution left.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use supervisor_api::{ApiError, Artifact, Digest32, ErrorCode, Execution, Outcome, StreamSummary};
use tokio::task::spawn_blocking;

use super::{internal, storage};
use crate::capture::Capture;

/// Bytes that are digested before the thread is given back: some hundredths of a second.
const TURN: u64 = 8 << 20;

/// Bytes that are read at a time.
const BUFFER: usize = 64 << 10;

/// The output of a finished execution is as long as it was at the end.
pub(super) fn check_output(execution: &Execution, capture: &Capture) -> Result<(), ApiError> {
    // Nobody knows what there was of one that was lost.
    if matches!(execution.outcome, Some(Outcome::Lost { .. })) {
        return Ok(());
    }
    let (found, recorded) = (capture.summary(), &execution.output);
    for (name, found, recorded) in
        [("stdout", found.stdout, recorded.stdout), ("stderr", found.stderr, recorded.stderr)]
    {
        let (StreamSummary { kept: found, .. }, StreamSummary { kept, .. }) = (found, recorded);
        if found != kept {
            tracing::error!(execution = %execution.id, name, found, kept, "kept output is damaged");
            let problem = format!(
                "the kept {name} is damaged: it has {found} bytes, and had {kept} at the end"
            );
            return Err(damaged(problem));
        }
    }
    Ok(())
}

/// An artifact is, to the byte, what was collected.
pub(super) async fn check_artifact(file: File, artifact: &Artifact) -> Result<File, ApiError> {
    let found = file.metadata().map_err(storage)?.len();
    if found != artifact.size {
        let size = artifact.size;
        let problem = format!("it has {found} bytes, and had {size} when it was collected");
        return Err(damaged_artifact(artifact, &problem));
    }
    let file = Arc::new(file);
    let (mut digest, mut at) = (Sha256::new(), 0);
    while at < artifact.size {
        let (file, to) = (Arc::clone(&file), artifact.size.min(at + TURN));
        let taken = spawn_blocking(move || take(digest, &file, at, to)).await;
        digest = taken.map_err(internal)?.map_err(storage)?;
        at = to;
    }
    if Digest32(digest.finalize().into()).to_string() != artifact.sha256 {
        return Err(damaged_artifact(
            artifact,
            "its SHA-256 is another one than when it was collected",
        ));
    }
    Arc::into_inner(file).ok_or_else(|| internal("an artifact is read that nobody reads"))
}

fn take(mut digest: Sha256, file: &File, mut at: u64, to: u64) -> io::Result<Sha256> {
    let mut buffer = vec![0; BUFFER];
    while at < to {
        let size = usize::try_from(to - at).unwrap_or(BUFFER).min(BUFFER);
        let piece = buffer.get_mut(..size).unwrap_or_default();
        file.read_exact_at(piece, at)?;
        digest.update(&*piece);
        at += size as u64;
    }
    Ok(digest)
}

/// One of a finished execution that isn't there at all.
pub(super) fn missing_artifact(artifact: &Artifact, error: io::Error) -> ApiError {
    match error.kind() {
        io::ErrorKind::NotFound => damaged_artifact(artifact, "its file is gone"),
        _ => storage(error),
    }
}

fn damaged_artifact(artifact: &Artifact, problem: &str) -> ApiError {
    tracing::error!(path = artifact.path, problem, "an artifact is damaged");
    damaged(format!("the artifact {:?} is damaged: {problem}", artifact.path))
}

fn damaged(problem: String) -> ApiError {
    ApiError::new(ErrorCode::Damaged, problem).with_hint(
        "run the execution again; an administrator has to look at the disk of the state directory",
    )
}
