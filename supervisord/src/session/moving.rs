//! Sessions whose workspaces are being made or removed, known to a daemon that comes after one that was killed
//! meanwhile. As long as a workspace is on its way there is a file of the session's name in the state directory.
//! Without one, a workspace that has no record or a record that has no workspace is not this daemon's doing, and is
//! not its to tidy away: a disk may not be mounted, or be another one.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use supervisor_api::SessionId;
use tokio::task::spawn_blocking;

use crate::directories;

/// All of them.
#[derive(Debug)]
pub struct Moving {
    directory: PathBuf,
}

impl Moving {
    /// Opens `moving` in the state directory, making it if need be.
    pub fn open(state: &Path) -> io::Result<Self> {
        directories::open(state, "moving")?;
        Ok(Self { directory: state.join("moving") })
    }

    /// A session's workspace is going to be made or removed, which is on disk when this returns.
    pub async fn begin(&self, session: SessionId) -> io::Result<()> {
        let (directory, place) = (self.directory.clone(), self.place(session));
        let noted = spawn_blocking(move || {
            File::create(place)?;
            File::open(directory)?.sync_all()
        });
        noted.await.map_err(io::Error::other)?
    }

    /// It is there with its record, or neither is. A note that stays says nothing wrong for as long as that holds, and
    /// the next start removes it.
    pub async fn end(&self, session: SessionId) {
        let place = self.place(session);
        let gone = spawn_blocking(move || match fs::remove_file(place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        });
        if let Err(error) = gone.await.map_err(io::Error::other).flatten() {
            tracing::warn!(%error, %session, "can't note that a workspace has come or gone");
        }
    }

    /// Every session of which that is so.
    pub fn all(&self) -> io::Result<HashSet<SessionId>> {
        let mut all = HashSet::new();
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            all.extend(name.to_str().and_then(|name| name.parse::<SessionId>().ok()));
        }
        Ok(all)
    }

    fn place(&self, session: SessionId) -> PathBuf {
        self.directory.join(session.to_string())
    }
}
