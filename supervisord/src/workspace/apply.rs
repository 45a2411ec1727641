//! Changes that were made on a copy of a workspace are applied to the workspace itself.
//!
//! ```text
//! conflicts? ──▶ stage: all new bytes beside the files, in a directory of our own ──▶ commit: renames and removals
//! ```
//!
//! Nothing has been changed until all is staged, and what is staged stays until it is in its place and on disk, so that
//! a commit that was cut off is gone on with. It has all the room it takes from the beginning: what is staged goes as
//! its copy comes. Nobody else changes the workspace meanwhile; it is whoever calls who sees to that.

mod commit;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, fstat, mkdirat};
use nix::unistd::syncfs;
use supervisor_api::{ChangeKind, FileFacts, FileKind, PathChange};

use super::beneath;
use super::files::{FileError, copy_one, remove};
use super::manifest::{Entry, Manifest, digest};
use super::path::WorkspacePath;

pub use commit::commit;

/// Names of what is staged to be given back when the room is needed; a number follows.
const ROOM: &str = "room-";

/// Inodes of that room at the most: as many changes are put in their places between two syncs of the disk, where the
/// workspace has no others left.
const ROOM_INODES: usize = 64;

/// Bytes that a name takes in its directory besides its own: an entry's head, its filling, and a block's half that stays
/// empty where a directory is indexed.
const NAME_BYTES: usize = 64;

/// Conflicts that are named.
const MAX_CONFLICTS: usize = 20;

/// Why a change can't be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The path.
    pub path: String,
    /// What is in the way, in the session or among the changes.
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
        // A new one stays behind; of what had this name the session would keep the old.
        return Ok((!is_new).then_some(
            "the execution put a FIFO, a socket or a device in its place, which is not applied",
        ));
    }
    // A directory that comes, goes or gets other permissions is opened up when it is its turn.
    let makes_way = path.rsplit_once('/').is_some_and(|(parent, _)| by_path.contains_key(parent));
    let now = match look(root, path)? {
        (Found::There(_), false) | (Found::Nothing, false) if !makes_way => {
            return Ok(Some("the directory it is in can't be written in the session"));
        }
        (Found::There(now), _) => now,
        (Found::Nothing, _) | (Found::NoWay, _) if change.change == ChangeKind::Deleted => {
            return Ok(None);
        }
        (Found::Nothing, _) if change.change == ChangeKind::Added => return Ok(None),
        (Found::NoWay, _) if change.change == ChangeKind::Added && makes_way => return Ok(None),
        (Found::Nothing, _) => return Ok(Some("it is gone from the session")),
        (Found::NoWay, _) => return Ok(Some("the directory it is in is gone from the session")),
    };
    if change.change == ChangeKind::Added {
        let same = is_as(root, path, change.after.as_ref(), &now)?;
        return Ok((!same).then_some("something else stands there in the session by now"));
    }
    let untouched = origin.entries.get(path).is_some_and(|origin| origin.is_untouched(&now));
    if !untouched && !is_as(root, path, change.before.as_ref(), &now)? {
        return Ok(Some("it has changed in the session since"));
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
            match after.kind {
                FileKind::File | FileKind::SymbolicLink => {
                    let found = copy_one(copy, &change.path, staging.as_fd(), &number.to_string())?;
                    if found != (after.kind, after.size) {
                        let problem = format!("the copy holds another {}", change.path);
                        return Err(FileError::TooMuch(problem));
                    }
                }
                // Its inode, and its first block.
                FileKind::Directory if makes_directory(change) => {
                    mkdirat(&staging, number.to_string().as_str(), Mode::S_IRWXU)
                        .map_err(failed("stage the changes"))?;
                }
                FileKind::Directory | FileKind::Other => {}
            }
        }
        take_room(copy, staging.as_fd(), changes)?;
        syncfs(&staging).map_err(failed("have the changes on disk"))
    })();
    if staged.is_err() {
        unstage(root, name)?;
    }
    staged
}

/// Each file is copied once more when it is put in its place, and what was staged of it goes after that: takes the room
/// for the largest of them, for some inodes and for all names.
fn take_room(
    copy: BorrowedFd<'_>,
    staging: BorrowedFd<'_>,
    changes: &[PathChange],
) -> Result<(), FileError> {
    let comes = || changes.iter().filter(|change| change.after.is_some());
    let files = comes().filter_map(|change| {
        let after = change.after.as_ref().filter(|after| after.kind == FileKind::File)?;
        Some((after.size, change))
    });
    if let Some((_, largest)) = files.max_by_key(|(size, _)| *size) {
        copy_one(copy, &largest.path, staging, &format!("{ROOM}0"))?;
    }
    let names: usize = comes().map(|change| change.path.len() + NAME_BYTES).sum();
    let (flags, mode) = (OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL, Mode::S_IRUSR);
    for number in 1..=comes().count().min(ROOM_INODES) {
        let room = beneath::open(staging, format!("{ROOM}{number}").as_str(), flags, mode);
        let room = room.map_err(failed("take room for the changes"))?;
        if number == 1 {
            // Bytes, for not every file system has fallocate(2).
            File::from(room).write_all(&vec![0; names]).map_err(|error| {
                failed("take room for the changes")(Errno::from_raw(
                    error.raw_os_error().unwrap_or_default(),
                ))
            })?;
        }
    }
    Ok(())
}

/// Whether a directory comes where none was.
fn makes_directory(change: &PathChange) -> bool {
    let is_one = |facts: &Option<FileFacts>| {
        facts.as_ref().is_some_and(|facts| facts.kind == FileKind::Directory)
    };
    is_one(&change.after) && !is_one(&change.before)
}

/// Removes what was staged.
pub fn unstage(root: BorrowedFd<'_>, name: &WorkspacePath) -> Result<(), FileError> {
    match remove(root, name, true) {
        Err(FileError::NotFound { .. }) => Ok(()),
        other => other,
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
