//! The statements: one function per thing that is asked of the tables.

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Row, named_params};
use supervisor_api::{ArtifactList, Execution, ExecutionId, ExecutionList, State};

use crate::session::Record as Session;
use crate::store::StoreError;
use crate::store::database::database;
use crate::store::gone::{Gone, Place};

/// Bytes of records after which a page ends early, so that a list of executions with arguments of
/// megabytes costs the daemon no more memory than this and one record.
const PAGE_BYTES: usize = 4 << 20;

/// An execution as it stands in its row.
#[derive(Debug)]
pub(super) struct Record {
    id: ExecutionId,
    owner: u32,
    state: State,
    kept: u64,
    text: String,
}

/// Executions among which a page is taken. A record that is not final is only as new as the last
/// time it was written, so nothing finer can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Among {
    /// All there are.
    All,
    /// Those that have finished.
    Finished,
    /// Those that have not.
    Unfinished,
}

/// Which executions a page holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filter {
    pub(super) owner: Option<u32>,
    pub(super) among: Among,
    pub(super) after: Option<ExecutionId>,
    pub(super) limit: u32,
}

impl Record {
    /// The row of an execution.
    pub(super) fn new(execution: &Execution) -> Result<Self, StoreError> {
        let text = serde_json::to_string(execution)
            .map_err(|source| StoreError::Record { id: execution.id.to_string(), source })?;
        let (id, owner, state) = (execution.id, execution.owner_uid, execution.state);
        Ok(Self { id, owner, state, kept: execution.kept_bytes.unwrap_or_default(), text })
    }

    /// Bytes of the record itself.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// Bytes of the files that are kept of it, where they are more than a little.
    pub(super) const fn kept(&self) -> u64 {
        self.kept
    }

    /// Whether the payload has started, by what is recorded.
    pub(super) fn has_started(&self) -> bool {
        !matches!(self.state, State::Queued | State::Launching)
    }

    /// Whose record it is.
    pub(super) const fn id(&self) -> ExecutionId {
        self.id
    }
}

/// Adds a record.
pub(super) fn insert(connection: &Connection, record: &Record) -> Result<(), StoreError> {
    const INSERT: &str = "INSERT INTO execution (id, owner, state, record) \
                          VALUES (:id, :owner, :state, :record)";
    let inserted = connection.prepare_cached(INSERT).and_then(|mut insert| {
        insert.execute(named_params! {
            ":id": record.id.to_string(),
            ":owner": record.owner,
            ":state": name(record.state),
            ":record": record.text,
        })
    });
    match inserted {
        Ok(_) => Ok(()),
        Err(error) if is_duplicate(&error) => Err(StoreError::Duplicate(record.id)),
        Err(source) => Err(database("record an execution", source)),
    }
}

/// Replaces a record that is not final yet.
pub(super) fn update(connection: &Connection, record: &Record) -> Result<(), StoreError> {
    const UPDATE: &str = "UPDATE execution SET state = :state, record = :record \
                          WHERE id = :id AND state <> 'finished'";
    let updated = connection
        .prepare_cached(UPDATE)
        .and_then(|mut update| {
            update.execute(named_params! {
                ":id": record.id.to_string(),
                ":state": name(record.state),
                ":record": record.text,
            })
        })
        .map_err(|source| database("update the record of an execution", source))?;
    match updated {
        0 if sequence(connection, record.id, None)?.is_some() => {
            Err(StoreError::AlreadyFinished(record.id))
        }
        0 => Err(StoreError::Unknown(record.id)),
        _ => Ok(()),
    }
}

/// Adds the artifacts of a record that was just made final.
pub(super) fn add_artifacts(
    connection: &Connection,
    record: &Record,
    artifacts: &str,
) -> Result<(), StoreError> {
    const ADD: &str = "INSERT INTO artifacts (seq, list) \
                       SELECT seq, :list FROM execution WHERE id = :id";
    connection
        .prepare_cached(ADD)
        .and_then(|mut add| {
            add.execute(named_params! {":id": record.id.to_string(), ":list": artifacts})
        })
        .map(drop)
        .map_err(|source| database("record the artifacts of an execution", source))
}

/// Removes finished records and their artifacts.
pub(super) fn remove(connection: &Connection, ids: &[ExecutionId]) -> Result<(), StoreError> {
    const REMOVE: &str = "DELETE FROM execution WHERE id = :id AND state = 'finished'";
    let mut remove = connection
        .prepare_cached(REMOVE)
        .map_err(|source| database("remove old executions", source))?;
    for id in ids {
        remove
            .execute(named_params! {":id": id.to_string()})
            .map_err(|source| database("remove old executions", source))?;
    }
    Ok(())
}

/// Where these stand.
pub(super) fn places(
    connection: &Connection,
    ids: &[ExecutionId],
) -> Result<Vec<Place>, StoreError> {
    let failed = |source| database("look for executions", source);
    let mut select = connection
        .prepare_cached("SELECT seq, owner FROM execution WHERE id = :id")
        .map_err(failed)?;
    let mut places = Vec::new();
    for &id in ids {
        let place = |row: &Row<'_>| Ok(Place { id, sequence: row.get(0)?, owner: row.get(1)? });
        let found = select.query_row(named_params! {":id": id.to_string()}, place).optional();
        places.extend(found.map_err(failed)?);
    }
    Ok(places)
}

/// One execution.
pub(super) fn get(
    connection: &Connection,
    id: ExecutionId,
) -> Result<Option<Execution>, StoreError> {
    const SELECT: &str = "SELECT id, record FROM execution WHERE id = :id";
    let text = connection
        .prepare_cached(SELECT)
        .and_then(|mut select| {
            select.query_row(named_params! {":id": id.to_string()}, id_and_text).optional()
        })
        .map_err(|source| database("read an execution", source))?;
    text.map(execution).transpose()
}

/// The artifacts of a finished execution.
pub(super) fn artifacts(
    connection: &Connection,
    id: ExecutionId,
) -> Result<Option<ArtifactList>, StoreError> {
    const SELECT: &str = "SELECT list FROM artifacts \
                          WHERE seq = (SELECT seq FROM execution WHERE id = :id)";
    let text: Option<String> = connection
        .prepare_cached(SELECT)
        .and_then(|mut select| {
            select.query_row(named_params! {":id": id.to_string()}, |row| row.get(0)).optional()
        })
        .map_err(|source| database("read the artifacts of an execution", source))?;
    text.map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|source| StoreError::Record { id: id.to_string(), source })
}

/// Every execution that is not finished, oldest first.
pub(super) fn unfinished(connection: &Connection) -> Result<Vec<Execution>, StoreError> {
    const SELECT: &str = "SELECT id, record FROM execution INDEXED BY execution_unfinished \
                          WHERE state <> 'finished' ORDER BY seq";
    let failed = |source| database("read the unfinished executions", source);
    let mut select = connection.prepare_cached(SELECT).map_err(failed)?;
    let rows = select.query_map([], id_and_text).map_err(failed)?;
    rows.map(|row| row.map_err(failed).and_then(execution)).collect()
}

/// A page of executions, newest first.
pub(super) fn list(
    connection: &Connection,
    filter: Filter,
    gone: &Gone,
) -> Result<ExecutionList, StoreError> {
    let failed = |source| database("list executions", source);
    let below = match filter.after {
        Some(id) => sequence(connection, id, filter.owner)?
            .or_else(|| gone.find(id, filter.owner))
            .ok_or(StoreError::Unknown(id))?,
        None => i64::MAX,
    };
    let mut select = connection.prepare_cached(&statement(filter)).map_err(failed)?;
    let mut rows = select
        .query(named_params! {
            ":below": below,
            ":owner": filter.owner,
        })
        .map_err(failed)?;
    let mut page = ExecutionList { executions: Vec::new(), next: None };
    let mut bytes = 0;
    while let Some(row) = rows.next().map_err(failed)? {
        let full = page.executions.len() >= filter.limit as usize || bytes > PAGE_BYTES;
        if let (true, Some(last)) = (full, page.executions.last()) {
            page.next = Some(last.id);
            break;
        }
        let (id, text) = id_and_text(row).map_err(failed)?;
        bytes += text.len();
        page.executions.push(execution((id, text))?);
    }
    Ok(page)
}

/// Finished executions that are older than the newest `keep` of their owner, oldest first.
pub(super) fn superfluous(
    connection: &Connection,
    keep: u32,
    at_most: u32,
) -> Result<Vec<(u32, ExecutionId)>, StoreError> {
    // Owner by owner from the index on owner alone, where the one at which the superfluous begin is
    // found by walking over those that are kept; only rows beyond it are read.
    const SELECT: &str = "WITH RECURSIVE named (one) AS (SELECT min(owner) FROM execution \
        UNION ALL SELECT (SELECT min(owner) FROM execution WHERE owner > one) FROM named \
        WHERE one IS NOT NULL) \
        SELECT old.owner, old.id FROM named CROSS JOIN execution AS old \
        WHERE old.owner = named.one AND old.state = 'finished' \
        AND old.seq <= (SELECT kept.seq FROM execution AS kept WHERE kept.owner = named.one \
        ORDER BY kept.seq DESC LIMIT 1 OFFSET :keep) \
        ORDER BY old.seq LIMIT :at_most";
    let failed = |source| database("look for old executions", source);
    let mut select = connection.prepare_cached(SELECT).map_err(failed)?;
    let rows = select
        .query_map(named_params! {":keep": keep, ":at_most": at_most}, |row| {
            Ok((row.get::<_, u32>(0)?, row.get::<_, String>(1)?))
        })
        .map_err(failed)?;
    rows.map(|row| {
        let (owner, id) = row.map_err(failed)?;
        Ok((owner, id_of(id)?))
    })
    .collect()
}

/// An id as it stands in a row.
pub(super) fn id_of(text: String) -> Result<ExecutionId, StoreError> {
    text.parse()
        .map_err(|error| StoreError::Record { id: text, source: serde::de::Error::custom(error) })
}

/// The place of an execution in the order of insertion, if it is this owner's.
fn sequence(
    connection: &Connection,
    id: ExecutionId,
    owner: Option<u32>,
) -> Result<Option<i64>, StoreError> {
    const SELECT: &str =
        "SELECT seq FROM execution WHERE id = :id AND (:owner IS NULL OR owner = :owner)";
    connection
        .prepare_cached(SELECT)
        .and_then(|mut select| {
            let parameters = named_params! {":id": id.to_string(), ":owner": owner};
            select.query_row(parameters, |row| row.get(0)).optional()
        })
        .map_err(|source| database("look for an execution", source))
}

/// The text of a listing. A condition that holds nothing back stands there all the same, so that
/// every text takes the same parameters. Unfinished executions are few among many that are not:
/// SQLite has to be told to use their index, as it prefers to read the table in its order.
fn statement(filter: Filter) -> String {
    let owner = if filter.owner.is_some() { "owner = :owner" } else { ":owner IS NULL" };
    let (index, state) = match filter.among {
        Among::All => ("", ""),
        Among::Finished => ("", "AND state = 'finished'"),
        Among::Unfinished => ("INDEXED BY execution_unfinished", "AND state <> 'finished'"),
    };
    format!(
        "SELECT id, record FROM execution {index} WHERE seq < :below AND {owner} {state} \
         ORDER BY seq DESC"
    )
}

fn id_and_text(row: &Row<'_>) -> Result<(String, String), rusqlite::Error> {
    Ok((row.get(0)?, row.get(1)?))
}

fn execution((id, text): (String, String)) -> Result<Execution, StoreError> {
    serde_json::from_str(&text).map_err(|source| StoreError::Record { id, source })
}

/// A state as it stands in the records and in the column beside them.
const fn name(state: State) -> &'static str {
    match state {
        State::Queued => "queued",
        State::Launching => "launching",
        State::Running => "running",
        State::Paused => "paused",
        State::Collecting => "collecting",
        State::Finished => "finished",
    }
}

/// Adds a session's record or replaces it.
pub(super) fn put_session(connection: &Connection, id: &str, text: &str) -> Result<(), StoreError> {
    const PUT: &str = "INSERT INTO session (id, record) VALUES (:id, :record) \
                       ON CONFLICT (id) DO UPDATE SET record = :record";
    connection
        .prepare_cached(PUT)
        .and_then(|mut put| put.execute(named_params! {":id": id, ":record": text}))
        .map(drop)
        .map_err(|source| database("record a session", source))
}

/// Removes a session's record; one that is not there is gone already.
pub(super) fn remove_session(connection: &Connection, id: &str) -> Result<(), StoreError> {
    const REMOVE: &str = "DELETE FROM session WHERE id = :id";
    connection
        .prepare_cached(REMOVE)
        .and_then(|mut remove| remove.execute(named_params! {":id": id}))
        .map(drop)
        .map_err(|source| database("remove the record of a session", source))
}

/// Every session.
pub(super) fn sessions(connection: &Connection) -> Result<Vec<Session>, StoreError> {
    let failed = |source| database("read the sessions", source);
    let mut select = connection.prepare("SELECT id, record FROM session").map_err(failed)?;
    let rows = select
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
        .map_err(failed)?;
    let mut sessions = Vec::new();
    for row in rows {
        let (id, text) = row.map_err(failed)?;
        let session = serde_json::from_str(&text);
        sessions.push(session.map_err(|source| StoreError::Record { id, source })?);
    }
    Ok(sessions)
}

fn is_duplicate(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
        && error
            .sqlite_error()
            .is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE)
}
