//! What stands at a path, and what a directory holds.

use std::collections::BinaryHeap;
use std::os::fd::{AsFd as _, BorrowedFd};

use nix::dir::Dir;
use nix::fcntl::readlinkat;
use nix::sys::stat::{FileStat, SFlag};
use supervisor_api::{FileEntry, FileKind};

use super::error::{FileError, failed};
use crate::clock;
use crate::workspace::beneath;
use crate::workspace::path::WorkspacePath;

/// Entries of one listing at the most. A payload can fill a directory with a million; whoever wants
/// all of them takes the tree as an archive.
pub const MAX_LISTED: usize = 10_000;

/// Bytes of paths and of where links lead on one page, after which it ends early: entries of a deep directory have its
/// whole path each.
const MAX_PAGE: usize = 8 << 20;

/// Which entries of a directory.
#[derive(Debug, Clone)]
pub struct FilePage {
    /// Those whose names come after this one.
    pub after: Option<String>,
    /// So many at the most, and never more than [`MAX_LISTED`].
    pub limit: usize,
}

impl Default for FilePage {
    fn default() -> Self {
        Self { after: None, limit: MAX_LISTED }
    }
}

/// What a directory holds.
#[derive(Debug)]
pub struct Listing {
    /// The entries, by name; those whose names can't be paths of ours are left out.
    pub entries: Vec<FileEntry>,
    /// Whether there are more than the page holds, or some were left out.
    pub truncated: bool,
    /// The last name of the page, if there are more.
    pub next: Option<String>,
}

/// What stands at a path, links not followed.
pub fn look(root: BorrowedFd<'_>, path: &WorkspacePath) -> Result<FileEntry, FileError> {
    let (parent, name) = super::parent(root, path)?;
    let directory = parent.as_ref().map_or(root, |opened| opened.as_fd());
    let found = beneath::stat(directory, name).map_err(failed("look at", path))?;
    Ok(describe(directory, name, path.as_str().to_owned(), &found))
}

/// What a directory holds; without a path, the workspace's root. The listing is of one moment as far as the
/// kernel gives one: what is renamed meanwhile may be there twice or not at all (readdir(3)).
pub fn list(
    root: BorrowedFd<'_>,
    path: Option<&WorkspacePath>,
    page: &FilePage,
) -> Result<Listing, FileError> {
    let opened = match path {
        None => beneath::open_root(root),
        Some(path) => beneath::open_directory(root, path.as_str()),
    };
    let listing = |operation| move |errno| system(operation, path, errno);
    let mut directory = Dir::from_fd(opened.map_err(listing("open"))?).map_err(listing("read"))?;
    let (mut names, mut truncated) = (BinaryHeap::new(), false);
    let (limit, mut more) = (page.limit.clamp(1, MAX_LISTED), false);
    for entry in directory.iter() {
        let entry = entry.map_err(listing("read"))?;
        match entry.file_name().to_str() {
            Ok("." | "..") => {}
            Ok(name) if page.after.as_deref().is_some_and(|after| name <= after) => {}
            Ok(name) if WorkspacePath::try_from(name).is_ok() => {
                // The first names of all: a directory of a million is never held.
                names.push(name.to_owned());
                if names.len() > limit {
                    names.pop();
                    more = true;
                }
            }
            _ => truncated = true,
        }
    }
    let names = names.into_sorted_vec();
    let (mut entries, mut bytes) = (Vec::with_capacity(names.len()), 0);
    let mut next = names.last().filter(|_| more).cloned();
    for name in names {
        // One that was removed since is simply not there any more.
        let Ok(found) = beneath::stat(directory.as_fd(), name.as_str()) else { continue };
        let full = path.map_or_else(|| name.clone(), |path| format!("{path}/{name}"));
        let entry = describe(directory.as_fd(), &name, full, &found);
        bytes += entry.path.len() + entry.target.as_ref().map_or(0, String::len);
        entries.push(entry);
        if bytes > MAX_PAGE {
            (next, more) = (Some(name), true);
            break;
        }
    }
    Ok(Listing { entries, truncated: truncated || more, next })
}

fn system(operation: &'static str, path: Option<&WorkspacePath>, errno: nix::Error) -> FileError {
    match path {
        Some(path) => failed(operation, path)(errno),
        None => FileError::System {
            operation: format!("{operation} the workspace"),
            source: errno.into(),
        },
    }
}

fn describe(directory: BorrowedFd<'_>, name: &str, path: String, found: &FileStat) -> FileEntry {
    let kind = match beneath::kind_of(found) {
        SFlag::S_IFREG => FileKind::File,
        SFlag::S_IFDIR => FileKind::Directory,
        SFlag::S_IFLNK => FileKind::SymbolicLink,
        _ => FileKind::Other,
    };
    // Words for people: where a link seems to lead is never followed by us.
    let target = (kind == FileKind::SymbolicLink).then(|| readlinkat(directory, name).ok());
    FileEntry {
        path,
        kind,
        size: u64::try_from(found.st_size).unwrap_or_default(),
        mode: found.st_mode & 0o7777,
        modified_at: clock::at(found.st_mtime),
        target: target.flatten().map(|target| target.to_string_lossy().into_owned()),
    }
}
