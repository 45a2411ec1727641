//! How a session is closed: what runs in it ends, its workspace goes, then its record, and last it is told.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use supervisor_api::{ApiError, ErrorCode, ExecutionId, Session, SessionId, SessionState};
use tokio::time::{sleep, timeout};

use super::recovery::try_remove;
use super::set::Kept;
use crate::budget::Account;
use crate::fault::{self, Point};
use crate::live::Live;
use crate::outcome;
use crate::supervisor::{Caller, Inner, Supervisor, internal, is_full, storage};

/// How long to wait before a record that did not go is asked to go again.
const REMOVE_AGAIN: Duration = Duration::from_secs(5);

/// How long the last close of a workspace is waited for: it writes back what the disk has not taken yet. On one that
/// stands still it never ends.
const LETTING_GO: Duration = Duration::from_secs(10);

impl Supervisor {
    /// Ends what runs in a session and removes its workspace; returns when nothing of it is left. A launcher that
    /// stands still is not waited for, and the session is closed when it goes on; nor is, for long, a disk that does.
    pub async fn close_session(&self, caller: &Caller, id: SessionId) -> Result<Session, ApiError> {
        let session = self.own_session(caller, id)?;
        self.note_stewardship(caller, &session.record(), "close_session")?;
        let last = self.describe(&session, false).await?;
        self.close_unless_silent(&session).await?;
        Ok(Session { state: SessionState::Closing, executions: 0, ..last })
    }

    /// Closes a session for somebody who is told when the launcher stands still.
    pub(super) async fn close_unless_silent(&self, session: &Arc<Kept>) -> Result<(), ApiError> {
        let (supervisor, closing) = (self.clone(), session.clone());
        // To its end though nobody waits for it any more.
        let closed = tokio::spawn(async move { supervisor.close(&closing).await });
        let id = session.record().id;
        let those: HashSet<ExecutionId> = self.executions_of(id).map(|live| live.id()).collect();
        let so =
            "the session is being closed, and gone once the ends of its executions are recorded";
        let closed = async {
            tokio::select! {
                biased;
                closed = closed => closed.map_err(internal)?,
                why = self.inner().delayed.any_of(&those, so) => Err(why),
            }
        };
        match self.inner().launcher.unless_silent(closed).await {
            Ok(closed) => closed,
            Err(_) => {
                let so = "the session is being closed, and gone when that goes on";
                Err(outcome::launcher_is_silent(so))
            }
        }
    }

    /// What uses a session, or is a copy of it.
    fn executions_of(&self, id: SessionId) -> impl Iterator<Item = Arc<Live>> {
        self.inner().live.all().into_iter().filter(move |live| {
            let on_a_copy = live.held.as_ref().map(|held| held.session().record().id);
            live.execution.borrow().session == id || on_a_copy == Some(id)
        })
    }

    /// Closes a session, or waits with whoever is closing it.
    pub(super) async fn close(&self, session: &Arc<Kept>) -> Result<(), ApiError> {
        let inner = self.inner();
        let (id, owner) = (session.record().id, session.record().owner_uid);
        self.refuse_half_applied(session)?;
        if !session.begin_to_close() {
            return Err(ApiError::new(ErrorCode::Conflict, "the session is being closed already"));
        }
        for live in self.executions_of(id) {
            live.cancelled.send_replace(true);
        }
        inner.warm.leave(id);
        session.unused().await;
        if let Err(refusal) = self.refuse_half_applied(session) {
            session.reopen(); // applying them broke off meanwhile
            return Err(refusal);
        }
        fault::reach(Point::SessionUnused);
        match inner.moving.begin(id).await {
            Err(error) if is_full(&error) => {
                // Closing may be what makes room. Only a daemon that dies before the record is gone misses the note.
                tracing::warn!(%error, session = %id, "can't note that a workspace is being removed");
            }
            Err(error) => {
                session.reopen();
                return Err(storage(error));
            }
            Ok(()) => {}
        }
        if let Err(error) = try_remove(&inner.launcher, id.bits(), owner).await {
            session.reopen(); // and the note stays: the launcher may have begun, and finish when it is started again
            let failed = outcome::workspaces_disk_failed(&error);
            return Err(failed.unwrap_or_else(|| internal(error)));
        }
        fault::reach(Point::WorkspaceRemoved);
        for copy in inner.sessions.all() {
            if copy.record().held.is_some_and(|held| held.session == id) {
                self.close_soon(copy); // there is nothing any more to apply its changes to
            }
        }
        let removed = inner.store.remove_session(id).await;
        fault::reach(Point::SessionForgotten);
        if let Err(error) = removed {
            // Its workspace is gone, and with it the session: a daemon that finds the record without one forgets it.
            tracing::error!(%error, session = %id, "the record of a session that is closed is removed later");
            remove_later(inner.clone(), id);
        } else {
            inner.moving.end(id).await;
        }
        // First, so that who is told that it is closed finds room for another. A disk that stands still keeps the place,
        // and not the session.
        drop(timeout(LETTING_GO, session.let_go()).await);
        forget(inner, id);
        Ok(())
    }
}

/// Removes the record of a session that is forgotten, however often that takes.
pub(super) fn remove_later(inner: Arc<Inner>, id: SessionId) {
    tokio::spawn(async move {
        while inner.store.remove_session(id).await.is_err() {
            sleep(REMOVE_AGAIN).await;
        }
        inner.moving.end(id).await;
    });
}

/// Forgets a session of which nothing is left.
fn forget(inner: &Inner, id: SessionId) {
    inner.sessions.remove(id);
    inner.interpreters.forget(id);
    inner.budgets.forget(&Account::Session(id));
}
