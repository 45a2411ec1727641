//! Directories in the state directory, made where they are missing. What else stands there, or belongs to somebody else,
//! as a backup that root brought back does, keeps a start from going on: it is told by its path, with what to do.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, faccessat};

/// What helps where something can't be entered or written.
pub const REMEDY: &str =
    "it has to belong to the user that this daemon runs as, with all that is in it (chown -R)";

/// Opens one, which is on disk.
///
/// # Errors
/// With its path, where it can't be made, entered or written, or is no directory.
pub fn open(state: &Path, name: &str) -> io::Result<OwnedFd> {
    let path = state.join(name);
    enter(state, name).map_err(|errno| {
        let (path, error) = (path.display(), io::Error::from(errno));
        let remedy = match errno {
            Errno::EACCES | Errno::EPERM => REMEDY,
            Errno::ENOTDIR | Errno::ELOOP => "it has to be a directory: move away what is there",
            _ => "see to the disk of the state directory",
        };
        io::Error::new(error.kind(), format!("{path}: {error}; {remedy}"))
    })
}

fn enter(state: &Path, name: &str) -> Result<OwnedFd, Errno> {
    let errno = |error: io::Error| Errno::from_raw(error.raw_os_error().unwrap_or_default());
    let parent = File::open(state).map_err(errno)?;
    match DirBuilder::new().mode(0o700).create(state.join(name)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.and_then(|()| parent.sync_all()).map_err(errno)?,
    }
    let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let directory = openat(&parent, name, flags, Mode::empty())?;
    let all = AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK;
    match faccessat(&directory, ".", all, AtFlags::empty()) {
        // Whoever writes there says so, and what was told can be read.
        Ok(()) | Err(Errno::EROFS) => Ok(directory),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_made_once_and_what_else_stands_there_is_told_by_its_path() {
        let state = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            open(state.path(), "place").unwrap();
        }
        let mode = fs::metadata(state.path().join("place")).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "it is its owner's alone");
        std::os::unix::fs::symlink("place", state.path().join("link")).unwrap();
        fs::write(state.path().join("file"), "").unwrap();
        for name in ["link", "file"] {
            let said = open(state.path(), name).unwrap_err().to_string();
            let path = state.path().join(name).display().to_string();
            assert!(said.starts_with(&path) && said.contains("move away"), "{said}");
        }
    }
}
