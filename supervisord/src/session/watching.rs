//! Who follows the changes in a session's workspace, and where each of them is.
//!
//! ```text
//! the kernel ──▶ a task for each session ──▶ the last few thousand, numbered ──▶ each follower, at its pace
//! ```
//!
//! The task ends with the session, or some time after the last follower. Numbers begin with the time at
//! which it started, so that a number of an earlier one is known to be too old.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use supervisor_api::{ApiError, ErrorCode, FileChange, FileChangeKind, SessionId};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until};

use super::set::Use;
use crate::elsewhere::Elsewhere;
use crate::pool::{Pool, Share};
use crate::readiness::register;
use crate::supervisor::{Caller, Supervisor, internal};
use crate::workspace::{Change, Watcher};

/// Changes that are kept for who comes back.
const KEPT: usize = 4096;

/// Bytes of their paths.
const KEPT_BYTES: usize = 1 << 20;

/// Workspaces that are watched at once: half of the inotify instances that a host gives one uid by default
/// (fs.inotify.max_user_instances, 128), for the daemon has one uid for all its callers.
const WATCHED: u64 = 64;

/// Of one uid: it can't keep the others from all of them.
const WATCHED_OF_ONE: u64 = 16;

/// Followers of one session at once. Each holds a connection as well, which are bounded for each uid.
const FOLLOWERS: usize = 16;

/// How long watching goes on without anybody, so that who comes back finds what was missed.
const LINGER: Duration = Duration::from_secs(60);

/// Between two looks at what has happened: a payload that changes a file a million times costs no more than
/// twenty looks a second, and equal events become one.
const PACE: Duration = Duration::from_millis(50);

/// The changes of one session, as far as they are kept.
#[derive(Debug)]
pub struct Watching {
    log: Mutex<Log>,
    /// Signalled when there is something new; the value says whether watching goes on.
    goes_on: watch::Sender<bool>,
    followers: AtomicUsize,
}

#[derive(Debug)]
struct Log {
    changes: VecDeque<FileChange>,
    bytes: usize,
    /// The number of the next.
    next: u64,
}

/// The workspaces that are watched, by uid.
#[derive(Debug)]
pub struct Watched(Arc<Pool>);

impl Default for Watched {
    fn default() -> Self {
        Self(Pool::new(WATCHED, WATCHED_OF_ONE, 0))
    }
}

impl Watched {
    /// One more of this uid, if there may be; dropping it says that it is watched no more.
    fn one_more(&self, uid: u32) -> Result<Share, ApiError> {
        self.0.take_of(uid, 1).ok_or_else(|| {
            ApiError::new(ErrorCode::Busy, "too many workspaces are watched").with_hint(format!(
                "{WATCHED_OF_ONE} of one uid and {WATCHED} in all; one goes a minute after its last follower"
            ))
        })
    }
}

/// A workspace that is watched. It is used until nothing of it is open any more.
#[derive(Debug)]
struct Watch {
    watcher: Watcher,
    #[expect(dead_code, reason = "held while it is watched")]
    place: Share,
    guard: Use,
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watcher.as_fd()
    }
}

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.watcher.as_raw_fd()
    }
}

/// Follows the changes in a workspace.
pub struct FileChanges {
    watching: Arc<Watching>,
    /// The number of the next to be told.
    next: u64,
    /// What is told before.
    first: Option<FileChange>,
}

impl Supervisor {
    /// Follows the changes in a session's workspace: those after this number, or from now on.
    pub async fn watch_files(
        &self,
        caller: &Caller,
        id: SessionId,
        since: Option<u64>,
    ) -> Result<FileChanges, ApiError> {
        let (guard, root) = self.enter(caller, id).await?;
        let session = guard.session().clone();
        let mut slot = session.watching.lock().await;
        let there = slot.as_ref().filter(|watching| *watching.goes_on.borrow()).cloned();
        let (watching, beginning) = match there {
            Some(watching) => (watching, Vec::new()),
            None => {
                let place = self.inner().watched.one_more(session.record().owner_uid)?;
                let turn = self.files_turn(&session).await?;
                let owner = session.record().owner_uid;
                let started = spawn_blocking(move || {
                    let started = Watcher::start(root);
                    drop(turn);
                    let watch = |watcher| Elsewhere::new(owner, Watch { watcher, place, guard });
                    started.map(|(watcher, changes)| (watch(watcher), changes))
                });
                let (watcher, changes) = started.await.map_err(internal)?.map_err(|error| {
                    tracing::error!(%error, session = %id, "a workspace can't be watched");
                    let problem = "the host has no room for another watched workspace";
                    ApiError::new(ErrorCode::Busy, problem)
                        .with_hint("fs.inotify.max_user_instances and max_user_watches bound it")
                })?;
                let watching = Arc::new(Watching::new());
                let events = register(watcher, Interest::READABLE).map_err(internal)?;
                tokio::spawn(attend(self.clone(), watching.clone(), events));
                *slot = Some(watching.clone());
                (watching, changes)
            }
        };
        drop(slot);
        if watching.followers.fetch_add(1, Ordering::Relaxed) >= FOLLOWERS {
            watching.followers.fetch_sub(1, Ordering::Relaxed);
            return Err(ApiError::new(
                ErrorCode::Busy,
                "too many follow the files of this session",
            ));
        }
        let follower = FileChanges::new(watching, since);
        follower.watching.note(beginning); // what can't be watched is told as well
        Ok(follower)
    }
}

/// Takes in what happens until the session is closed or nobody has followed for a while.
async fn attend(
    supervisor: Supervisor,
    watching: Arc<Watching>,
    mut events: AsyncFd<Elsewhere<Watch>>,
) {
    let session = events.get_ref().guard.session().clone();
    let mut lonely_since = Instant::now();
    loop {
        let is_followed = watching.followers.load(Ordering::Relaxed) > 0;
        if is_followed {
            lonely_since = Instant::now();
        }
        let happened = tokio::select! {
            biased;
            () = session.closing() => break,
            () = sleep_until(lonely_since + LINGER) => {
                if watching.followers.load(Ordering::Relaxed) == 0 {
                    break;
                }
                continue;
            }
            ready = events.readable() => ready.map(|mut ready| ready.clear_ready()),
        };
        let looked = match happened {
            Err(error) => Err(error),
            Ok(()) => {
                // A look may take long, and others of its owner's come first: what happens meanwhile waits in the kernel.
                let Ok(turn) = supervisor.files_turn(&session).await else { break };
                let mut watcher = events.into_inner();
                let read = spawn_blocking(move || {
                    let changes = watcher.watcher.read();
                    drop(turn);
                    (watcher, changes)
                });
                let Ok((watcher, changes)) = read.await else { break };
                match register(watcher, Interest::READABLE) {
                    Ok(registered) => events = registered,
                    Err(_) => break,
                }
                changes
            }
        };
        match looked {
            Ok(changes) => watching.note(changes),
            Err(error) => {
                tracing::error!(%error, "a workspace can't be watched any more");
                break;
            }
        }
        sleep(PACE).await;
    }
    watching.goes_on.send_replace(false);
}

impl Watching {
    fn new() -> Self {
        let next = u64::try_from(Timestamp::now().as_microsecond()).unwrap_or(1);
        let log = Log { changes: VecDeque::new(), bytes: 0, next };
        Self {
            log: Mutex::new(log),
            goes_on: watch::Sender::new(true),
            followers: AtomicUsize::new(0),
        }
    }

    fn note(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let mut log = self.log();
        for Change { kind, path, to } in changes {
            let change = FileChange { sequence: log.next, kind, path, to };
            log.next += 1;
            log.bytes += weight(&change);
            log.changes.push_back(change);
            while log.changes.len() > KEPT || log.bytes > KEPT_BYTES {
                let Some(oldest) = log.changes.pop_front() else { break };
                log.bytes = log.bytes.saturating_sub(weight(&oldest));
            }
        }
        drop(log);
        self.goes_on.send_modify(|_| {});
    }

    /// Nothing between two changes of it panics, so a poisoned one is whole.
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn weight(change: &FileChange) -> usize {
    change.path.len() + change.to.as_ref().map_or(0, String::len) + size_of::<FileChange>()
}

impl FileChanges {
    fn new(watching: Arc<Watching>, since: Option<u64>) -> Self {
        let now = watching.log().next;
        let first = since.is_none().then(|| FileChange {
            sequence: now - 1,
            kind: FileChangeKind::Watching,
            path: String::new(),
            to: None,
        });
        let next = since.map_or(now, |since| since.saturating_add(1)).min(now);
        Self { watching, next, first }
    }

    /// The next; `None` once the session is closed.
    pub async fn next(&mut self) -> Option<FileChange> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let mut told = self.watching.goes_on.subscribe();
        loop {
            told.borrow_and_update();
            if let Some(change) = self.ahead() {
                return Some(change);
            }
            if !*told.borrow() || told.changed().await.is_err() {
                return None;
            }
        }
    }

    fn ahead(&mut self) -> Option<FileChange> {
        let log = self.watching.log();
        let oldest = log.next.saturating_sub(log.changes.len() as u64);
        if self.next < oldest {
            self.next = oldest;
            let kind = FileChangeKind::Lost;
            return Some(FileChange { sequence: oldest - 1, kind, path: String::new(), to: None });
        }
        let place = usize::try_from(self.next - oldest).ok()?;
        let change = log.changes.get(place).cloned()?;
        self.next += 1;
        Some(change)
    }
}

impl Drop for FileChanges {
    fn drop(&mut self) {
        self.watching.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(path: usize) -> Change {
        Change { kind: FileChangeKind::Created, path: path.to_string(), to: None }
    }

    #[test]
    fn one_uid_has_sixteen_watched_workspaces_and_all_have_sixty_four() {
        let watched = Watched::default();
        let take = |uid| (0..WATCHED_OF_ONE).map(move |_| uid);
        let mut held: Vec<Share> = take(1).map(|uid| watched.one_more(uid).unwrap()).collect();
        assert_eq!(watched.one_more(1).unwrap_err().code, ErrorCode::Busy);
        for uid in 2..=4 {
            held.extend(take(uid).map(|uid| watched.one_more(uid).unwrap()));
        }
        assert_eq!(watched.one_more(5).unwrap_err().code, ErrorCode::Busy);
        held.pop();
        held.push(watched.one_more(5).unwrap());
        drop(held);
        assert_eq!(watched.0.in_use(), 0);
    }

    #[tokio::test]
    async fn who_comes_back_goes_on_where_it_was_or_hears_that_something_is_lost() {
        let watching = Arc::new(Watching::new());
        let mut follower = FileChanges::new(watching.clone(), None);
        let begun = follower.next().await.unwrap();
        assert_eq!(begun.kind, FileChangeKind::Watching);
        watching.note((0..3).map(created).collect());
        let mut back = FileChanges::new(watching.clone(), Some(begun.sequence + 1));
        let paths = [back.next().await.unwrap(), back.next().await.unwrap()];
        assert_eq!(paths.map(|change| change.path), ["1", "2"]);
        watching.note((0..=KEPT).map(created).collect());
        for (since, first) in [(0, None), (begun.sequence, None), (u64::MAX, Some(()))] {
            let mut late = FileChanges::new(watching.clone(), Some(since));
            if first.is_none() {
                let lost = late.next().await.unwrap();
                assert_eq!(lost.kind, FileChangeKind::Lost);
                assert_eq!(late.next().await.unwrap().sequence, lost.sequence + 1);
            } else {
                assert_eq!(late.ahead(), None, "what is ahead of all is now");
            }
        }
        watching.goes_on.send_replace(false);
        let mut last = FileChanges::new(watching, None);
        last.next().await.unwrap();
        assert_eq!(last.next().await, None);
    }
}
