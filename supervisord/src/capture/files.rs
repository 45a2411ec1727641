//! The files of a capture, in the directory of their execution.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::fsync;
use supervisor_api::Stream;

use crate::elsewhere::{Elsewhere, NOBODY};
use crate::room::Room;

/// One of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The bytes of a stream.
    Bytes(Stream),
    /// The order in which they came.
    Index,
}

/// Opens the directory of the files, making it if need be.
pub type MakeDirectory = Box<dyn Fn() -> io::Result<OwnedFd> + Send + Sync>;

/// The files that there are so far. Nothing is made for an execution without output.
pub(super) struct Files {
    directory: OnceLock<OwnedFd>,
    make_directory: Option<MakeDirectory>,
    stdout: OnceLock<File>,
    stderr: OnceLock<File>,
    index: OnceLock<File>,
    /// What of the file system stays free.
    room: OnceLock<Arc<Room>>,
    owner: OnceLock<u32>,
}

/// An operation on one of the files that failed.
#[derive(Debug)]
struct Failure {
    operation: &'static str,
    name: &'static str,
    source: io::Error,
}

impl Part {
    pub(super) const ALL: [Part; 3] =
        [Part::Bytes(Stream::Stdout), Part::Bytes(Stream::Stderr), Part::Index];

    const fn name(self) -> &'static str {
        match self {
            Self::Bytes(Stream::Stdout) => "stdout",
            Self::Bytes(Stream::Stderr) => "stderr",
            Self::Index => "index",
        }
    }

    /// The error of an operation on this file, of the same kind as its cause.
    pub(super) fn failed(self, operation: &'static str, source: io::Error) -> io::Error {
        io::Error::new(source.kind(), Failure { operation, name: self.name(), source })
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let there: Vec<_> =
            Part::ALL.into_iter().filter(|part| self.get(*part).is_some()).collect();
        f.debug_struct("Files").field("directory", &self.directory).field("there", &there).finish()
    }
}

impl Drop for Files {
    /// Who reads output that is being removed may be the last who has it open.
    fn drop(&mut self) {
        let files = [self.stdout.take(), self.stderr.take(), self.index.take()];
        if files.iter().any(Option::is_some) {
            drop(Elsewhere::new(*self.owner.get().unwrap_or(&NOBODY), files));
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {} `{}` of the captured output", self.operation, self.name)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

impl Files {
    /// Closes them on this thread, which may wait for that.
    pub(super) fn close_here(mut self) {
        drop([self.stdout.take(), self.stderr.take(), self.index.take()]);
    }

    /// No file yet, in a directory that is there.
    pub(super) fn new(directory: OwnedFd) -> Self {
        let files = Self::without_directory(None);
        files.directory.get_or_init(|| directory);
        files
    }

    /// No file yet, nor a directory; without a way to make one there never is any.
    pub(super) const fn without_directory(make_directory: Option<MakeDirectory>) -> Self {
        Self {
            directory: OnceLock::new(),
            make_directory,
            stdout: OnceLock::new(),
            stderr: OnceLock::new(),
            index: OnceLock::new(),
            room: OnceLock::new(),
            owner: OnceLock::new(),
        }
    }

    /// Leaves this room from now on.
    pub(super) fn leave(&self, room: Arc<Room>) {
        self.room.get_or_init(|| room);
    }

    /// They are of an execution of this uid's.
    pub(super) fn is_of(&self, owner: u32) {
        self.owner.get_or_init(|| owner);
    }

    /// Fails as a full file system does where the room that is to be left is all there is.
    pub(super) fn check_room(&self) -> io::Result<()> {
        match self.room.get().map(|room| room.left()).transpose()? {
            Some(0) => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    /// Opens a file if it is there; gives its length, 0 if it isn't.
    pub(super) fn reopen(&self, part: Part) -> io::Result<u64> {
        let file = match self.open(part, OFlag::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            opened => opened?,
        };
        let metadata = file.metadata().map_err(|error| part.failed("examine", error))?;
        if !metadata.is_file() {
            return Err(part.failed("open", io::Error::other("it is not a regular file")));
        }
        self.slot(part).get_or_init(|| file);
        Ok(metadata.len())
    }

    /// A file, made if need be.
    pub(super) fn make(&self, part: Part) -> io::Result<&File> {
        if let Some(file) = self.get(part) {
            return Ok(file);
        }
        let file = self.open(part, OFlag::O_CREAT | OFlag::O_EXCL)?;
        Ok(self.slot(part).get_or_init(|| file))
    }

    /// A file that may be there already, made if it is not.
    pub(super) fn open_or_make(&self, part: Part) -> io::Result<&File> {
        if let Some(file) = self.get(part) {
            return Ok(file);
        }
        let file = self.open(part, OFlag::O_CREAT)?;
        Ok(self.slot(part).get_or_init(|| file))
    }

    /// How long a file is; 0 if there is none yet.
    pub(super) fn length(&self, part: Part) -> io::Result<u64> {
        let metadata = self.get(part).map(File::metadata).transpose();
        let length = metadata.map(|found| found.map_or(0, |found| found.len()));
        length.map_err(|error| part.failed("examine", error))
    }

    /// A file, if there is one yet.
    pub(super) fn get(&self, part: Part) -> Option<&File> {
        self.slot(part).get()
    }

    /// Whether there is no file at all.
    pub(super) fn are_none(&self) -> bool {
        Part::ALL.iter().all(|part| self.get(*part).is_none())
    }

    /// Has bytes and names on disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        for part in Part::ALL {
            if let Some(file) = self.get(part) {
                file.sync_data().map_err(|error| part.failed("sync", error))?;
            }
        }
        fsync(self.directory()?).map_err(io::Error::from)
    }

    fn open(&self, part: Part, how: OFlag) -> io::Result<File> {
        // Not O_APPEND, which splice refuses. O_NONBLOCK is for a FIFO that has no business here.
        let flags = how | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let directory = self.directory().map_err(|error| part.failed("open", error))?;
        let open =
            |access| openat(directory, part.name(), flags | access, Mode::S_IRUSR | Mode::S_IWUSR);
        let opened = match open(OFlag::O_RDWR) {
            // A disk that an error turned read-only: what is there can be read, and no write succeeds.
            Err(Errno::EROFS) if how.is_empty() => open(OFlag::O_RDONLY),
            opened => opened,
        };
        opened.map(File::from).map_err(|error| part.failed("open", error.into()))
    }

    fn directory(&self) -> io::Result<&OwnedFd> {
        if let Some(directory) = self.directory.get() {
            return Ok(directory);
        }
        let make = self.make_directory.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let made = make()?;
        Ok(self.directory.get_or_init(|| made))
    }

    const fn slot(&self, part: Part) -> &OnceLock<File> {
        match part {
            Part::Bytes(Stream::Stdout) => &self.stdout,
            Part::Bytes(Stream::Stderr) => &self.stderr,
            Part::Index => &self.index,
        }
    }
}

/// Whether an error means that nothing more can be stored, for the time being at least.
pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
