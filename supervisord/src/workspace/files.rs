//! A session's files, one by one: looked at, read, replaced, moved and removed while payloads run that
//! may rename anything at any moment.
//!
//! Every path is resolved by one openat2 beneath the workspace's descriptor, through no link and no mount;
//! what is then done is done to the last name in a directory that is held open. A payload can make a
//! call fail or hit another of its own files, never one outside.

mod archive;
mod copy;
mod elsewhere;
mod entry;
mod error;
mod pack;
mod remove;
mod replace;

use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, RenameFlags, renameat2};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};

pub use archive::{UnpackBounds, Unpacked, unpack};
pub use copy::{copy, copy_one};
pub use entry::{FilePage, Listing, MAX_LISTED, list, look};
pub use error::FileError;
pub use pack::{obstacles, pack};
pub use remove::{remove, remove_while};
pub(super) use replace::TEMPORARY;
pub use replace::{Replacement, remove_unfinished, replace_files};

use super::beneath;
use super::path::WorkspacePath;
use elsewhere::Obstacle;
use error::failed;

/// Permissions of directories that callers make.
const DIRECTORY: Mode = Mode::from_bits_truncate(0o755);

/// Opens a regular file to read it; its size is that of its descriptor.
pub fn open(root: BorrowedFd<'_>, path: &WorkspacePath) -> Result<File, FileError> {
    let opened = beneath::open_file(root, path.as_str()).map_err(failed("open", path))?;
    let found = fstat(&opened).map_err(failed("look at", path))?;
    match beneath::kind_of(&found) {
        SFlag::S_IFREG => Ok(File::from(opened)),
        SFlag::S_IFDIR => Err(FileError::IsDirectory { path: path.clone() }),
        _ => Err(FileError::NotRegular { path: path.clone() }),
    }
}

/// Makes a directory, and those that lead to it. One that is there is no error.
pub fn make_directory(root: BorrowedFd<'_>, path: &WorkspacePath) -> Result<(), FileError> {
    let (parents, name) = path.split();
    let parent = enter_all(root, path, parents)?;
    let directory = parent.as_ref().map_or(root, |opened| opened.as_fd());
    enter(directory, path, name).map(drop)
}

/// Moves a file or directory. Unless `replace` is set nothing is overwritten; with it a file takes a
/// file's place and a directory that of an empty one, in one step (rename(2)). What our own confinement lets
/// no system call move, which is from one directory to another, goes there as a copy ([`elsewhere`]).
pub fn rename(
    root: BorrowedFd<'_>,
    from: &WorkspacePath,
    to: &WorkspacePath,
    replace: bool,
) -> Result<(), FileError> {
    let (source, old) = parent(root, from)?;
    let (parents, new) = to.split();
    let target = enter_all(root, to, parents)?;
    let source = source.as_ref().map_or(root, |opened| opened.as_fd());
    let target = target.as_ref().map_or(root, |opened| opened.as_fd());
    let flags = if replace { RenameFlags::empty() } else { RenameFlags::RENAME_NOREPLACE };
    match renameat2(source, old, target, new, flags) {
        Err(Errno::ENOENT) => Err(FileError::NotFound { path: from.clone() }),
        // A directory that was to go into itself (rename(2)).
        Err(Errno::EINVAL) => Err(FileError::Rooted { path: from.clone() }),
        Err(Errno::EXDEV) => {
            elsewhere::carry((source, old), (target, new), flags).map_err(|error| match error {
                Obstacle::Kind => FileError::Rooted { path: from.clone() },
                Obstacle::File(FileError::Denied { .. }) => failed("copy", from)(Errno::EACCES),
                Obstacle::File(FileError::NoRoom) => failed("move something to", to)(Errno::ENOSPC),
                Obstacle::File(error) => error,
                Obstacle::Place(errno) => failed("move something to", to)(errno),
                Obstacle::Origin(errno) => failed("remove", from)(errno),
            })
        }
        moved => moved.map_err(failed("move something to", to)),
    }
}

/// Opens the directory that a path's last name is in; `None` is the workspace's own root.
fn parent<'p>(
    root: BorrowedFd<'_>,
    path: &'p WorkspacePath,
) -> Result<(Option<OwnedFd>, &'p str), FileError> {
    let (_, name) = path.split();
    let Some(parent) = path.ancestors().next() else { return Ok((None, name)) };
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let opened = beneath::open(root, parent, flags, Mode::empty());
    Ok((Some(opened.map_err(failed("open the directory of", path))?), name))
}

/// Opens the directories that lead to a path, making those that are not there.
fn enter_all<'p>(
    root: BorrowedFd<'_>,
    path: &WorkspacePath,
    parents: impl Iterator<Item = &'p str>,
) -> Result<Option<OwnedFd>, FileError> {
    let mut innermost: Option<OwnedFd> = None;
    for name in parents {
        let directory = innermost.as_ref().map_or(root, |opened| opened.as_fd());
        innermost = Some(enter(directory, path, name)?);
    }
    Ok(innermost)
}

fn enter(
    directory: BorrowedFd<'_>,
    path: &WorkspacePath,
    name: &str,
) -> Result<OwnedFd, FileError> {
    match mkdirat(directory, name, DIRECTORY) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(failed("make a directory of", path)(errno)),
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    beneath::open(directory, name, flags, Mode::empty())
        .map_err(failed("open a directory of", path))
}

#[cfg(test)]
mod races;
#[cfg(test)]
mod tests;
