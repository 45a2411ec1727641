//! Changes in a workspace as the kernel tells of them (inotify(7)): a watch on every directory, held by its
//! inode, so that nothing a payload renames leads out.
//!
//! What is told is a hint and never acted upon: between an event and a look, a payload may have changed
//! anything again.

#[cfg(test)]
mod tests;
mod told;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use supervisor_api::FileChangeKind;

pub use self::told::Change;
use self::told::Told;
use super::beneath;
use super::path::{InvalidPath, WorkspacePath};
use crate::session::Root;

/// Directories of one workspace that are watched. The kernel bounds those of the daemon as a whole
/// (fs.inotify.max_user_watches); each costs it about a kilobyte.
const MAX_DIRECTORIES: usize = 8192;

/// Bytes of the watched directories' paths: 512 each. A payload that moves a directory about makes them longer.
const MAX_PATHS: usize = MAX_DIRECTORIES * 512;

/// What is asked of the kernel. Nobody is told who reads.
const WANTED: AddWatchFlags = AddWatchFlags::IN_CREATE
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_MODIFY)
    .union(AddWatchFlags::IN_ATTRIB)
    .union(AddWatchFlags::IN_ONLYDIR);

/// Watches a workspace. All of it blocks on the file system, except waiting for events.
#[derive(Debug)]
pub struct Watcher {
    inotify: Inotify,
    root: Arc<Root>,
    /// The path of each directory that is watched; the root's is empty.
    paths: HashMap<WatchDescriptor, String>,
    /// Bytes of them.
    path_bytes: usize,
}

impl Watcher {
    /// Watches all there is.
    ///
    /// # Errors
    /// When the host gives out no more of what it takes.
    pub fn start(root: Arc<Root>) -> io::Result<(Self, Vec<Change>)> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let mut watcher = Self { inotify, root, paths: HashMap::new(), path_bytes: 0 };
        let opened = beneath::open_root(watcher.root.as_fd())?;
        watcher.add(opened.as_fd(), "")?;
        let mut told = Told::default();
        watcher.look_into(&opened, "", false, &mut told);
        Ok((watcher, told.changes))
    }

    /// What has happened since the last call.
    pub fn read(&mut self) -> io::Result<Vec<Change>> {
        let mut told = Told::default();
        loop {
            match self.inotify.read_events() {
                Ok(events) => self.note(events, &mut told),
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            if told.is_enough() {
                break; // the rest waits in the kernel, or is lost there, which it says
            }
        }
        Ok(told.changes)
    }

    fn note(&mut self, events: Vec<InotifyEvent>, told: &mut Told) {
        let mut events = events.into_iter().peekable();
        while let Some(event) = events.next() {
            if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                self.begin_anew(told);
                continue;
            }
            if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                if let Some(path) = self.paths.remove(&event.wd) {
                    self.path_bytes -= path.len();
                }
                continue;
            }
            let Some(path) = self.path_of(&event) else { continue };
            let is_directory = event.mask.contains(AddWatchFlags::IN_ISDIR);
            if event.mask.contains(AddWatchFlags::IN_MOVED_FROM) {
                // Both halves of a move within the workspace come one after the other.
                let arrival = events.next_if(|next| {
                    next.cookie == event.cookie && next.mask.contains(AddWatchFlags::IN_MOVED_TO)
                });
                match arrival.and_then(|arrival| self.path_of(&arrival)) {
                    Some(to) => {
                        if is_directory {
                            self.rename(&path, &to, told);
                        }
                        told.push(Change { kind: FileChangeKind::Moved, path, to: Some(to) });
                    }
                    None => {
                        if is_directory {
                            self.forget(&path);
                        }
                        told.tell(FileChangeKind::Removed, path);
                    }
                }
                continue;
            }
            let kind = match event.mask {
                mask if mask.intersects(AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO) => {
                    FileChangeKind::Created
                }
                mask if mask.contains(AddWatchFlags::IN_DELETE) => FileChangeKind::Removed,
                mask if mask.contains(AddWatchFlags::IN_MODIFY) => FileChangeKind::Modified,
                _ => FileChangeKind::Attributes,
            };
            told.tell(kind, path.clone());
            if is_directory && kind == FileChangeKind::Created {
                self.take_up(&path, told);
            }
        }
    }

    /// The path that an event is about; nothing of what is no path of ours, and of the root itself.
    fn path_of(&self, event: &InotifyEvent) -> Option<String> {
        let directory = self.paths.get(&event.wd)?;
        let name = event.name.as_deref().map(OsStr::to_str);
        let path = match name {
            None => directory.clone(),
            Some(name) => join(directory, name?),
        };
        WorkspacePath::try_from(path.as_str()).is_ok().then_some(path)
    }

    /// A directory has come: what it holds by now may have come before it was watched, and is told as new.
    fn take_up(&mut self, path: &str, told: &mut Told) {
        let opened = beneath::open_directory(self.root.as_fd(), path);
        match opened.map(|opened| (self.add(opened.as_fd(), path), opened)) {
            Ok((Ok(()), opened)) => self.look_into(&opened, path, true, told),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {} // gone again
            Ok((Err(_), _)) | Err(_) => told.tell(FileChangeKind::Lost, path.to_owned()),
        }
    }

    /// Watches the directories in one that is watched; with `tell`, tells of all that it holds.
    fn look_into(&mut self, top: &OwnedFd, path: &str, tell: bool, told: &mut Told) {
        let Ok(first) = beneath::open_directory(top.as_fd(), ".") else { return };
        let mut ahead = vec![(first, path.to_owned())];
        while let Some((opened, path)) = ahead.pop() {
            let Ok(names) =
                opened.try_clone().map_err(drop).and_then(|it| Dir::from_fd(it).map_err(drop))
            else {
                continue;
            };
            for entry in names {
                let Ok(entry) = entry else { continue };
                let Ok(name) = entry.file_name().to_str() else { continue };
                if matches!(name, "." | "..") {
                    continue;
                }
                if !told.looks_at_one() {
                    told.tell(FileChangeKind::Lost, path);
                    return;
                }
                let full = join(&path, name);
                match WorkspacePath::try_from(full.as_str()) {
                    Ok(_) => {}
                    Err(InvalidPath::TooDeep | InvalidPath::TooLong) => {
                        told.tell(FileChangeKind::Lost, path.clone());
                        continue;
                    }
                    Err(_) => continue,
                }
                if tell {
                    told.tell(FileChangeKind::Created, full.clone());
                }
                let is_directory = beneath::stat(opened.as_fd(), name)
                    .is_ok_and(|found| beneath::kind_of(&found) == nix::sys::stat::SFlag::S_IFDIR);
                if !is_directory {
                    continue;
                }
                let inner = beneath::open_directory(opened.as_fd(), name);
                match inner.map(|inner| (self.add(inner.as_fd(), &full), inner)) {
                    Ok((Ok(()), inner)) if ahead.len() < MAX_OPEN => ahead.push((inner, full)),
                    Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {} // gone again
                    _ => told.tell(FileChangeKind::Lost, full),
                }
            }
        }
    }

    fn add(&mut self, directory: BorrowedFd<'_>, path: &str) -> io::Result<()> {
        if self.paths.len() >= MAX_DIRECTORIES || self.path_bytes + path.len() > MAX_PATHS {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        // The descriptor's own inode, whatever stands at its name by now.
        let itself = format!("/proc/self/fd/{}", directory.as_raw_fd());
        let watch = self.inotify.add_watch(itself.as_str(), WANTED)?;
        let before = self.paths.insert(watch, path.to_owned());
        self.path_bytes += path.len();
        self.path_bytes -= before.map_or(0, |before| before.len());
        Ok(())
    }

    /// The kernel could not hold all that happened.
    fn begin_anew(&mut self, told: &mut Told) {
        told.lose();
        self.path_bytes = 0;
        for watch in std::mem::take(&mut self.paths).into_keys() {
            self.inotify.rm_watch(watch).ok(); // an error says that it is gone already
        }
        let root = beneath::open_root(self.root.as_fd());
        if let Ok(opened) = root
            && self.add(opened.as_fd(), "").is_ok()
        {
            self.look_into(&opened, "", false, told);
        }
    }

    /// A directory has moved, and those in it with it. One whose path is none of a workspace any more is not
    /// watched any further, nor one whose path has no room; that is told once, of the directory that moved.
    fn rename(&mut self, from: &str, to: &str, told: &mut Told) {
        let (inotify, bytes, mut is_lost) = (&self.inotify, &mut self.path_bytes, false);
        self.paths.retain(|watch, path| {
            let Some(rest) = within(path, from) else { return true };
            let moved = format!("{to}{rest}");
            *bytes -= path.len();
            let stays = WorkspacePath::try_from(moved.as_str()).is_ok()
                && *bytes + moved.len() <= MAX_PATHS;
            if stays {
                *bytes += moved.len();
                *path = moved;
            } else {
                inotify.rm_watch(*watch).ok(); // an error says that it is gone already
                is_lost = true;
            }
            stays
        });
        if is_lost {
            told.tell(FileChangeKind::Lost, to.to_owned());
        }
    }

    fn forget(&mut self, gone: &str) {
        let (inotify, bytes) = (&self.inotify, &mut self.path_bytes);
        self.paths.retain(|watch, path| {
            let stays = within(path, gone).is_none();
            if !stays {
                *bytes -= path.len();
                inotify.rm_watch(*watch).ok(); // an error says that it is gone already
            }
            stays
        });
    }
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

impl AsRawFd for Watcher {
    fn as_raw_fd(&self) -> RawFd {
        self.inotify.as_fd().as_raw_fd()
    }
}

/// Directories that are held open to be looked into.
const MAX_OPEN: usize = 512;

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// What of a path comes after this directory, if it is that or in it.
fn within<'p>(path: &'p str, directory: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(directory)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}
