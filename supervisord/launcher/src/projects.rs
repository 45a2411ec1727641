//! Workspaces as directories of a file system that counts projects: each is a project of its own, and
//! the file system holds it to its limits. Whatever is done in there is done as the files' owner, who
//! is nobody anywhere else.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, RenameFlags, openat, renameat2};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, mkdirat};
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};
use supervisor_sys::{
    attach, is_free_project, limit_project, project_of, put_into_project, random_bits,
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

const DIRECTORY: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_CLOEXEC).union(OFlag::O_NOFOLLOW);

/// A directory with workspaces in it, by name.
pub struct Projects {
    directory: OwnedFd,
}

impl Projects {
    /// Takes a mount of the directory, and attaches it in our own root.
    pub fn open(mount: OwnedFd) -> io::Result<Self> {
        attach(mount.as_fd(), PLACE)?;
        let directory = as_owner(|| Ok(openat(&mount, ".", DIRECTORY, Mode::empty())?))?;
        Ok(Self { directory })
    }

    /// The names that are there.
    pub fn names(&self) -> io::Result<Vec<String>> {
        as_owner(|| {
            let found = names(openat(&self.directory, ".", DIRECTORY, Mode::empty())?, usize::MAX)?;
            let text = |(name, _): (CString, bool)| name.to_str().map(str::to_owned);
            found.into_iter().map(text).collect::<Result<_, _>>().map_err(io::Error::other)
        })
    }

    /// The directory of this name, for binding it.
    pub fn directory(&self) -> &OwnedFd {
        &self.directory
    }

    /// Makes an empty workspace. It has its name only once its limits hold and it is on disk.
    pub fn make(&self, name: &str, bytes: u64, inodes: u64) -> io::Result<()> {
        let project = self.choose()?;
        let new = format!("new-{project}");
        let made = as_owner(|| {
            mkdirat(&self.directory, new.as_str(), Mode::from_bits_truncate(0o700))?;
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

    /// Opens a workspace. A payload may have closed it to its owner, who can open it up again.
    fn enter(&self, name: &str) -> nix::Result<OwnedFd> {
        let open = || openat(&self.directory, name, DIRECTORY, Mode::empty());
        match open() {
            Err(Errno::EACCES) => {
                let mode = Mode::from_bits_truncate(0o700);
                fchmodat(&self.directory, name, mode, FchmodatFlags::FollowSymlink)?;
                open()
            }
            other => other,
        }
    }

    /// Removes a workspace with all that is in it. What is not there is no error.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        as_owner(|| {
            let directory = match self.enter(name) {
                Err(Errno::ENOENT) => return Ok(()),
                other => other?,
            };
            let project = project_of(directory.as_fd())?;
            empty(&directory)?;
            if project >= FIRST {
                limit_project(directory.as_fd(), project, 0, 0)?;
            }
            unlinkat(&self.directory, name, UnlinkatFlags::RemoveDir)?;
            Ok(fsync(&self.directory)?)
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

/// Removes all that is in a directory, however deep: what is two levels down is lifted up by one, so
/// that no path of a payload's making is ever walked.
fn empty(top: &OwnedFd) -> io::Result<()> {
    let mut lifted = 0u64;
    loop {
        let found = names(openat(top, ".", DIRECTORY, Mode::empty())?, PASS)?;
        if found.is_empty() {
            return Ok(());
        }
        for (name, is_directory) in found {
            if is_directory {
                lift(top, &name, &mut lifted)?;
            } else {
                unlinkat(top, name.as_c_str(), UnlinkatFlags::NoRemoveDir)?;
            }
        }
    }
}

/// Empties a directory of `top` into it, as far as one pass goes.
fn lift(top: &OwnedFd, name: &CStr, lifted: &mut u64) -> io::Result<()> {
    let all = Mode::from_bits_truncate(0o700);
    fchmodat(top, name, all, FchmodatFlags::FollowSymlink)?; // a directory, and nobody else is here
    let directory = openat(top, name, DIRECTORY, Mode::empty())?;
    for (name, is_directory) in names(directory.try_clone()?, PASS)? {
        if !is_directory {
            unlinkat(&directory, name.as_c_str(), UnlinkatFlags::NoRemoveDir)?;
            continue;
        }
        fchmodat(&directory, name.as_c_str(), all, FchmodatFlags::FollowSymlink)?; // moving one changes its ".."
        loop {
            *lifted += 1;
            let new = format!("lifted-{lifted}");
            match renameat2(
                &directory,
                name.as_c_str(),
                top,
                new.as_str(),
                RenameFlags::RENAME_NOREPLACE,
            ) {
                Err(Errno::EEXIST) => {} // a name of the payload's
                other => break other?,
            }
        }
    }
    match unlinkat(top, name, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOTEMPTY) => Ok(()),
        Err(error) => Err(error.into()),
    }
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
