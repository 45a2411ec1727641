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
    attach, is_empty_project, is_free_project, limit_project, project_of, put_into_project,
    random_bits,
};

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
            let scrap = openat(&directory, SCRAP, DIRECTORY, Mode::empty())?;
            empty(&scrap)?;
            Ok((directory, scrap))
        })?;
        Ok(Self { directory, scrap, ended: Vec::new() })
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
            match open_up(directory, &CString::new(name)?) {
                Err(Errno::ENOENT) => {}
                Err(error) => return Err(error.into()),
                Ok(workspace) => {
                    let project = project_of(workspace.as_fd())?;
                    if project >= FIRST {
                        // The daemon may have it open: it gets no more out of it than it has.
                        limit_project(workspace.as_fd(), project, 1, 1)?;
                        ended.push(project);
                    }
                    move_to(scrap, directory, &CString::new(name)?, &mut 0)?;
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
/// them, so that no path of a payload's making is ever walked.
fn empty(scrap: &OwnedFd) -> io::Result<()> {
    let mut moved = 0;
    loop {
        let found = names(openat(scrap, ".", DIRECTORY, Mode::empty())?, PASS)?;
        if found.is_empty() {
            return Ok(());
        }
        for (name, _) in found {
            take_apart(scrap, &name, &mut moved)?;
        }
    }
}

/// Empties one directory of `scrap`, as far as one pass goes.
fn take_apart(scrap: &OwnedFd, name: &CStr, moved: &mut u64) -> io::Result<()> {
    let directory = open_up(scrap, name)?;
    for (name, is_directory) in names(directory.try_clone()?, PASS)? {
        if is_directory {
            open_up(&directory, &name)?; // moving one changes its ".."
            move_to(scrap, &directory, &name, moved)?;
        } else {
            unlinkat(&directory, name.as_c_str(), UnlinkatFlags::NoRemoveDir)?;
        }
    }
    match unlinkat(scrap, name, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOTEMPTY) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Moves a directory into `scrap` under a name that is free there.
fn move_to(scrap: &OwnedFd, from: &OwnedFd, name: &CStr, moved: &mut u64) -> io::Result<()> {
    loop {
        *moved += 1;
        let new = CString::new(moved.to_string())?;
        match renameat2(from, name, scrap, new.as_c_str(), RenameFlags::RENAME_NOREPLACE) {
            Err(Errno::EEXIST) => {}
            other => return Ok(other?),
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
