//! A directory as a plain archive, so that the unpacker has one kind of source and needs no way to the
//! host's files. No link is followed and no other file system is entered.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::libc::{S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use tar::{Builder, EntryType, Header};

use crate::bounds::{Bounds, MAX_DEPTH};
use crate::manifest::names;

/// Packs what is in a directory, as long as it is within the bounds: a file counts by its length, before a byte of it is
/// written, and one with a hole in it is as long as it says. What is more is refused with [`ErrorKind::QuotaExceeded`] and
/// words for whoever asked.
pub fn pack(directory: BorrowedFd<'_>, to: impl Write, bounds: &Bounds) -> io::Result<()> {
    let status = fstat(directory)?;
    let (to, seen) = (Builder::new(to), HashMap::new());
    let mut packer = Packer { to, device: status.st_dev, seen, left: *bounds };
    let mut root = header(&status);
    root.set_entry_type(EntryType::Directory);
    packer.to.append_data(&mut root, "./", io::empty())?;
    packer.directory(directory.try_clone_to_owned()?, Path::new(""), 0)?;
    packer.to.into_inner()?.flush()
}

struct Packer<W: Write> {
    to: Builder<W>,
    device: u64,
    /// Files with several names, by inode, and the first of them.
    seen: HashMap<u64, PathBuf>,
    /// What it may still hold.
    left: Bounds,
}

impl<W: Write> Packer<W> {
    fn directory(&mut self, directory: OwnedFd, path: &Path, depth: usize) -> io::Result<()> {
        if depth > MAX_DEPTH {
            let what = format!("{} is nested too deeply", path.display());
            return Err(io::Error::other(what));
        }
        for name in names(&directory)? {
            let full = path.join(OsStr::from_bytes(name.to_bytes()));
            self.entry(directory.as_fd(), &name, &full, depth)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        path: &Path,
        depth: usize,
    ) -> io::Result<()> {
        let left = self.left.entries.checked_sub(1);
        self.left.entries = left.ok_or_else(|| over("entries (--max-entries)"))?;
        let status = fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        let mut header = header(&status);
        match status.st_mode & S_IFMT {
            S_IFDIR => {
                header.set_entry_type(EntryType::Directory);
                self.to.append_data(&mut header, path, io::empty())?;
                if status.st_dev != self.device {
                    return Ok(()); // what is mounted there is not the directory's
                }
                let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let directory = openat(parent, name, flags, Mode::empty())?;
                self.directory(directory, path, depth + 1)
            }
            S_IFREG => self.file(parent, name, &status, path),
            S_IFLNK => {
                header.set_entry_type(EntryType::Symlink);
                let target = readlinkat(parent, name)?;
                self.to.append_link(&mut header, path, target)
            }
            // They are not unpacked; that they were there is told.
            kind => {
                header.set_entry_type(match kind {
                    S_IFCHR => EntryType::Char,
                    S_IFBLK => EntryType::Block,
                    S_IFIFO => EntryType::Fifo,
                    _ => return Ok(()), // an archive has no word for a socket
                });
                self.to.append_data(&mut header, path, io::empty())
            }
        }
    }

    fn file(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        status: &FileStat,
        path: &Path,
    ) -> io::Result<()> {
        let mut header = header(status);
        if status.st_nlink > 1 {
            if let Some(first) = self.seen.get(&status.st_ino) {
                header.set_entry_type(EntryType::Link);
                return self.to.append_link(&mut header, path, first);
            }
            self.seen.insert(status.st_ino, path.to_owned());
        }
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = File::from(openat(parent, name, flags, Mode::empty())?);
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            let what = format!("{} was replaced while it was read", path.display());
            return Err(io::Error::other(what));
        }
        let size = metadata.len();
        let left = self.left.bytes.checked_sub(size);
        self.left.bytes = left.ok_or_else(|| over("bytes (--max-bytes)"))?;
        header.set_entry_type(EntryType::Regular);
        header.set_size(size);
        // One that grows or shrinks meanwhile has the size it had.
        self.to.append_data(&mut header, path, file.take(size).chain(io::repeat(0)).take(size))
    }
}

fn over(what: &str) -> io::Error {
    let words = format!("the directory holds more {what} than were allowed");
    io::Error::new(ErrorKind::QuotaExceeded, words)
}

fn header(status: &FileStat) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(status.st_mode & 0o7777);
    header.set_uid(status.st_uid.into());
    header.set_gid(status.st_gid.into());
    header.set_mtime(status.st_mtime.max(0).unsigned_abs());
    header.set_size(0);
    header
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn packed(directory: &tempfile::TempDir, bytes: u64, entries: u64) -> (io::Result<()>, usize) {
        let (mut to, source) = (Vec::new(), File::open(directory.path()).unwrap());
        let bounds = Bounds { bytes, entries, ..Bounds::default() };
        let result = pack(source.as_fd(), &mut to, &bounds);
        (result, to.len())
    }

    #[test]
    fn a_directory_that_holds_more_than_was_allowed_is_refused_before_more_is_written() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a"), vec![b'x'; 1000]).unwrap();
        let hole = File::create(directory.path().join("b")).unwrap();
        hole.set_len(1 << 40).unwrap();
        for (bytes, entries, what) in
            [(999, 9, "--max-bytes"), (1 << 30, 9, "--max-bytes"), (1 << 50, 0, "--max-entries")]
        {
            let (result, written) = packed(&directory, bytes, entries);
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
            assert!(error.to_string().contains(what), "{error}");
            assert!(written < 16 << 10, "{written}");
        }
        hole.set_len(24).unwrap();
        packed(&directory, 1024, 2).0.unwrap();
    }
}
