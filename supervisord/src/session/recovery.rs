//! After a restart: sessions and their workspaces are held against each other.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use supervisor_api::{SessionId, Subject};
use tokio::time::sleep;

use super::closing::remove_later;
use super::held;
use super::set::Kept;
use super::writing;
use crate::audit;
use crate::budget::Account;
use crate::launcher::{LaunchError, Launcher};
use crate::outcome;
use crate::recovery::{Failure, is_recorded};
use crate::store::StoreError;
use crate::supervisor::Inner;

/// How long to wait before a workspace that did not go is asked to go again.
const REMOVE_AGAIN: Duration = Duration::from_secs(5);

/// Workspaces of no session that are named; their number says how many there are.
const NAMED: usize = 8;

/// Takes up every session; removes the records of those whose removal had begun, and the workspaces of those that nobody
/// was told of. A session that has lost its workspace, and a workspace that nobody knows, stay what they are. What fails
/// of one of them keeps nobody else from coming back.
pub async fn recover(inner: &Arc<Inner>) -> Result<(), Failure> {
    let listed = inner.launcher.workspaces().await?;
    let mut unknown: HashMap<u128, u32> =
        listed.into_iter().map(|kept| (kept.id, kept.owner)).collect();
    let mut moving = inner.moving.all()?;
    let settles = inner.settling.is_asked();
    let records = inner.store.sessions().await?;
    let sessions: HashSet<SessionId> = records.iter().map(|record| record.id).collect();
    for record in records {
        if let Some(held) = record.held
            && (!sessions.contains(&held.session) || !is_recorded(inner, held.execution).await?)
        {
            // Nobody was told of the execution, or there is nothing to apply its changes to.
            if let Err(error) = inner.moving.begin(record.id).await {
                tracing::warn!(%error, session = %record.id, "can't note that a copy is being removed");
            }
            moving.insert(record.id);
            forget_record(inner, record.id).await?;
            continue; // its workspace is without a record now
        }
        let is_there = unknown.remove(&record.id.bits()).is_some();
        if is_there || !(settles || moving.contains(&record.id)) {
            if !is_there {
                tell_missing(inner, record.id);
            }
            inner.moving.end(record.id).await; // of one that is closed after all it says so again
            let place = inner.admission.already_kept(record.owner_uid, record.workspace_bytes);
            inner.sessions.adopt(Kept::new(record, place, &inner.sessions));
        } else {
            tracing::warn!(session = %record.id, settles, "a session has no workspace, and is closed");
            if forget_record(inner, record.id).await? {
                inner.moving.end(record.id).await;
            }
            inner.budgets.forget(&Account::Session(record.id));
        }
    }
    for copy in inner.sessions.all() {
        if let Some(held) = copy.record().held
            && let Some(origin) = inner.sessions.get(held.session)
        {
            let begun = held::is_half_applied(&inner.places, held.execution);
            let is_whole = begun.as_ref().is_ok_and(|begun| !begun);
            if let Err(error) = begun {
                tracing::error!(%error, session = %held.session, "can't tell whether changes are in a session by half");
            }
            if !is_whole {
                origin.begin_to_apply(held.execution); // before anybody else enters it
            }
        }
    }
    let (ours, strange): (Vec<_>, Vec<_>) = unknown
        .into_iter()
        .partition(|(id, _)| settles || moving.contains(&SessionId::from_bits(*id)));
    for (id, owner) in ours {
        moving.remove(&SessionId::from_bits(id)); // it is gone when its workspace is
        remove_workspace(inner, id, owner).await?;
    }
    let strange: Vec<u128> = strange.into_iter().map(|(id, _)| id).collect();
    for gone in moving {
        if !sessions.contains(&gone) {
            inner.moving.end(gone).await; // neither was made, or both are gone
        }
    }
    if !strange.is_empty() {
        tell_strange(inner, &strange);
    }
    writing::clean_up(inner).await
}

/// Removes the workspace of a session that nobody was told of. One that can't go yet, such as that of a sandbox that
/// does not end, goes when it can.
async fn remove_workspace(inner: &Arc<Inner>, id: u128, owner: u32) -> Result<(), Failure> {
    let Err(error) = try_remove(&inner.launcher, id, owner).await else {
        inner.moving.end(SessionId::from_bits(id)).await;
        return Ok(());
    };
    if inner.launcher.is_gone() {
        return Err(error.into());
    }
    let session = SessionId::from_bits(id);
    tracing::error!(%error, %session, "a workspace that nobody was told of is not gone");
    let subject = Subject { session: Some(session), ..Subject::default() };
    let cause = format!(
        "its workspace, of which nobody was told, can't be removed: {error}; which is tried again"
    );
    inner.audit.note(audit::recovery(subject, "put_off", Some(&cause)));
    let inner = inner.clone();
    tokio::spawn(async move {
        while try_remove(&inner.launcher, id, owner).await.is_err() {
            sleep(REMOVE_AGAIN).await;
        }
        inner.moving.end(session).await;
    });
    Ok(())
}

/// Says that a session has lost its workspace. It stays, for its owner to close, or for whoever brings that back.
fn tell_missing(inner: &Inner, session: SessionId) {
    let cause = "its workspace is not where the launcher keeps them, and nobody was removing it";
    tracing::error!(%session, "a session's workspace is missing");
    let subject = Subject { session: Some(session), ..Subject::default() };
    inner.audit.note(audit::recovery(subject, "missing", Some(cause)));
}

/// Says that there are workspaces of no session. They stay: a state from a backup knows nothing of the newest.
fn tell_strange(inner: &Inner, strange: &[u128]) {
    let count = strange.len();
    let named: Vec<String> = strange.iter().take(NAMED).map(|id| format!("{id:032x}")).collect();
    let cause = format!(
        "{count} workspaces are of no session of this state, and stay: {}{}; a start with a file settle-workspaces in \
         the state directory removes them",
        named.join(", "),
        if count > NAMED { ", ..." } else { "" },
    );
    tracing::error!("{cause}");
    inner.audit.note(audit::recovery(Subject::default(), "left", Some(&cause)));
}

/// Removes a workspace; one that is not there is gone.
pub(super) async fn try_remove(
    launcher: &Launcher,
    id: u128,
    owner: u32,
) -> Result<(), LaunchError> {
    match launcher.remove_workspace(id, owner).await {
        Err(error) if outcome::is_missing(&error) => Ok(()), // it is gone
        removed => removed,
    }
}

/// Removes a record, and says whether that is done. Where the disk has no room for it, it is removed when there is some.
async fn forget_record(inner: &Arc<Inner>, id: SessionId) -> Result<bool, Failure> {
    match inner.store.remove_session(id).await {
        Err(error @ StoreError::Full { .. }) => {
            tracing::warn!(%error, session = %id, "a session's record is not gone");
            remove_later(inner.clone(), id);
            Ok(false)
        }
        removed => Ok(removed.map(|()| true)?),
    }
}
