//! A small database of one table, for what a part of the daemon keeps by itself.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

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

impl Table {
    /// Opens the database in this directory, and makes it if it isn't there.
    ///
    /// # Errors
    /// When it can't be opened, or its table is not the one that is meant.
    pub fn open(&self, directory: &Path) -> Result<Connection, Cause> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NOFOLLOW
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_EXRESCODE;
        // SQLite is told to follow no symbolic link, so those on the way here are resolved now.
        let path = directory.canonicalize()?.join(self.file);
        let connection = Connection::open_with_flags(path, flags)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF; \
             PRAGMA cell_size_check = ON;",
        )?;
        let version: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version == 0 {
            let schema = self.schema;
            connection.execute_batch(&format!(
                "BEGIN; {schema}; PRAGMA user_version = {VERSION}; COMMIT;"
            ))?;
        }
        let text: Option<String> = connection.query_row(
            "SELECT max(sql) FROM sqlite_schema WHERE name = ?1",
            [self.name],
            |row| row.get(0),
        )?;
        if text.as_deref() != Some(self.schema) {
            let file = self.file;
            return Err(format!("{file} has another form than this version knows").into());
        }
        Ok(connection)
    }
}
