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

use super::error::{FileError, failed, shortened};
use crate::workspace::beneath;
use crate::workspace::path::{InvalidPath, MAX_DEPTH, WorkspacePath};

/// Entries of an archive at the most: more than the inodes of any workspace that policies give out by default.
const MAX_ENTRIES: u64 = 1_000_000;

/// Names of what can't be packed that are told.
const MAX_NAMED: usize = 10;

/// Writes the workspace, or what stands beneath a directory of it, as an archive. Files, directories and links
/// as they are; FIFOs and sockets are left out. A file that shrinks while it is read is filled up with zeros,
/// for its size stands before it; one that grows is cut. What can't be read, or has a name that can't be a path
/// of ours, ends it: an archive that looks whole is whole.
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
    let mut packer =
        Packer { builder, left: MAX_ENTRIES, looks_only: false, obstacles: Vec::new() };
    packer.directory(opened.as_fd(), "", MAX_DEPTH).map_err(FileError::from)?;
    packer.builder.finish().map_err(|error| FileError::from(Stop::Write(error)))
}

/// What of a workspace could not be packed, in words: the first of it, if there is much. An archive has no
/// place for them, so they are looked for before one is begun.
pub fn obstacles(root: BorrowedFd<'_>) -> Result<Vec<String>, FileError> {
    let opened = beneath::open_root(root).map_err(|errno| FileError::from(read(errno)))?;
    let builder = ManuallyDrop::new(Builder::new(io::sink()));
    let mut packer = Packer { builder, left: MAX_ENTRIES, looks_only: true, obstacles: Vec::new() };
    packer.directory(opened.as_fd(), "", MAX_DEPTH).map_err(FileError::from)?;
    Ok(packer.obstacles)
}

struct Packer<W: Write> {
    builder: ManuallyDrop<Builder<W>>,
    left: u64,
    /// Whether nothing is read but what names and permissions tell.
    looks_only: bool,
    obstacles: Vec<String>,
}

/// Why packing ends before the tree does.
enum Stop {
    /// Nobody takes the archive any more.
    Write(io::Error),
    /// The workspace can't be read.
    Read(io::Error),
    /// There is too much of it.
    Entries,
    /// Something of it can't be packed.
    Obstacle(String),
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
            Stop::Obstacle(words) => FileError::TooMuch(words),
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
            if name.as_c_str() == c"." || name.as_c_str() == c".." {
                continue;
            }
            let text = name.to_string_lossy();
            let path =
                if prefix.is_empty() { text.to_string() } else { format!("{prefix}/{text}") };
            let rule = match name.to_str() {
                Ok(_) => WorkspacePath::try_from(path.as_str()).err(),
                Err(_) => Some(InvalidPath::NotUtf8),
            };
            match rule {
                None => self.entry(directory.as_fd(), &text, &path, depth)?,
                Some(rule) => self.meet(format!("{:?}: {rule}", shortened(&path)))?,
            }
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
                    Ok(inner) if depth > 0 => self.directory(inner.as_fd(), path, depth - 1),
                    // No path is so deep (`WorkspacePath`), and each level holds a descriptor.
                    Ok(_) => Err(Stop::Obstacle(format!(
                        "{:?}: {}",
                        shortened(path),
                        InvalidPath::TooDeep
                    ))),
                    Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(()),
                    Err(errno) => self.meet(format!("{:?}: {}", shortened(path), errno.desc())),
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
        let opened = match beneath::open_file(parent, name) {
            Ok(opened) => opened,
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(()), // gone meanwhile
            Err(errno) => return self.meet(format!("{:?}: {}", shortened(path), errno.desc())),
        };
        if self.looks_only {
            return Ok(());
        }
        let found = fstat(&opened).map_err(read)?;
        if beneath::kind_of(&found) != SFlag::S_IFREG {
            return Ok(());
        }
        let size = u64::try_from(found.st_size).unwrap_or_default();
        let content = std::fs::File::from(opened).chain(io::repeat(0)).take(size);
        let mut header = header_of(&found, EntryType::Regular, size);
        self.builder.append_data(&mut header, path, content).map_err(Stop::Write)
    }

    /// Something can't be packed.
    fn meet(&mut self, words: String) -> Result<(), Stop> {
        if !self.looks_only {
            return Err(Stop::Obstacle(words));
        }
        if self.obstacles.len() < MAX_NAMED {
            self.obstacles.push(words);
        }
        Ok(())
    }

    fn header(
        &mut self,
        found: &FileStat,
        kind: EntryType,
        size: u64,
        path: &str,
        link: Option<&str>,
    ) -> Result<(), Stop> {
        if self.looks_only {
            return Ok(());
        }
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
