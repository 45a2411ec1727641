//! What stands in a workspace at one moment, as far as it is looked at: to be held against another moment.
//!
//! Whatever a payload does meanwhile, names are looked up one by one beneath open directories. What goes away
//! during the look was not there.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::readlinkat;
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use supervisor_api::{FileFacts, FileKind};

use super::beneath;
use super::path::{MAX_DEPTH, WorkspacePath};
use crate::clock;

/// Entries of a manifest at the most: its size in memory and in a file follows from that and from the next.
const MAX_ENTRIES: usize = 100_000;

/// Bytes of their paths, and of where links lead, together.
const MAX_PATH_BYTES: usize = 8 << 20;

/// Bytes that are read at once to be digested.
const CHUNK: usize = 128 << 10;

/// Something that stands in a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What it is.
    pub kind: FileKind,
    /// Bytes of a file.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// When its bytes were changed, in seconds and nanoseconds. Payloads set this as they like.
    pub modified: (i64, i64),
    /// When anything about it was changed, which nobody sets.
    pub changed: (i64, i64),
    /// Its number in its file system.
    pub inode: u64,
    /// How many names it has.
    pub links: u64,
    /// Where a link leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// SHA-256 of a file's bytes, in hexadecimal, where it was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// What stands in a workspace at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Everything whose name can be a path of ours.
    pub entries: BTreeMap<String, Entry>,
    /// How many names can't.
    pub unnamed: u64,
    /// SHA-256 of what stands at those and beneath them, in hexadecimal, if there are any: as far as it is seen without
    /// reading files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unnamed_digest: Option<String>,
    /// Whether there is more than is looked at.
    pub truncated: bool,
}

impl Entry {
    /// What is seen of it without reading it.
    pub fn of(directory: BorrowedFd<'_>, name: &str, found: &FileStat) -> Self {
        let kind = match beneath::kind_of(found) {
            SFlag::S_IFREG => FileKind::File,
            SFlag::S_IFDIR => FileKind::Directory,
            SFlag::S_IFLNK => FileKind::SymbolicLink,
            _ => FileKind::Other,
        };
        let target = (kind == FileKind::SymbolicLink).then(|| readlinkat(directory, name).ok());
        Self {
            kind,
            size: u64::try_from(found.st_size).unwrap_or_default(),
            mode: found.st_mode & 0o7777,
            modified: (found.st_mtime, found.st_mtime_nsec),
            changed: (found.st_ctime, found.st_ctime_nsec),
            inode: found.st_ino,
            links: found.st_nlink,
            target: target.flatten().map(|target| target.to_string_lossy().into_owned()),
            sha256: None,
        }
    }

    /// Whether nothing at all has happened to it. What a directory holds is no part of it.
    pub fn is_untouched(&self, now: &Self) -> bool {
        if self.kind == FileKind::Directory {
            return self.is_same(now);
        }
        let told = |entry: &Self| (entry.kind, entry.size, entry.mode, entry.modified);
        told(self) == told(now) && self.changed == now.changed && self.inode == now.inode
    }

    /// Whether it says and does the same, whatever became of it meanwhile.
    pub fn is_same(&self, now: &Self) -> bool {
        if (self.kind, self.mode) != (now.kind, now.mode) {
            return false;
        }
        match self.kind {
            FileKind::Directory => true,
            FileKind::SymbolicLink => self.target.is_some() && self.target == now.target,
            FileKind::File => {
                self.size == now.size && self.sha256.is_some() && self.sha256 == now.sha256
            }
            FileKind::Other => self.inode == now.inode && self.changed == now.changed,
        }
    }

    /// What callers are told of it.
    pub fn facts(&self) -> FileFacts {
        FileFacts {
            kind: self.kind,
            size: self.size,
            mode: self.mode,
            modified_at: clock::at(self.modified.0),
            inode: self.inode,
            target: self.target.clone(),
            sha256: self.sha256.clone(),
        }
    }
}

impl Manifest {
    /// Looks at all of a workspace. Files are digested, in the order of their paths' bytes, as long as the
    /// bytes allowed for that last; one that isn't readable stays as it is, undigested.
    pub fn take(root: BorrowedFd<'_>, digested_bytes: u64) -> io::Result<Self> {
        let opened = beneath::open_root(root)?;
        let mut look = Look { manifest: Self::default(), path_bytes: 0, unnamed: Sha256::new() };
        look.directory(opened, "", MAX_DEPTH)?;
        let mut manifest = look.manifest;
        manifest.unnamed_digest = (manifest.unnamed > 0).then(|| hexadecimal(look.unnamed));
        let mut left = digested_bytes;
        for (path, entry) in &mut manifest.entries {
            let readable = entry.mode & Mode::S_IRUSR.bits() != 0;
            if entry.kind == FileKind::File && entry.size <= left && readable {
                left -= entry.size;
                entry.sha256 = digest(root, path, entry)?;
            }
        }
        Ok(manifest)
    }
}

struct Look {
    manifest: Manifest,
    path_bytes: usize,
    unnamed: Sha256,
}

impl Look {
    fn directory(&mut self, opened: OwnedFd, prefix: &str, depth: usize) -> io::Result<()> {
        let mut directory = Dir::from_fd(opened)?;
        let (mut names, mut unnamed) = (Vec::new(), Vec::new());
        for entry in directory.iter() {
            let entry = entry?;
            let path = match entry.file_name().to_str() {
                Ok("." | "..") => continue,
                Ok(name) if prefix.is_empty() => Some(name.to_owned()),
                Ok(name) => Some(format!("{prefix}/{name}")),
                Err(_) => None,
            };
            let path = path.filter(|path| WorkspacePath::try_from(path.as_str()).is_ok());
            self.path_bytes += path.as_ref().map_or(entry.file_name().count_bytes(), String::len);
            let held = self.manifest.entries.len() + names.len() + unnamed.len();
            if self.is_full(held) {
                break;
            }
            match path {
                Some(path) => names.push(path),
                None => unnamed.push(entry.file_name().to_owned()),
            }
        }
        self.manifest.unnamed += unnamed.len() as u64;
        if !unnamed.is_empty() {
            self.note(depth, prefix.as_bytes());
        }
        // In an order that doesn't depend on where a directory has them.
        unnamed.sort_unstable();
        names.sort_unstable();
        for name in unnamed {
            self.unnamed(directory.as_fd(), &name, depth)?;
        }
        for path in names {
            self.entry(directory.as_fd(), path, depth)?;
        }
        Ok(())
    }

    /// Whether there is more than is looked at. What has no name of ours counts as well: hard links are names without
    /// end.
    fn is_full(&mut self, held: usize) -> bool {
        let is_full = held as u64 + self.manifest.unnamed >= MAX_ENTRIES as u64
            || self.path_bytes > MAX_PATH_BYTES;
        self.manifest.truncated |= is_full;
        is_full
    }

    /// Looks at what can't be told of by its path, to know whether it is as it was.
    fn unnamed(&mut self, parent: BorrowedFd<'_>, name: &CStr, depth: usize) -> io::Result<()> {
        let Ok(mut found) = beneath::stat(parent, name) else { return Ok(()) }; // gone meanwhile
        let inner = match beneath::kind_of(&found) {
            SFlag::S_IFDIR => match beneath::open_directory(parent, name) {
                Ok(inner) => Some(inner),
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            },
            _ => None,
        };
        self.note(depth, name.to_bytes());
        let Some(inner) = inner else {
            let told =
                (found.st_mode, found.st_ino, found.st_size, found.st_ctime, found.st_ctime_nsec);
            self.unnamed.update(format!("{told:?}"));
            return Ok(());
        };
        found = fstat(&inner)?; // its permissions may have been given back
        self.unnamed.update(format!("{:?}", found.st_mode));
        let Some(depth) = depth.checked_sub(1) else {
            self.manifest.truncated = true;
            return Ok(());
        };
        let (mut directory, mut names) = (Dir::from_fd(inner)?, Vec::new());
        for entry in directory.iter() {
            let entry = entry?;
            if [c".", c".."].contains(&entry.file_name()) {
                continue;
            }
            self.path_bytes += entry.file_name().count_bytes();
            let held = self.manifest.entries.len() + names.len();
            if self.is_full(held) {
                break;
            }
            names.push(entry.file_name().to_owned());
        }
        self.manifest.unnamed += names.len() as u64;
        names.sort_unstable();
        for name in names {
            self.unnamed(directory.as_fd(), &name, depth)?;
        }
        Ok(())
    }

    /// A name, and how deep it is.
    fn note(&mut self, depth: usize, name: &[u8]) {
        self.unnamed.update((depth as u64).to_le_bytes());
        self.unnamed.update((name.len() as u64).to_le_bytes());
        self.unnamed.update(name);
    }

    fn entry(&mut self, parent: BorrowedFd<'_>, path: String, depth: usize) -> io::Result<()> {
        let name = path.rsplit_once('/').map_or(path.as_str(), |(_, name)| name);
        let Ok(found) = beneath::stat(parent, name) else { return Ok(()) }; // gone meanwhile
        if beneath::kind_of(&found) != SFlag::S_IFDIR {
            let entry = Entry::of(parent, name, &found);
            self.path_bytes += entry.target.as_ref().map_or(0, String::len);
            self.manifest.entries.insert(path, entry);
            return Ok(());
        }
        let inner = match beneath::open_directory(parent, name) {
            Ok(inner) => inner,
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        // What it is by now: permissions that a payload took from it were given back to look into it.
        let entry = Entry::of(parent, name, &fstat(&inner)?);
        match depth.checked_sub(1) {
            Some(depth) => self.directory(inner, &path, depth)?,
            None => self.manifest.truncated = true,
        }
        self.manifest.entries.insert(path, entry);
        Ok(())
    }
}

/// The digest of a file's bytes, if it still is the one that was seen.
pub fn digest(root: BorrowedFd<'_>, path: &str, seen: &Entry) -> io::Result<Option<String>> {
    let opened = match beneath::open_file(root, path) {
        Ok(opened) => opened,
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EACCES) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let found = fstat(&opened)?;
    if beneath::kind_of(&found) != SFlag::S_IFREG || found.st_ino != seen.inode {
        return Ok(None);
    }
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; CHUNK]);
    let (mut file, mut length) = (File::from(opened).take(seen.size + 1), 0);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        length += read as u64;
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
    // One that grows or shrinks while it is read has no digest.
    Ok((length == seen.size).then(|| hexadecimal(hasher)))
}

fn hexadecimal(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
