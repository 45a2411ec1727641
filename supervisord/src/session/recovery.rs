//! After a restart: sessions and their workspaces are held against each other.

use std::collections::HashSet;
use std::sync::Arc;

use supervisor_api::SessionId;

use super::held;
use super::operations::remove_later;
use super::set::Kept;
use super::writing;
use crate::budget::Account;
use crate::recovery::Failure;
use crate::store::StoreError;
use crate::supervisor::Inner;

/// Takes up every session that has its workspace; removes the records of those whose removal had begun, and
/// the workspaces of those that nobody was told of.
pub async fn recover(inner: &Arc<Inner>) -> Result<(), Failure> {
    let mut unknown: HashSet<u128> =
        inner.launcher.workspaces().await?.into_iter().map(|kept| kept.id).collect();
    let records = inner.store.sessions().await?;
    let sessions: HashSet<SessionId> = records.iter().map(|record| record.id).collect();
    for record in records {
        if let Some(held) = record.held
            && (!sessions.contains(&held.session)
                || inner.store.get(held.execution).await?.is_none())
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
            && held::is_half_applied(&inner.places, held.execution)?
        {
            origin.begin_to_apply(held.execution); // before anybody else enters it
        }
    }
    for id in unknown {
        inner.launcher.remove_workspace(id).await?;
    }
    writing::clean_up(inner).await
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
