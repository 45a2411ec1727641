//! Copies of a workspace: a snapshot, which nothing changes, and a session that begins as another was.
//!
//! A copy is made into a workspace that has no record yet, and is on disk before it gets one. So a daemon that
//! dies meanwhile leaves a workspace without a record, which the next one removes.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;

use supervisor_api::{
    ApiError, CopyReport, CreateSnapshot, ErrorCode, ExecutionId, Session, SessionId, SessionList,
    State,
};
use supervisor_sys::random_bits;
use tokio::task::spawn_blocking;

use super::files::refuse;
use super::operations::{from_now, time_to_live};
use super::record::{Record, TIME_TO_LIVE};
use super::set::Kept;
use super::transfer::one_of;
use super::uses::being_closed;
use crate::clock;
use crate::places::{ChangesFile, Places};
use crate::plan;
use crate::supervisor::{Caller, Supervisor, internal, storage};
use crate::workspace::{self, Manifest};

impl Supervisor {
    /// Keeps a session's workspace as it is now.
    pub async fn create_snapshot(
        &self,
        caller: &Caller,
        id: SessionId,
        request: CreateSnapshot,
    ) -> Result<Session, ApiError> {
        let source = self.session_to_copy(caller, id)?;
        plan::check_labels(&request.labels)?;
        let time_to_live = time_to_live(request.time_to_live.unwrap_or(TIME_TO_LIVE))?;
        let theirs = source.record();
        let record = Record {
            id: SessionId::from_bits(random_bits().map_err(internal)?),
            labels: request.labels,
            created_at: clock::now(),
            expires: from_now(time_to_live),
            time_to_live,
            snapshot_of: Some(theirs.snapshot_of.unwrap_or(theirs.id)),
            held: None,
            ..theirs
        };
        self.make_session(record, Some(source)).await
    }

    /// The snapshots of a session, newest first.
    pub fn snapshots(&self, caller: &Caller, id: SessionId) -> Result<SessionList, ApiError> {
        let owner = self.own_session(caller, id)?.record().owner_uid;
        let mut sessions: Vec<Session> = Vec::new();
        for kept in self.inner().sessions.all() {
            let record = kept.record();
            if record.snapshot_of == Some(id) && record.owner_uid == owner {
                sessions.push(self.glance(&kept));
            }
        }
        sessions.sort_by(|one, other| other.created_at.cmp(&one.created_at));
        Ok(SessionList { sessions })
    }

    /// A session of the caller's own, to copy its workspace. As with running, an administrator's right ends
    /// here.
    pub(super) fn session_to_copy(
        &self,
        caller: &Caller,
        id: SessionId,
    ) -> Result<Arc<Kept>, ApiError> {
        self.session_to_run_in(caller, id).map_err(|error| error.with_field("from"))
    }

    /// Copies a workspace into a new one, while nothing changes it.
    pub(super) async fn copy_workspace(
        &self,
        source: &Arc<Kept>,
        target: &Arc<Kept>,
    ) -> Result<CopyReport, ApiError> {
        let inner = self.inner();
        let turn = self.copy_turn(source).await?;
        let guard = source.enter_to_copy()?; // first, so that nothing begins after the look
        let id = source.record().id;
        self.refuse_while_running(id)?;
        let permits = (one_of(&guard)?, turn);
        let (from, to) = (self.grant(source).await?, self.grant(target).await?);
        let (places, held) = (inner.places.clone(), target.record().held);
        let copied = spawn_blocking(move || {
            let session = guard.session();
            let goes_on = || !session.is_closing();
            let copied = workspace::copy(from.as_fd(), to.as_fd(), &goes_on);
            let copied = copied
                .map_err(|error| if session.is_closing() { being_closed() } else { refuse(error) });
            let copied = copied.and_then(|report| {
                held.map_or(Ok(()), |held| keep_origin(&places, held.execution, from.as_fd()))?;
                Ok(report)
            });
            drop((guard, permits));
            copied
        });
        copied.await.map_err(internal)?
    }

    /// Refuses to go on while something that isn't paused runs or waits in a session.
    pub(super) fn refuse_while_running(&self, id: SessionId) -> Result<(), ApiError> {
        let runs = self.inner().live.all().into_iter().any(|live| {
            let execution = live.execution.borrow();
            let stands_still = matches!(execution.state, State::Paused | State::Finished);
            execution.session == id && live.held.is_none() && !stands_still
        });
        if !runs {
            return Ok(());
        }
        let problem =
            "something runs or waits in the session, and would change its files meanwhile";
        Err(ApiError::new(ErrorCode::Conflict, problem)
            .with_hint("pause the session, or wait for its executions"))
    }
}

/// Keeps what stood in a workspace when it was copied, to know later what was changed there since.
fn keep_origin(
    places: &Places,
    execution: ExecutionId,
    root: BorrowedFd<'_>,
) -> Result<(), ApiError> {
    let seen = Manifest::take(root, 0).map_err(internal)?;
    if seen.truncated {
        let problem = "the session's workspace holds more than is looked at for changes";
        return Err(ApiError::new(ErrorCode::TooLarge, problem).with_field("changes"));
    }
    let text = serde_json::to_vec(&seen).map_err(internal)?;
    places
        .make(execution, &[])
        .and_then(|_| places.keep_changes(execution, ChangesFile::Origin, &text))
        .map_err(storage)
}
