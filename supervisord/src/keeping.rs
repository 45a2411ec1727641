//! How long finished executions are kept: until somebody removes them, or until they are the oldest of an
//! owner who has too many of them or of whom too much is kept.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;

use supervisor_api::ExecutionId;
use tokio::sync::{Mutex, broadcast};
use tokio::task::spawn_blocking;

use crate::audit;
use crate::places::Places;
use crate::recovery::Failure;
use crate::store::{MAX_FINISHED_PER_OWNER, Store, StoreError};
use crate::supervisor::Inner;

/// Removals that whoever reads may be behind; it then looks whether what it reads is still recorded.
const REMOVALS: usize = 1024;

/// What part of its file system the state of one owner takes at the most, whatever is configured: a disk that is
/// smaller than was thought of is not one owner's alone.
const SHARE: u64 = 4;

/// What goes away.
#[derive(Debug)]
pub struct Keeping {
    /// Files are removed by one thread at a time, whoever asks: ten thousand of them take it about a second.
    removing: Mutex<()>,
    /// What is to go is looked for and removed by one at a time, or it would be recorded twice that it goes.
    retiring: Mutex<()>,
    removed: broadcast::Sender<ExecutionId>,
}

impl Default for Keeping {
    fn default() -> Self {
        let removed = broadcast::Sender::new(REMOVALS);
        Self { removing: Mutex::default(), retiring: Mutex::default(), removed }
    }
}

impl Keeping {
    /// Returns once an execution's files are removed; told from this call on, which so comes before they are
    /// opened. Who reads them lets go of them then, or their blocks would be held for as long as a reader likes.
    pub fn removal(
        &self,
        store: Store,
        id: ExecutionId,
    ) -> impl Future<Output = ()> + Send + use<> {
        let mut removed = self.removed.subscribe();
        async move {
            loop {
                match removed.recv().await {
                    Ok(gone) if gone == id => return,
                    Ok(_) => {}
                    Err(broadcast::error::RecvError::Closed) => return,
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        if matches!(store.get(id).await, Ok(None)) {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// Removes the files of executions whose records are gone.
    async fn remove_files(&self, places: &Arc<Places>, ids: Vec<ExecutionId>) -> io::Result<()> {
        let _one = self.removing.lock().await;
        let (places, going) = (places.clone(), ids.clone());
        let removed = spawn_blocking(move || {
            let mut removed = Ok(());
            for id in going {
                removed = removed.and(places.remove(id)); // one that fails keeps no other
            }
            removed
        });
        let removed = removed.await;
        for id in ids {
            drop(self.removed.send(id)); // an error says that nobody reads
        }
        removed?
    }
}

/// Removes the oldest finished executions of owners that have too many, or of whom too much is kept.
///
/// # Errors
/// When a record or a file can't be removed; whoever tries next goes on from there.
pub async fn retire(inner: &Inner) -> Result<(), Failure> {
    loop {
        let _alone = inner.keeping.retiring.lock().await;
        let found = inner.store.too_many(MAX_FINISHED_PER_OWNER, &undecided(inner)).await?;
        if found.is_empty() {
            break;
        }
        let mut by_owner: BTreeMap<u32, Vec<ExecutionId>> = BTreeMap::new();
        for (owner, id) in &found {
            by_owner.entry(*owner).or_default().push(*id);
        }
        for (owner, ids) in by_owner {
            let most = u64::from(MAX_FINISHED_PER_OWNER);
            inner.audit.note(audit::retirement(owner, ids, "executions", most));
        }
        remove_all(inner, found.into_iter().map(|(_, id)| id).collect()).await?;
    }
    for owner in inner.store.keepers().await? {
        lighten(inner, owner).await?;
    }
    Ok(())
}

/// Removes the finished executions of an owner that ended first, if too much is kept of it.
///
/// # Errors
/// As for [`retire`].
pub async fn lighten(inner: &Inner, owner: u32) -> Result<(), Failure> {
    let Some(most) = ceiling(inner).await? else { return Ok(()) };
    loop {
        let _alone = inner.keeping.retiring.lock().await;
        let ids = inner.store.too_much(owner, most, &undecided(inner)).await?;
        if ids.is_empty() {
            return Ok(());
        }
        tracing::info!(uid = owner, executions = ids.len(), most, "too much was kept");
        inner.audit.note(audit::retirement(owner, ids.clone(), "kept_bytes", most));
        remove_all(inner, ids).await?;
    }
}

/// Removes these, their records first.
async fn remove_all(inner: &Inner, ids: Vec<ExecutionId>) -> Result<(), Failure> {
    inner.store.remove(ids.clone()).await?;
    ids.iter().for_each(|id| inner.interpreters.remove(*id));
    Ok(inner.keeping.remove_files(&inner.places, ids).await?)
}

/// Executions whose changes are held back, or are being applied: they stay until that is decided and done.
fn undecided(inner: &Inner) -> HashSet<ExecutionId> {
    let held = inner.sessions.all().into_iter().filter_map(|session| session.record().held);
    held.map(|held| held.execution).collect()
}

/// Bytes that may be kept of one owner, if that is bounded.
async fn ceiling(inner: &Inner) -> io::Result<Option<u64>> {
    let most = inner.settings.current().kept_bytes_per_uid;
    if most == 0 {
        return Ok(None);
    }
    let places = inner.places.clone();
    let disk = spawn_blocking(move || places.disk_bytes()).await??;
    Ok(Some(most.min(disk / SHARE)))
}

/// Removes a finished execution, its record first: files without a record go at the next start at the latest. On
/// a full disk the record may need the room that the files take, so there they go first.
///
/// # Errors
/// When the record stays.
pub async fn remove(inner: &Inner, id: ExecutionId) -> Result<(), Failure> {
    let recorded = inner.store.remove(vec![id]).await;
    let is_full = matches!(recorded, Err(StoreError::Full { .. }));
    if !is_full {
        recorded?;
    }
    inner.interpreters.remove(id);
    inner.keeping.remove_files(&inner.places, vec![id]).await?;
    if is_full { Ok(inner.store.remove(vec![id]).await?) } else { Ok(()) }
}
