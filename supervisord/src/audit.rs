//! The audit log: every decision as one line, chained and signed as `supervisor_api`'s `audit` module
//! says, in `audit/` beneath the state directory.
//!
//! One thread writes. What waits for it is written with one system call; a caller that has to know
//! waits until its record is in the file ([`Audit::write`]) or on disk ([`Audit::write_durably`]), the
//! others go on ([`Audit::record`]), and their records are gathered for some milliseconds if there are many. The rule of what is where when:
//!
//! - a submission's record is in the file before its payload runs or its refusal is answered, so a
//!   daemon that is killed loses none;
//! - an outcome's record, and with it all before it, is on disk before the outcome is told;
//! - everything else is on disk a second later at the most, with the next checkpoint: one follows
//!   after a second, or 1,024 records, and one is the last record of a daemon that ends.
//!
//! Room for what runs is set aside ahead of time. When it can't be, new work is refused until it can;
//! nothing is done unrecorded.
//!
//! ```text
//! audit-00000000000000000001.jsonl   the oldest file; the name is its first record's number
//! audit-00000000000000104857.jsonl   the one that is written
//! head                               where the log ended at its last checkpoint, signed
//! key, key.pub                       unless the key is a credential of the service
//! cut-00000000000000104990           what a start found after the last whole record
//! ../audit-head                      the same as `head`, for a directory that is put back from an older copy
//! ```

mod backlog;
mod directory;
mod error;
mod events;
mod journal;
mod key;
mod room;
mod search;
mod tail;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, Thread};

use jiff::Timestamp;
use supervisor_api::{
    AuditEvent, AuditFilter, AuditKey, AuditPage, Envelope, HeadState, Statement,
};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

pub use backlog::Backlog;
pub use error::{AuditError, Unaudited};
pub use events::{
    accepted, administration, call_denied, cancellation, ended, limits_hit, recovery, refused,
    retirement, start, subject,
};
pub use search::Span;

use crate::audit::backlog::{Place, Queue, Waiting};
use crate::audit::directory::Directory;
use crate::audit::key::SigningKey;
use crate::audit::room::Room;
use crate::audit::writer::{Entry, Need, Writer};
use crate::clock;

/// What the configuration says about the log.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Bytes of one file, about.
    pub file_bytes: u64,
    /// Bytes of all files together, about: the oldest go.
    pub total_bytes: u64,
    /// Whether every record also goes to journald.
    pub journal: bool,
}

/// The log. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Audit {
    queue: Sender<Entry>,
    /// What waits and could have been refused.
    waiting: Queue,
    writer: Thread,
    room: Arc<Room>,
    directory: PathBuf,
    key: Arc<SigningKey>,
    /// What its opening had to hold the end of the log against.
    head: HeadState,
}

impl Default for Settings {
    /// A file that an editor still opens, and as many as a small disk doesn't feel.
    fn default() -> Self {
        Self { file_bytes: 64 << 20, total_bytes: 1 << 30, journal: false }
    }
}

impl Audit {
    /// Opens the log beneath a state directory, making it where there never was one, and goes on where
    /// it ended. Blocks.
    ///
    /// # Errors
    /// A log that is not as it was left, which is then left as it is.
    pub fn open(state: &Path, settings: Settings) -> Result<Self, AuditError> {
        let directory = Directory::open(state)?;
        let key = SigningKey::find(&directory)?;
        let key = Arc::new(key);
        let left = tail::read(&directory, &key)?;
        let (path, head, room) =
            (directory.path().to_owned(), left.head, Arc::new(Room::default()));
        let writer = Writer::new(directory, key.clone(), left, settings, room.clone())?;
        let (queue, entries) = channel();
        let writer = thread::Builder::new()
            .name("audit-writer".to_owned())
            .spawn(move || writer.run(&entries))
            .map_err(AuditError::at("start a thread for", &path))?;
        let writer = writer.thread().clone();
        let waiting = Queue::default();
        Ok(Self { queue, waiting, writer, room, directory: path, key, head })
    }

    /// What the opening had to hold the end of the log against.
    pub const fn head(&self) -> HeadState {
        self.head
    }

    /// The key that checkpoints are checked with.
    pub fn key(&self) -> AuditKey {
        AuditKey { algorithm: "ed25519".to_owned(), public_key: self.key.public().to_string() }
    }

    /// Signs a statement with the key of checkpoints; what is signed says which of the two it is.
    ///
    /// # Errors
    /// As [`Envelope::sign`].
    pub fn sign(&self, statement: &Statement) -> Result<Envelope, serde_json::Error> {
        Envelope::sign(statement, self.key.pair(), &self.key.public())
    }

    /// Whether new work may begin.
    ///
    /// # Errors
    /// When its records might find no room. The refusal is counted, and the count is recorded once there
    /// is.
    pub fn admit(&self) -> Result<(), Unaudited> {
        self.room.admit()
    }

    /// Why no new work may begin, if that is so.
    pub fn suspended(&self) -> Option<Unaudited> {
        self.room.reason()
    }

    /// Records an event, without waiting for it.
    ///
    /// # Errors
    /// When there is no room for it; what it is about is not to be done.
    pub fn record(&self, event: AuditEvent) -> Result<(), Unaudited> {
        self.admit()?;
        self.send(event, Need::Nothing, Some(self.place()?), None)
    }

    /// A source of events that looks at its backlog before it makes more of them.
    pub fn source(&self) -> Backlog {
        self.waiting.source()
    }

    /// The same for an event of such a source.
    ///
    /// # Errors
    /// As for [`Audit::record`].
    pub fn record_of(&self, backlog: &Backlog, event: AuditEvent) -> Result<(), Unaudited> {
        self.admit()?;
        self.send(event, Need::Nothing, Some(self.place()?), Some(backlog.one_more()))
    }

    /// Returns once there is room for what a source does next.
    pub async fn room(&self, backlog: &Backlog) {
        if backlog.is_full() {
            self.writer.unpark();
        }
        backlog.room().await;
    }

    /// Records an event; it is in the file when this returns, and stays there if the daemon is killed.
    ///
    /// # Errors
    /// When it is not in the file, and will not be.
    pub async fn write(&self, event: AuditEvent) -> Result<(), Unaudited> {
        self.send_and_wait(event, Need::Written).await
    }

    /// Records an event; it is on disk when this returns, with all that was recorded before. `written` is
    /// called as soon as it is in the file.
    ///
    /// # Errors
    /// When it may not be on disk.
    pub async fn write_durably(
        &self,
        event: AuditEvent,
        written: impl FnOnce(),
    ) -> Result<(), Unaudited> {
        let (in_file, is_in_file) = oneshot::channel();
        let (on_disk, is_on_disk) = oneshot::channel();
        let need = Need::OnDisk { written: Some(in_file), on_disk };
        self.send(event, need, Some(self.place()?), None)?;
        is_in_file.await.unwrap_or(Err(Unaudited::Closed))?;
        written();
        is_on_disk.await.unwrap_or(Err(Unaudited::Closed))
    }

    /// Records an event that has happened, whatever the room: it is tried until it is in the file.
    pub fn note(&self, event: AuditEvent) {
        if let Err(error) = self.send(event, Need::Nothing, None, None) {
            tracing::error!(%error, "an event could not be recorded");
        }
    }

    /// The same for an event of a source.
    pub fn note_of(&self, backlog: &Backlog, event: AuditEvent) {
        if let Err(error) = self.send(event, Need::Nothing, None, Some(backlog.one_more())) {
            tracing::error!(%error, "an event could not be recorded");
        }
    }

    /// Records from a number on, oldest first: `limit` of them, or as many as a call looks at.
    ///
    /// # Errors
    /// When the log can't be read.
    pub async fn search(
        &self,
        filter: AuditFilter,
        after: u64,
        limit: usize,
    ) -> Result<AuditPage, AuditError> {
        self.find(filter, None, after, limit).await
    }

    /// The same of what began and ended at these times by the host's clock, which may have been set since: what was
    /// recorded between is found by whatever time it has.
    ///
    /// # Errors
    /// When the log can't be read.
    pub async fn search_span(
        &self,
        filter: AuditFilter,
        span: Span,
        after: u64,
        limit: usize,
    ) -> Result<AuditPage, AuditError> {
        self.find(filter, Some(span), after, limit).await
    }

    async fn find(
        &self,
        filter: AuditFilter,
        span: Option<Span>,
        after: u64,
        limit: usize,
    ) -> Result<AuditPage, AuditError> {
        let directory = self.directory.clone();
        let search = move || search::search(&directory, &filter, span.as_ref(), after, limit);
        let found = spawn_blocking(search).await;
        found.unwrap_or_else(|error| {
            Err(AuditError::at("read", &self.directory)(std::io::Error::other(error)))
        })
    }

    /// Writes the last checkpoint, after everything that was recorded before. Nothing can be recorded
    /// any more.
    pub async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        let entry = Entry::Close { reply };
        let sent = self.queue.send(entry);
        self.writer.unpark();
        if sent.is_ok() && closed.await.is_err() {
            tracing::error!("the audit log was not closed");
        }
    }

    async fn send_and_wait(
        &self,
        event: AuditEvent,
        need: fn(Reply) -> Need,
    ) -> Result<(), Unaudited> {
        let (reply, done) = oneshot::channel();
        self.send(event, need(reply), Some(self.place()?), None)?;
        done.await.unwrap_or(Err(Unaudited::Closed))
    }

    /// A place among what waits.
    fn place(&self) -> Result<Place, Unaudited> {
        self.waiting.place().ok_or(Unaudited::Behind)
    }

    fn send(
        &self,
        event: AuditEvent,
        need: Need,
        place: Option<Place>,
        waiting: Option<Waiting>,
    ) -> Result<(), Unaudited> {
        let somebody_waits = !matches!(need, Need::Nothing);
        let (time, event) = (clock::timestamp(), Box::new(event));
        let entry = Entry::Event { time, event, need, place, waiting };
        self.queue.send(entry).map_err(|_| Unaudited::Closed)?;
        if somebody_waits {
            self.writer.unpark();
        }
        Ok(())
    }
}

/// Where it is told what became of an event.
type Reply = oneshot::Sender<Result<(), Unaudited>>;

/// A time as records have it: RFC 3339 in UTC, with microseconds.
fn show(time: Timestamp) -> String {
    let rounded = time.round(jiff::Unit::Microsecond).unwrap_or(time);
    format!("{rounded:.6}")
}
