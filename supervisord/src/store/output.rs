//! Output that is so little that it is recorded with its execution.

use rusqlite::{Connection, OptionalExtension as _, named_params};
use supervisor_api::ExecutionId;

use crate::capture::SmallOutput;
use crate::store::StoreError;
use crate::store::database::database;

/// Adds what an execution has said, of a record that was just made final.
pub(super) fn add(
    connection: &Connection,
    id: ExecutionId,
    output: &SmallOutput,
) -> Result<(), StoreError> {
    const ADD: &str = "INSERT INTO output (seq, stdout, stderr, parts) \
                       SELECT seq, :stdout, :stderr, :parts FROM execution WHERE id = :id";
    connection
        .prepare_cached(ADD)
        .and_then(|mut add| {
            add.execute(named_params! {
                ":id": id.to_string(),
                ":stdout": output.stdout,
                ":stderr": output.stderr,
                ":parts": output.index,
            })
        })
        .map(drop)
        .map_err(|source| database("record what an execution said", source))
}

/// What was recorded of what an execution has said.
pub(super) fn get(
    connection: &Connection,
    id: ExecutionId,
) -> Result<Option<SmallOutput>, StoreError> {
    const SELECT: &str = "SELECT stdout, stderr, parts FROM output \
                          WHERE seq = (SELECT seq FROM execution WHERE id = :id)";
    connection
        .prepare_cached(SELECT)
        .and_then(|mut select| {
            let output = |row: &rusqlite::Row<'_>| {
                Ok(SmallOutput { stdout: row.get(0)?, stderr: row.get(1)?, index: row.get(2)? })
            };
            select.query_row(named_params! {":id": id.to_string()}, output).optional()
        })
        .map_err(|source| database("read what an execution said", source))
}
