//! What was kept of an execution, held against what its record says of it: what a disk or a hand has changed since is
//! refused by its name, and neither sent nor signed as what the execution left.

use std::fs::File;
use std::io;

use supervisor_api::{ApiError, Artifact, Digest32, ErrorCode, Execution, Outcome, Stream};

use super::storage;
use crate::capture::Capture;
use crate::digests::Digests;

/// The output of a finished execution is, to the byte and in its order, what there was at the end. Records of daemons
/// that took no digests say how long it was.
pub(super) async fn check_output(
    digests: &Digests,
    execution: &Execution,
    capture: &Capture,
) -> Result<(), ApiError> {
    // Nobody knows what there was of one that was lost.
    if matches!(execution.outcome, Some(Outcome::Lost { .. })) {
        return Ok(());
    }
    let (found, recorded) = (capture.summary(), &execution.output);
    let streams = [
        ("stdout", found.stdout, recorded.stdout, capture.file(Stream::Stdout)),
        ("stderr", found.stderr, recorded.stderr, capture.file(Stream::Stderr)),
    ];
    for (name, found, recorded, file) in streams {
        if found.kept != recorded.kept {
            let problem =
                format!("it has {} bytes, and had {} at the end", found.kept, recorded.kept);
            return Err(damaged_output(execution, name, &problem));
        }
        if let Some(digest) = recorded.sha256
            && !is((digests, execution.owner_uid), file, digest).await?
        {
            let problem = "its SHA-256 is another one than at the end";
            return Err(damaged_output(execution, name, problem));
        }
    }
    match recorded.order_sha256 {
        Some(digest)
            if !is((digests, execution.owner_uid), capture.order_file(), digest).await? =>
        {
            let problem = "its SHA-256 is another one than at the end";
            Err(damaged_output(execution, "order of stdout and stderr", problem))
        }
        _ => Ok(()),
    }
}

/// An artifact is, to the byte, what was collected.
pub(super) async fn check_artifact(
    (digests, owner): (&Digests, u32),
    file: &File,
    artifact: &Artifact,
) -> Result<(), ApiError> {
    let found = file.metadata().map_err(storage)?.len();
    if found != artifact.size {
        let size = artifact.size;
        let problem = format!("it has {found} bytes, and had {size} when it was collected");
        return Err(damaged_artifact(artifact, &problem));
    }
    if digests.of(owner, file).await.map_err(storage)?.to_string() != artifact.sha256 {
        let problem = "its SHA-256 is another one than when it was collected";
        return Err(damaged_artifact(artifact, problem));
    }
    Ok(())
}

/// Whether a file is there and has this digest.
async fn is(
    (digests, owner): (&Digests, u32),
    file: Option<&File>,
    digest: Digest32,
) -> Result<bool, ApiError> {
    match file {
        Some(file) => Ok(digests.of(owner, file).await.map_err(storage)? == digest),
        None => Ok(false),
    }
}

/// One of a finished execution that isn't there at all.
pub(super) fn missing_artifact(artifact: &Artifact, error: io::Error) -> ApiError {
    match error.kind() {
        io::ErrorKind::NotFound => damaged_artifact(artifact, "its file is gone"),
        _ => storage(error),
    }
}

fn damaged_output(execution: &Execution, name: &str, problem: &str) -> ApiError {
    tracing::error!(execution = %execution.id, name, problem, "kept output is damaged");
    damaged(format!("the kept {name} is damaged: {problem}"))
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
