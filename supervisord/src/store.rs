//! The daemon's state on disk: one record per execution, in SQLite.
//!
//! One thread owns the connection that writes, two others read; callers wait for neither on the
//! runtime's threads. A write is on disk when its method returns: the log is synced with every
//! commit (`synchronous = FULL`), and the commit is shared by all writes that wait at the time. A
//! write whose caller goes away meanwhile is done all the same.
//!
//! ```text
//!   insert, finish, remove ─▶ queue ──▶ writer ──▶ state.db-wal ──▶ state.db
//!   get, list, artifacts  ──▶ queue ──▶ readers ◀────────┴──────────────┘
//! ```

mod database;
mod directory;
mod error;
mod gone;
mod kept;
mod output;
mod reader;
mod record;
#[cfg(test)]
mod tests;
mod waiting;
mod writer;

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use rusqlite::Connection;
use supervisor_api::{ArtifactList, Execution, ExecutionId, ExecutionList, SessionId, State};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

pub use error::StoreError;
pub use record::Among;
pub use waiting::Waiting;

use crate::capture::SmallOutput;
use crate::session::Record as Session;
use crate::store::directory::Directory;
use crate::store::gone::Gone;
use crate::store::reader::Query;
use crate::store::record::{Filter, Record};
use crate::store::writer::{Reply, Write, Writer};

/// Finished executions kept of one owner; the oldest go first. What they keep is bounded besides
/// ([`Store::too_much`]).
pub const MAX_FINISHED_PER_OWNER: u32 = 10_000;

/// Executions removed by one call of [`Store::too_many`], so that it doesn't hold up other writes:
/// a millisecond or two.
const PRUNED_AT_ONCE: u32 = 64;

/// Writes that wait for the writer; whoever comes after waits for a place.
const WRITE_QUEUE: usize = 1024;

/// Queries that wait for a reader; whoever comes after waits for a place.
const READ_QUEUE: usize = 256;

/// Artifacts whose list is written as JSON at once: with the longest paths a fraction of a millisecond.
const FEW_ARTIFACTS: usize = 64;

/// Readers: one may be busy with a long page while the other answers the short questions.
const READERS: usize = 2;

/// A state directory that no other daemon has for as long as this lives, and the store that is made of it.
#[derive(Debug)]
pub struct Held(Directory);

impl Held {
    /// Takes a directory that exists.
    ///
    /// # Errors
    /// When another daemon [has](StoreError::InUse) it, or it can't be opened.
    pub fn take(directory: &Path) -> Result<Self, StoreError> {
        Directory::lock(directory).map(Self)
    }
}

/// The state of the daemon. Clones are the same store.
#[derive(Debug, Clone)]
pub struct Store {
    writes: mpsc::Sender<Write>,
    queries: mpsc::Sender<Query>,
    gone: Arc<Gone>,
}

impl Store {
    /// Takes a directory that exists, and opens the state in it. Blocks.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        Self::open_held(Held::take(directory)?)
    }

    /// Opens the state in a directory, making it where there never was any.
    ///
    /// State that is damaged, behind what was committed, of a newer version, or missing where
    /// there was some is [refused](StoreError::Refused) and left as it is. Blocks.
    pub fn open_held(held: Held) -> Result<Self, StoreError> {
        let directory = Arc::new(held.0);
        let (connection, marker) = database::open(&directory)?;
        let (queries, queue) = mpsc::channel(READ_QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..READERS {
            let (reader, queue) = (database::open_reader(&directory)?, Arc::clone(&queue));
            let held = Arc::clone(&directory);
            spawn("store-reader", &directory, move || reader::run(reader, &queue, held))?;
        }
        let (writes, queue) = mpsc::channel(WRITE_QUEUE);
        let writer = Writer::new(connection, marker, Arc::clone(&directory));
        spawn("store-writer", &directory, move || writer.run(queue))?;
        Ok(Self { writes, queries, gone: Arc::default() })
    }

    /// Records a new execution that has not finished.
    pub async fn insert(&self, execution: &Execution) -> Result<(), StoreError> {
        demand(execution, execution.state != State::Finished, "insert")?;
        let (record, submission) = (Record::new(execution)?, None);
        self.write(|reply| Write::Insert { record, submission, reply }).await
    }

    /// Records a new execution that waits for its turn, with the submission, as JSON, by which the next
    /// daemon can start it.
    pub async fn insert_waiting(
        &self,
        execution: &Execution,
        submission: String,
    ) -> Result<(), StoreError> {
        demand(execution, execution.state == State::Queued, "insert_waiting")?;
        let (record, submission) = (Record::new(execution)?, Some(submission));
        self.write(|reply| Write::Insert { record, submission, reply }).await
    }

    /// Records a new execution that is about to start, with the submission, as JSON, by which the next daemon can start it
    /// if it sees that it has not started.
    pub async fn insert_starting(
        &self,
        execution: &Execution,
        submission: String,
    ) -> Result<(), StoreError> {
        let starts = matches!(execution.state, State::Queued | State::Launching);
        demand(execution, starts, "insert_starting")?;
        let record = Record::new(execution)?;
        self.write(|reply| Write::InsertStarting { record, submission, reply }).await
    }

    /// Records that one that waited is about to start: from then on nobody starts it anew who has not seen
    /// that it did not.
    pub async fn begin(&self, id: ExecutionId) -> Result<(), StoreError> {
        self.write(|reply| Write::Begin { id, reply }).await
    }

    /// Records that one that waited has not started, and waits again.
    pub async fn wait_again(&self, execution: &Execution) -> Result<(), StoreError> {
        demand(execution, execution.state == State::Queued, "wait_again")?;
        let record = Record::new(execution)?;
        self.write(|reply| Write::WaitAgain { record, reply }).await
    }

    /// What is kept of one that waited, until it is recorded that it runs.
    pub async fn waiting(&self, id: ExecutionId) -> Result<Option<Waiting>, StoreError> {
        self.query(move |connection| waiting::get(connection, id)).await
    }

    /// Records the progress of an execution, before any write that is asked for later, without
    /// waiting until it is on disk. Waits only while the queue is full.
    ///
    /// The only failures reported here are an execution that has finished, and a closed store;
    /// one of the disk is logged. What was queued is not yet seen by `get`.
    pub async fn enqueue_update(&self, execution: &Execution) -> Result<(), StoreError> {
        demand(execution, execution.state != State::Finished, "enqueue_update")?;
        let record = Record::new(execution)?;
        self.writes
            .send(Write::Update { record, reply: None })
            .await
            .map_err(|_| StoreError::Closed)
    }

    /// Records what has become of an execution that has not finished; it is on disk when this returns.
    pub async fn update(&self, execution: &Execution) -> Result<(), StoreError> {
        demand(execution, execution.state != State::Finished, "update")?;
        let record = Record::new(execution)?;
        self.write(|reply| Write::Update { record, reply: Some(reply) }).await
    }

    /// Records the end of an execution, with its output if that is little. From then on its record is final.
    pub async fn finish(
        &self,
        execution: &Execution,
        artifacts: &ArtifactList,
        output: Option<SmallOutput>,
    ) -> Result<(), StoreError> {
        self.end(execution, artifacts, output, false).await
    }

    /// Records the end of an execution that need not have been recorded before.
    pub async fn insert_finished(
        &self,
        execution: &Execution,
        artifacts: &ArtifactList,
        output: Option<SmallOutput>,
    ) -> Result<(), StoreError> {
        self.end(execution, artifacts, output, true).await
    }

    async fn end(
        &self,
        execution: &Execution,
        artifacts: &ArtifactList,
        output: Option<SmallOutput>,
        is_new: bool,
    ) -> Result<(), StoreError> {
        let ended = execution.state == State::Finished && execution.outcome.is_some();
        demand(execution, ended, "finish")?;
        let record = Record::new(execution)?;
        let artifacts = text_of(artifacts).await?;
        let artifacts = artifacts
            .map_err(|source| StoreError::Record { id: execution.id.to_string(), source })?;
        self.write(|reply| Write::Finish { record, artifacts, output, is_new, reply }).await
    }

    /// One execution.
    pub async fn get(&self, id: ExecutionId) -> Result<Option<Execution>, StoreError> {
        self.query(move |connection| record::get(connection, id)).await
    }

    /// A page of executions, newest first by the order of insertion: of one owner or of all, finished
    /// or not, older than `after`. A page of long records may hold fewer than `limit`
    /// (at least one); `next` says whether there are more. An `after` that was removed a while ago keeps its place;
    /// one that never was there, or is not that owner's, is [unknown](StoreError::Unknown).
    pub async fn list(
        &self,
        owner: Option<u32>,
        among: Among,
        after: Option<ExecutionId>,
        limit: u32,
    ) -> Result<ExecutionList, StoreError> {
        let filter = Filter { owner, among, after, limit: limit.max(1) };
        let gone = self.gone.clone();
        self.query(move |connection| record::list(connection, filter, &gone)).await
    }

    /// Every execution that has not finished, oldest first.
    pub async fn unfinished(&self) -> Result<Vec<Execution>, StoreError> {
        self.query(record::unfinished).await
    }

    /// The artifacts of an execution, once it has finished.
    pub async fn artifacts(&self, id: ExecutionId) -> Result<Option<ArtifactList>, StoreError> {
        self.query(move |connection| record::artifacts(connection, id)).await
    }

    /// The output of an execution that has finished, if its record has it.
    pub async fn output(&self, id: ExecutionId) -> Result<Option<SmallOutput>, StoreError> {
        self.query(move |connection| output::get(connection, id)).await
    }

    /// Finished executions, with their owners, that are older than the newest `keep` of their owner, usually
    /// [`MAX_FINISHED_PER_OWNER`]; at most 64 a call, to be removed before the next. An empty answer means that
    /// nothing is left to remove. Those to `spare` stay.
    pub async fn too_many(
        &self,
        keep: u32,
        spare: &HashSet<ExecutionId>,
    ) -> Result<Vec<(u32, ExecutionId)>, StoreError> {
        let at_most = PRUNED_AT_ONCE.saturating_add(u32::try_from(spare.len()).unwrap_or(u32::MAX));
        let mut found =
            self.query(move |connection| record::superfluous(connection, keep, at_most)).await?;
        found.retain(|(_, id)| !spare.contains(id));
        Ok(found)
    }

    /// An owner's finished executions that ended first and have to go so that no more than so many
    /// bytes are kept of it: records, and the files that [`Execution::kept_bytes`] counts. Those of which
    /// little is kept count by number alone, and the one that ended last stays. At most 64 a call, as with
    /// [`Store::too_many`]. Those to `spare` stay, and count.
    pub async fn too_much(
        &self,
        owner: u32,
        most: u64,
        spare: &HashSet<ExecutionId>,
    ) -> Result<Vec<ExecutionId>, StoreError> {
        let (at_once, spare) = (PRUNED_AT_ONCE as usize, spare.clone());
        self.query(move |connection| kept::superfluous(connection, owner, most, at_once, &spare))
            .await
    }

    /// Owners of whose executions more than a little is kept.
    pub async fn keepers(&self) -> Result<Vec<u32>, StoreError> {
        self.query(kept::owners).await
    }

    /// Removes the records of these executions, of those among them that have finished.
    pub async fn remove(&self, ids: Vec<ExecutionId>) -> Result<(), StoreError> {
        let asked = ids.clone();
        let places = self.query(move |connection| record::places(connection, &asked)).await?;
        self.gone.keep(places);
        self.write(|reply| Write::Remove { ids, reply }).await
    }

    /// Records a session, or what has changed of it.
    pub async fn put_session(&self, session: &Session) -> Result<(), StoreError> {
        let id = session.id;
        let text = serde_json::to_string(session)
            .map_err(|source| StoreError::Record { id: id.to_string(), source })?;
        self.write(|reply| Write::PutSession { id, text, reply }).await
    }

    /// Removes the record of a session that is gone.
    pub async fn remove_session(&self, id: SessionId) -> Result<(), StoreError> {
        self.write(|reply| Write::RemoveSession { id, reply }).await
    }

    /// Every session.
    pub async fn sessions(&self) -> Result<Vec<Session>, StoreError> {
        self.query(record::sessions).await
    }

    /// Closes the store after everything that was queued before; it can then be opened again.
    pub async fn close(&self) -> Result<(), StoreError> {
        for _ in 0..READERS {
            let (stopped, stops) = oneshot::channel();
            self.queries.send(Query::Stop(stopped)).await.map_err(|_| StoreError::Closed)?;
            drop(stops.await); // the sender is dropped, never used
        }
        self.write(|reply| Write::Close { reply }).await
    }

    async fn write(&self, write: impl FnOnce(Reply) -> Write) -> Result<(), StoreError> {
        let (reply, outcome) = oneshot::channel();
        self.writes.send(write(reply)).await.map_err(|_| StoreError::Closed)?;
        outcome.await.unwrap_or(Err(StoreError::Closed))
    }

    async fn query<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let query = Query::Run(Box::new(move |connection| {
            drop(reply.send(ask(connection))); // a caller that went away has no use for it
        }));
        self.queries.send(query).await.map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}

/// A list as JSON. Few are written at once; thousands take longer than anybody should wait for.
async fn text_of(list: &ArtifactList) -> Result<serde_json::Result<String>, StoreError> {
    if list.artifacts.len() <= FEW_ARTIFACTS {
        return Ok(serde_json::to_string(list));
    }
    let list = list.clone();
    let written = spawn_blocking(move || serde_json::to_string(&list));
    written.await.map_err(|_| StoreError::Closed) // the runtime is shutting down
}

fn demand(execution: &Execution, holds: bool, operation: &'static str) -> Result<(), StoreError> {
    if holds { Ok(()) } else { Err(StoreError::WrongState { id: execution.id, operation }) }
}

fn spawn(
    name: &str,
    directory: &Directory,
    run: impl FnOnce() + Send + 'static,
) -> Result<(), StoreError> {
    match thread::Builder::new().name(name.to_owned()).spawn(run) {
        Ok(_) => Ok(()), // it ends with the last clone of the store, or by `close`
        Err(source) => Err(StoreError::Io {
            operation: "start a thread for",
            path: directory.database(),
            source,
        }),
    }
}
