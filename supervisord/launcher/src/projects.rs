//! Workspaces as directories of a file system that counts projects: each is a project of its own, and
//! the file system holds it to its limits. Whatever is done in there is done as the files' owner, who
//! is nobody anywhere else.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags, openat, renameat2};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, mkdirat};
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};
use supervisor_sys::{
    ENDED_BYTES, ENDED_INODES, attach, ended_projects, is_empty_project, is_free_project,
    limit_project, project_of, put_into_project, random_bits,
};

use crate::failure::tell;
use crate::layers::roots_of;
use crate::template::as_owner;

/// The first project of ours; administrators number theirs from 1. Others may have workspaces on the
/// same file system, so ours are random numbers above it that nobody uses.
const FIRST: u32 = 1 << 30;

/// How often a random number may be one that somebody uses.
const TRIES: u32 = 64;

/// Where the directory is attached in our own root: only what is attached can be bound.
const PLACE: &CStr = c"/workspaces";

/// Entries that are looked at in one pass of a removal, so that none takes more memory than this.
const PASS: usize = 1024;

/// How often in a row a pass may get nowhere, because somebody who has the directories open is as fast.
const IDLE_PASSES: u32 = 1000;

/// What the owner of a directory may do with it.
const ALL: Mode = Mode::S_IRWXU;

const DIRECTORY: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_CLOEXEC).union(OFlag::O_NOFOLLOW);

/// Where workspaces are taken apart: a directory that belongs to no project, so that there is room for the
/// names of a full one.
const SCRAP: &CStr = c"scrap";

/// A directory with workspaces in it, by name.
pub struct Projects {
    directory: OwnedFd,
    scrap: OwnedFd,
    /// Projects of workspaces that are removed, of which somebody may have something open.
    ended: Vec<u32>,
}

impl Projects {
    /// Takes a mount of the directory, attaches it in our own root, and removes what was half removed.
    pub fn open(mount: OwnedFd) -> io::Result<Self> {
        attach(mount.as_fd(), PLACE)?;
        let (directory, scrap) = as_owner(|| {
            let directory = openat(&mount, ".", DIRECTORY, Mode::empty())?;
            match mkdirat(&directory, SCRAP, ALL) {
                Err(Errno::EEXIST) | Ok(()) => {}
                Err(error) => return Err(error.into()),
            }
            Ok((directory.try_clone()?, openat(&directory, SCRAP, DIRECTORY, Mode::empty())?))
        })?;
        let mut projects = Self { directory, scrap, ended: Vec::new() };
        if let Err(error) = projects.clear() {
            // Nothing of it has a name that can be asked for; the next removal takes it along.
            tell(format_args!("can't remove what is left of workspaces yet: {error}"));
        }
        Ok(projects)
    }

    /// Removes what was half removed, and the limits of what is gone.
    fn clear(&mut self) -> io::Result<()> {
        let Self { directory, scrap, ended } = self;
        as_owner(|| {
            // Whoever ran before us may have ended while something removed was still open.
            ended.extend(ended_projects(directory.as_fd(), FIRST)?);
            empty(scrap)?;
            free(directory, ended)
        })
    }

    /// The names that are there.
    pub fn names(&self) -> io::Result<Vec<String>> {
        as_owner(|| {
            let found = names(openat(&self.directory, ".", DIRECTORY, Mode::empty())?, usize::MAX)?;
            let names = found.into_iter().map(|(name, _)| name).filter(|name| name != SCRAP);
            names.map(|name| name.into_string().map_err(io::Error::other)).collect()
        })
    }

    /// The directory of this name, for binding it.
    pub fn directory(&self) -> &OwnedFd {
        &self.directory
    }

    /// Makes an empty workspace. It has its name only once its limits hold and it is on disk.
    pub fn make(&mut self, name: &str, bytes: u64, inodes: u64) -> io::Result<()> {
        let project = self.choose()?;
        let new = format!("new-{project}");
        let made = as_owner(|| {
            mkdirat(&self.directory, new.as_str(), ALL)?;
            let directory = openat(&self.directory, new.as_str(), DIRECTORY, Mode::empty())?;
            limit_project(directory.as_fd(), project, bytes, inodes)?;
            put_into_project(directory.as_fd(), project)?;
            fsync(&directory)?;
            let no_other = RenameFlags::RENAME_NOREPLACE;
            renameat2(&self.directory, new.as_str(), &self.directory, name, no_other)?;
            Ok(fsync(&self.directory)?)
        });
        if made.is_err() {
            self.remove(&new)?;
        }
        made
    }

    /// Removes a workspace with all that is in it. What is not there is no error.
    pub fn remove(&mut self, name: &str) -> io::Result<()> {
        let Self { directory, scrap, ended } = self;
        as_owner(|| {
            for name in [name, &roots_of(name)] {
                match open_up(directory, &CString::new(name)?) {
                    Err(Errno::ENOENT) => {}
                    Err(error) => return Err(error.into()),
                    Ok(found) => {
                        let project = project_of(found.as_fd())?;
                        if project >= FIRST && !ended.contains(&project) {
                            // The daemon may have it open: it gets no more out of it than it has.
                            limit_project(found.as_fd(), project, ENDED_BYTES, ENDED_INODES)?;
                            ended.push(project);
                        }
                        move_to(scrap, directory, &CString::new(name)?, &mut 0)?;
                    }
                }
            }
            empty(scrap)?;
            fsync(&*directory)?;
            free(directory, ended)
        })
    }

    fn choose(&self) -> io::Result<u32> {
        for _ in 0..TRIES {
            let project = FIRST | (random_bits()? as u32 >> 1);
            if is_free_project(self.directory.as_fd(), project)? {
                return Ok(project);
            }
        }
        Err(Errno::EBUSY.into())
    }
}

/// Forgets the limits of projects that have come to nothing. The others keep theirs, and are looked at
/// again with the next that ends.
fn free(directory: &OwnedFd, ended: &mut Vec<u32>) -> io::Result<()> {
    for project in std::mem::take(ended) {
        if is_empty_project(directory.as_fd(), project)? {
            limit_project(directory.as_fd(), project, 0, 0)?;
        } else {
            ended.push(project);
        }
    }
    Ok(())
}

/// Removes all that is in the directories of `scrap`, however deep: what is a level down is moved beside
/// them, so that no path of a payload's making is ever walked. Whoever still has a directory of it open may
/// put other things there meanwhile: that is looked at anew, and not for ever.
fn empty(scrap: &OwnedFd) -> io::Result<()> {
    let (mut moved, mut idle) = (0, 0);
    loop {
        let found = names(openat(scrap, ".", DIRECTORY, Mode::empty())?, PASS)?;
        if found.is_empty() {
            return Ok(());
        }
        let before = moved;
        let mut gone = 0;
        for (name, _) in found {
            gone += take_apart(scrap, &name, &mut moved)?;
        }
        idle = if gone == 0 && moved == before { idle + 1 } else { 0 };
        if idle > IDLE_PASSES {
            return Err(Errno::EBUSY.into());
        }
    }
}

/// Empties one directory of `scrap`, as far as one pass goes; how much of it went.
fn take_apart(scrap: &OwnedFd, name: &CStr, moved: &mut u64) -> io::Result<usize> {
    let directory = open_up(scrap, name)?;
    let mut gone = 0;
    for (name, is_directory) in names(directory.try_clone()?, PASS)? {
        gone += usize::from(take_out(scrap, &directory, &name, is_directory, moved)?);
    }
    match unlinkat(scrap, name, UnlinkatFlags::RemoveDir) {
        Ok(()) => Ok(gone + 1),
        Err(Errno::ENOTEMPTY) => Ok(gone),
        Err(error) => Err(error.into()),
    }
}

/// Takes what was seen in a directory out of it; whether it is out. Since it was seen it may have been renamed,
/// removed, or replaced by something of another kind: the next pass sees what is there then.
fn take_out(
    scrap: &OwnedFd,
    directory: &OwnedFd,
    name: &CStr,
    is_directory: bool,
    moved: &mut u64,
) -> io::Result<bool> {
    let taken = if is_directory {
        // Moving one changes its "..", for which it has to be writable.
        open_up(directory, name).and_then(|_| move_to(scrap, directory, name, moved))
    } else {
        unlinkat(directory, name, UnlinkatFlags::NoRemoveDir)
    };
    match taken {
        Ok(()) => Ok(true),
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EISDIR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Moves a directory into `scrap` under a name that is free there.
fn move_to(scrap: &OwnedFd, from: &OwnedFd, name: &CStr, moved: &mut u64) -> nix::Result<()> {
    loop {
        let new = format!("{}", *moved + 1);
        let no_other = RenameFlags::RENAME_NOREPLACE;
        match renameat2(from, name, scrap, new.as_str(), no_other) {
            Err(Errno::EEXIST) => *moved += 1,
            Ok(()) => {
                *moved += 1;
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}

/// Opens a directory that a payload may have closed to its owner. Whoever has the workspace open may put a
/// link in its place at any moment, which is not followed.
fn open_up(parent: &OwnedFd, name: &CStr) -> nix::Result<OwnedFd> {
    let found = openat(parent, name, DIRECTORY | OFlag::O_PATH, Mode::empty())?;
    let path = format!("/proc/self/fd/{}", found.as_raw_fd());
    fchmodat(AT_FDCWD, path.as_str(), ALL, FchmodatFlags::FollowSymlink)?;
    openat(&found, ".", DIRECTORY, Mode::empty())
}

/// So many names of a directory at the most, and which of them are directories.
fn names(directory: OwnedFd, most: usize) -> io::Result<Vec<(CString, bool)>> {
    let mut found = Vec::new();
    for entry in Dir::from_fd(directory)? {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            found.push((entry.file_name().to_owned(), entry.file_type() == Some(Type::Directory)));
        }
        if found.len() == most {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// A directory to be taken apart, in a place for that.
    fn scrap() -> (tempfile::TempDir, OwnedFd, OwnedFd) {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("1")).unwrap();
        let open = |path: &Path| OwnedFd::from(fs::File::open(path).unwrap());
        let (scrap, directory) = (open(place.path()), open(&place.path().join("1")));
        (place, scrap, directory)
    }

    #[test]
    fn what_changed_since_it_was_seen_is_no_failure() {
        let (place, scrap, directory) = scrap();
        let inside = place.path().join("1");
        symlink("/", inside.join("link")).unwrap();
        fs::write(inside.join("file"), "").unwrap();
        fs::create_dir(inside.join("directory")).unwrap();
        let out = |name: &CStr, seen_as_directory| {
            take_out(&scrap, &directory, name, seen_as_directory, &mut 1).unwrap()
        };
        for (name, seen_as_directory) in [
            (c"gone", false),
            (c"gone", true),
            (c"link", true),
            (c"file", true),
            (c"directory", false),
        ] {
            assert!(!out(name, seen_as_directory), "{name:?}");
        }
        assert!(out(c"link", false) && out(c"file", false) && out(c"directory", true));
        empty(&scrap).unwrap();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_tree_whose_names_change_all_the_time_is_removed() {
        let (place, scrap, directory) = scrap();
        let inside = place.path().join("1");
        for number in 0..2000 {
            fs::create_dir(inside.join(format!("d{number}"))).unwrap();
            fs::write(inside.join(format!("f{number}")), "").unwrap();
        }
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // By its own descriptor, as a payload has one.
                let mut number = 0;
                while !over.load(Ordering::Relaxed) {
                    number = (number + 1) % 2000;
                    for kind in ["d", "f"] {
                        let (old, new) = (format!("{kind}{number}"), format!("new{kind}{number}"));
                        let flags = RenameFlags::RENAME_NOREPLACE;
                        renameat2(&directory, old.as_str(), &directory, new.as_str(), flags).ok();
                        renameat2(&directory, new.as_str(), &directory, old.as_str(), flags).ok();
                    }
                }
            });
            let emptied = empty(&scrap);
            over.store(true, Ordering::Relaxed);
            emptied.unwrap();
        });
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
