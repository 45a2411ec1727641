//! A file that takes its place only when it is whole.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, renameat};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use supervisor_api::InputFile;
use supervisor_sys::random_bits;

use super::error::{FileError, failed};
use crate::fault::{self, Point};
use crate::workspace::beneath;
use crate::workspace::path::{MAX_DEPTH, WorkspacePath};

const PLAIN: Mode = Mode::from_bits_truncate(0o644);
const EXECUTABLE: Mode = Mode::from_bits_truncate(0o755);

/// Writes a submission's files, each in the place of what stands there. After an error the files before the
/// one it names stay.
pub fn replace_files(root: BorrowedFd<'_>, files: &[InputFile]) -> Result<(), FileError> {
    for file in files {
        let path = WorkspacePath::try_from(file.path.as_str());
        // Checked when it was submitted.
        let path = path.map_err(|rule| FileError::TooMuch(format!("{}: {rule}", file.path)))?;
        let mut replacement = Replacement::begin(root, &path, file.executable)?;
        replacement.write(&file.content.0)?;
        replacement.finish()?;
    }
    Ok(())
}

/// A file that is being written under a name nobody can guess, beside the one that it will replace. A
/// payload can find and disturb it, for it owns the directory; then its own file is what it spoilt.
/// Dropped before [`Replacement::finish`] it is removed.
#[derive(Debug)]
pub struct Replacement {
    root: OwnedFd,
    directory: Option<OwnedFd>,
    file: File,
    temporary: String,
    path: WorkspacePath,
    finished: bool,
}

/// What a name begins with that a file has until it is whole; 32 hexadecimal digits follow.
pub(in crate::workspace) const TEMPORARY: &str = ".replacement-";

/// Entries that are looked at to find files that were not finished: as many as an archive has at the most.
const MAX_LOOKED_AT: u64 = 1_000_000;

/// Removes files and links that nobody finished, for who wrote them is gone. How many there were.
pub fn remove_unfinished(root: BorrowedFd<'_>) -> io::Result<u64> {
    let (mut count, mut left) = (0, MAX_LOOKED_AT);
    remove_unfinished_in(beneath::open_root(root)?, MAX_DEPTH, &mut left, &mut count)?;
    Ok(count)
}

fn remove_unfinished_in(
    opened: OwnedFd,
    depth: usize,
    left: &mut u64,
    count: &mut u64,
) -> io::Result<()> {
    let mut directory = Dir::from_fd(opened)?;
    let (mut unfinished, mut directories) = (Vec::new(), Vec::new());
    for entry in directory.iter() {
        let entry = entry?;
        let name = entry.file_name();
        let Some(rest) = left.checked_sub(1) else { return Ok(()) };
        *left = rest;
        match entry.file_type() {
            _ if matches!(name.to_bytes(), b"." | b"..") => {}
            Some(Type::Directory) => directories.push(name.to_owned()),
            None if !is_temporary(name.to_bytes()) => directories.push(name.to_owned()), // may be one
            _ if is_temporary(name.to_bytes()) => unfinished.push(name.to_owned()),
            _ => {}
        }
    }
    for name in unfinished {
        match unlinkat(directory.as_fd(), name.as_c_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) => *count += 1,
            Err(Errno::ENOENT | Errno::EISDIR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let Some(depth) = depth.checked_sub(1) else { return Ok(()) };
    for name in directories {
        match beneath::open_directory(directory.as_fd(), name.as_c_str()) {
            Ok(inner) => remove_unfinished_in(inner, depth, left, count)?,
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {} // gone meanwhile
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Such a name, which nobody can guess.
pub(super) fn temporary_name() -> io::Result<String> {
    Ok(format!("{TEMPORARY}{:032x}", random_bits()?))
}

fn is_temporary(name: &[u8]) -> bool {
    let digits = name.strip_prefix(TEMPORARY.as_bytes());
    digits.is_some_and(|digits| digits.len() == 32 && digits.iter().all(u8::is_ascii_hexdigit))
}

impl Replacement {
    /// Begins to write a file; the directories that lead to it are made.
    pub fn begin(
        root: BorrowedFd<'_>,
        path: &WorkspacePath,
        executable: bool,
    ) -> Result<Self, FileError> {
        let failed = failed::<io::Error>("write", path);
        let root = root.try_clone_to_owned().map_err(&failed)?;
        let (parents, _) = path.split();
        let directory = super::enter_all(root.as_fd(), path, parents)?;
        let temporary = temporary_name().map_err(&failed)?;
        let place = directory.as_ref().map_or(root.as_fd(), |opened| opened.as_fd());
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        let mode = if executable { EXECUTABLE } else { PLAIN };
        let file = beneath::open(place, temporary.as_str(), flags, mode);
        let file = File::from(file.map_err(|errno| failed(errno.into()))?);
        let path = path.clone();
        let replacement = Self { root, directory, file, temporary, path, finished: false };
        fchmod(&replacement.file, mode).map_err(|errno| failed(errno.into()))?; // whatever the umask is
        fault::reach(Point::UploadBegun);
        Ok(replacement)
    }

    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.file.write_all(bytes).map_err(failed("write", &self.path))?;
        fault::reach(Point::UploadWritten);
        Ok(())
    }

    /// Its inode.
    pub(super) fn inode(&self) -> Result<u64, FileError> {
        Ok(fstat(&self.file).map_err(failed("look at", &self.path))?.st_ino)
    }

    /// Puts the file in its place, in one step. A directory is not replaced.
    pub fn finish(mut self) -> Result<(), FileError> {
        let (_, name) = self.path.split();
        let place = self.place();
        let there = beneath::stat(place, name).map(|found| beneath::kind_of(&found));
        if there == Ok(SFlag::S_IFDIR) {
            return Err(FileError::IsDirectory { path: self.path.clone() });
        }
        renameat(place, self.temporary.as_str(), place, name)
            .map_err(failed("write", &self.path))?;
        fault::reach(Point::UploadFinished);
        self.finished = true;
        Ok(())
    }

    fn place(&self) -> BorrowedFd<'_> {
        self.directory.as_ref().unwrap_or(&self.root).as_fd()
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.finished {
            let gone = unlinkat(self.place(), self.temporary.as_str(), UnlinkatFlags::NoRemoveDir);
            if let Err(error) = gone {
                tracing::warn!(%error, "can't remove a file that was not finished");
            }
        }
    }
}
