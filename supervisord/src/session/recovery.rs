//! After a restart: sessions and their workspaces are held against each other.

use std::collections::HashSet;

use supervisor_api::SessionId;

use super::set::Kept;
use super::writing;
use crate::budget::Account;
use crate::recovery::Failure;
use crate::supervisor::Inner;

/// Takes up every session that has its workspace; removes the records of those whose removal had begun, and
/// the workspaces of those that nobody was told of.
pub async fn recover(inner: &Inner) -> Result<(), Failure> {
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
            inner.store.remove_session(record.id).await?;
            continue; // its workspace is without a record now
        }
        if unknown.remove(&record.id.bits()) {
            let place = inner.admission.already_kept(record.owner_uid, record.workspace_bytes);
            inner.sessions.adopt(Kept::new(record, place, &inner.sessions));
        } else {
            tracing::warn!(session = %record.id, "a session has no workspace; it was being closed");
            inner.store.remove_session(record.id).await?;
            inner.budgets.forget(&Account::Session(record.id));
        }
    }
    for id in unknown {
        inner.launcher.remove_workspace(id).await?;
    }
    writing::clean_up(inner).await
}
