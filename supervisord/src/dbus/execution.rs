//! The methods of executions, which the manager has too, by id.

use supervisor_api::{ApiError, ExecutionId, Stream};
use zbus::Fd;
use zbus::message::Message;

use crate::dbus::call::{Call, Front};
use crate::dbus::failure::Failure;
use crate::dbus::feed;
use crate::dbus::polkit::Action;
use crate::http::{bytes_of, raw, until};
use crate::pool::Share;
use crate::supervisor::OutputQuery;

/// Does what a call of an execution's interface asks for.
///
/// # Errors
///
/// What the operation refuses with.
pub async fn act(
    front: &Front,
    call: &Call,
    id: ExecutionId,
    member: &str,
) -> Result<Message, Failure> {
    match member {
        "Cancel" => {
            call.arguments::<()>()?;
            let caller = front.caller_for(call, id, Action::CancelOthers).await;
            front.supervisor.cancel(&caller, id).await?;
            call.answer(&())
        }
        "Pause" => {
            let (reclaim,): (bool,) = call.arguments()?;
            let caller = front.caller_for(call, id, Action::CancelOthers).await;
            front.supervisor.pause(&caller, id, reclaim).await?;
            call.answer(&())
        }
        "Resume" => {
            call.arguments::<()>()?;
            let caller = front.caller_for(call, id, Action::CancelOthers).await;
            front.supervisor.resume(&caller, id).await?;
            call.answer(&())
        }
        "Output" => {
            let (stream, offset, follow): (String, u64, bool) = call.arguments()?;
            output(front, call, id, &stream, offset, follow).await
        }
        "Artifacts" => {
            call.arguments::<()>()?;
            artifacts(front, call, id).await
        }
        "Artifact" => {
            let (path,): (String,) = call.arguments()?;
            artifact(front, call, id, &path).await
        }
        _ => Err(Failure::unknown_method()),
    }
}

/// Output as a pipe.
///
/// # Errors
///
/// What the operation refuses with; [`supervisor_api::ErrorCode::Busy`] when too many pipes are open.
pub async fn output(
    front: &Front,
    call: &Call,
    id: ExecutionId,
    stream: &str,
    offset: u64,
    follow: bool,
) -> Result<Message, Failure> {
    let stream = match stream {
        "stdout" => Some(Stream::Stdout),
        "stderr" => Some(Stream::Stderr),
        "both" => None,
        _ => {
            let error = ApiError::invalid("stream", "there is no such stream");
            return Err(error.with_hint("it is stdout, stderr or both").into());
        }
    };
    let share = share(front, call)?;
    let removal = front.supervisor.inner().removal(id);
    let caller = front.caller_for(call, id, Action::SeeAll).await;
    let query = OutputQuery { stream, offset, follow };
    let reader = front.supervisor.output(&caller, id, query).await?;
    let pieces = feed::Pieces(until(raw(reader), removal));
    let pipe = feed::start(pieces, share).map_err(Failure::internal)?;
    call.answer(&(Fd::from(pipe),))
}

/// The list of artifacts.
///
/// # Errors
///
/// What the operation refuses with.
pub async fn artifacts(front: &Front, call: &Call, id: ExecutionId) -> Result<Message, Failure> {
    let caller = front.caller_for(call, id, Action::SeeAll).await;
    let list = front.supervisor.artifacts(&caller, id).await?;
    let made = call.list(front, move || {
        let kept = list.artifacts.into_iter();
        let kept: Vec<_> =
            kept.map(|each| (each.path, each.size, each.sha256, each.media_type)).collect();
        let refused: Vec<_> =
            list.refused.into_iter().map(|each| (each.path, each.reason)).collect();
        Ok((kept, refused, list.truncated))
    });
    made.await
}

/// One artifact as a pipe. Its file's own descriptor would hold its blocks for as long as the caller likes, also
/// when the execution has been removed.
///
/// # Errors
///
/// As for [`output`].
pub async fn artifact(
    front: &Front,
    call: &Call,
    id: ExecutionId,
    path: &str,
) -> Result<Message, Failure> {
    let share = share(front, call)?;
    let removal = front.supervisor.inner().removal(id);
    let caller = front.caller_for(call, id, Action::SeeAll).await;
    let (artifact, file) = front.supervisor.artifact(&caller, id, path).await?;
    let pieces = feed::Pieces(until(bytes_of(file, artifact.size), removal));
    let pipe = feed::start(pieces, share).map_err(Failure::internal)?;
    call.answer(&(Fd::from(pipe), artifact.size, artifact.sha256, artifact.media_type))
}

/// The place of one more pipe among the caller's.
fn share(front: &Front, call: &Call) -> Result<Share, Failure> {
    let share = front.feeds.take(&call.weight(), 1);
    share.ok_or_else(|| Failure::busy("too many pipes are open"))
}
