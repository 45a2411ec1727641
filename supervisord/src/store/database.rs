//! The database file: how it is made, and what it has to pass before the daemon trusts it.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use supervisor_api::{ArtifactList, Execution};

use crate::store::StoreError;
use crate::store::directory::{Directory, Marker, RESTORE, RESTORE_OR_ACCEPT, refused};
use crate::store::record;

/// Marks a SQLite file as ours (`PRAGMA application_id`): "svst".
const APPLICATION_ID: i32 = 0x7376_7374;

/// The form of the tables (`PRAGMA user_version`).
const SCHEMA_VERSION: i32 = 5;

/// Tables of [`SCHEMA`] that the versions before had, from the first on. What came after is added to their
/// databases when they are opened.
const BEFORE: [(i32, usize); 4] = [(1, 5), (2, 6), (3, 8), (4, 9)];

/// The tables, as SQLite keeps their text; a database whose text differs is not one of ours.
///
/// The columns beside a record repeat what the record says, for look-ups; the CHECK keeps both
/// alike, and `integrity_check` goes through it at every start. `seq` is the order of insertion.
const SCHEMA: [&str; 11] = [
    "CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), identity TEXT NOT NULL, \
     commits INTEGER NOT NULL) STRICT",
    "CREATE TABLE execution (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, \
     owner INTEGER NOT NULL, state TEXT NOT NULL, record TEXT NOT NULL, \
     CHECK (CASE WHEN json_valid(record) THEN record ->> '$.id' = id \
     AND record ->> '$.owner_uid' = owner AND record ->> '$.state' = state ELSE 0 END)) STRICT",
    "CREATE INDEX execution_owner ON execution (owner)",
    "CREATE INDEX execution_unfinished ON execution (state) WHERE state <> 'finished'",
    "CREATE TABLE artifacts (seq INTEGER PRIMARY KEY REFERENCES execution (seq) \
     ON DELETE CASCADE, list TEXT NOT NULL CHECK (json_valid(list))) STRICT",
    "CREATE TABLE session (id TEXT PRIMARY KEY, record TEXT NOT NULL, \
     CHECK (CASE WHEN json_valid(record) THEN record ->> '$.id' = id ELSE 0 END)) STRICT",
    "CREATE TABLE waiting (seq INTEGER PRIMARY KEY REFERENCES execution (seq) \
     ON DELETE CASCADE, submission TEXT NOT NULL) STRICT",
    "CREATE TABLE begun (seq INTEGER PRIMARY KEY REFERENCES execution (seq) \
     ON DELETE CASCADE) STRICT",
    "CREATE TABLE output (seq INTEGER PRIMARY KEY REFERENCES execution (seq) \
     ON DELETE CASCADE, stdout BLOB NOT NULL, stderr BLOB NOT NULL, parts BLOB NOT NULL) STRICT",
    "CREATE TABLE kept (ended INTEGER PRIMARY KEY, seq INTEGER NOT NULL UNIQUE \
     REFERENCES execution (seq) ON DELETE CASCADE, owner INTEGER NOT NULL, \
     bytes INTEGER NOT NULL) STRICT",
    "CREATE INDEX kept_owner ON kept (owner)",
];

/// Fills the table `kept` of a database from before it with what the records say: output and artifacts, each
/// file as 16 KiB at the least. What they don't say, indexes and lists of changes, stays uncounted.
const COUNT_KEPT: &str = "INSERT INTO kept (seq, owner, bytes) SELECT seq, owner, bytes FROM ( \
     SELECT seq, owner, length(CAST(record AS BLOB)) + length(CAST(list AS BLOB)) \
     + coalesce(record ->> '$.output.stdout.kept', 0) + coalesce(record ->> '$.output.stderr.kept', 0) \
     + (SELECT coalesce(sum(max(16384, artifact.value ->> '$.size')), 0) \
     FROM json_each(list, '$.artifacts') AS artifact) AS bytes \
     FROM execution JOIN artifacts USING (seq)) WHERE bytes > 65536 ORDER BY seq";

/// Pages of 4 KiB in the write-ahead log after which a commit moves them into the database itself.
/// The writer does so earlier, between commits; this is for the case that it doesn't get to it.
const CHECKPOINT_PAGES: u32 = 4096;

/// Bytes to which the log's file is cut when it starts over, so that one burst doesn't keep them.
const LOG_BYTES: u32 = 8 << 20;

/// Time one connection waits for another in the same process, which is for a checkpoint's moment.
const BUSY: std::time::Duration = std::time::Duration::from_secs(5);

/// Opens the database, or makes it where there never was one.
pub(super) fn open(directory: &Directory) -> Result<(Connection, Marker), StoreError> {
    let marker = directory.marker()?;
    if !directory.has_database(marker.as_ref())? {
        create(directory)?;
    }
    let path = directory.database();
    let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(|source| {
        match directory.is_full() {
            true => StoreError::Full { operation: "open the state database", source },
            false => damaged(&path, source),
        }
    })?;
    // A refusal leaves everything as it was found, the log too: it may be all there is to restore.
    set(&connection, DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let is_upgraded = upgrade(&connection, &path)?;
    let (identity, commits) = verify(&connection, &path, marker.as_ref())?;
    if is_upgraded {
        let kept = connection.execute_batch("COMMIT");
        kept.map_err(|source| database("upgrade the state database", source))?;
    }
    set(&connection, DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    let marker = match marker {
        Some(marker) => marker,
        None => directory.write_marker(&identity, commits)?,
    };
    Ok((connection, marker))
}

/// A connection that only reads.
pub(super) fn open_reader(directory: &Directory) -> Result<Connection, StoreError> {
    connect(&directory.database(), OpenFlags::SQLITE_OPEN_READ_ONLY)
        .map_err(|source| database("open the state database for reading", source))
}

/// An error of SQLite while doing what follows "could not" in the operation's words.
pub(super) fn database(operation: &'static str, source: rusqlite::Error) -> StoreError {
    match source.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full { operation, source },
        _ => StoreError::Database { operation, source },
    }
}

/// Makes the database whole under another name, so that a half-made one is never found.
fn create(directory: &Directory) -> Result<(), StoreError> {
    let failed = |source| database("create the state database", source);
    let path = directory.begin_database()?;
    let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
    let tables = SCHEMA.join(";\n");
    let script = format!(
        "PRAGMA journal_mode = WAL;
         BEGIN;
         PRAGMA application_id = {APPLICATION_ID};
         PRAGMA user_version = {SCHEMA_VERSION};
         {tables};
         INSERT INTO state VALUES (1, lower(hex(randomblob(16))), 0);
         COMMIT;"
    );
    connection.execute_batch(&script).map_err(failed)?;
    connection.close().map_err(|(_, source)| failed(source))?;
    directory.finish_database()
}

fn connect(path: &Path, access: OpenFlags) -> Result<Connection, rusqlite::Error> {
    let flags = access
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.execute_batch(&format!(
        "PRAGMA synchronous = FULL;
         PRAGMA temp_store = MEMORY;
         PRAGMA cell_size_check = ON;
         PRAGMA foreign_keys = ON;
         PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};
         PRAGMA journal_size_limit = {LOG_BYTES};"
    ))?;
    Ok(connection)
}

fn set(connection: &Connection, option: DbConfig, value: bool) -> Result<(), StoreError> {
    match connection.set_db_config(option, value) {
        Ok(_) => Ok(()),
        Err(source) => Err(database("configure the state database", source)),
    }
}

/// Adds what a database of a version before lacks, if it is one, in a transaction that is committed when the
/// whole has passed: one that is refused is left to the version that wrote it. Says whether there is one.
fn upgrade(connection: &Connection, path: &Path) -> Result<bool, StoreError> {
    let number = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, i32>(0));
    let is_ours = number("PRAGMA application_id").map_err(|source| damaged(path, source))?;
    let held = number("PRAGMA user_version").map_err(|source| damaged(path, source))?;
    let Some((_, count)) = BEFORE.into_iter().find(|(version, _)| *version == held) else {
        return Ok(false); // as it should be, or refused by what looks at it next
    };
    let old = SCHEMA.get(..count).unwrap_or_default();
    if is_ours != APPLICATION_ID || tables(connection, path)? != old {
        return Ok(false); // refused by what looks at it next
    }
    let new = SCHEMA.get(count..).unwrap_or_default().join(";\n");
    let script =
        format!("BEGIN IMMEDIATE; {new}; {COUNT_KEPT}; PRAGMA user_version = {SCHEMA_VERSION};");
    let upgraded = connection.execute_batch(&script);
    upgraded.map_err(|source| match source.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => database("upgrade the state database", source),
        _ => damaged(path, source),
    })?;
    Ok(true)
}

/// The text of every table and index.
fn tables(connection: &Connection, path: &Path) -> Result<Vec<String>, StoreError> {
    connection
        .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")
        .and_then(|mut select| select.query_map([], |row| row.get::<_, String>(0))?.collect())
        .map_err(|source| damaged(path, source))
}

/// Everything that can be known to be wrong before the first use. Gives identity and commits.
fn verify(
    connection: &Connection,
    path: &Path,
    marker: Option<&Marker>,
) -> Result<(String, i64), StoreError> {
    let damaged = |source| damaged(path, source);
    verify_form(connection, path)?;
    let verdict: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(damaged)?;
    if verdict != "ok" {
        return Err(refused(path, format!("is damaged: {verdict}"), RESTORE));
    }
    verify_records(connection, path)?;
    let (identity, commits) = connection
        .query_row("SELECT identity, commits FROM state", [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
        })
        .map_err(damaged)?;
    match marker {
        Some(marker) if marker.identity != identity => {
            Err(refused(path, "is another database than the one used here", RESTORE_OR_ACCEPT))
        }
        Some(marker) if marker.commits > commits => {
            let (lost, total) = (marker.commits - commits, marker.commits);
            let reason = format!("has lost its newest {lost} of {total} commits");
            Err(refused(path, reason, RESTORE_OR_ACCEPT))
        }
        Some(_) | None => Ok((identity, commits)),
    }
}

/// Whether the file is a database of this daemon, in the form that this version knows.
fn verify_form(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let damaged = |source| damaged(path, source);
    let number = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, i32>(0));
    if number("PRAGMA application_id").map_err(damaged)? != APPLICATION_ID {
        return Err(refused(path, "is not a state database of supervisord", RESTORE));
    }
    match number("PRAGMA user_version").map_err(damaged)? {
        SCHEMA_VERSION => {}
        newer if newer > SCHEMA_VERSION => {
            let reason = format!("has schema {newer}; this version knows up to {SCHEMA_VERSION}");
            return Err(refused(path, reason, "install the newer version that wrote it"));
        }
        other => return Err(refused(path, format!("has the unknown schema {other}"), RESTORE)),
    }
    let mode: String =
        connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).map_err(damaged)?;
    if mode != "wal" || tables(connection, path)? != SCHEMA {
        return Err(refused(path, "is damaged: its tables are not the ones made here", RESTORE));
    }
    Ok(())
}

/// Reads every record once, so that a damaged one is found now and not by the caller who needs it.
fn verify_records(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let damaged = |source| damaged(path, source);
    let mut select = connection
        .prepare("SELECT id, record, list FROM execution LEFT JOIN artifacts USING (seq)")
        .map_err(damaged)?;
    let mut rows = select.query([]).map_err(damaged)?;
    while let Some(row) = rows.next().map_err(damaged)? {
        let id: String = row.get(0).map_err(damaged)?;
        let record = row.get_ref(1).and_then(|value| Ok(value.as_str()?)).map_err(damaged)?;
        let list = row.get_ref(2).and_then(|value| Ok(value.as_str_or_null()?)).map_err(damaged)?;
        let whole = serde_json::from_str::<Execution>(record).is_ok()
            && list.is_none_or(|list| serde_json::from_str::<ArtifactList>(list).is_ok());
        if !whole {
            return Err(refused(path, format!("is damaged: the record of {id}"), RESTORE));
        }
    }
    match record::sessions(connection) {
        Err(StoreError::Record { id, .. }) => {
            Err(refused(path, format!("is damaged: the record of {id}"), RESTORE))
        }
        other => other.map(drop),
    }
}

/// An error met while verifying: of the machine, or of the file.
fn damaged(path: &Path, source: rusqlite::Error) -> StoreError {
    match source.sqlite_error_code() {
        Some(
            ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::OutOfMemory
            | ErrorCode::DatabaseBusy,
        ) => database("read the state database", source),
        _ => StoreError::Refused {
            path: path.to_owned(),
            reason: "is damaged".to_owned(),
            remedy: RESTORE,
            source: Some(Box::new(source)),
        },
    }
}
