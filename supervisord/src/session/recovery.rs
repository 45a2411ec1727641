//! After a restart: sessions and their workspaces are held against each other.

use std::collections::HashSet;

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
    for record in inner.store.sessions().await? {
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
