//! Room that a daemon leaves for the next one. What SQLite removes when a database is closed it makes again when
//! that is opened (two files beside each, one of 32 KiB at once), and a disk that has become full in between
//! would keep the daemon away from what runs, and from all that it could tell.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{FallocateFlags, OFlag, fallocate};

/// Two for each of the three databases, and two for what the daemon makes besides.
const FILES: usize = 8;

/// Bytes of each: a database's shared memory, and the first pages of its log.
const BYTES: i64 = 64 << 10;

/// Takes the room, which is free from then on.
pub fn take(state: &Path) {
    for path in paths(state) {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %path.display(), "can't remove a spare file");
            }
            _ => {}
        }
    }
}

/// Leaves as much of it as there is.
pub fn leave(state: &Path) {
    let make = |path: &Path| {
        let file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        Ok::<(), io::Error>(fallocate(file, FallocateFlags::empty(), 0, BYTES)?)
    };
    for path in paths(state) {
        if let Err(error) = make(&path) {
            return tracing::warn!(%error, path = %path.display(), "no room is left for the next start");
        }
    }
}

fn paths(state: &Path) -> impl Iterator<Item = PathBuf> {
    (0..FILES).map(|number| state.join(format!("spare-{number}")))
}

/// Whether the file system refuses to take another page, by its size or by a quota. SQLite reports a quota,
/// and a file that it can't make, without the cause.
pub fn is_full(directory: &Path) -> bool {
    /// More than what is left of a quota when SQLite could not write a page of 4 KiB.
    const PROBE: [u8; 16 * 1024] = [0; 16 * 1024];
    let unnamed = OpenOptions::new()
        .write(true)
        .mode(0o600)
        .custom_flags((OFlag::O_TMPFILE | OFlag::O_CLOEXEC).bits())
        .open(directory);
    let written = unnamed.and_then(|file: File| {
        file.write_all_at(&PROBE, 0)?;
        file.sync_data()
    });
    written.is_err_and(|error| {
        matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    })
}
