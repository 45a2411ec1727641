//! The thread that owns the one connection that writes.
//!
//! It takes whatever is queued, makes one transaction of it, and answers every caller after the
//! one commit, so that executions that finish together share the wait for the disk.

use std::sync::Arc;

use rusqlite::{Connection, TransactionBehavior};
use supervisor_api::{ExecutionId, SessionId};
use tokio::sync::{mpsc, oneshot};

use crate::capture::SmallOutput;
use crate::fault::{self, Point};
use crate::store::StoreError;
use crate::store::database::database;
use crate::store::directory::{Directory, Marker};
use crate::store::kept;
use crate::store::output;
use crate::store::record::{self, Record};
use crate::store::waiting;

/// Writes of one transaction at the most, so that the first of them doesn't wait for long.
const BATCH: usize = 256;

/// Bytes written to the log after which they are moved into the database, between two commits.
/// SQLite's own default is about the same; doing it here keeps it out of the callers' wait.
const CHECKPOINT_BYTES: usize = 4 << 20;

/// What a write adds to the log beside its record: the pages of the tables' and indexes' trees.
const WRITE_BYTES: usize = 5 * 4096;

/// Where the outcome of a write goes.
pub(super) type Reply = oneshot::Sender<Result<(), StoreError>>;

/// Something to write.
pub(super) enum Write {
    /// A new execution; with its submission as JSON if it waits for its turn.
    Insert { record: Record, submission: Option<String>, reply: Reply },
    /// A new execution that is about to start, with its submission as JSON.
    InsertStarting { record: Record, submission: String, reply: Reply },
    /// One that waited is about to start.
    Begin { id: ExecutionId, reply: Reply },
    /// One that waited has not started after all, and waits again.
    WaitAgain { record: Record, reply: Reply },
    /// A new state of an unfinished one; of most nobody waits for it.
    Update { record: Record, reply: Option<Reply> },
    /// The last state of one, which may be the first as well, its artifacts as JSON, and its output if that
    /// is little.
    Finish {
        record: Record,
        artifacts: String,
        output: Option<SmallOutput>,
        is_new: bool,
        reply: Reply,
    },
    /// Finished executions that are no longer kept.
    Remove { ids: Vec<ExecutionId>, reply: Reply },
    /// A session's record as JSON, new or changed.
    PutSession { id: SessionId, text: String, reply: Reply },
    /// A session that is gone.
    RemoveSession { id: SessionId, reply: Reply },
    /// The end.
    Close { reply: Reply },
}

/// What the thread owns.
pub(super) struct Writer {
    connection: Connection,
    marker: Marker,
    directory: Arc<Directory>,
    unmoved: usize,
}

impl Write {
    fn apply(&self, connection: &Connection) -> Result<(), StoreError> {
        match self {
            Self::Insert { record, submission, .. } => {
                record::insert(connection, record)?;
                match submission {
                    Some(submission) => waiting::add(connection, record.id(), submission),
                    None => Ok(()),
                }
            }
            Self::InsertStarting { record, submission, .. } => {
                record::insert(connection, record)?;
                waiting::add(connection, record.id(), submission)?;
                waiting::begin(connection, record.id())
            }
            Self::Begin { id, .. } => waiting::begin(connection, *id),
            Self::WaitAgain { record, .. } => {
                record::update(connection, record)?;
                waiting::take_back(connection, record.id())
            }
            Self::Update { record, .. } => {
                record::update(connection, record)?;
                if record.has_started() {
                    waiting::forget(connection, record.id())?;
                }
                Ok(())
            }
            Self::Finish { record, artifacts, output, is_new, .. } => {
                match is_new.then(|| record::insert(connection, record)) {
                    Some(Ok(())) => {}
                    // Its first record was already on its way.
                    Some(Err(StoreError::Duplicate(_))) | None => {
                        record::update(connection, record)?;
                    }
                    Some(Err(error)) => return Err(error),
                }
                waiting::forget(connection, record.id())?;
                if let Some(said) = output {
                    output::add(connection, record.id(), said)?;
                }
                record::add_artifacts(connection, record, artifacts)?;
                kept::add(connection, record, artifacts.len())
            }
            Self::Remove { ids, .. } => record::remove(connection, ids),
            Self::PutSession { id, text, .. } => {
                record::put_session(connection, &id.to_string(), text)
            }
            Self::RemoveSession { id, .. } => record::remove_session(connection, &id.to_string()),
            Self::Close { .. } => Ok(()),
        }
    }

    /// About how many bytes of the log it takes.
    fn weight(&self) -> usize {
        WRITE_BYTES
            + match self {
                Self::Insert { record, submission, .. } => {
                    record.len() + submission.as_ref().map_or(0, String::len)
                }
                Self::InsertStarting { record, submission, .. } => record.len() + submission.len(),
                Self::Update { record, .. } | Self::WaitAgain { record, .. } => record.len(),
                Self::Finish { record, artifacts, output, .. } => {
                    let said = output.as_ref().map_or(0, SmallOutput::size);
                    record.len() + artifacts.len() + said
                }
                Self::Remove { ids, .. } => ids.len() * WRITE_BYTES,
                Self::PutSession { text, .. } => text.len(),
                Self::Begin { .. } | Self::RemoveSession { .. } | Self::Close { .. } => 0,
            }
    }

    fn answer(self, outcome: Result<(), StoreError>) {
        let reply = match self {
            Self::Insert { reply, .. }
            | Self::InsertStarting { reply, .. }
            | Self::Begin { reply, .. }
            | Self::WaitAgain { reply, .. }
            | Self::Finish { reply, .. }
            | Self::Remove { reply, .. }
            | Self::PutSession { reply, .. }
            | Self::RemoveSession { reply, .. }
            | Self::Close { reply }
            | Self::Update { reply: Some(reply), .. } => reply,
            Self::Update { record, reply: None } => {
                if let Err(error) = outcome {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(id = %record.id(), error, "an update was not recorded");
                }
                return;
            }
        };
        drop(reply.send(outcome)); // a caller that went away has no use for it
    }
}

impl Writer {
    /// The writer of an opened database.
    pub(super) fn new(connection: Connection, marker: Marker, directory: Arc<Directory>) -> Self {
        Self { connection, marker, directory, unmoved: 0 }
    }

    /// Writes what is queued until the store is closed or nobody is left who could queue anything.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Write>) {
        let mut batch = Vec::with_capacity(BATCH);
        while queue.blocking_recv_many(&mut batch, BATCH) > 0 {
            let end = batch.iter().position(|write| matches!(write, Write::Close { .. }));
            let late = end.map(|end| batch.split_off(end));
            self.write(&mut batch);
            if let Some(late) = late {
                queue.close();
                return self.close(late);
            }
            if self.unmoved > CHECKPOINT_BYTES {
                self.checkpoint("PASSIVE");
            }
        }
        self.checkpoint("TRUNCATE");
    }

    /// Writes all at once; where that fails, one by one, so that each gets an answer of its own
    /// and one that is too large for the space left doesn't take others with it.
    fn write(&mut self, batch: &mut Vec<Write>) {
        if batch.is_empty() {
            return; // the store is being closed, and nothing was queued before that
        }
        self.unmoved += batch.iter().map(Write::weight).sum::<usize>();
        match self.commit(batch) {
            Ok(outcomes) => {
                for (write, outcome) in batch.drain(..).zip(outcomes) {
                    write.answer(outcome);
                }
            }
            Err(error) if batch.len() == 1 => {
                if let Some(write) = batch.pop() {
                    write.answer(Err(error));
                }
            }
            Err(_) => {
                for write in batch.drain(..) {
                    let outcome = self
                        .commit(std::slice::from_ref(&write))
                        .and_then(|outcomes| outcomes.into_iter().collect());
                    write.answer(outcome);
                }
            }
        }
    }

    /// One transaction, on disk when this returns. A write that is refused for what it says leaves
    /// the others alone; any other failure undoes all of them.
    fn commit(&mut self, batch: &[Write]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        self.transact(batch).map_err(|error| match error {
            StoreError::Database { operation, source } if self.directory.is_full() => {
                StoreError::Full { operation, source }
            }
            other => other,
        })
    }

    fn transact(&mut self, batch: &[Write]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        const COUNT: &str = "UPDATE state SET commits = commits + 1 RETURNING commits";
        let failed = |source| database("commit to the state database", source);
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed)?;
        let mut outcomes = Vec::with_capacity(batch.len());
        for write in batch {
            match write.apply(&transaction) {
                Err(error) if !error.spares_the_transaction() => return Err(error),
                outcome => outcomes.push(outcome),
            }
        }
        let commits = transaction
            .prepare_cached(COUNT)
            .and_then(|mut count| count.query_row([], |row| row.get(0)))
            .map_err(failed)?;
        fault::reach(Point::StoreApplied);
        transaction.commit().map_err(failed)?;
        fault::reach(Point::StoreCommitted);
        if let Err(error) = self.marker.count(commits) {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "the count of commits beside the state database is behind");
        }
        fault::reach(Point::StoreCounted);
        Ok(outcomes)
    }

    /// Moves the log into the database. Not needed for durability; a failure is only a longer log.
    fn checkpoint(&mut self, how: &str) {
        let statement = format!("PRAGMA wal_checkpoint({how})");
        match self.connection.query_row(&statement, [], |_| Ok(())) {
            Ok(()) => self.unmoved = 0,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "the log of the state database could not be moved into it");
            }
        }
    }

    /// Closes the database and answers those who asked for it, and those who came too late.
    fn close(mut self, late: Vec<Write>) {
        self.checkpoint("TRUNCATE");
        let closed = self
            .connection
            .close()
            .map_err(|(_, source)| database("close the state database", source));
        drop(self.directory);
        let mut closed = Some(closed);
        for write in late {
            match (&write, closed.take()) {
                (Write::Close { .. }, Some(outcome)) => write.answer(outcome),
                (_, unused) => {
                    closed = unused;
                    write.answer(Err(StoreError::Closed));
                }
            }
        }
    }
}
