//! The directory of the log: its files by name, and how they come and go.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::error::AuditError;

const DIRECTORY: &str = "audit";
const PREFIX: &str = "audit-";
const SUFFIX: &str = ".jsonl";

/// The directory.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    handle: File,
}

/// One file of the log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogFile {
    /// The number of its first record.
    pub first: u64,
    /// Where it is.
    pub path: PathBuf,
}

impl Directory {
    /// Opens `audit` beneath the state directory, making it if need be.
    pub fn open(state: &Path) -> Result<Self, AuditError> {
        let path = state.join(DIRECTORY);
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(AuditError::at("make", &path)(error));
            }
            Ok(()) | Err(_) => {}
        }
        let flags = (OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits();
        let handle = OpenOptions::new().read(true).custom_flags(flags).open(&path);
        Ok(Self { handle: handle.map_err(AuditError::at("open", &path))?, path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The log's files, oldest first.
    pub fn files(&self) -> Result<Vec<LogFile>, AuditError> {
        files(&self.path).map_err(AuditError::at("list", &self.path))
    }

    /// Makes the file whose first record will have this number.
    pub fn create(&self, first: u64) -> Result<(LogFile, File), AuditError> {
        let path = self.path.join(name_of(first));
        let file = open(OpenOptions::new().read(true).write(true).create_new(true), &path, 0o600)?;
        self.sync()?;
        Ok((LogFile { first, path }, file))
    }

    /// Opens a file of the log to go on with it.
    pub fn append(&self, file: &LogFile) -> Result<File, AuditError> {
        open(OpenOptions::new().read(true).write(true), &file.path, 0o600)
    }

    /// Opens a file that is overwritten in place.
    pub fn overwrite(&self, name: &str) -> Result<File, AuditError> {
        let path = self.path.join(name);
        open(OpenOptions::new().read(true).write(true).create(true).truncate(false), &path, 0o600)
    }

    /// Removes a file of the log.
    pub fn remove(&self, file: &LogFile) -> Result<(), AuditError> {
        fs::remove_file(&file.path).map_err(AuditError::at("remove", &file.path))?;
        self.sync()
    }

    /// A small file of ours, if it is there.
    pub fn read_small(&self, name: &str, most: usize) -> Result<Option<Vec<u8>>, AuditError> {
        let path = self.path.join(name);
        if !path.exists() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let file = open(OpenOptions::new().read(true), &path, 0o600)?;
        let read = file.take(most as u64).read_to_end(&mut bytes);
        read.map_err(AuditError::at("read", &path))?;
        Ok(Some(bytes))
    }

    /// Puts a small file in place of another, durably, unless it holds these bytes already.
    pub fn replace(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), AuditError> {
        if self.read_small(name, bytes.len() + 1)?.is_some_and(|held| held == bytes) {
            return Ok(());
        }
        let (path, new) = (self.path.join(name), self.path.join(format!("{name}.new")));
        let mut file =
            open(OpenOptions::new().write(true).create(true).truncate(true), &new, mode)?;
        file.write_all(bytes)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&new, &path))
            .map_err(AuditError::at("write", &path))?;
        self.sync()
    }

    fn sync(&self) -> Result<(), AuditError> {
        self.handle.sync_all().map_err(AuditError::at("sync", &self.path))
    }
}

impl LogFile {
    /// Its name.
    pub fn name(&self) -> String {
        name_of(self.first)
    }
}

/// The files of a log in this directory, oldest first.
pub fn files(directory: &Path) -> io::Result<Vec<LogFile>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX));
        if let Some(first) = number.and_then(|number| number.parse().ok()) {
            found.push(LogFile { first, path: entry.path() });
        }
    }
    found.sort();
    Ok(found)
}

fn name_of(first: u64) -> String {
    format!("{PREFIX}{first:020}{SUFFIX}")
}

/// Never through a link, never waiting for a FIFO's other end.
fn open(options: &mut OpenOptions, path: &Path, mode: u32) -> Result<File, AuditError> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits();
    options.mode(mode).custom_flags(flags).open(path).map_err(AuditError::at("open", path))
}
