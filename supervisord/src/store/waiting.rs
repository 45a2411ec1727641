//! Submissions of executions that wait for their turn or are about to start, and which of them were about to start.

use rusqlite::{Connection, OptionalExtension as _, named_params};
use supervisor_api::ExecutionId;

use crate::store::StoreError;
use crate::store::database::database;

/// An execution that waited, or was about to start.
#[derive(Debug)]
pub struct Waiting {
    /// Its submission, as JSON.
    pub submission: String,
    /// Whether it was about to start.
    pub begun: bool,
}

/// Adds the submission of an execution that has its record.
pub(super) fn add(
    connection: &Connection,
    id: ExecutionId,
    submission: &str,
) -> Result<(), StoreError> {
    const ADD: &str = "INSERT INTO waiting (seq, submission) \
                       SELECT seq, :submission FROM execution WHERE id = :id";
    connection
        .prepare_cached(ADD)
        .and_then(|mut add| {
            add.execute(named_params! {":id": id.to_string(), ":submission": submission})
        })
        .map(drop)
        .map_err(|source| database("keep what waits", source))
}

/// It is about to start.
pub(super) fn begin(connection: &Connection, id: ExecutionId) -> Result<(), StoreError> {
    const BEGIN: &str = "INSERT INTO begun (seq) SELECT seq FROM waiting \
                         WHERE seq = (SELECT seq FROM execution WHERE id = :id) \
                         ON CONFLICT (seq) DO UPDATE SET seq = excluded.seq";
    let begun = connection
        .prepare_cached(BEGIN)
        .and_then(|mut begin| begin.execute(named_params! {":id": id.to_string()}))
        .map_err(|source| database("record a start", source))?;
    if begun == 0 { Err(StoreError::Unknown(id)) } else { Ok(()) }
}

/// It was about to start, and did not.
pub(super) fn take_back(connection: &Connection, id: ExecutionId) -> Result<(), StoreError> {
    const REMOVE: &str = "DELETE FROM begun WHERE seq = (SELECT seq FROM execution WHERE id = :id)";
    remove(connection, REMOVE, id)
}

/// It has started, or never will.
pub(super) fn forget(connection: &Connection, id: ExecutionId) -> Result<(), StoreError> {
    const REMOVE: &str =
        "DELETE FROM waiting WHERE seq = (SELECT seq FROM execution WHERE id = :id)";
    remove(connection, REMOVE, id)?;
    take_back(connection, id)
}

fn remove(connection: &Connection, text: &str, id: ExecutionId) -> Result<(), StoreError> {
    connection
        .prepare_cached(text)
        .and_then(|mut remove| remove.execute(named_params! {":id": id.to_string()}))
        .map(drop)
        .map_err(|source| database("forget what waited", source))
}

/// What is kept of an execution that waited.
pub(super) fn get(connection: &Connection, id: ExecutionId) -> Result<Option<Waiting>, StoreError> {
    const SELECT: &str = "SELECT submission, EXISTS (SELECT 1 FROM begun \
                          WHERE begun.seq = waiting.seq) FROM waiting \
                          WHERE seq = (SELECT seq FROM execution WHERE id = :id)";
    connection
        .prepare_cached(SELECT)
        .and_then(|mut select| {
            let waiting = |row: &rusqlite::Row<'_>| {
                Ok(Waiting { submission: row.get(0)?, begun: row.get(1)? })
            };
            select.query_row(named_params! {":id": id.to_string()}, waiting).optional()
        })
        .map_err(|source| database("read what waits", source))
}
