//! Work that keeps one of the daemon's fifty threads for blocking work for long, shared out among uids: what
//! writes output and reads files for everybody else needs the rest of them.

use std::sync::Arc;

use supervisor_api::{ApiError, ErrorCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::in_turn::{InTurn, Piece};
use crate::pool::{Pool, Share};
use crate::supervisor::{Caller, internal};

/// Archives that are packed and unpacked at once. Each has its thread until its caller has sent or taken all
/// of it, at a pace that its caller chooses (`session::pace`): four uids have to conspire to keep the others from them.
const ARCHIVES: u64 = 8 + ADMIN_ARCHIVES;

/// Archives of one uid.
const ARCHIVES_OF_ONE: u64 = 2;

/// Archives that only administrators get.
const ADMIN_ARCHIVES: u64 = 1;

/// Workspaces that are copied, or applied to others, at once. No caller sets the pace of one.
const COPIES: usize = 4;

/// Searches of the audit log at once. Each looks at 32 MiB at the most; the others wait, in the order in which
/// they came.
const SEARCHES: usize = 4;

/// Searches of one uid, those that wait among them: a caller waits for four of each other one at the most.
const SEARCHES_OF_ONE: u64 = 4;

/// Calls at once that do something to the files of sessions, follow them or tell of them, each piece of a file that is put
/// among them for itself. A directory of a million
/// names takes a second, and a file that is moved to another directory as long as a copy of it.
const FILES: usize = 8;

/// Looks at once into workspaces in which an execution begins or has ended: for what it changed, and for its artifacts.
/// Each takes half a minute at the most, and what it reads and copies besides.
const LOOKS: usize = 8;

/// Submissions at once whose files are put into sessions, each of another uid: none waits for anybody's look.
const WRITES: usize = 4;

/// Calls at once that have to do with files in the state directory: submissions of which something is kept before they
/// are recorded, and artifacts that are opened.
const NOTES: usize = 4;

/// Of each, of one uid; its others wait.
const OF_ONE: usize = 2;

/// What is under way.
#[derive(Debug)]
pub struct Threads {
    archives: Arc<Pool>,
    copies: InTurn,
    asked: Arc<Pool>,
    searches: Arc<Semaphore>,
    files: InTurn,
    looks: InTurn,
    writes: InTurn,
    notes: InTurn,
}

/// A search that may be made; dropping it lets the next one in.
#[derive(Debug)]
pub struct Search {
    _share: Share,
    _permit: OwnedSemaphorePermit,
}

impl Default for Threads {
    fn default() -> Self {
        Self {
            archives: Pool::new(ARCHIVES, ARCHIVES_OF_ONE, ADMIN_ARCHIVES),
            copies: InTurn::new(COPIES, OF_ONE),
            asked: Pool::new(u64::MAX, SEARCHES_OF_ONE, 0),
            searches: Arc::new(Semaphore::new(SEARCHES)),
            files: InTurn::new(FILES, OF_ONE),
            looks: InTurn::new(LOOKS, OF_ONE),
            writes: InTurn::new(WRITES, 1),
            notes: InTurn::new(NOTES, OF_ONE),
        }
    }
}

impl Threads {
    /// One more archive of this caller's, if there may be.
    pub fn archive(&self, caller: &Caller) -> Result<Share, ApiError> {
        self.archives.take(caller, 1).ok_or_else(too_many_archives)
    }

    /// One more copy of a workspace of this uid's, when it is its turn.
    pub async fn copy(&self, uid: u32) -> Result<Piece, ApiError> {
        self.copies.turn(uid).await
    }

    /// One more call about files of this uid's, when it is its turn.
    pub async fn files(&self, uid: u32) -> Result<Piece, ApiError> {
        self.files.turn(uid).await
    }

    /// One more look into the workspace of an execution of this uid's, when it is its turn.
    pub async fn look(&self, uid: u32) -> Result<Piece, ApiError> {
        self.looks.turn(uid).await
    }

    /// One more submission of this uid's whose files are put into a session, when it is its turn.
    pub async fn write(&self, uid: u32) -> Result<Piece, ApiError> {
        self.writes.turn(uid).await
    }

    /// One more call of this uid's that has to do with files in the state directory, when it is its turn.
    pub async fn note(&self, uid: u32) -> Result<Piece, ApiError> {
        self.notes.turn(uid).await
    }

    /// One more search, when those before it have been made.
    pub async fn search(&self, caller: &Caller) -> Result<Search, ApiError> {
        let share = self.asked.take(caller, 1).ok_or_else(|| {
            let problem = format!("{SEARCHES_OF_ONE} searches of uid {} are under way", caller.uid);
            ApiError::new(ErrorCode::Busy, problem).with_hint("try again when one is done")
        })?;
        let permit = self.searches.clone().acquire_owned().await.map_err(internal)?;
        Ok(Search { _share: share, _permit: permit })
    }
}

/// The refusal of one archive too many.
fn too_many_archives() -> ApiError {
    ApiError::new(ErrorCode::Busy, "too many archives are being packed or unpacked")
        .with_hint("two of yours at a time; try again when one is done")
}

#[cfg(test)]
mod tests {
    use tokio::task::yield_now;

    use super::*;
    use crate::supervisor::Role;

    fn agent(uid: u32) -> Caller {
        Caller { uid, role: Role::Agent }
    }

    #[test]
    fn one_uid_has_two_archives_and_four_have_all_but_an_administrator_s() {
        let threads = Threads::default();
        let mut held = Vec::new();
        for uid in 1..=4 {
            held.extend([
                threads.archive(&agent(uid)).unwrap(),
                threads.archive(&agent(uid)).unwrap(),
            ]);
            assert_eq!(threads.archive(&agent(uid)).unwrap_err().code, ErrorCode::Busy);
        }
        assert_eq!(threads.archive(&agent(5)).unwrap_err().code, ErrorCode::Busy);
        let root = Caller { uid: 0, role: Role::Admin };
        let of_root = threads.archive(&root).unwrap();
        assert_eq!(threads.archive(&root).unwrap_err().code, ErrorCode::Busy);
        drop((of_root, held.pop()));
        assert!(threads.archive(&agent(5)).is_ok());
    }

    #[tokio::test]
    async fn archives_that_are_taken_slowly_keep_nobody_from_copies_and_copies_come_in_turn() {
        let threads = Arc::new(Threads::default());
        let _slow: Vec<_> = (1..=4)
            .flat_map(|uid| {
                [threads.archive(&agent(uid)).unwrap(), threads.archive(&agent(uid)).unwrap()]
            })
            .collect();
        let first = [threads.copy(1).await.unwrap(), threads.copy(1).await.unwrap()];
        let ask = |uid| {
            let threads = threads.clone();
            tokio::spawn(async move { threads.copy(uid).await.map(drop) })
        };
        let third = ask(1);
        yield_now().await;
        assert!(!third.is_finished(), "two of one uid at a time");
        ask(5).await.unwrap().unwrap();
        drop(first);
        third.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_uid_that_searches_without_end_is_refused_and_others_wait_for_four_of_its_searches() {
        let threads = Threads::default();
        let mut first = Vec::new();
        for _ in 0..SEARCHES {
            first.push(threads.search(&agent(1)).await.unwrap());
        }
        let refused = threads.search(&agent(1)).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Busy);
        let threads = Arc::new(threads);
        let other = tokio::spawn({
            let threads = threads.clone();
            async move { threads.search(&agent(2)).await.map(drop) }
        });
        yield_now().await;
        assert!(!other.is_finished(), "it waits for a thread");
        drop(first.pop());
        other.await.unwrap().unwrap();
        assert!(threads.search(&agent(1)).await.is_ok());
    }
}
