//! Workspaces into which files are being written, known to a daemon that comes after one that was killed
//! meanwhile: it removes what was not finished there. As long as something is written into a session's
//! workspace there is a file of the session's name in the state directory; after a loss of power both
//! are as the disk has them.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use supervisor_api::{SessionId, Subject};
use tokio::task::spawn_blocking;

use crate::audit;
use crate::directories;
use crate::elsewhere::NOBODY;
use crate::recovery::Failure;
use crate::supervisor::Inner;
use crate::workspace;

/// All of them.
#[derive(Debug)]
pub struct Writing {
    directory: PathBuf,
    under_way: Mutex<HashMap<SessionId, usize>>,
}

/// Something that is being written; dropping it says that it is done, or taken back. It is made and dropped where there is
/// time: both wait for the state's disk.
#[derive(Debug)]
pub struct BeingWritten {
    writing: Arc<Writing>,
    session: SessionId,
}

impl Writing {
    /// Opens `writing` in the state directory, making it if need be.
    pub fn open(state: &Path) -> io::Result<Arc<Self>> {
        directories::open(state, "writing")?;
        let directory = state.join("writing");
        Ok(Arc::new(Self { directory, under_way: Mutex::default() }))
    }

    /// Something is going to be written into a session's workspace. Blocks.
    pub fn begin(self: &Arc<Self>, session: SessionId) -> io::Result<BeingWritten> {
        let mut under_way = self.under_way();
        let count = under_way.get(&session).copied().unwrap_or_default();
        if count == 0 {
            File::create(self.place(session))?;
        }
        under_way.insert(session, count + 1);
        drop(under_way);
        Ok(BeingWritten { writing: self.clone(), session })
    }

    /// What was not finished is still there: it stays noted for the next start, whatever is written meanwhile.
    fn owe(&self, session: SessionId) {
        *self.under_way().entry(session).or_default() += 1;
    }

    fn place(&self, session: SessionId) -> PathBuf {
        self.directory.join(session.to_string())
    }

    /// Nothing between two changes panics, so a poisoned map is whole.
    fn under_way(&self) -> MutexGuard<'_, HashMap<SessionId, usize>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for BeingWritten {
    fn drop(&mut self) {
        let mut under_way = self.writing.under_way();
        match under_way.get_mut(&self.session) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                under_way.remove(&self.session);
                forget(&self.writing.place(self.session));
            }
        }
    }
}

/// Removes what an earlier daemon was writing when it was killed. Where that fails, such as where a workspace can't be
/// mounted, the next start tries again.
pub(super) async fn clean_up(inner: &Inner) -> Result<(), Failure> {
    for entry in fs::read_dir(&inner.writing.directory)? {
        let place = entry?.path();
        let name = place.file_name().and_then(|name| name.to_str());
        let id = name.and_then(|name| name.parse::<SessionId>().ok());
        let Some(session) = id.filter(|id| inner.sessions.get(*id).is_some()) else {
            forget(&place);
            continue;
        };
        match sweep(inner, session).await {
            Ok(count) => {
                tracing::info!(%session, count, "removed files that were not finished");
                forget(&place);
            }
            Err(error) if inner.launcher.is_gone() => return Err(error),
            Err(error) => {
                tracing::error!(%error, %session, "can't remove files that were not finished");
                inner.writing.owe(session);
                let subject = Subject { session: Some(session), ..Subject::default() };
                let cause = format!(
                    "files in its workspace that were not finished can't be removed: {error}; the next start tries again"
                );
                inner.audit.note(audit::recovery(subject, "put_off", Some(&cause)));
            }
        }
    }
    Ok(())
}

/// Removes what was not finished in one session's workspace; says how many files that were.
async fn sweep(inner: &Inner, session: SessionId) -> Result<u64, Failure> {
    let kept = inner.sessions.get(session);
    let owner = kept.as_ref().map_or(NOBODY, |kept| kept.record().owner_uid);
    let granted = inner.launcher.grant(session.bits(), owner).await?;
    let Some(kept) = kept else {
        return Ok(spawn_blocking(move || workspace::remove_unfinished(granted.as_fd())).await??);
    };
    let root = kept.opened.lock().await.get_or_insert(kept.root(granted)).clone(); // programs in it come next
    Ok(spawn_blocking(move || workspace::remove_unfinished(root.as_fd())).await??)
}

fn forget(place: &Path) {
    if let Err(error) = fs::remove_file(place) {
        tracing::warn!(%error, "can't note that nothing is written any more");
    }
}
