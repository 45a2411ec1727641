//! After a restart: sessions and their workspaces are held against each other.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use supervisor_api::{SessionId, Subject};
use supervisor_launch::Step;
use tokio::time::sleep;

use super::held;
use super::operations::remove_later;
use super::set::Kept;
use super::writing;
use crate::audit;
use crate::budget::Account;
use crate::launcher::{LaunchError, Launcher};
use crate::recovery::{Failure, is_recorded};
use crate::store::StoreError;
use crate::supervisor::Inner;

/// How long to wait before a workspace that did not go is asked to go again.
const REMOVE_AGAIN: Duration = Duration::from_secs(5);

/// Takes up every session that has its workspace; removes the records of those whose removal had begun, and
/// the workspaces of those that nobody was told of. What fails of one of them keeps nobody else from coming back.
pub async fn recover(inner: &Arc<Inner>) -> Result<(), Failure> {
    let mut unknown: HashSet<u128> =
        inner.launcher.workspaces().await?.into_iter().map(|kept| kept.id).collect();
    let records = inner.store.sessions().await?;
    let sessions: HashSet<SessionId> = records.iter().map(|record| record.id).collect();
    for record in records {
        if let Some(held) = record.held
            && (!sessions.contains(&held.session) || !is_recorded(inner, held.execution).await?)
        {
            // Nobody was told of the execution, or there is nothing to apply its changes to.
            forget_record(inner, record.id).await?;
            continue; // its workspace is without a record now
        }
        if unknown.remove(&record.id.bits()) {
            let place = inner.admission.already_kept(record.owner_uid, record.workspace_bytes);
            inner.sessions.adopt(Kept::new(record, place, &inner.sessions));
        } else {
            tracing::warn!(session = %record.id, "a session has no workspace; it was being closed");
            forget_record(inner, record.id).await?;
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
    for id in unknown {
        remove_workspace(inner, id).await?;
    }
    writing::clean_up(inner).await
}

/// Removes the workspace of a session that nobody was told of. One that can't go yet, such as that of a sandbox that
/// does not end, goes when it can.
async fn remove_workspace(inner: &Inner, id: u128) -> Result<(), Failure> {
    let Err(error) = try_remove(&inner.launcher, id).await else { return Ok(()) };
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
    let launcher = inner.launcher.clone();
    tokio::spawn(async move {
        while try_remove(&launcher, id).await.is_err() {
            sleep(REMOVE_AGAIN).await;
        }
    });
    Ok(())
}

async fn try_remove(launcher: &Launcher, id: u128) -> Result<(), LaunchError> {
    match launcher.remove_workspace(id).await {
        Err(LaunchError::Failed { step: Step::FindWorkspace, .. }) => Ok(()), // it is gone
        removed => removed,
    }
}

/// Removes a record. Where the disk has no room for that, it is removed when there is some.
async fn forget_record(inner: &Arc<Inner>, id: SessionId) -> Result<(), Failure> {
    match inner.store.remove_session(id).await {
        Err(error @ StoreError::Full { .. }) => {
            tracing::warn!(%error, session = %id, "a session's record is not gone");
            remove_later(inner.clone(), id);
            Ok(())
        }
        removed => Ok(removed?),
    }
}
