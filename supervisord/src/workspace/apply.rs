//! Changes that were made on a copy of a workspace are applied to the workspace itself.
//!
//! ```text
//! conflicts? ──▶ stage: all new bytes beside the files, in a directory of our own ──▶ commit: renames and removals
//! ```
//!
//! Nothing has been changed until all is staged, and what is staged stays until all is done, so that a commit that
//! was cut off is done again. Nobody else changes the workspace meanwhile; it is whoever calls who sees to that.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, renameat};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, syncfs, unlinkat};
use supervisor_api::{ChangeKind, FileFacts, FileKind, PathChange};

use super::beneath;
use super::files::{FileError, TEMPORARY, copy_one, remove};
use super::manifest::{Entry, Manifest, digest};
use super::path::WorkspacePath;
use crate::fault::{self, Point};

/// Name of what is staged to be given back when the room is needed.
const ROOM: &str = "room";

/// Conflicts that are named.
const MAX_CONFLICTS: usize = 20;

/// Why a change can't be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The path.
    pub path: String,
    /// What is in the way.
    pub why: &'static str,
}

/// What stands at a path.
enum Found {
    There(Entry),
    Nothing,
    /// The path leads through something that is no directory.
    NoWay,
}

/// What keeps changes from being applied to a workspace that was like `origin` when it was copied: the first of
/// it, if there is much.
pub fn conflicts(
    root: BorrowedFd<'_>,
    changes: &[PathChange],
    origin: &Manifest,
) -> io::Result<Vec<Conflict>> {
    let by_path: BTreeMap<&str, &PathChange> =
        changes.iter().map(|change| (change.path.as_str(), change)).collect();
    let mut found = Vec::new();
    for change in changes {
        if let Some(why) = conflict(root, change, &by_path, origin)? {
            found.push(Conflict { path: change.path.clone(), why });
        }
        if found.len() >= MAX_CONFLICTS {
            break;
        }
    }
    Ok(found)
}

fn conflict(
    root: BorrowedFd<'_>,
    change: &PathChange,
    by_path: &BTreeMap<&str, &PathChange>,
    origin: &Manifest,
) -> io::Result<Option<&'static str>> {
    let path = change.path.as_str();
    let becomes = |kind| change.after.as_ref().is_some_and(|after| after.kind == kind);
    if becomes(FileKind::Other) {
        let is_new = change.change == ChangeKind::Added;
        return Ok((!is_new).then_some("a FIFO, a socket or a device took its place"));
    }
    // A directory that comes, goes or gets other permissions is opened up when it is its turn.
    let makes_way = path.rsplit_once('/').is_some_and(|(parent, _)| by_path.contains_key(parent));
    let now = match look(root, path)? {
        (Found::There(_), false) | (Found::Nothing, false) if !makes_way => {
            return Ok(Some("the directory it is in can't be written"));
        }
        (Found::There(now), _) => now,
        (Found::Nothing, _) | (Found::NoWay, _) if change.change == ChangeKind::Deleted => {
            return Ok(None);
        }
        (Found::Nothing, _) if change.change == ChangeKind::Added => return Ok(None),
        (Found::NoWay, _) if change.change == ChangeKind::Added && makes_way => return Ok(None),
        (Found::Nothing, _) => return Ok(Some("it is gone")),
        (Found::NoWay, _) => return Ok(Some("the directory it is in is gone")),
    };
    if change.change == ChangeKind::Added {
        let same = is_as(root, path, change.after.as_ref(), &now)?;
        return Ok((!same).then_some("something stands there by now"));
    }
    let untouched = origin.entries.get(path).is_some_and(|origin| origin.is_untouched(&now));
    if !untouched && !is_as(root, path, change.before.as_ref(), &now)? {
        return Ok(Some("it has changed since"));
    }
    if now.kind == FileKind::Directory && !becomes(FileKind::Directory) {
        return holds_more(root, path, by_path);
    }
    Ok(None)
}

/// What stands at a path, and whether the directory it is in can be written.
fn look(root: BorrowedFd<'_>, path: &str) -> io::Result<(Found, bool)> {
    let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
    let opened = match beneath::open_directory(root, parent) {
        Ok(opened) => opened,
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok((Found::NoWay, false)),
        Err(errno) => return Err(errno.into()),
    };
    let writable = beneath::mode_of(&fstat(&opened)?).contains(Mode::S_IWUSR);
    match beneath::stat(opened.as_fd(), name) {
        Ok(found) => Ok((Found::There(Entry::of(opened.as_fd(), name, &found)), writable)),
        Err(Errno::ENOENT) => Ok((Found::Nothing, writable)),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether what stands there says and does what is told of it.
fn is_as(
    root: BorrowedFd<'_>,
    path: &str,
    told: Option<&FileFacts>,
    now: &Entry,
) -> io::Result<bool> {
    let Some(told) = told else { return Ok(false) };
    if (told.kind, told.mode) != (now.kind, now.mode) {
        return Ok(false);
    }
    Ok(match told.kind {
        FileKind::Directory => true,
        FileKind::SymbolicLink => told.target.is_some() && told.target == now.target,
        FileKind::File if told.size == now.size && told.sha256.is_some() => {
            told.sha256 == digest(root, path, now)?
        }
        FileKind::File | FileKind::Other => false,
    })
}

/// Whether a directory that is to go holds what was not in the copy.
fn holds_more(
    root: BorrowedFd<'_>,
    path: &str,
    by_path: &BTreeMap<&str, &PathChange>,
) -> io::Result<Option<&'static str>> {
    for entry in Dir::from_fd(beneath::open_directory(root, path)?)?.iter() {
        let entry = entry?;
        let goes = match entry.file_name().to_str() {
            Ok("." | "..") => true,
            Ok(name) => by_path
                .get(format!("{path}/{name}").as_str())
                .is_some_and(|change| change.after.is_none()),
            Err(_) => false,
        };
        if !goes {
            return Ok(Some("it holds something that was not there when the copy was made"));
        }
    }
    Ok(None)
}

/// Copies what is new into a directory of this name, beside all else; what was there of it is replaced. It is on
/// disk when this returns. An error leaves the workspace as it was.
pub fn stage(
    root: BorrowedFd<'_>,
    copy: BorrowedFd<'_>,
    changes: &[PathChange],
    name: &WorkspacePath,
) -> Result<(), FileError> {
    unstage(root, name)?;
    let staged = (|| {
        mkdirat(root, name.as_str(), Mode::S_IRWXU).map_err(failed("stage the changes"))?;
        let staging = beneath::open_directory(root, name.as_str());
        let staging = staging.map_err(failed("stage the changes"))?;
        for (number, change) in changes.iter().enumerate() {
            let Some(after) = &change.after else { continue };
            if matches!(after.kind, FileKind::File | FileKind::SymbolicLink) {
                let found = copy_one(copy, &change.path, staging.as_fd(), &number.to_string())?;
                if found != (after.kind, after.size) {
                    let problem = format!("the copy holds another {}", change.path);
                    return Err(FileError::TooMuch(problem));
                }
            }
        }
        // Each file is copied once more when it is put in its place: the room for that is taken now.
        let largest = changes.iter().filter(|change| {
            change.after.as_ref().is_some_and(|after| after.kind == FileKind::File)
        });
        let largest = largest.max_by_key(|change| change.after.as_ref().map(|after| after.size));
        if let Some(largest) = largest {
            copy_one(copy, &largest.path, staging.as_fd(), ROOM)?;
        }
        syncfs(&staging).map_err(failed("have the changes on disk"))
    })();
    if staged.is_err() {
        unstage(root, name)?;
    }
    staged
}

/// Removes what was staged.
pub fn unstage(root: BorrowedFd<'_>, name: &WorkspacePath) -> Result<(), FileError> {
    match remove(root, name, true) {
        Err(FileError::NotFound { .. }) => Ok(()),
        other => other,
    }
}

/// Puts what is staged in its place and removes what is to go; each file in one step. May be done again.
pub fn commit(
    root: BorrowedFd<'_>,
    changes: &[PathChange],
    name: &WorkspacePath,
) -> Result<(), FileError> {
    let staging = match beneath::open_directory(root, name.as_str()) {
        Err(Errno::ENOENT) => return Ok(()), // all was done before
        opened => opened.map_err(failed("find the staged changes"))?,
    };
    match unlinkat(&staging, ROOM, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(errno) => return Err(failed("give room back")(errno)),
    }
    for change in changes.iter().rev() {
        clear(root, change).map_err(failed("remove what is to go"))?;
    }
    for (number, change) in changes.iter().enumerate() {
        place(root, staging.as_fd(), number, change)?;
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
    syncfs(&staging).map_err(failed("have the changes on disk"))?;
    drop(staging);
    unstage(root, name)
}

/// Removes what goes, and what is of another kind than what comes.
fn clear(root: BorrowedFd<'_>, change: &PathChange) -> Result<(), Errno> {
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

fn place(
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
            match mkdirat(parent.as_fd(), name, Mode::S_IRWXU) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(failed(errno)),
            }
            let opened = beneath::open_directory(parent.as_fd(), name).map_err(&failed)?;
            let mode = Mode::from_bits_truncate(after.mode & 0o777) | Mode::S_IRWXU;
            fchmod(&opened, mode).map_err(failed)
        }
        FileKind::File | FileKind::SymbolicLink => {
            // Our own confinement lets nothing be moved from one directory into another.
            let temporary = format!("{TEMPORARY}{number:032x}");
            match unlinkat(parent.as_fd(), temporary.as_str(), UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(failed(errno)),
            }
            copy_one(staging, &number.to_string(), parent.as_fd(), &temporary)?;
            renameat(parent.as_fd(), temporary.as_str(), parent.as_fd(), name).map_err(failed)
        }
        FileKind::Other => Ok(()),
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

fn failed(operation: &'static str) -> impl Fn(Errno) -> FileError {
    move |errno| match errno {
        Errno::ENOSPC | Errno::EDQUOT => FileError::TooMuch(
            "the workspace has no room for the changes beside what they replace".to_owned(),
        ),
        errno => FileError::System { operation: operation.to_owned(), source: errno.into() },
    }
}

#[cfg(test)]
mod tests;
