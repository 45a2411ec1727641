//! The state directory: who holds it, what may lie in it, and the marker that remembers that there
//! was state.
//!
//! SQLite alone takes an empty file for a new database and a missing write-ahead log for an empty
//! one. So the marker `initialised` beside it names the database by its identity and says how many
//! commits it has seen; a database that is missing, another one, or behind that count is refused.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::spare;
use crate::store::StoreError;

/// The database.
const DATABASE: &str = "state.db";

/// The database while it is being made; it gets its name when it is whole and on disk.
const NEW_DATABASE: &str = "state.db.new";

/// What SQLite keeps beside a database.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// The marker's name.
const MARKER: &str = "initialised";

/// How a marker begins; the number is the version of its form.
const MARKER_START: &str = "supervisord state 1 ";

/// Hexadecimal digits of a database's identity (128 bits).
pub(super) const IDENTITY_DIGITS: usize = 32;

/// Digits of the count, so that it is overwritten in place: more than the largest i64 has.
const COUNT_DIGITS: usize = 20;

/// Where the count stands.
const COUNT_OFFSET: usize = MARKER_START.len() + IDENTITY_DIGITS + 1;

/// Length of a marker: the count and the end of the line come last.
const MARKER_LENGTH: usize = COUNT_OFFSET + COUNT_DIGITS + 1;

/// What helps against lost or foreign state.
pub(super) const RESTORE: &str =
    "restore the state directory from a backup, or move it away to begin without any state";

/// What helps when there is state, but an older one than the marker remembers.
pub(super) const RESTORE_OR_ACCEPT: &str = "restore the state directory from a backup, or remove \
                                            the file `initialised` to go on with what is there";

/// The state directory, held by its lock as long as this value lives.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    _lock: File,
}

/// What the marker says of the database, and the way to say more.
#[derive(Debug)]
pub(super) struct Marker {
    file: File,
    /// The database's identity.
    pub(super) identity: String,
    /// How many commits it had at least.
    pub(super) commits: i64,
}

impl Directory {
    /// Takes the lock.
    pub(super) fn lock(path: &Path) -> Result<Self, StoreError> {
        // SQLite is told to follow no symbolic link, so those on the way here are resolved now.
        let path = path.canonicalize().map_err(|source| failed("open", path, source))?;
        let lock_path = path.join("lock");
        let lock = open(OpenOptions::new().read(true).write(true).create(true), &lock_path)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { directory: path }),
            Err(TryLockError::Error(source)) => Err(failed("lock", &lock_path, source)),
        }
    }

    /// Where the database lies.
    pub(super) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// Whether there is a database to open. Anything but a plain database, or nothing at all where
    /// nothing ever was, is refused before SQLite sees it: it would block on a FIFO, roll back to
    /// a journal that is not ours, and throw away the log of a database of zero length.
    pub(super) fn has_database(&self, marker: Option<&Marker>) -> Result<bool, StoreError> {
        let path = self.database();
        let [log, shared, journal] = COMPANIONS.map(|ending| beside(&path, ending));
        if regular_length(&journal)?.is_some() {
            return Err(refused(&journal, "is not a file of this daemon", RESTORE));
        }
        let companions = [regular_length(&log)?, regular_length(&shared)?];
        match regular_length(&path)? {
            Some(0) => Err(refused(&path, "is empty", RESTORE)),
            Some(_) => Ok(true),
            None if marker.is_some() => Err(refused(&path, "is missing", RESTORE)),
            None if companions.iter().any(Option::is_some) => {
                Err(refused(&path, "is missing and its log is not", RESTORE))
            }
            None => Ok(false),
        }
    }

    /// An empty file for a new database, without anything an interrupted attempt has left.
    pub(super) fn begin_database(&self) -> Result<PathBuf, StoreError> {
        let path = self.path.join(NEW_DATABASE);
        for leftover in COMPANIONS.map(|ending| beside(&path, ending)).iter().chain([&path]) {
            match fs::remove_file(leftover) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("remove", leftover, error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        open(OpenOptions::new().write(true).create_new(true), &path)?;
        Ok(path)
    }

    /// Gives a new database its name, durably.
    pub(super) fn finish_database(&self) -> Result<(), StoreError> {
        self.install(NEW_DATABASE, DATABASE)
    }

    /// The marker, if there is one.
    pub(super) fn marker(&self) -> Result<Option<Marker>, StoreError> {
        let path = self.path.join(MARKER);
        if regular_length(&path)?.is_none() {
            return Ok(None);
        }
        let mut text = String::new();
        let file = open(OpenOptions::new().read(true).write(true), &path)?;
        let read = (&file).take(MARKER_LENGTH as u64 + 1).read_to_string(&mut text);
        match read {
            Err(error) if error.kind() != io::ErrorKind::InvalidData => {
                return Err(failed("read", &path, error));
            }
            Ok(_) | Err(_) => {} // what is not text is not a marker either
        }
        let (identity, commits) =
            parse(&text).ok_or_else(|| refused(&path, "is damaged", RESTORE_OR_ACCEPT))?;
        Ok(Some(Marker { file, identity, commits }))
    }

    /// Writes the marker for a database that has none yet.
    pub(super) fn write_marker(&self, identity: &str, commits: i64) -> Result<Marker, StoreError> {
        const NEW_MARKER: &str = "initialised.new";
        let path = self.path.join(NEW_MARKER);
        let mut file =
            open(OpenOptions::new().read(true).write(true).create(true).truncate(true), &path)?;
        writeln!(file, "{MARKER_START}{identity} {commits:0COUNT_DIGITS$}")
            .map_err(|source| failed("write", &path, source))?;
        drop(file);
        self.install(NEW_MARKER, MARKER)?;
        self.marker()?.ok_or_else(|| refused(&self.path.join(MARKER), "is missing", RESTORE))
    }

    /// Whether there is no room for another page.
    pub(super) fn is_full(&self) -> bool {
        spare::is_full(&self.path)
    }

    /// Renames a file once its bytes are on disk, and has the name on disk too.
    fn install(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let (from, to) = (self.path.join(from), self.path.join(to));
        let whole = open(OpenOptions::new().read(true), &from)?;
        whole.sync_all().map_err(|source| failed("sync", &from, source))?;
        fs::rename(&from, &to).map_err(|source| failed("rename", &from, source))?;
        File::open(&self.path)
            .and_then(|directory| directory.sync_all())
            .map_err(|source| failed("sync", &self.path, source))
    }
}

impl Marker {
    /// Remembers that the database has this many commits. Not synced: the count is at most behind
    /// after a power failure, and after the death of the process alone it is exact.
    pub(super) fn count(&mut self, commits: i64) -> io::Result<()> {
        self.commits = commits;
        self.file.write_all_at(format!("{commits:0COUNT_DIGITS$}").as_bytes(), COUNT_OFFSET as u64)
    }
}

/// The error for something that should not lie in the state directory.
pub(super) fn refused(path: &Path, reason: impl Into<String>, remedy: &'static str) -> StoreError {
    StoreError::Refused { path: path.to_owned(), reason: reason.into(), remedy, source: None }
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { operation, path: path.to_owned(), source }
}

/// Opens a plain file for us alone; never through a link, never waiting for a FIFO's other end.
fn open(options: &mut OpenOptions, path: &Path) -> Result<File, StoreError> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = options
        .mode(0o600)
        .custom_flags(flags.bits())
        .open(path)
        .map_err(|source| failed("open", path, source))?;
    let metadata = file.metadata().map_err(|source| failed("examine", path, source))?;
    if metadata.is_file() { Ok(file) } else { Err(refused(path, NOT_A_FILE, RESTORE)) }
}

const NOT_A_FILE: &str = "is not a regular file";

/// The length of a plain file, or that there is nothing.
fn regular_length(path: &Path) -> Result<Option<u64>, StoreError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
        Ok(_) => Err(refused(path, NOT_A_FILE, RESTORE)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("examine", path, error)),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Identity and count, if the text is a marker to the letter.
fn parse(text: &str) -> Option<(String, i64)> {
    let fields = text.strip_prefix(MARKER_START)?.strip_suffix('\n')?;
    let (identity, commits) = fields.split_once(' ')?;
    let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let plain = identity.len() == IDENTITY_DIGITS
        && identity.bytes().all(hexadecimal)
        && commits.len() == COUNT_DIGITS
        && commits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { Some((identity.to_owned(), commits.parse().ok()?)) } else { None }
}
