//! The one thread that writes the log.

mod rotation;

use std::fs::File;
use std::io;
use std::mem;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use supervisor_api::{AuditEvent, Chain, Checkpoint, Head, HeadState, Suspension, What};

use super::backlog::{Place, Waiting};
use super::directory::{Directory, LogFile};
use super::error::{AuditError, Unaudited};
use super::journal::tell_journal;
use super::key::SigningKey;
use super::room::Room;
use super::tail::{HEAD, HEAD_BESIDE, Left};
use super::{Reply, Settings, show};
use crate::clock;
use crate::fault::{self, Point};

/// Records after which a checkpoint follows.
const CHECKPOINT_RECORDS: u64 = 1024;

/// Time after which a checkpoint follows, if there are records to sign. What a power failure can take
/// is so much, and no outcome that was told.
const CHECKPOINT_AFTER: Duration = Duration::from_secs(1);

/// Events that wait in memory while nothing can be written: some for each execution that can be running
/// or waiting at the time.
const MOST_PENDING: usize = 16_384;

/// How often is looked whether there is room again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Events that are written at once at the most, so that the first of them doesn't wait for long.
const BATCH: usize = 4096;

/// Bytes that are set aside for the records of what runs: three records of a kilobyte for every
/// execution that can run at once, and as much again.
const RESERVE: u64 = 1 << 20;

/// How many files the oldest of which may be removed together make up a log at the least.
const LEAST_FILES: u64 = 4;

/// Bytes of a file at the least: below that there would be more files than records.
const LEAST_FILE: u64 = 64 << 10;

/// How long records are gathered that nobody waits for, after others like them: with thousands of
/// requests a second, waking this thread for each costs more than writing it.
const GATHER: Duration = Duration::from_millis(5);

/// Something for the writer.
pub enum Entry {
    /// An event.
    Event {
        /// When it happened.
        time: Timestamp,
        /// What it is.
        event: Box<AuditEvent>,
        /// What its recorder waits for.
        need: Need,
        /// Its place in the queue, given back when it is taken.
        place: Option<Place>,
        /// The same among what its source has there.
        waiting: Option<Waiting>,
    },
    /// The end.
    Close {
        /// Where it is told.
        reply: Reply,
    },
}

/// What somebody waits for.
pub enum Need {
    /// Nothing.
    Nothing,
    /// That it is in the file.
    Written(Reply),
    /// That it is in the file, and then that it is on disk.
    OnDisk {
        /// Where the first is told, until it is.
        written: Option<Reply>,
        /// Where the second is told.
        on_disk: Reply,
    },
}

/// How far the host's clock may go back and records keep the time of the one before: they are stamped where they are
/// made, and come here a moment later in another order. What is set back by more begins a new file.
const SET_BACK: SignedDuration = SignedDuration::from_secs(1);

/// What the thread owns.
pub struct Writer {
    directory: Directory,
    key: Arc<SigningKey>,
    settings: Settings,
    room: Arc<Room>,
    chain: Chain,
    file: LogFile,
    handle: File,
    /// Where the log ended at its last checkpoint; overwritten in place, which takes no room.
    head: Option<File>,
    /// The same beside the directory.
    head_beside: File,
    /// Bytes of whole records in the file.
    end: u64,
    /// The latest time of a record in the file.
    last: Option<Timestamp>,
    /// Up to where room is set aside.
    reserved: u64,
    /// Records since the last checkpoint, and when the first of them was written.
    since: u64,
    due: Option<Instant>,
    /// What happened and is not in the file yet, because it could not be written.
    pending: Vec<(Timestamp, Box<AuditEvent>)>,
    unsynced: bool,
    /// The kernel could not write what it had taken, and does not say so twice: until the next start
    /// reads what is there, nothing is known to be on disk.
    broken: bool,
}

impl Writer {
    /// A writer that goes on where the log ended.
    pub fn new(
        directory: Directory,
        key: Arc<SigningKey>,
        left: Left,
        settings: Settings,
        room: Arc<Room>,
    ) -> Result<Self, AuditError> {
        let (file, handle, end) = match left.file {
            Some((file, end)) => {
                let handle = directory.append(&file)?;
                (file, handle, end)
            }
            None => {
                let (file, handle) = directory.create(left.chain.next)?;
                (file, handle, 0)
            }
        };
        let last =
            rotation::last_time(&file.path, end).map_err(AuditError::at("read", &file.path))?;
        let head = match left.head {
            HeadState::Reached => Some(directory.overwrite(HEAD)?),
            HeadState::New | HeadState::Missing => None, // it comes whole, with the first checkpoint
        };
        let head_beside = directory.overwrite(HEAD_BESIDE)?;
        let file_bytes = settings.file_bytes.max(LEAST_FILE);
        let total_bytes = settings.total_bytes.max(file_bytes * LEAST_FILES);
        let mut writer = Self {
            settings: Settings { file_bytes, total_bytes, ..settings },
            chain: left.chain,
            pending: Vec::new(),
            reserved: end,
            since: 0,
            due: None,
            unsynced: false,
            broken: false,
            directory,
            key,
            room,
            file,
            handle,
            head,
            head_beside,
            end,
            last,
        };
        if let Some(repair) = left.repair {
            tracing::error!(bytes = repair.bytes, kept = %repair.kept, "the audit log was torn");
            writer.pend(What::Repair(repair));
        }
        writer.set_aside();
        if writer.head.is_none() {
            // From here on there is something to hold the end of the log against.
            let path = writer.file.path.clone();
            writer.checkpoint(false).map_err(AuditError::at("begin", &path))?;
        }
        Ok(writer)
    }

    /// Writes what comes until it is told to stop or nobody is left.
    pub fn run(mut self, entries: &Receiver<Entry>) {
        self.flush(Vec::new());
        let mut nobody_waited = false;
        let mut held: Option<Entry> = None;
        loop {
            if nobody_waited {
                thread::park_timeout(GATHER); // whoever waits unparks
            }
            let first = match (held.take(), self.patience()) {
                (Some(held), _) => Ok(held),
                (None, None) => entries.recv().map_err(|_| RecvTimeoutError::Disconnected),
                (None, Some(patience)) => entries.recv_timeout(patience),
            };
            let first = match first {
                Ok(entry) => Some(entry),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return self.checkpoint_or_say(true),
            };
            let mut closing = None;
            let mut batch = Vec::new();
            let mut latest = None;
            for entry in first.into_iter().chain(entries.try_iter()) {
                match entry {
                    // What is written at once is of one file.
                    Entry::Event { time, .. } if is_set_back(time, latest) => {
                        held = Some(entry);
                        break;
                    }
                    Entry::Event { time, event, need, place, waiting } => {
                        latest = latest.max(Some(time));
                        batch.push((time, event, need));
                        drop((place, waiting));
                    }
                    Entry::Close { reply } => closing = Some(reply),
                }
                if closing.is_some() || batch.len() >= BATCH {
                    break;
                }
            }
            nobody_waited = !batch.is_empty()
                && closing.is_none()
                && batch.iter().all(|(.., need)| matches!(need, Need::Nothing));
            self.flush(batch);
            if let Some(reply) = closing {
                self.checkpoint_or_say(true);
                return tell(reply, Ok(()));
            }
            let due = self.due.is_some_and(|due| due <= Instant::now());
            if due || self.since >= CHECKPOINT_RECORDS {
                self.checkpoint_or_say(false);
            }
        }
    }

    /// How long may pass before there is something to do without being asked.
    fn patience(&self) -> Option<Duration> {
        let due = self.due.map(|due| due.saturating_duration_since(Instant::now()));
        let look = self.room.is_closed().then_some(LOOK_AGAIN);
        due.into_iter().chain(look).min()
    }

    /// Writes these, after what waits from before, and answers.
    fn flush(&mut self, mut batch: Vec<(Timestamp, Box<AuditEvent>, Need)>) {
        if self.room.is_closed() {
            self.look_for_room();
        }
        let pending = self.pending.first().map(|(time, _)| *time);
        let next = pending.or(batch.first().map(|(time, ..)| *time));
        let is_set_back = next.is_some_and(|time| is_set_back(time, self.last));
        if self.end >= self.settings.file_bytes || is_set_back {
            self.rotate_or_say();
        }
        if !self.pending.is_empty() {
            let waiting = mem::take(&mut self.pending);
            if let Err(error) = self.append(waiting.iter().map(|(time, event)| (*time, &**event))) {
                self.suspend(&error);
                self.pending = waiting;
            }
        }
        if batch.is_empty() {
            return;
        }
        let result = if self.pending.is_empty() {
            let appended = self.append(batch.iter().map(|(time, event, _)| (*time, &**event)));
            appended.map_err(|error| self.suspend(&error))
        } else {
            Err(()) // in their order or not at all, and why those wait is known
        };
        if result.is_ok() {
            self.set_aside();
        }
        let mut disk = false;
        for (.., need) in &mut batch {
            if let Need::OnDisk { written, .. } = need {
                disk = true;
                if let Some(reply) = written.take() {
                    tell(reply, if result.is_err() { Err(self.reason()) } else { Ok(()) });
                }
            }
        }
        let on_disk = if disk && result.is_ok() { self.sync() } else { Ok(()) };
        let why = |failed: bool, why| if failed { Err(why) } else { Ok(()) };
        for (time, event, need) in batch {
            match need {
                Need::Nothing if result.is_err() && self.pending.len() < MOST_PENDING => {
                    self.pending.push((time, event));
                }
                Need::Nothing if result.is_err() => {
                    tracing::error!(kind = event.what.kind(), "a record is lost for want of room");
                }
                Need::Nothing => {}
                Need::Written(reply) => tell(reply, why(result.is_err(), self.reason())),
                Need::OnDisk { on_disk: reply, .. } => {
                    tell(reply, why(result.is_err() || on_disk.is_err(), self.reason()));
                }
            }
        }
    }

    /// Writes records at the end of the file: all of them, or none.
    fn append<'a>(
        &mut self,
        events: impl Iterator<Item = (Timestamp, &'a AuditEvent)>,
    ) -> io::Result<()> {
        let (mut chain, mut last) = (self.chain, self.last);
        let (mut bytes, mut count) = (Vec::with_capacity(4096), 0);
        for (time, event) in events {
            let time =
                if is_set_back(time, last) { time } else { last.map_or(time, |it| it.max(time)) };
            last = last.max(Some(time));
            let time = show(time);
            let sealed = chain.seal(&time, event)?;
            if self.settings.journal {
                tell_journal(&sealed.line, event);
            }
            bytes.extend_from_slice(&sealed.line);
            count += 1;
        }
        fault::reach(Point::AuditSealed);
        self.put(&bytes)?;
        fault::reach(Point::AuditWritten);
        (self.chain, self.last) = (chain, last);
        self.since += count;
        if self.due.is_none() {
            self.due = Some(Instant::now() + CHECKPOINT_AFTER);
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.handle.write_all_at(bytes, self.end) {
            // What may be there of them is no record. If even this fails the next write covers it, and
            // the next start cuts it.
            if let Err(error) = self.handle.set_len(self.end) {
                tracing::error!(%error, "part of a record may stand at the end of the audit log");
            }
            self.reserved = self.end;
            return Err(error);
        }
        self.end += bytes.len() as u64;
        self.unsynced = true;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Unaudited> {
        if !self.unsynced {
            return Ok(());
        }
        if let Err(error) = self.handle.sync_data() {
            self.broken = true;
            self.suspend(&error);
            return Err(Unaudited::Failing);
        }
        fault::reach(Point::AuditSynced);
        self.unsynced = false;
        Ok(())
    }

    fn checkpoint_or_say(&mut self, closing: bool) {
        if self.since == 0 && !closing {
            self.due = None;
            return;
        }
        if let Err(error) = self.checkpoint(closing) {
            self.due = Some(Instant::now() + CHECKPOINT_AFTER);
            self.suspend(&error);
        }
    }

    /// Signs all that is written, has it on disk and says where it ends.
    fn checkpoint(&mut self, closing: bool) -> io::Result<()> {
        let checkpoint =
            Checkpoint { records: self.since, key: self.key.public().short(), closing };
        let event = What::Checkpoint(checkpoint).about_nobody();
        let mut chain = self.chain;
        let now = clock::timestamp();
        let time = self.last.map_or(now, |last| last.max(now)); // it ends what is before it
        let sealed = chain.seal_checkpoint(&show(time), &event, self.key.pair())?;
        self.put(&sealed.line)?;
        fault::reach(Point::CheckpointWritten);
        (self.chain, self.last) = (chain, Some(time));
        (self.since, self.due) = (0, None);
        if self.settings.journal {
            tell_journal(&sealed.line, &event);
        }
        self.sync().map_err(io::Error::other)?;
        let head = Head::sign(&self.chain, self.key.pair());
        let head = head.to_string();
        match &self.head {
            Some(file) => file.write_all_at(head.as_bytes(), 0)?,
            None => {
                // What is beside comes first: as soon as there is a head, an older one there would count.
                self.head_beside.write_all_at(head.as_bytes(), 0)?;
                self.head_beside.sync_all()?;
                let made = self.directory.replace(HEAD, head.as_bytes(), 0o600);
                let opened = made.and_then(|()| self.directory.overwrite(HEAD));
                self.head = Some(opened.map_err(io::Error::other)?);
            }
        }
        self.head_beside.write_all_at(head.as_bytes(), 0)?;
        fault::reach(Point::HeadWritten);
        self.set_aside();
        Ok(())
    }

    /// Has room for the records of what runs. Without it no new work is let in.
    fn set_aside(&mut self) {
        if self.reserved >= self.end + RESERVE / 2 {
            return;
        }
        let (Ok(from), Ok(length)) = (i64::try_from(self.end), i64::try_from(RESERVE)) else {
            return;
        };
        match fallocate(&self.handle, FallocateFlags::FALLOC_FL_KEEP_SIZE, from, length) {
            Ok(()) => self.reserved = self.end + RESERVE,
            // A file system that can't: its room is found out when it is needed.
            Err(Errno::EOPNOTSUPP) => self.reserved = u64::MAX,
            Err(error) => self.suspend(&error.into()),
        }
    }

    fn look_for_room(&mut self) {
        self.set_aside();
        if self.broken {
            return;
        }
        let has_room = self.reserved >= self.end + RESERVE / 2;
        if has_room && let Some(suspension) = self.room.open() {
            tracing::warn!(refused = suspension.refused, "the audit log has room again");
            self.pend_suspension(suspension);
        }
    }

    /// One record for all of a time in which room came and went.
    fn pend_suspension(&mut self, suspension: Suspension) {
        for (_, event) in &mut self.pending {
            if let What::Suspension(earlier) = &mut event.what {
                earlier.refused += suspension.refused;
                return;
            }
        }
        self.pend(What::Suspension(suspension));
    }

    fn pend(&mut self, what: What) {
        self.pending.push((clock::timestamp(), Box::new(what.about_nobody())));
    }

    fn suspend(&self, error: &io::Error) {
        tracing::error!(%error, "can't write the audit log");
        let full = matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        );
        self.room.close(if full { Unaudited::Full } else { Unaudited::Failing });
    }

    fn reason(&self) -> Unaudited {
        self.room.reason().unwrap_or(Unaudited::Failing)
    }
}

/// Whether the host's clock has been set back since the latest of those that came before.
fn is_set_back(time: Timestamp, latest: Option<Timestamp>) -> bool {
    latest.is_some_and(|latest| latest.duration_since(time) > SET_BACK)
}

fn tell(reply: Reply, result: Result<(), Unaudited>) {
    if reply.send(result).is_err() {
        tracing::debug!("nobody waits for a record any more");
    }
}
