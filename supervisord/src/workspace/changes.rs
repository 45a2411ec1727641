//! Changes in a workspace as the kernel tells of them (inotify(7)): a watch on every directory, held by its
//! inode, so that nothing a payload renames leads out.
//!
//! What is told is a hint and never acted upon: between an event and a look, a payload may have changed
//! anything again.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use supervisor_api::FileChangeKind;

use super::beneath;
use super::path::WorkspacePath;

/// Directories of one workspace that are watched. The kernel bounds those of the daemon as a whole
/// (fs.inotify.max_user_watches); each costs it about a kilobyte.
const MAX_DIRECTORIES: usize = 8192;

/// Entries that are looked at to find the directories of a tree.
const MAX_ENTRIES: usize = 200_000;

/// What is asked of the kernel. Nobody is told who reads.
const WANTED: AddWatchFlags = AddWatchFlags::IN_CREATE
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_MODIFY)
    .union(AddWatchFlags::IN_ATTRIB)
    .union(AddWatchFlags::IN_ONLYDIR);

/// A change. What was lost, or is not watched, is [`FileChangeKind::Lost`] with the directory's path, if there
/// is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What became of it.
    pub kind: FileChangeKind,
    /// Its path.
    pub path: String,
    /// Where it went, of a move.
    pub to: Option<String>,
}

/// Watches a workspace. All of it blocks on the file system, except waiting for events.
#[derive(Debug)]
pub struct Watcher {
    inotify: Inotify,
    root: Arc<OwnedFd>,
    /// The path of each directory that is watched; the root's is empty.
    paths: HashMap<WatchDescriptor, String>,
}

impl Watcher {
    /// Watches all there is.
    ///
    /// # Errors
    /// When the host gives out no more of what it takes.
    pub fn start(root: Arc<OwnedFd>) -> io::Result<(Self, Vec<Change>)> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let mut watcher = Self { inotify, root, paths: HashMap::new() };
        let opened = beneath::open_root(watcher.root.as_fd())?;
        watcher.add(opened.as_fd(), "")?;
        let mut changes = Vec::new();
        watcher.look_into(&opened, "", false, &mut changes);
        Ok((watcher, changes))
    }

    /// What has happened since the last call.
    pub fn read(&mut self) -> io::Result<Vec<Change>> {
        let mut changes = Vec::new();
        loop {
            match self.inotify.read_events() {
                Ok(events) => self.note(events, &mut changes),
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            if changes.len() >= MAX_ENTRIES {
                break; // the rest waits in the kernel, or is lost there, which it says
            }
        }
        changes.dedup();
        Ok(changes)
    }

    fn note(&mut self, events: Vec<InotifyEvent>, changes: &mut Vec<Change>) {
        let mut events = events.into_iter().peekable();
        while let Some(event) = events.next() {
            if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                self.begin_anew(changes);
                continue;
            }
            if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                self.paths.remove(&event.wd);
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
                            self.rename(&path, &to);
                        }
                        changes.push(Change { kind: FileChangeKind::Moved, path, to: Some(to) });
                    }
                    None => {
                        if is_directory {
                            self.forget(&path);
                        }
                        changes.push(change(FileChangeKind::Removed, path));
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
            changes.push(change(kind, path.clone()));
            if is_directory && kind == FileChangeKind::Created {
                self.take_up(&path, changes);
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
    fn take_up(&mut self, path: &str, changes: &mut Vec<Change>) {
        let opened = beneath::open_directory(self.root.as_fd(), path);
        match opened.map(|opened| (self.add(opened.as_fd(), path), opened)) {
            Ok((Ok(()), opened)) => self.look_into(&opened, path, true, changes),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {} // gone again
            Ok((Err(_), _)) | Err(_) => changes.push(change(FileChangeKind::Lost, path.to_owned())),
        }
    }

    /// Watches the directories in one that is watched; with `tell`, tells of all that it holds.
    fn look_into(&mut self, top: &OwnedFd, path: &str, tell: bool, changes: &mut Vec<Change>) {
        let Ok(first) = beneath::open_directory(top.as_fd(), ".") else { return };
        let (mut ahead, mut left) = (vec![(first, path.to_owned())], MAX_ENTRIES);
        while let Some((opened, path)) = ahead.pop() {
            let Ok(mut directory) = Dir::from_fd(opened) else { continue };
            let names: Vec<_> = directory
                .iter()
                .filter_map(|entry| Some(entry.ok()?.file_name().to_str().ok()?.to_owned()))
                .filter(|name| name != "." && name != "..")
                .take(left + 1)
                .collect();
            for name in names {
                let full = join(&path, &name);
                let Some(rest) = left.checked_sub(1) else {
                    changes.push(change(FileChangeKind::Lost, path));
                    return;
                };
                left = rest;
                if WorkspacePath::try_from(full.as_str()).is_err() {
                    continue;
                }
                if tell {
                    changes.push(change(FileChangeKind::Created, full.clone()));
                }
                let is_directory = beneath::stat(directory.as_fd(), name.as_str())
                    .is_ok_and(|found| beneath::kind_of(&found) == nix::sys::stat::SFlag::S_IFDIR);
                if !is_directory {
                    continue;
                }
                let inner = beneath::open_directory(directory.as_fd(), name.as_str());
                match inner.map(|inner| (self.add(inner.as_fd(), &full), inner)) {
                    Ok((Ok(()), inner)) if ahead.len() < MAX_OPEN => ahead.push((inner, full)),
                    Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {} // gone again
                    _ => changes.push(change(FileChangeKind::Lost, full)),
                }
            }
        }
    }

    fn add(&mut self, directory: BorrowedFd<'_>, path: &str) -> io::Result<()> {
        if self.paths.len() >= MAX_DIRECTORIES {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        // The descriptor's own inode, whatever stands at its name by now.
        let itself = format!("/proc/self/fd/{}", directory.as_raw_fd());
        let watch = self.inotify.add_watch(itself.as_str(), WANTED)?;
        self.paths.insert(watch, path.to_owned());
        Ok(())
    }

    /// The kernel could not hold all that happened.
    fn begin_anew(&mut self, changes: &mut Vec<Change>) {
        changes.clear();
        changes.push(change(FileChangeKind::Lost, String::new()));
        for watch in std::mem::take(&mut self.paths).into_keys() {
            self.inotify.rm_watch(watch).ok(); // an error says that it is gone already
        }
        let root = beneath::open_root(self.root.as_fd());
        if let Ok(opened) = root
            && self.add(opened.as_fd(), "").is_ok()
        {
            self.look_into(&opened, "", false, changes);
        }
    }

    fn rename(&mut self, from: &str, to: &str) {
        for path in self.paths.values_mut() {
            if let Some(rest) = within(path, from) {
                *path = format!("{to}{rest}");
            }
        }
    }

    fn forget(&mut self, gone: &str) {
        let inotify = &self.inotify;
        self.paths.retain(|watch, path| {
            let stays = within(path, gone).is_none();
            if !stays {
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

fn change(kind: FileChangeKind, path: String) -> Change {
    Change { kind, path, to: None }
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// What of a path comes after this directory, if it is that or in it.
fn within<'p>(path: &'p str, directory: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(directory)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::workspace::testing::Fixture;

    fn watch(fixture: &Fixture) -> Watcher {
        let (watcher, changes) = Watcher::start(Arc::new(fixture.root().into())).unwrap();
        assert_eq!(changes, []);
        watcher
    }

    fn told(watcher: &mut Watcher) -> Vec<(FileChangeKind, String)> {
        let changes = watcher.read().unwrap();
        changes.into_iter().map(|change| (change.kind, change.path)).collect()
    }

    #[test]
    fn what_happens_in_new_and_moved_directories_is_told_by_its_present_path() {
        let fixture = Fixture::new();
        fixture.file("old/file", "");
        let mut watcher = watch(&fixture);
        fs::create_dir_all(fixture.at("new/deep")).unwrap();
        let changes = told(&mut watcher);
        for path in ["new", "new/deep"] {
            assert!(changes.contains(&(FileChangeKind::Created, path.to_owned())), "{changes:?}");
        }
        fs::rename(fixture.at("old"), fixture.at("new/deep/er")).unwrap();
        let moved = watcher.read().unwrap();
        let to = Some("new/deep/er".to_owned());
        let expected = Change { kind: FileChangeKind::Moved, path: "old".to_owned(), to };
        assert!(moved.contains(&expected), "{moved:?}");
        fs::write(fixture.at("new/deep/er/file"), "x").unwrap();
        let path = "new/deep/er/file".to_owned();
        assert!(told(&mut watcher).contains(&(FileChangeKind::Modified, path.clone())));
        fs::remove_file(fixture.at(&path)).unwrap();
        assert!(told(&mut watcher).contains(&(FileChangeKind::Removed, path)));
    }

    #[test]
    fn links_lead_nowhere_and_what_is_outside_is_not_told() {
        let fixture = Fixture::new();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), fixture.at("link")).unwrap();
        let mut watcher = watch(&fixture);
        fs::write(outside.path().join("secret"), "").unwrap();
        assert_eq!(told(&mut watcher), []);
        fixture.file("d/file", "");
        told(&mut watcher);
        // A directory that left the workspace is not watched any more.
        fs::rename(fixture.at("d"), outside.path().join("d")).unwrap();
        assert_eq!(told(&mut watcher), [(FileChangeKind::Removed, "d".to_owned())]);
        fs::write(outside.path().join("d/file"), "changed").unwrap();
        assert_eq!(told(&mut watcher), []);
    }

    #[test]
    fn more_than_the_kernel_holds_is_told_as_lost_and_watching_goes_on() {
        let fixture = Fixture::new();
        fixture.file("d/file", "");
        let mut watcher = watch(&fixture);
        let most: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        // Two names in turn, for the kernel makes one of equal events.
        for number in 0..=most {
            let name = if number % 2 == 0 { "one" } else { "two" };
            fs::write(fixture.at(name), "").unwrap();
        }
        let changes = told(&mut watcher);
        assert!(changes.contains(&(FileChangeKind::Lost, String::new())), "{}", changes.len());
        fs::write(fixture.at("d/file"), "again").unwrap();
        let path = "d/file".to_owned();
        assert!(told(&mut watcher).contains(&(FileChangeKind::Modified, path)));
    }
}
