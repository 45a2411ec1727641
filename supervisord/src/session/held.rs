//! Copies of a session's workspace on which executions run whose changes are held back.
//!
//! ```text
//! submission ──copy──▶ held ──┬── apply: conflicts? ──▶ staged ──▶ applying ──▶ applied ──▶ the copy goes
//!                             └── discard, the session's end, the copy's closing ──▶ the copy goes
//! ```
//!
//! A copy is a session like others in bounds and life, in which nobody runs or changes anything but the one execution
//! it was made for. It is there for as long as the session, whose end is its own. From `applying` on there is only the
//! way ahead: what is staged lies in the session's own workspace, which nobody enters but who applies the rest, and a
//! daemon that comes after one that was killed goes on with it before anything else happens there.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;

use supervisor_api::{ApiError, ChangesState, ErrorCode, ExecutionId, PathChange, SessionId};
use supervisor_sys::random_bits;
use tokio::task::spawn_blocking;

use super::files::{refuse, some};
use super::record::{Held, Record};
use super::root::Root;
use super::set::{Kept, Use};
use super::transfer::one_of;
use crate::clock;
use crate::fault::{self, Point};
use crate::places::{ChangesFile, Places};
use crate::supervisor::{Inner, Supervisor, internal, storage};
use crate::workspace::{self, FileError, Manifest, WorkspacePath};

/// What is noted of changes that are being applied once all are in their places: what is staged is of no use any more.
const PLACED: &[u8] = b"placed";

/// A copy that was made for a submission. Dropped before [`HeldCopy::keep`], it goes again.
pub struct HeldCopy {
    supervisor: Supervisor,
    session: Arc<Kept>,
    guard: Option<Use>,
}

impl HeldCopy {
    /// The copy's own id.
    pub fn id(&self) -> SessionId {
        self.session.record().id
    }

    /// The submission was accepted: its execution runs there.
    pub fn keep(mut self) -> Option<Use> {
        self.guard.take()
    }
}

impl Drop for HeldCopy {
    fn drop(&mut self) {
        if self.guard.take().is_some() {
            self.supervisor.close_soon(self.session.clone());
        }
    }
}

impl Supervisor {
    /// Copies a session's workspace for an execution whose changes are held back.
    pub(crate) async fn hold(
        &self,
        source: &Arc<Kept>,
        execution: ExecutionId,
    ) -> Result<HeldCopy, ApiError> {
        let theirs = source.record();
        let record = Record {
            id: SessionId::from_bits(random_bits().map_err(internal)?),
            labels: supervisor_api::UniqueMap::default(),
            created_at: clock::now(),
            held: Some(Held { session: theirs.id, execution }),
            ..theirs
        };
        let id = record.id;
        self.make_session(record, Some(source.clone())).await?;
        let session = self.inner().sessions.get(id).ok_or_else(|| internal("a copy is gone"))?;
        let guard = Some(session.run_held()?);
        Ok(HeldCopy { supervisor: self.clone(), session, guard })
    }

    /// The copy that holds an execution's changes, while there is one.
    pub(crate) fn held_copy(&self, execution: ExecutionId) -> Option<Arc<Kept>> {
        let all = self.inner().sessions.all();
        all.into_iter().find(|kept| {
            kept.record().held.is_some_and(|held| held.execution == execution) && !kept.is_closing()
        })
    }

    /// What has become of the changes that an execution made on a copy.
    pub(crate) fn changes_state(&self, execution: ExecutionId) -> Result<ChangesState, ApiError> {
        state(self.inner(), execution, self.held_copy(execution).is_some()).map_err(storage)
    }

    /// Applies changes to the session they are held back from.
    pub(crate) async fn apply_held(
        &self,
        execution: ExecutionId,
        changes: Arc<Vec<PathChange>>,
    ) -> Result<(), ApiError> {
        let (copy, origin) = self.held_and_origin(execution)?;
        let turn = self.copy_turn(&origin).await?;
        let whole = origin.enter_to_apply(execution)?; // first, so that nothing begins after the look
        self.refuse_while_running(origin.record().id)?;
        let guard = copy.enter()?;
        let permits = (one_of(&whole)?, turn);
        if self.changes_state(execution)? == ChangesState::Applied {
            return Ok(()); // by somebody who asked at the same time
        }
        let (from, to) = (self.grant(&copy).await?, self.grant(&origin).await?);
        let (places, begun) = (self.inner().places.clone(), self.has_begun(execution)?);
        let applied = spawn_blocking(move || {
            let applying = Applying { places: &places, execution, session: whole.session() };
            let done = if begun {
                applying.finish(to.as_fd(), &changes)
            } else {
                applying.apply((&from, &to), &changes)
            };
            drop((whole, guard, permits));
            done
        });
        applied.await.map_err(internal)??;
        self.close_soon(copy);
        Ok(())
    }

    /// Discards changes that are held back.
    pub(crate) async fn discard_held(&self, execution: ExecutionId) -> Result<(), ApiError> {
        let (copy, origin) = self.held_and_origin(execution)?;
        let guard = origin.enter()?;
        let permit = one_of(&guard)?; // nobody applies them meanwhile
        if self.has_begun(execution)? {
            let problem = "applying the changes has begun";
            return Err(ApiError::new(ErrorCode::Conflict, problem).with_hint("apply them again"));
        }
        let places = self.inner().places.clone();
        let settled = spawn_blocking(move || settle(&places, execution, ChangesState::Discarded));
        settled.await.map_err(internal)?.map_err(storage)?;
        fault::reach(Point::ChangesSettled);
        drop((guard, permit));
        copy.has_to_go();
        self.close_unless_silent(&copy).await
    }

    /// Goes on with what a daemon before this one was applying when it was killed. Nothing else is done to those
    /// sessions until that is done.
    pub async fn finish_applying(&self) {
        for copy in self.inner().sessions.all() {
            let Some(held) = copy.record().held else { continue };
            let done = match self.changes_state(held.execution) {
                Ok(ChangesState::Applying) => self.go_on_applying(held.execution).await,
                Ok(ChangesState::Held) => self.forget_staged(held).await,
                Ok(_) => {
                    self.close_soon(copy);
                    Ok(())
                }
                Err(error) => Err(error),
            };
            if let Err(error) = done {
                tracing::error!(%error, execution_id = %held.execution, "can't go on with applying changes");
            }
        }
    }

    async fn go_on_applying(&self, execution: ExecutionId) -> Result<(), ApiError> {
        let found = self.found_changes(execution).await?;
        let found = found.ok_or_else(|| internal("what was being applied is not known"))?;
        self.apply_held(execution, Arc::new(found.changes)).await
    }

    /// What was staged when nothing had been applied yet.
    async fn forget_staged(&self, held: Held) -> Result<(), ApiError> {
        let Some(origin) = self.inner().sessions.get(held.session) else { return Ok(()) };
        let root = self.grant(&origin).await?;
        let name = staging(held.execution).map_err(internal)?;
        let gone = spawn_blocking(move || workspace::unstage(root.as_fd(), &name));
        gone.await.map_err(internal)?.map_err(refuse)
    }

    fn held_and_origin(&self, execution: ExecutionId) -> Result<(Arc<Kept>, Arc<Kept>), ApiError> {
        let conflict = |problem| ApiError::new(ErrorCode::Conflict, problem);
        let copy = self.held_copy(execution);
        let copy = copy.ok_or_else(|| conflict("the changes are not held back any more"))?;
        let origin = copy.record().held.and_then(|held| self.inner().sessions.get(held.session));
        let origin = origin.ok_or_else(|| conflict("the session is gone"))?;
        Ok((copy, origin))
    }

    fn has_begun(&self, execution: ExecutionId) -> Result<bool, ApiError> {
        let begun = self.inner().places.changes(execution, ChangesFile::Applying);
        Ok(begun.map_err(storage)?.is_some())
    }

    /// Refuses to close a copy whose changes are in their session by half: there they stay until all are, or until
    /// that is closed.
    pub(super) fn refuse_half_applied(&self, copy: &Kept) -> Result<(), ApiError> {
        let Some(held) = copy.record().held else { return Ok(()) };
        let origin = self.inner().sessions.get(held.session);
        let half =
            |origin: &Arc<Kept>| origin.applying() == Some(held.execution) && !origin.is_closing();
        if !origin.as_ref().is_some_and(half) {
            return Ok(());
        }
        let problem = format!("its changes are in session {} by half", held.session);
        Err(ApiError::new(ErrorCode::Conflict, problem)
            .with_hint("apply them again, which goes on with it, or close that session"))
    }

    /// Closes a session of which nobody is told anything any more. What fails is tried again with the next look at what
    /// has expired.
    pub(crate) fn close_soon(&self, session: Arc<Kept>) {
        session.has_to_go();
        let supervisor = self.clone();
        tokio::spawn(async move {
            if let Err(error) = supervisor.close(&session).await {
                tracing::warn!(%error, session = %session.record().id, "a copy is not gone");
            }
        });
    }
}

/// What has become of changes, by what is on disk.
fn state(inner: &Inner, execution: ExecutionId, is_held: bool) -> io::Result<ChangesState> {
    let places = &inner.places;
    if let Some(settled) = places.changes(execution, ChangesFile::Settled)? {
        return Ok(serde_json::from_slice(&settled)?);
    }
    if !is_held {
        return Ok(ChangesState::Gone);
    }
    let begun = places.changes(execution, ChangesFile::Applying)?.is_some();
    Ok(if begun { ChangesState::Applying } else { ChangesState::Held })
}

/// An execution's changes on their way into a session.
struct Applying<'a> {
    places: &'a Places,
    execution: ExecutionId,
    session: &'a Kept,
}

impl Applying<'_> {
    /// Looks for conflicts, stages and commits.
    fn apply(&self, (from, to): (&Root, &Root), changes: &[PathChange]) -> Result<(), ApiError> {
        let (places, execution) = (self.places, self.execution);
        let origin = places.changes(execution, ChangesFile::Origin).map_err(storage)?;
        let origin = origin.ok_or_else(|| internal("what was copied is not known"))?;
        let origin: Manifest = serde_json::from_slice(&origin).map_err(internal)?;
        let conflicts = workspace::conflicts(to.as_fd(), changes, &origin).map_err(internal)?;
        if !conflicts.is_empty() {
            let named = conflicts.iter().map(|each| format!("{}: {}", each.path, each.why));
            let problem = format!("the changes can't be applied: {}", some(named));
            return Err(ApiError::new(ErrorCode::Conflict, problem).with_hint(
                "discard them and run it again, or take what you want out of the copy",
            ));
        }
        let name = staging(execution).map_err(internal)?;
        let written = workspace::stage(to.as_fd(), from.as_fd(), changes, &name);
        written.map_err(refuse)?;
        fault::reach(Point::ChangesStaged);
        self.session.begin_to_apply(execution);
        if let Err(error) = places.keep_changes(execution, ChangesFile::Applying, b"true") {
            // It may be there all the same. As long as it is, so is what is staged.
            places.forget_changes(execution, ChangesFile::Applying).map_err(storage)?;
            self.session.is_whole();
            workspace::unstage(to.as_fd(), &name).map_err(refuse)?;
            return Err(storage(error));
        }
        fault::reach(Point::ApplyingNoted);
        self.finish(to.as_fd(), changes)
    }

    /// Commits what is staged and says so.
    fn finish(&self, to: BorrowedFd<'_>, changes: &[PathChange]) -> Result<(), ApiError> {
        let (places, execution) = (self.places, self.execution);
        let name = staging(execution).map_err(internal)?;
        let noted = places.changes(execution, ChangesFile::Applying).map_err(storage)?;
        if noted.as_deref() != Some(PLACED) {
            workspace::commit(to, changes, &name).map_err(refuse_to_go_on)?;
            places.keep_changes(execution, ChangesFile::Applying, PLACED).map_err(storage)?;
        }
        workspace::unstage(to, &name).map_err(refuse)?;
        fault::reach(Point::ChangesCommitted);
        let settled = settle(places, execution, ChangesState::Applied);
        if !is_half_applied(places, execution).map_err(storage)? {
            self.session.is_whole();
        }
        settled.map_err(storage)?;
        fault::reach(Point::ChangesSettled);
        Ok(())
    }
}

/// Whether applying an execution's changes has begun and has not ended.
pub(super) fn is_half_applied(places: &Places, execution: ExecutionId) -> io::Result<bool> {
    Ok(places.changes(execution, ChangesFile::Applying)?.is_some()
        && places.changes(execution, ChangesFile::Settled)?.is_none())
}

/// Why the rest of the changes is not applied.
fn refuse_to_go_on(error: FileError) -> ApiError {
    if !matches!(error, FileError::NotFound { .. }) {
        return refuse(error);
    }
    let problem = "what was staged of the changes is gone, so the rest of them can't be applied";
    ApiError::new(ErrorCode::Conflict, problem)
        .with_hint("make a session from the copy that holds them, and close this one")
}

fn settle(places: &Places, execution: ExecutionId, state: ChangesState) -> io::Result<()> {
    places.keep_changes(execution, ChangesFile::Settled, &serde_json::to_vec(&state)?)?;
    places.forget_changes(execution, ChangesFile::Applying)?;
    places.forget_changes(execution, ChangesFile::Origin)
}

/// Where an execution's changes are staged in the session's workspace. A payload knows its execution's id no
/// sooner than its caller says it, and what it puts there is removed.
fn staging(execution: ExecutionId) -> Result<WorkspacePath, FileError> {
    let name = format!(".replacement-{:032x}", execution.bits());
    WorkspacePath::try_from(name.as_str()).map_err(|rule| FileError::TooMuch(rule.to_string()))
}
