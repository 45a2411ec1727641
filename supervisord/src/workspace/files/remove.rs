//! Removing a file, or a directory with all that it holds.

use std::ffi::CString;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::error::{FileError, failed};
use crate::workspace::beneath;
use crate::workspace::path::{MAX_DEPTH, WorkspacePath};

/// Names of one directory that are held in memory at once: hard links make names without inodes, so no
/// limit of the workspace bounds them.
const AT_ONCE: usize = 1024;

/// How often directories are looked through again, all of them together, because there were more names or because
/// something was put into one meanwhile: eight million names. Who goes on for longer is told so.
const ROUNDS: u32 = 8192;

/// How long one call goes on: who wants more removed asks again.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is left of what one call may do.
struct Removal<'r> {
    path: &'r WorkspacePath,
    rounds: u32,
    until: Instant,
    is_wanted: &'r dyn Fn() -> bool,
}

/// Removes what stands at a path. A directory must be empty, unless all that it holds is to go too.
/// Links are removed, never followed.
pub fn remove(root: BorrowedFd<'_>, path: &WorkspacePath, all: bool) -> Result<(), FileError> {
    remove_while(root, path, all, &|| true)
}

/// The same, for as long as somebody wants it.
pub fn remove_while(
    root: BorrowedFd<'_>,
    path: &WorkspacePath,
    all: bool,
    is_wanted: &dyn Fn() -> bool,
) -> Result<(), FileError> {
    let mut removal = Removal { path, rounds: ROUNDS, until: Instant::now() + PATIENCE, is_wanted };
    let (parent, name) = super::parent(root, path)?;
    let directory = parent.as_ref().map_or(root, |opened| opened.as_fd());
    let name = CString::new(name).map_err(failed("remove", path))?;
    match unlinkat(directory, name.as_c_str(), UnlinkatFlags::NoRemoveDir) {
        // A directory (unlink(2): EISDIR on Linux).
        Err(Errno::EISDIR) if all => removal.directory(directory, &name, MAX_DEPTH),
        Err(Errno::EISDIR) => unlinkat(directory, name.as_c_str(), UnlinkatFlags::RemoveDir)
            .map_err(failed("remove", path)),
        other => other.map_err(failed("remove", path)),
    }
}

impl Removal<'_> {
    fn directory(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CString,
        depth: usize,
    ) -> Result<(), FileError> {
        let path = self.path;
        if depth == 0 {
            let problem = format!(
                "{path} is deeper than {MAX_DEPTH} directories; have the payload remove it"
            );
            return Err(FileError::TooMuch(problem));
        }
        let mut is_first = true;
        loop {
            self.go_on(is_first)?;
            is_first = false;
            let opened = beneath::open_directory(parent, name.as_c_str());
            let mut directory =
                opened.and_then(Dir::from_fd).map_err(failed("remove from", path))?;
            let entries =
                directory.iter().map(|entry| entry.map(|entry| entry.file_name().to_owned()));
            let entries: Vec<CString> = entries
                .take(AT_ONCE)
                .collect::<Result<_, _>>()
                .map_err(failed("remove from", path))?;
            for entry in entries.iter().filter(|entry| ![c".", c".."].contains(&entry.as_c_str())) {
                match unlinkat(directory.as_fd(), entry.as_c_str(), UnlinkatFlags::NoRemoveDir) {
                    Ok(()) | Err(Errno::ENOENT) => {}
                    Err(Errno::EISDIR) => self.directory(directory.as_fd(), entry, depth - 1)?,
                    Err(errno) => return Err(failed("remove from", path)(errno)),
                }
            }
            match unlinkat(parent, name.as_c_str(), UnlinkatFlags::RemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => return Ok(()),
                Err(Errno::ENOTEMPTY) => {}
                Err(errno) => return Err(failed("remove", path)(errno)),
            }
        }
    }

    /// Whether one more directory is looked through. The first look at each is bounded by how many there are, and by the
    /// time.
    fn go_on(&mut self, is_first: bool) -> Result<(), FileError> {
        let path = self.path;
        if Instant::now() >= self.until || !(self.is_wanted)() {
            let problem = format!("removing {path} takes long, and some of it is left; ask again");
            return Err(FileError::TooMuch(problem));
        }
        if !is_first {
            let left = self.rounds.checked_sub(1);
            self.rounds = left.ok_or_else(|| FileError::NotEmpty { path: path.clone() })?;
        }
        Ok(())
    }
}
