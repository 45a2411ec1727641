//! Collecting: the files of a workspace that a caller asked for are copied out of it, once nothing
//! of the payload runs any more.
//!
//! A file is taken if it is a regular file with one name, belongs to whom the workspace belongs,
//! and fits into what is left of the limits, and it is asked before and after it is opened. Every
//! other path that matches is listed with the reason. What ran may have left anything behind:
//! nothing here can be made to follow a link, to block, or to read more than the limits.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use nix::sys::stat::{FileStat, SFlag, fstat};
use supervisor_api::{Artifact, ArtifactList, RefusedArtifact};

use crate::fault::{self, Point};
use crate::room::{self, Room};

use super::artifact::{BUFFER_BYTES, keep, sync_names};
use super::beneath;
use super::glob::GlobSelection;
use super::media::media_type;
use super::path::WorkspacePath;
use super::refusal::{Obstacle, Refusal};
use super::usage::usage;
use super::walk::{Step, Walk};

/// Refused paths that are listed: enough to see what is wrong, too few to fill a record with.
const MAX_REFUSED: usize = 100;

/// Bytes of the list of artifacts as JSON at the most, which is kept, recorded and answered as a whole: 16,384 artifacts,
/// the most that the installed floor lets a policy give, with paths of 800 bytes.
const MAX_LIST: usize = 32 << 20;

/// Bytes of an artifact in it besides its path, which takes two for each of its own where all of them are escaped.
const LINE: usize = 256;

/// What may be kept of one execution.
#[derive(Debug, Clone, Copy)]
pub struct CollectLimits<'r> {
    /// Bytes of all artifacts together (`artifact_bytes`).
    pub bytes: u64,
    /// Number of artifacts (`artifact_count`).
    pub count: u64,
    /// What the disk that they are kept on has for each of them.
    pub room: Space<'r>,
}

/// What a disk has for a file.
#[derive(Debug, Clone, Copy)]
pub enum Space<'r> {
    /// So many bytes.
    Bytes(u64),
    /// What there is at the moment: others fill it too.
    Of(&'r Room),
}

impl Space<'_> {
    fn left(self) -> io::Result<u64> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Of(room) => room.left(),
        }
    }
}

/// What was kept, and how full the workspace was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    /// The artifacts; the one at index n is number n in the store.
    pub list: ArtifactList,
    /// Bytes in use in the workspace.
    pub used_bytes: u64,
    /// Inodes in use in the workspace.
    pub used_inodes: u64,
}

/// Copies what the globs match into `store`, an empty directory of this execution, and makes it
/// durable. Nothing of the payload may run any more.
///
/// The order is that of the names' bytes, directory by directory, so the same workspace gives the
/// same list. Directories and files that the payload made unreadable for itself become readable.
/// An error is the daemon's own; after one the store has to be emptied. One of the kind
/// [`io::ErrorKind::StorageFull`] or [`io::ErrorKind::QuotaExceeded`] says that the disk of the store is full after all.
pub fn collect(
    root: BorrowedFd<'_>,
    globs: &GlobSelection,
    store: BorrowedFd<'_>,
    limits: CollectLimits<'_>,
) -> io::Result<Collected> {
    let used = usage(root)?;
    let mut collection = Collection::new(store, limits);
    if !globs.is_empty() {
        match collection.take_all(root, globs).and_then(|()| sync_names(store)) {
            Ok(()) => fault::reach(Point::ArtifactsKept),
            Err(Obstacle::Refused(refusal)) => collection.refuse(b".", refusal),
            Err(Obstacle::Failed(error)) => return Err(error),
        }
    }
    let list = collection.list;
    Ok(Collected { list, used_bytes: used.bytes, used_inodes: used.inodes })
}

struct Collection<'s> {
    store: BorrowedFd<'s>,
    bytes_left: u64,
    room: Space<'s>,
    count: u64,
    list: ArtifactList,
    /// Bytes that the list may still have.
    list_left: usize,
    buffer: Vec<u8>,
}

impl<'s> Collection<'s> {
    fn new(store: BorrowedFd<'s>, limits: CollectLimits<'s>) -> Self {
        Self {
            store,
            bytes_left: limits.bytes,
            room: limits.room,
            count: limits.count,
            list: ArtifactList { artifacts: Vec::new(), refused: Vec::new(), truncated: false },
            list_left: MAX_LIST,
            buffer: vec![0; BUFFER_BYTES],
        }
    }

    /// Fails with a refusal only if the root itself is refused.
    fn take_all(&mut self, root: BorrowedFd<'_>, globs: &GlobSelection) -> Result<(), Obstacle> {
        let owner =
            fstat(root).map_err(|e| Obstacle::failed("looking at the workspace", e))?.st_uid;
        let mut walk = Walk::start(root, globs)?;
        while let Some(step) = walk.step()? {
            if self.is_full() {
                self.list.truncated = true;
                break;
            }
            let taken = match (step, walk.directory()) {
                (Step::Match(name), Some(directory)) => {
                    self.take(directory, &name, walk.path(), owner)
                }
                (Step::Match(_), None) => Err(Refusal::Changed.into()),
                (Step::Refused(refusal), _) => Err(refusal.into()),
            };
            match taken {
                Ok(artifact) => self.list.artifacts.push(artifact),
                Err(Obstacle::Refused(refusal)) => self.refuse(walk.path(), refusal),
                Err(failed) => return Err(failed),
            }
        }
        self.list.truncated |= walk.is_cut();
        Ok(())
    }

    /// Whether nothing more can be kept and no more refusals can be listed.
    fn is_full(&self) -> bool {
        self.count_reached() && self.list.refused.len() >= MAX_REFUSED
    }

    fn count_reached(&self) -> bool {
        self.list.artifacts.len() as u64 >= self.count
    }

    fn take(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        path: &[u8],
        owner: u32,
    ) -> Result<Artifact, Obstacle> {
        let path = WorkspacePath::try_from(path).map_err(Refusal::from)?;
        let line = LINE + 2 * path.as_str().len();
        if line > self.list_left {
            return Err(Refusal::ArtifactCount.into());
        }
        let seen = beneath::stat(directory, name).map_err(Obstacle::of_open)?;
        self.check(&seen, owner)?;
        let opened = beneath::open_file(directory, name).map_err(Obstacle::of_open)?;
        let stat = fstat(opened.as_fd()).map_err(Obstacle::of_open)?;
        let size = self.check(&stat, owner)?;
        let room = self.room.left();
        let room = room.map_err(|error| Obstacle::failed("seeing the room of the store", error))?;
        // An empty file has a name, which takes room too.
        if room::on_disk(size).max(1) > room {
            return Err(Refusal::NoRoom.into());
        }
        let index = self.list.artifacts.len();
        let kept = keep(self.store, index, &mut File::from(opened), size, &mut self.buffer)?;
        fault::reach(Point::ArtifactKept);
        self.bytes_left = self.bytes_left.saturating_sub(size);
        self.list_left -= line;
        Ok(Artifact {
            path: path.as_str().to_owned(),
            size,
            sha256: kept.sha256,
            media_type: media_type(path.as_str(), &kept.head).to_owned(),
        })
    }

    /// The size of a file that may be kept. By its logical size: a sparse file costs nothing to
    /// refuse and a great deal to read.
    fn check(&self, stat: &FileStat, owner: u32) -> Result<u64, Refusal> {
        match beneath::kind_of(stat) {
            SFlag::S_IFREG => {}
            SFlag::S_IFLNK => return Err(Refusal::SymbolicLink),
            _ => return Err(Refusal::NotRegularFile),
        }
        if stat.st_nlink != 1 {
            return Err(Refusal::HardLink);
        }
        if stat.st_uid != owner {
            return Err(Refusal::Unreadable);
        }
        if self.count_reached() {
            return Err(Refusal::ArtifactCount);
        }
        let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        if size > self.bytes_left { Err(Refusal::ArtifactBytes) } else { Ok(size) }
    }

    fn refuse(&mut self, path: &[u8], refusal: Refusal) {
        self.list.truncated |= refusal.is_limit();
        if self.list.refused.len() < MAX_REFUSED {
            let (path, reason) = (printable(path), refusal.name().to_owned());
            self.list.refused.push(RefusedArtifact { path, reason });
        } else {
            self.list.truncated = true;
        }
    }
}

/// A path that can be shown: what is not UTF-8 or steers terminals is replaced.
fn printable(path: &[u8]) -> String {
    let replaced = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    String::from_utf8_lossy(path).chars().map(replaced).collect()
}

#[cfg(test)]
mod tests;
