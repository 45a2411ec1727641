//! How many bytes are kept of finished executions, of each that keeps more than a little.

use std::collections::HashSet;

use rusqlite::{Connection, named_params};
use supervisor_api::ExecutionId;

use crate::store::StoreError;
use crate::store::database::database;
use crate::store::record::{Record, id_of};

/// Bytes up to which a finished execution counts by number alone, so that the end of a short program costs
/// no row more: ten thousand of them, which is all that an owner may have, come to 640 MiB.
pub(super) const LITTLE: u64 = 64 << 10;

/// Counts what is kept of a record that was just made final.
pub(super) fn add(
    connection: &Connection,
    record: &Record,
    artifacts: usize,
) -> Result<(), StoreError> {
    const ADD: &str = "INSERT INTO kept (seq, owner, bytes) \
                       SELECT seq, owner, :bytes FROM execution WHERE id = :id";
    let bytes = record.kept().saturating_add((record.len() + artifacts) as u64);
    if bytes <= LITTLE {
        return Ok(());
    }
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    connection
        .prepare_cached(ADD)
        .and_then(|mut add| {
            add.execute(named_params! {":id": record.id().to_string(), ":bytes": bytes})
        })
        .map(drop)
        .map_err(|source| database("count what is kept of an execution", source))
}

/// Owners of whom more than a little is kept.
pub(super) fn owners(connection: &Connection) -> Result<Vec<u32>, StoreError> {
    let failed = |source| database("look for owners of old executions", source);
    let mut select = connection.prepare("SELECT DISTINCT owner FROM kept").map_err(failed)?;
    let rows = select.query_map([], |row| row.get(0)).map_err(failed)?;
    rows.collect::<Result<_, _>>().map_err(failed)
}

/// The finished executions of an owner that ended first, without which no more than `most` bytes are kept of
/// it. The one that ended last stays, however much it keeps: its caller has yet to read it.
pub(super) fn superfluous(
    connection: &Connection,
    owner: u32,
    most: u64,
    at_most: usize,
    spare: &HashSet<ExecutionId>,
) -> Result<Vec<ExecutionId>, StoreError> {
    const SUM: &str = "SELECT total(bytes) FROM kept WHERE owner = :owner"; // no sum overflows
    const OLDEST: &str = "SELECT id, bytes FROM kept JOIN execution USING (seq) \
        WHERE kept.owner = :owner AND ended < (SELECT max(ended) FROM kept WHERE owner = :owner) \
        ORDER BY ended LIMIT :at_most";
    let failed = |source| database("look for old executions", source);
    let mut sum = connection.prepare_cached(SUM).map_err(failed)?;
    let sum = sum.query_row(named_params! {":owner": owner}, |row| row.get::<_, f64>(0));
    let (mut left, most) = (sum.map_err(failed)?, most as f64);
    let mut superfluous = Vec::new();
    if left <= most {
        return Ok(superfluous);
    }
    let mut select = connection.prepare_cached(OLDEST).map_err(failed)?;
    let at_most = i64::try_from(at_most.saturating_add(spare.len())).unwrap_or(i64::MAX);
    let mut rows =
        select.query(named_params! {":owner": owner, ":at_most": at_most}).map_err(failed)?;
    while left > most
        && let Some(row) = rows.next().map_err(failed)?
    {
        let id = id_of(row.get(0).map_err(failed)?)?;
        if spare.contains(&id) {
            continue;
        }
        superfluous.push(id);
        left -= row.get::<_, i64>(1).map_err(failed)? as f64;
    }
    Ok(superfluous)
}
