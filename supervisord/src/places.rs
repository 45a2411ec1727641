//! The directory of each execution in the state directory: output, artifacts, and what a daemon that
//! comes back needs to know and the record doesn't say.

use std::ffi::CStr;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fstatat, mkdirat};
use nix::sys::statvfs::fstatvfs;
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};
use supervisor_api::ExecutionId;
use tokio::task::spawn_blocking;

use crate::directories;
use crate::regular;

const DIRECTORY: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_CLOEXEC).union(OFlag::O_NOFOLLOW);

/// How a file is written anew.
const NEW: OFlag = OFlag::O_WRONLY.union(OFlag::O_CREAT).union(OFlag::O_TRUNC);

/// Name of the directory with artifacts.
const ARTIFACTS: &str = "artifacts";

/// Name of the file with the submission's globs, as a JSON list.
const GLOBS: &str = "globs";

/// Bytes of that file at the most: 64 globs of a kilobyte, quoted.
const MAX_GLOBS_FILE: u64 = 1 << 20;

/// Name of the file that is there as long as a payload is owed some of its standard input.
const INPUT: &str = "input";

/// Name of the file with what a daemon that comes back needs for an execution's traffic.
const WAY: &str = "way";

/// Bytes of that file at the most: a key of 138 bytes and eight ports, as JSON.
const MAX_WAY_FILE: u64 = 4096;

/// Bytes of a note of an end at the most: 10,000 artifacts with long paths.
const MAX_NOTE: u64 = 64 << 20;

/// Name of the file with what it used over time, and its bytes at the most.
const SAMPLES: &str = "samples";
const MAX_SAMPLES_FILE: u64 = 64 << 10;

/// Name of the file with what an interpreter was made with.
const INTERPRETER: &str = "interpreter";

/// Bytes of it at the most.
const MAX_INTERPRETER_FILE: u64 = 4096;

/// Bytes of a file about changes at the most: a hundred thousand entries with 8 MiB of paths, as JSON.
const MAX_CHANGES_FILE: u64 = 128 << 20;

/// What a file counts at the least of what its owner may keep: ext4 has one inode for each 16 KiB of a disk
/// (mke2fs.conf(5), `inode_ratio`), so who keeps empty files uses up inodes no faster than bytes.
const FILE_WEIGHT: u64 = 16 << 10;

/// What is kept about an execution's changes.
#[derive(Debug, Clone, Copy)]
pub enum ChangesFile {
    /// What stood in the session's workspace when it was copied.
    Origin,
    /// What stood in the workspace before.
    Before,
    /// What was other after it.
    Found,
    /// That applying them has begun.
    Applying,
    /// What has become of them in the end.
    Settled,
}

impl ChangesFile {
    const fn name(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Before => "before",
            Self::Found => "changes",
            Self::Applying => "applying",
            Self::Settled => "settled",
        }
    }
}

/// How deep a removal goes: an execution's directory, and the one in it.
const REMOVE_DEPTH: u32 = 2;

/// What is kept of an execution's end until it is recorded.
#[derive(Debug, Clone, Copy)]
pub enum Note {
    /// Why it is ended.
    Reason,
    /// All there is to record.
    End,
}

impl Note {
    /// The name of its file.
    pub const fn name(self) -> &'static str {
        self.names()[0]
    }

    /// Its file, and the file's name while it is being written.
    const fn names(self) -> [&'static str; 2] {
        match self {
            Self::Reason => ["reason", "reason.new"],
            Self::End => ["end", "end.new"],
        }
    }
}

/// The directories of all executions.
#[derive(Debug)]
pub struct Places {
    root: OwnedFd,
}

impl Places {
    /// Opens `executions` in the state directory, making it if need be.
    pub fn open(state: &Path) -> io::Result<Self> {
        Ok(Self { root: directories::open(state, "executions")? })
    }

    /// Makes the directory of an execution and opens it.
    pub fn make(&self, id: ExecutionId, globs: &[String]) -> io::Result<OwnedFd> {
        let name = id.to_string();
        make(self.root.as_fd(), &name)?;
        let directory = self.open_place(id)?;
        if !globs.is_empty() {
            regular::open(&directory, GLOBS, NEW)?.write_all(&serde_json::to_vec(globs)?)?;
        }
        Ok(directory)
    }

    /// Opens the directory of an execution.
    pub fn open_place(&self, id: ExecutionId) -> io::Result<OwnedFd> {
        Ok(openat(&self.root, id.to_string().as_str(), DIRECTORY, Mode::empty())?)
    }

    /// The globs of an execution's submission.
    pub fn globs(&self, id: ExecutionId) -> io::Result<Vec<String>> {
        let place = match self.open_place(id) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            place => place?,
        };
        let Some(globs) = regular::read(place, GLOBS, MAX_GLOBS_FILE)? else {
            return Ok(Vec::new());
        };
        serde_json::from_slice(&globs).map_err(|error| regular::damaged(GLOBS, error))
    }

    /// Keeps what is needed for an execution's traffic, in place of what was kept before.
    pub fn keep_way(&self, id: ExecutionId, way: &[u8]) -> io::Result<()> {
        self.put(id, WAY, way)
    }

    /// Keeps what an interpreter was made with, in place of what was kept before.
    pub fn keep_interpreter(&self, id: ExecutionId, interpreter: &[u8]) -> io::Result<()> {
        self.put(id, INTERPRETER, interpreter)
    }

    /// Has what an interpreter was made with on disk when this returns. Blocks.
    pub fn sync_interpreter(&self, id: ExecutionId) -> io::Result<()> {
        let place = self.open_place(id)?;
        regular::open(&place, INTERPRETER, OFlag::O_RDONLY)?.sync_all()?;
        fsync(place)?;
        Ok(fsync(&self.root)?)
    }

    /// What was kept of an interpreter; nothing of an execution that is none.
    pub fn interpreter(&self, id: ExecutionId) -> io::Result<Option<Vec<u8>>> {
        match self.open_place(id) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            place => regular::read(place?, INTERPRETER, MAX_INTERPRETER_FILE),
        }
    }

    /// Keeps what an execution used over time, in place of what was kept before.
    pub fn keep_samples(&self, id: ExecutionId, samples: &[u8]) -> io::Result<()> {
        make(self.root.as_fd(), &id.to_string())?; // one that has said nothing has no place yet
        self.put(id, SAMPLES, samples)
    }

    /// What an execution used over time. Blocks.
    pub fn samples(&self, id: ExecutionId) -> io::Result<Option<Vec<u8>>> {
        match self.open_place(id) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            place => regular::read(place?, SAMPLES, MAX_SAMPLES_FILE),
        }
    }

    /// Puts a whole file in the place of the one of this name.
    fn put(&self, id: ExecutionId, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (place, new) = (self.open_place(id)?, format!("{name}.new"));
        regular::open(&place, &new, NEW)?.write_all(bytes)?;
        Ok(renameat(&place, new.as_str(), &place, name)?)
    }

    /// Keeps what is known of an execution's changes, on disk when this returns. Blocks.
    pub fn keep_changes(
        &self,
        id: ExecutionId,
        which: ChangesFile,
        bytes: &[u8],
    ) -> io::Result<()> {
        self.put(id, which.name(), bytes)?;
        let place = self.open_place(id)?;
        regular::open(&place, which.name(), OFlag::O_RDONLY)?.sync_all()?;
        Ok(fsync(place)?)
    }

    /// What was kept of an execution's changes. Blocks.
    pub fn changes(&self, id: ExecutionId, which: ChangesFile) -> io::Result<Option<Vec<u8>>> {
        match self.open_place(id) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            place => regular::read(place?, which.name(), MAX_CHANGES_FILE),
        }
    }

    /// Forgets what was kept of an execution's changes. What is not there is no error.
    pub fn forget_changes(&self, id: ExecutionId, which: ChangesFile) -> io::Result<()> {
        match unlinkat(self.open_place(id)?, which.name(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// What was kept for an execution's traffic.
    pub fn way(&self, id: ExecutionId) -> io::Result<Option<Vec<u8>>> {
        match self.open_place(id) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            place => regular::read(place?, WAY, MAX_WAY_FILE),
        }
    }

    /// Forgets it. What is not there is no error.
    pub fn forget_way(&self, id: ExecutionId) -> io::Result<()> {
        let gone = self
            .open_place(id)
            .and_then(|place| Ok(unlinkat(place, WAY, UnlinkatFlags::NoRemoveDir)?));
        match gone {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Keeps a note of an execution's end, in place of one that was kept before.
    pub fn keep_note(&self, id: ExecutionId, note: Note, text: &[u8]) -> io::Result<()> {
        let [name, new] = note.names();
        let place = self.make(id, &[])?;
        regular::open(&place, new, NEW)?.write_all(text)?;
        Ok(renameat(&place, new, &place, name)?)
    }

    /// A note that was kept.
    pub fn note(&self, id: ExecutionId, note: Note) -> io::Result<Option<Vec<u8>>> {
        match self.open_place(id) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            place => regular::read(place?, note.name(), MAX_NOTE),
        }
    }

    /// Whether there are globs of an execution's submission.
    pub fn has_globs(&self, id: ExecutionId) -> bool {
        let name = format!("{id}/{GLOBS}");
        fstatat(&self.root, name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW).is_ok()
    }

    /// Forgets all notes and the globs, which are for what has not ended, and the directory too if it was made for
    /// nothing else. What is not there is no error.
    pub fn forget_notes(&self, id: ExecutionId) -> io::Result<()> {
        let place = match self.open_place(id) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            place => place?,
        };
        let mut found = false;
        let notes = [Note::Reason, Note::End].iter().flat_map(|note| note.names());
        for name in notes.chain([GLOBS]) {
            match unlinkat(&place, name, UnlinkatFlags::NoRemoveDir) {
                Err(Errno::ENOENT) => {}
                other => {
                    other?;
                    found = true;
                }
            }
        }
        if !found {
            return Ok(());
        }
        match unlinkat(&self.root, id.to_string().as_str(), UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOTEMPTY | Errno::ENOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Remembers that an execution is owed standard input, over our death.
    pub fn owe_input(&self, id: ExecutionId) -> io::Result<()> {
        regular::open(self.open_place(id)?, INPUT, NEW).map(drop)
    }

    /// An execution has all of its standard input, or has left the rest of it.
    pub fn input_is_given(&self, id: ExecutionId) -> io::Result<()> {
        Ok(unlinkat(self.open_place(id)?, INPUT, UnlinkatFlags::NoRemoveDir)?)
    }

    /// Whether an execution is owed standard input.
    pub fn owes_input(&self, id: ExecutionId) -> io::Result<bool> {
        let place = match self.open_place(id) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            place => place?,
        };
        match fstatat(place, INPUT, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => Ok(false),
            other => Ok(other.map(|_| true)?),
        }
    }

    /// Makes an empty directory for the artifacts of an execution. One that an earlier daemon began
    /// to fill is emptied.
    pub fn make_artifacts(&self, id: ExecutionId) -> io::Result<OwnedFd> {
        let place = self.open_place(id)?;
        remove_all(place.as_fd(), ARTIFACTS, REMOVE_DEPTH - 1)?;
        make(place.as_fd(), ARTIFACTS)?;
        Ok(openat(&place, ARTIFACTS, DIRECTORY, Mode::empty())?)
    }

    /// Opens the artifacts of an execution.
    pub fn artifacts(&self, id: ExecutionId) -> io::Result<OwnedFd> {
        Ok(openat(self.open_place(id)?, ARTIFACTS, DIRECTORY, Mode::empty())?)
    }

    /// Removes the artifacts of an execution, of which nobody knows.
    pub fn remove_artifacts(&self, id: ExecutionId) -> io::Result<()> {
        match self.open_place(id) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            place => remove_all(place?.as_fd(), ARTIFACTS, REMOVE_DEPTH - 1),
        }
    }

    /// Removes all that is kept of an execution. What is not there is no error.
    pub fn remove(&self, id: ExecutionId) -> io::Result<()> {
        remove_all(self.root.as_fd(), &id.to_string(), REMOVE_DEPTH)
    }

    /// The directory that all of them are in.
    pub fn directory(&self) -> io::Result<OwnedFd> {
        self.root.try_clone()
    }

    /// Bytes of the file system that all of them are on. Blocks.
    pub fn disk_bytes(&self) -> io::Result<u64> {
        let disk = fstatvfs(&self.root)?;
        Ok(disk.blocks().saturating_mul(disk.fragment_size()))
    }

    /// Bytes on disk of all that is kept of an execution in files once it has ended. Blocks.
    pub fn weigh(&self, id: ExecutionId) -> io::Result<u64> {
        let place = match self.open_place(id) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            place => place?,
        };
        let artifacts = match openat(&place, ARTIFACTS, DIRECTORY, Mode::empty()) {
            Err(Errno::ENOENT) => 0,
            artifacts => weight_of(artifacts?)?,
        };
        Ok(artifacts.saturating_add(weight_of(place)?))
    }

    /// Has the names of the executions' directories on disk.
    pub async fn sync(self: Arc<Self>) -> io::Result<()> {
        spawn_blocking(move || Ok(fsync(&self.root)?)).await?
    }

    /// The executions that have a directory.
    pub fn all(&self) -> io::Result<Vec<ExecutionId>> {
        let names = names(openat(&self.root, ".", DIRECTORY, Mode::empty())?)?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }
}

fn make(parent: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    match mkdirat(parent, name, Mode::from_bits_truncate(0o700)) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes a directory of ours. Its names are ours too: nothing in it is the payload's choice.
fn remove_all(parent: BorrowedFd<'_>, name: &str, depth: u32) -> io::Result<()> {
    let directory = match openat(parent, name, DIRECTORY, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(()),
        other => other?,
    };
    for entry in names(directory.try_clone()?)? {
        match unlinkat(&directory, entry.as_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) => {}
            Err(Errno::EISDIR) if depth > 1 => remove_all(directory.as_fd(), &entry, depth - 1)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(unlinkat(parent, name, UnlinkatFlags::RemoveDir)?)
}

/// What the files of a directory weigh.
fn weight_of(directory: OwnedFd) -> io::Result<u64> {
    let mut sum = 0u64;
    for name in names(directory.try_clone()?)?.iter().filter(|name| *name != GLOBS) {
        let file = fstatat(&directory, name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?;
        let on_disk = u64::try_from(file.st_blocks).unwrap_or_default().saturating_mul(512);
        sum = sum.saturating_add(on_disk.max(FILE_WEIGHT));
    }
    Ok(sum)
}

fn names(directory: OwnedFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::from_fd(directory)? {
        let entry = entry?;
        let name: &CStr = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    Ok(names)
}
