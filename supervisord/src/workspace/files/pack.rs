//! A tree as a tar archive, written as it is walked.

use std::ffi::CString;
use std::io::{self, Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd as _, BorrowedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::readlinkat;
use nix::sys::stat::{FileStat, SFlag, fstat};
use tar::{Builder, EntryType, Header};

use super::error::{FileError, failed};
use crate::workspace::beneath;
use crate::workspace::path::{MAX_DEPTH, WorkspacePath};

/// Entries of an archive at the most: more than the inodes of any workspace that policies give out by default.
const MAX_ENTRIES: u64 = 1_000_000;

/// Writes the workspace, or what stands beneath a directory of it, as an archive. Files, directories and links
/// as they are; FIFOs, sockets and names that can't be paths of ours are left out. A file that shrinks
/// while it is read is filled up with zeros, for its size stands before it; one that grows is cut.
pub fn pack(
    root: BorrowedFd<'_>,
    beneath: Option<&WorkspacePath>,
    to: impl Write,
) -> Result<(), FileError> {
    let opened = match beneath {
        None => beneath::open_root(root).map_err(|errno| FileError::System {
            operation: "open the workspace".to_owned(),
            source: errno.into(),
        })?,
        Some(path) => beneath::open_directory(root, path.as_str()).map_err(failed("open", path))?,
    };
    // A builder that is dropped writes an archive's end, also where it breaks off.
    let builder = ManuallyDrop::new(Builder::new(to));
    let mut packer = Packer { builder, left: MAX_ENTRIES };
    packer.directory(opened.as_fd(), "", MAX_DEPTH).map_err(FileError::from)?;
    packer.builder.finish().map_err(|error| FileError::from(Stop::Write(error)))
}

struct Packer<W: Write> {
    builder: ManuallyDrop<Builder<W>>,
    left: u64,
}

/// Why packing ends before the tree does.
enum Stop {
    /// Nobody takes the archive any more.
    Write(io::Error),
    /// The workspace can't be read.
    Read(io::Error),
    /// There is too much of it.
    Entries,
}

impl From<Stop> for FileError {
    fn from(stop: Stop) -> Self {
        let system =
            |operation: &str, source| FileError::System { operation: operation.to_owned(), source };
        match stop {
            Stop::Write(source) => system("write the archive", source),
            Stop::Read(source) => system("read the workspace", source),
            Stop::Entries => {
                FileError::TooMuch(format!("the workspace has more than {MAX_ENTRIES} entries"))
            }
        }
    }
}

impl<W: Write> Packer<W> {
    fn directory(
        &mut self,
        opened: BorrowedFd<'_>,
        prefix: &str,
        depth: usize,
    ) -> Result<(), Stop> {
        let again = beneath::open_directory(opened, ".").map_err(read)?;
        let mut directory = Dir::from_fd(again).map_err(read)?;
        let names = directory.iter().map(|entry| entry.map(|entry| entry.file_name().to_owned()));
        let mut held = Vec::new();
        for name in names {
            // Counted before it is held: what is above may be waiting with all of its names, too.
            self.left = self.left.checked_sub(1).ok_or(Stop::Entries)?;
            held.push(name.map_err(read)?);
        }
        let mut names: Vec<CString> = held;
        names.sort_unstable();
        for name in names {
            let Ok(text) = name.to_str() else { continue };
            let path = if prefix.is_empty() { text.to_owned() } else { format!("{prefix}/{text}") };
            if WorkspacePath::try_from(path.as_str()).is_err() {
                continue; // `.`, `..`, and names that nobody could ask for
            }
            self.entry(directory.as_fd(), text, &path, depth)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &str,
        path: &str,
        depth: usize,
    ) -> Result<(), Stop> {
        let Ok(found) = beneath::stat(parent, name) else { return Ok(()) }; // gone meanwhile
        match beneath::kind_of(&found) {
            SFlag::S_IFDIR => {
                self.header(&found, EntryType::Directory, 0, &format!("{path}/"), None)?;
                match beneath::open_directory(parent, name) {
                    Ok(inner) if depth > 1 => self.directory(inner.as_fd(), path, depth - 1),
                    Ok(_) => Err(Stop::Entries),
                    Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(()),
                    Err(errno) => Err(read(errno)),
                }
            }
            SFlag::S_IFLNK => match readlinkat(parent, name) {
                Ok(target) => {
                    let target = target.to_string_lossy().into_owned();
                    self.header(&found, EntryType::Symlink, 0, path, Some(&target))
                }
                Err(_) => Ok(()),
            },
            SFlag::S_IFREG => self.file(parent, name, path),
            _ => Ok(()),
        }
    }

    fn file(&mut self, parent: BorrowedFd<'_>, name: &str, path: &str) -> Result<(), Stop> {
        let Ok(opened) = beneath::open_file(parent, name) else { return Ok(()) };
        let found = fstat(&opened).map_err(read)?;
        if beneath::kind_of(&found) != SFlag::S_IFREG {
            return Ok(());
        }
        let size = u64::try_from(found.st_size).unwrap_or_default();
        let content = std::fs::File::from(opened).chain(io::repeat(0)).take(size);
        let mut header = header_of(&found, EntryType::Regular, size);
        self.builder.append_data(&mut header, path, content).map_err(Stop::Write)
    }

    fn header(
        &mut self,
        found: &FileStat,
        kind: EntryType,
        size: u64,
        path: &str,
        link: Option<&str>,
    ) -> Result<(), Stop> {
        let mut header = header_of(found, kind, size);
        let written = match link {
            Some(link) => self.builder.append_link(&mut header, path, link),
            None => self.builder.append_data(&mut header, path, io::empty()),
        };
        written.map_err(Stop::Write)
    }
}

/// Owners say nothing outside of the sandbox, so they are nobody's.
fn header_of(found: &FileStat, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(found.st_mode & 0o777);
    header.set_mtime(u64::try_from(found.st_mtime).unwrap_or_default());
    header
}

fn read(error: impl Into<io::Error>) -> Stop {
    Stop::Read(error.into())
}
