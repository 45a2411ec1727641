//! What is staged is put in its place.
//!
//! Our own confinement lets nothing be moved from one directory into another, so each file goes as a copy under a
//! name of its own, by one rename, and what was staged of it is removed once the copy is on disk. What is no longer
//! staged is in its place therefore, and what still is, is put there once more. Where there is no room for that, whoever
//! was cut off has taken it: what is in its place already is told from what isn't by its bytes.

use std::io;
use std::mem;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, readlinkat, renameat};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, syncfs, unlinkat};
use supervisor_api::{FileKind, PathChange};

use super::{ROOM, ROOM_INODES, failed, makes_directory};
use crate::fault::{self, Point};
use crate::workspace::beneath;
use crate::workspace::files::{FileError, TEMPORARY, copy_one};
use crate::workspace::manifest::{Entry, digest};
use crate::workspace::path::WorkspacePath;

/// Changes that are in their places and still staged, at the most: what they take of a workspace that has the room is
/// given back now and then all the same.
const AT_ONCE: usize = 1024;

/// What is being committed.
struct Commit<'c> {
    root: BorrowedFd<'c>,
    staging: BorrowedFd<'c>,
    changes: &'c [PathChange],
    /// Numbers of the changes that are in their places, perhaps not on disk, and still staged.
    placed: Vec<usize>,
    /// Whether what was put in its place by a commit before this one has been looked for.
    has_looked: bool,
}

/// Puts what is staged in its place and removes what is to go; each file in one step. All of it is on disk when this
/// returns, and may be done again before.
///
/// # Errors
/// Also when nothing is staged: whoever knows that all was done before doesn't ask.
pub fn commit(
    root: BorrowedFd<'_>,
    changes: &[PathChange],
    name: &WorkspacePath,
) -> Result<(), FileError> {
    let staging = beneath::open_directory(root, name.as_str()).map_err(|errno| match errno {
        Errno::ENOENT => FileError::NotFound { path: name.clone() },
        errno => failed("find the staged changes")(errno),
    })?;
    for number in 0..=ROOM_INODES {
        remove(staging.as_fd(), &format!("{ROOM}{number}"), UnlinkatFlags::NoRemoveDir)
            .map_err(failed("give room back"))?;
    }
    for change in changes.iter().rev() {
        clear(root, change).map_err(failed("remove what is to go"))?;
    }
    let staged = staging.as_fd();
    let mut commit = Commit { root, staging: staged, changes, placed: vec![], has_looked: false };
    for (number, change) in changes.iter().enumerate() {
        commit.put(number, change)?;
        fault::reach(Point::ChangePlaced);
    }
    // A directory that can't be written gets its permissions when it is filled.
    for change in changes.iter().rev() {
        let Some(after) = change.after.as_ref() else { continue };
        if after.kind == FileKind::Directory {
            let opened = beneath::open_directory(root, change.path.as_str());
            let mode = Mode::from_bits_truncate(after.mode & 0o777);
            opened
                .and_then(|opened| fchmod(&opened, mode))
                .map_err(failed("set the permissions of a directory"))?;
        }
    }
    syncfs(&staging).map_err(failed("have the changes on disk"))
}

impl Commit<'_> {
    /// Puts a change in its place. Where there is no room for a second copy of it, those before it give theirs up first.
    fn put(&mut self, number: usize, change: &PathChange) -> Result<(), FileError> {
        if self.placed.len() >= AT_ONCE {
            self.give_up()?;
        }
        let mut placed = place(self.root, self.staging, number, change);
        if matches!(placed, Err(FileError::NoRoom)) {
            self.give_up()?;
            placed = place(self.root, self.staging, number, change);
        }
        // A daemon that was killed may have placed many, which are staged still.
        if matches!(placed, Err(FileError::NoRoom)) && !mem::replace(&mut self.has_looked, true) {
            self.placed = placed_before(self.root, self.staging, self.changes)?;
            self.give_up()?;
            placed = place(self.root, self.staging, number, change);
        }
        placed?;
        if change.after.is_some() {
            self.placed.push(number);
        }
        Ok(())
    }

    /// Removes what is staged of all that is in its place.
    fn give_up(&mut self) -> Result<(), FileError> {
        syncfs(self.staging).map_err(failed("have the changes on disk"))?;
        for number in self.placed.drain(..) {
            let name = number.to_string();
            match remove(self.staging, &name, UnlinkatFlags::NoRemoveDir) {
                Err(Errno::EISDIR) => remove(self.staging, &name, UnlinkatFlags::RemoveDir),
                other => other,
            }
            .map_err(failed("remove a staged change"))?;
        }
        Ok(())
    }
}

/// Removes a name. What is not there is no error.
fn remove(directory: BorrowedFd<'_>, name: &str, how: UnlinkatFlags) -> Result<(), Errno> {
    match unlinkat(directory, name, how) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Removes what goes, and what is of another kind than what comes.
pub(super) fn clear(root: BorrowedFd<'_>, change: &PathChange) -> Result<(), Errno> {
    let Some((parent, name)) = parent(root, &change.path)? else { return Ok(()) };
    let Ok(now) = beneath::stat(parent.as_fd(), name) else { return Ok(()) };
    let is_directory = beneath::kind_of(&now) == SFlag::S_IFDIR;
    let stays = change
        .after
        .as_ref()
        .is_some_and(|after| is_directory == (after.kind == FileKind::Directory));
    if stays {
        return Ok(());
    }
    let mode = beneath::mode_of(&fstat(&parent)?);
    if !mode.contains(Mode::S_IWUSR) {
        fchmod(&parent, mode | Mode::S_IRWXU)?; // it goes as well, or gets its permissions in the end
    }
    let how = if is_directory { UnlinkatFlags::RemoveDir } else { UnlinkatFlags::NoRemoveDir };
    unlinkat(parent.as_fd(), name, how)
}

pub(super) fn place(
    root: BorrowedFd<'_>,
    staging: BorrowedFd<'_>,
    number: usize,
    change: &PathChange,
) -> Result<(), FileError> {
    let failed = failed("put a change in place");
    let Some(after) = &change.after else { return Ok(()) };
    let parent = parent(root, &change.path).map_err(&failed)?;
    let (parent, name) = parent.ok_or_else(|| failed(Errno::ENOENT))?;
    match after.kind {
        FileKind::Directory => {
            if makes_directory(change) {
                // Nothing is lost with it: it only kept an inode.
                remove(staging, &number.to_string(), UnlinkatFlags::RemoveDir).map_err(&failed)?;
            }
            match mkdirat(parent.as_fd(), name, Mode::S_IRWXU) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(failed(errno)),
            }
            let opened = beneath::open_directory(parent.as_fd(), name).map_err(&failed)?;
            let mode = Mode::from_bits_truncate(after.mode & 0o777) | Mode::S_IRWXU;
            fchmod(&opened, mode).map_err(failed)
        }
        FileKind::File | FileKind::SymbolicLink => {
            let staged = number.to_string();
            match beneath::stat(staging, staged.as_str()) {
                Err(Errno::ENOENT) => return Ok(()), // it is in its place
                found => drop(found.map_err(&failed)?),
            }
            let temporary = temporary(number);
            remove(parent.as_fd(), &temporary, UnlinkatFlags::NoRemoveDir).map_err(&failed)?;
            copy_one(staging, &staged, parent.as_fd(), &temporary)?;
            renameat(parent.as_fd(), temporary.as_str(), parent.as_fd(), name).map_err(failed)
        }
        FileKind::Other => Ok(()),
    }
}

/// What a change's copy is called before it is renamed.
fn temporary(number: usize) -> String {
    format!("{TEMPORARY}{number:032x}")
}

/// Finds what a commit that was cut off has put in its place and left staged, and removes the copy that it was making.
pub(super) fn placed_before(
    root: BorrowedFd<'_>,
    staging: BorrowedFd<'_>,
    changes: &[PathChange],
) -> Result<Vec<usize>, FileError> {
    let mut placed = Vec::new();
    for (number, change) in changes.iter().enumerate().filter(|(_, change)| change.after.is_some())
    {
        let is_placed = (|| {
            let Some((parent, name)) = parent(root, &change.path)? else { return Ok(false) };
            remove(parent.as_fd(), &temporary(number), UnlinkatFlags::NoRemoveDir)?;
            is_as((staging, &number.to_string()), (parent.as_fd(), name))
        })();
        match is_placed {
            Ok(true) => placed.push(number),
            Ok(false) => {}
            Err(error) => {
                let operation = "find what is in its place".to_owned();
                return Err(FileError::System { operation, source: error });
            }
        }
    }
    Ok(placed)
}

/// Whether at both names there are files, or links, that say and do the same.
fn is_as(one: (BorrowedFd<'_>, &str), other: (BorrowedFd<'_>, &str)) -> io::Result<bool> {
    let look = |(directory, name)| match beneath::stat(directory, name) {
        Ok(found) => Ok(Some(Entry::of(directory, name, &found))),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno),
    };
    let (Some(first), Some(second)) = (look(one)?, look(other)?) else { return Ok(false) };
    let says = |entry: &Entry| (entry.kind, entry.size, entry.mode);
    if says(&first) != says(&second) {
        return Ok(false);
    }
    match first.kind {
        FileKind::SymbolicLink => Ok(readlinkat(one.0, one.1)? == readlinkat(other.0, other.1)?),
        FileKind::File => {
            let bytes = digest(one.0, one.1, &first)?;
            Ok(bytes.is_some() && bytes == digest(other.0, other.1, &second)?)
        }
        FileKind::Directory | FileKind::Other => Ok(false),
    }
}

/// The directory that a path's last name is in, if there is one.
fn parent<'p>(root: BorrowedFd<'_>, path: &'p str) -> Result<Option<(OwnedFd, &'p str)>, Errno> {
    let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
    match beneath::open(root, parent, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()) {
        Ok(opened) => Ok(Some((opened, name))),
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
        Err(errno) => Err(errno),
    }
}
