//! A small database of one table, for what a part of the daemon keeps by itself.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::unistd::geteuid;
use rusqlite::{Connection, OpenFlags};

use crate::directories;
use crate::spare;

/// Why it can't be used.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A database of one table.
pub struct Table {
    /// The file's name.
    pub file: &'static str,
    /// The table's name.
    pub name: &'static str,
    /// The statement that makes the table, to the letter.
    pub schema: &'static str,
}

/// The form of every such table (`PRAGMA user_version`).
const VERSION: i32 = 1;

/// What helps against a file that is not what it was.
const REMEDY: &str =
    "restore the state directory from a backup, or move the file away to begin without it";

/// What is said where a file that SQLite makes beside a database can't be made.
const NO_ROOM: &str = "there is no room for the files beside it; make room in";

impl Table {
    /// Opens the database in this directory, and makes it if it isn't there.
    ///
    /// # Errors
    /// When it can't be opened, is damaged, or its table is not the one that is meant.
    pub fn open(&self, directory: &Path) -> Result<Connection, Cause> {
        // SQLite is told to follow no symbolic link, so those on the way here are resolved now.
        let directory = directory.canonicalize()?;
        let path = directory.join(self.file);
        match path.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => self.create(&directory, &path)?,
            // SQLite would take it for a new database, and what was counted or asked would be forgotten.
            Ok(found) if found.len() == 0 => return Err(self.refused("is empty")),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let unreadable = |error| match spare::is_full(&directory) {
            true => {
                format!("{} can't be opened: {NO_ROOM} {}", self.file, directory.display()).into()
            }
            false if !is_ours(&path) => {
                format!("{}: {error}; {}", path.display(), directories::REMEDY).into()
            }
            false => self.refused(&format!("is damaged or can't be read ({error})")),
        };
        let connection = connect(&path).map_err(unreadable)?;
        match connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0)) {
            Ok(verdict) if verdict == "ok" => {}
            Ok(verdict) => return Err(self.refused(&format!("is damaged ({verdict})"))),
            Err(error) => return Err(unreadable(error)),
        }
        let version: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let text: Option<String> = connection.query_row(
            "SELECT max(sql) FROM sqlite_schema WHERE name = ?1",
            [self.name],
            |row| row.get(0),
        )?;
        if version != VERSION || text.as_deref() != Some(self.schema) {
            return Err(self.refused("has another form than this version knows"));
        }
        Ok(connection)
    }

    /// Makes it whole under another name, so that one half made is never found.
    fn create(&self, directory: &Path, path: &Path) -> Result<(), Cause> {
        let new = directory.join(format!("{}.new", self.file));
        for left in ["", "-wal", "-shm"] {
            match fs::remove_file(directory.join(format!("{}.new{left}", self.file))) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        let connection = connect(&new)?;
        let schema = self.schema;
        connection
            .execute_batch(&format!("BEGIN; {schema}; PRAGMA user_version = {VERSION}; COMMIT;"))?;
        connection.close().map_err(|(_, error)| error)?; // which moves the log into the file
        fs::rename(&new, path)?;
        Ok(File::open(directory)?.sync_all()?)
    }

    fn refused(&self, reason: &str) -> Cause {
        format!("{} {reason}; {REMEDY}", self.file).into()
    }
}

/// Whether a file belongs to the user that this daemon runs as, or can't be asked.
fn is_ours(path: &Path) -> bool {
    path.symlink_metadata().map_or(true, |found| found.uid() == geteuid().as_raw())
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF; \
         PRAGMA cell_size_check = ON;",
    )?;
    Ok(connection)
}
