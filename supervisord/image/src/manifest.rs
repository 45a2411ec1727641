//! A tree's canonical manifest: one line for each entry, in the order of their names, with everything about it
//! that a program in a sandbox could tell. Its digest is what an image is known by. It is made by looking
//! at the tree, whoever made that; no link is followed and no mount is entered.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::libc::{S_IFDIR, S_IFLNK, S_IFMT, S_IFREG};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use sha2::{Digest, Sha256};
use supervisor_launch::IMAGE_ID;

use crate::bounds::{IDS, MAX_DEPTH};
use crate::id::hexadecimal;

/// What a manifest begins with; another way to write one gets another number.
const HEAD: &str = "supervisor image manifest 1\n";

/// Bytes read at once.
const CHUNK: usize = 128 << 10;

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes of files, each once however many names it has.
    pub bytes: u64,
    /// Entries, without the root.
    pub entries: u64,
}

/// Writes the manifest of the tree beneath a directory, and tells its digest.
/// One with more than `most` is not read on: whoever made it was to hold to that.
pub fn write(root: BorrowedFd<'_>, to: impl Write, most: Totals) -> io::Result<([u8; 32], Totals)> {
    let status = fstat(root)?;
    let mut walk = Walk {
        to: BufWriter::new(to),
        digest: Sha256::new(),
        device: status.st_dev,
        seen: HashMap::new(),
        totals: Totals::default(),
        most,
    };
    walk.say(HEAD.as_bytes())?;
    walk.directory(root.try_clone_to_owned()?, &status, b".", 0)?;
    walk.to.flush()?;
    Ok((walk.digest.finalize().into(), walk.totals))
}

struct Walk<W: Write> {
    to: BufWriter<W>,
    digest: Sha256,
    device: u64,
    /// Files with several names, by inode, and the first of them.
    seen: HashMap<u64, Vec<u8>>,
    totals: Totals,
    most: Totals,
}

impl<W: Write> Walk<W> {
    fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.to.write_all(bytes)
    }

    fn directory(
        &mut self,
        directory: OwnedFd,
        status: &FileStat,
        path: &[u8],
        depth: usize,
    ) -> io::Result<()> {
        if depth > MAX_DEPTH {
            return Err(strange(path, "is nested too deeply"));
        }
        let line = line('d', status, path)?;
        self.say(format!("{line}\n").as_bytes())?;
        let names = names(&directory)?;
        for name in names {
            self.totals.entries += 1;
            if self.totals.entries > self.most.entries {
                return Err(strange(path, "holds more than was allowed"));
            }
            let full = [path, b"/", name.to_bytes()].concat();
            self.entry(directory.as_fd(), &name, &full, depth)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        path: &[u8],
        depth: usize,
    ) -> io::Result<()> {
        let status = fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        if status.st_dev != self.device {
            return Err(strange(path, "is on another file system"));
        }
        match status.st_mode & S_IFMT {
            S_IFDIR => {
                let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let directory = openat(parent, name, flags, Mode::empty())?;
                self.directory(directory, &status, path, depth + 1)
            }
            S_IFREG => self.file(parent, name, &status, path),
            S_IFLNK => {
                let target = readlinkat(parent, name)?;
                let line = line('l', &status, path)?;
                self.say(format!("{line} {}\n", escaped(target.as_bytes())).as_bytes())
            }
            _ => Err(strange(path, "is neither a file nor a directory nor a link")),
        }
    }

    fn file(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        status: &FileStat,
        path: &[u8],
    ) -> io::Result<()> {
        if status.st_nlink > 1 {
            if let Some(first) = self.seen.get(&status.st_ino) {
                let line = format!("h {} {}\n", escaped(path), escaped(first));
                return self.say(line.as_bytes());
            }
            self.seen.insert(status.st_ino, path.to_vec());
        }
        let length = u64::try_from(status.st_size).unwrap_or(u64::MAX);
        if length > self.most.bytes.saturating_sub(self.totals.bytes) {
            return Err(strange(path, "is larger than was allowed"));
        }
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(parent, name, flags, Mode::empty())?);
        let (digest, length) = digest_of(&mut file)?;
        self.totals.bytes += length;
        let line = line('f', status, path)?;
        self.say(format!("{line} {length} {}\n", hexadecimal(&digest)).as_bytes())
    }
}

/// The digest of all that can be read, and how much it was.
pub fn digest_of(from: &mut impl Read) -> io::Result<([u8; 32], u64)> {
    let (mut digest, mut length) = (Sha256::new(), 0);
    let mut chunk = vec![0; CHUNK];
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return Ok((digest.finalize().into(), length)),
            Ok(count) => {
                digest.update(chunk.get(..count).unwrap_or_default());
                length += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// What is in a directory, in the order of their bytes.
pub fn names(directory: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::from_fd(openat(directory, c".", OFlag::O_CLOEXEC, Mode::empty())?)?.iter() {
        let name = entry?.file_name().to_owned();
        if ![c".", c".."].contains(&name.as_c_str()) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn line(kind: char, status: &FileStat, path: &[u8]) -> io::Result<String> {
    let id = |id: u32| id.checked_sub(IMAGE_ID).filter(|id| *id < IDS);
    let (Some(user), Some(group)) = (id(status.st_uid), id(status.st_gid)) else {
        return Err(strange(path, "belongs to an account of the host"));
    };
    let mode = status.st_mode & 0o7777;
    if kind != 'l' && mode & 0o6000 != 0 {
        return Err(strange(path, "would change the user or group of who executes it"));
    }
    Ok(format!("{kind} {mode:o} {user} {group} {} {}", status.st_mtime, escaped(path)))
}

fn strange(path: &[u8], why: &str) -> io::Error {
    io::Error::other(format!("{} {why}", escaped(path)))
}

/// A path that can be in a line, whatever its bytes: others than visible ASCII, and `%`, as in URLs.
pub fn escaped(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path {
        match byte {
            b'!'..=b'$' | b'&'..=b'~' => text.push(char::from(*byte)),
            other => text.push_str(&format!("%{other:02x}")),
        }
    }
    text
}
