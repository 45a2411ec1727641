//! Removing a file, or a directory with all that it holds.

use std::ffi::CString;
use std::os::fd::{AsFd as _, BorrowedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::error::{FileError, failed};
use crate::workspace::beneath;
use crate::workspace::path::{MAX_DEPTH, WorkspacePath};

/// Names of one directory that are held in memory at once: hard links make names without inodes, so no
/// limit of the workspace bounds them.
const AT_ONCE: usize = 1024;

/// How often a directory is looked through again, because there were more or because something was put
/// into it meanwhile: eight million names. Who goes on for longer is told so.
const ROUNDS: u32 = 8192;

/// Removes what stands at a path. A directory must be empty, unless all that it holds is to go too.
/// Links are removed, never followed.
pub fn remove(root: BorrowedFd<'_>, path: &WorkspacePath, all: bool) -> Result<(), FileError> {
    let (parent, name) = super::parent(root, path)?;
    let directory = parent.as_ref().map_or(root, |opened| opened.as_fd());
    let name = CString::new(name).map_err(failed("remove", path))?;
    match unlinkat(directory, name.as_c_str(), UnlinkatFlags::NoRemoveDir) {
        // A directory (unlink(2): EISDIR on Linux).
        Err(Errno::EISDIR) if all => remove_directory(directory, &name, path, MAX_DEPTH),
        Err(Errno::EISDIR) => unlinkat(directory, name.as_c_str(), UnlinkatFlags::RemoveDir)
            .map_err(failed("remove", path)),
        other => other.map_err(failed("remove", path)),
    }
}

fn remove_directory(
    parent: BorrowedFd<'_>,
    name: &CString,
    path: &WorkspacePath,
    depth: usize,
) -> Result<(), FileError> {
    if depth == 0 {
        let problem =
            format!("{path} is deeper than {MAX_DEPTH} directories; have the payload remove it");
        return Err(FileError::TooMuch(problem));
    }
    for _ in 0..ROUNDS {
        let opened = beneath::open_directory(parent, name.as_c_str());
        let mut directory = opened.and_then(Dir::from_fd).map_err(failed("remove from", path))?;
        let entries = directory.iter().map(|entry| entry.map(|entry| entry.file_name().to_owned()));
        let entries: Vec<CString> =
            entries.take(AT_ONCE).collect::<Result<_, _>>().map_err(failed("remove from", path))?;
        for entry in entries.iter().filter(|entry| ![c".", c".."].contains(&entry.as_c_str())) {
            match unlinkat(directory.as_fd(), entry.as_c_str(), UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(Errno::EISDIR) => {
                    remove_directory(directory.as_fd(), entry, path, depth - 1)?;
                }
                Err(errno) => return Err(failed("remove from", path)(errno)),
            }
        }
        match unlinkat(parent, name.as_c_str(), UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::ENOTEMPTY) => {}
            Err(errno) => return Err(failed("remove", path)(errno)),
        }
    }
    Err(FileError::NotEmpty { path: path.clone() })
}
