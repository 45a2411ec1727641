//! SHA-256 of files that are kept: taken once for as long as a file stays as it is, so that what is read of it piece by
//! piece is held against its record each time, and read as a whole the first time only.
//!
//! A file is the same as long as its device, inode and length, and the times of its last change that the file system
//! writes down, are. Whoever changes a file changes the time of its last status change, which nobody can set. What
//! a disk changes beneath it changes no time: that is found by the first reading of each daemon.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};
use supervisor_api::Digest32;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use crate::in_turn::InTurn;

/// Files whose digests are remembered: half a megabyte of memory. What is forgotten is read once more.
const MOST: usize = 4096;

/// How old the last change of a file has to be, so that one after it has another time: file systems write down the time
/// of the kernel's last tick, which comes each hundredth of a second at the latest, and the coarsest of them whole seconds.
const SETTLED: Duration = Duration::from_secs(2);

/// Bytes that are digested before the thread is given back: some hundredths of a second.
const TURN: u64 = 8 << 20;

/// Bytes that are read at a time.
const BUFFER: u64 = 64 << 10;

/// Files that are read at once, and of one uid: of two processors one is left to others.
const AT_ONCE: usize = 4;
const OF_ONE: usize = 1;

/// What is the same as long as a file stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Identity {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Digests of files, of which those that come together wait for one reading.
#[derive(Debug)]
pub struct Digests {
    known: Mutex<Known>,
    turns: InTurn,
}

impl Default for Digests {
    fn default() -> Self {
        Self { known: Mutex::default(), turns: InTurn::new(AT_ONCE, OF_ONE) }
    }
}

#[derive(Debug, Default)]
struct Known {
    digests: HashMap<Identity, Arc<OnceCell<Digest32>>>,
    /// In which order they came; what is forgotten goes first.
    order: VecDeque<Identity>,
}

impl Digests {
    /// The digest of a file of this uid's that nobody writes to.
    pub async fn of(&self, owner: u32, file: &File) -> io::Result<Digest32> {
        let before = file.metadata()?;
        let identity = Identity::of(&before);
        let known = self.known(identity);
        let read = async || {
            let turn = self.turns.turn(owner).await.map_err(io::Error::other)?;
            digest(file, turn).await
        };
        let digest = *known.get_or_try_init(read).await?;
        if !is_settled(&before, SystemTime::now()) || Identity::of(&file.metadata()?) != identity {
            self.forget(&identity);
        }
        Ok(digest)
    }

    fn known(&self, identity: Identity) -> Arc<OnceCell<Digest32>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(digest) = known.digests.get(&identity) {
            return digest.clone();
        }
        if known.order.len() >= MOST
            && let Some(oldest) = known.order.pop_front()
        {
            known.digests.remove(&oldest);
        }
        known.order.push_back(identity);
        known.digests.entry(identity).or_default().clone()
    }

    fn forget(&self, identity: &Identity) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.digests.remove(identity).is_some() {
            known.order.retain(|each| each != identity);
        }
    }
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Whether a change from now on has another time than the last one. One from times to come, of a clock that was set
/// back, differs from any.
fn is_settled(metadata: &Metadata, now: SystemTime) -> bool {
    let changed = Duration::new(
        metadata.ctime().try_into().unwrap_or_default(),
        metadata.ctime_nsec().try_into().unwrap_or_default(),
    );
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.abs_diff(changed) > SETTLED
}

/// SHA-256 of all of a file. The turn is kept for as long as a thread is occupied, whether anybody waits for it or not.
pub async fn digest(file: &File, mut turn: impl Send + 'static) -> io::Result<Digest32> {
    let length = file.metadata()?.len();
    let file = Arc::new(file.try_clone()?);
    let (mut digest, mut at) = (Sha256::new(), 0);
    while at < length {
        let (file, to) = (Arc::clone(&file), length.min(at + TURN));
        let taken = spawn_blocking(move || (take(digest, &file, at, to), turn)).await?;
        turn = taken.1;
        digest = taken.0?;
        at = to;
    }
    Ok(Digest32(digest.finalize().into()))
}

fn take(mut digest: Sha256, file: &File, mut at: u64, to: u64) -> io::Result<Sha256> {
    let mut buffer = vec![0; BUFFER.min(to - at) as usize];
    while at < to {
        let size = BUFFER.min(to - at);
        let piece = buffer.get_mut(..size as usize).unwrap_or_default();
        file.read_exact_at(piece, at)?;
        digest.update(&*piece);
        at += size;
    }
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let file = tempfile::tempfile().expect("there is room");
        file.write_all_at(bytes, 0).expect("there is room");
        file
    }

    fn known_digests(digests: &Digests) -> usize {
        let known = digests.known.lock().expect("nobody failed");
        assert_eq!(known.digests.len(), known.order.len());
        known.order.len()
    }

    #[tokio::test]
    async fn what_was_changed_at_the_same_length_has_another_digest() {
        let (digests, file) = (Digests::default(), file(&[b'x'; 100_000]));
        let digest = digests.of(1000, &file).await.expect("it is read");
        assert_eq!(digest, Digest32::of(&[b'x'; 100_000]));
        file.write_all_at(b"y", 50_000).expect("it is written");
        assert_ne!(digests.of(1000, &file).await.expect("it is read"), digest);
        assert_eq!(known_digests(&digests), 0, "it has just been changed");
    }

    #[test]
    fn a_change_counts_as_seen_when_the_next_one_has_another_time() {
        let changed = file(b"x").metadata().expect("it is there");
        let at = SystemTime::UNIX_EPOCH
            + Duration::new(changed.ctime() as u64, changed.ctime_nsec() as u32);
        assert!(!is_settled(&changed, at));
        assert!(!is_settled(&changed, at + SETTLED));
        assert!(is_settled(&changed, at + SETTLED * 2));
        assert!(is_settled(&changed, at - SETTLED * 2), "the clock was set back");
    }

    #[test]
    fn so_many_are_remembered_and_the_first_is_forgotten_for_one_more() {
        let digests = Digests::default();
        let identity =
            |inode| Identity { device: 1, inode, length: 1, modified: (0, 0), changed: (0, 0) };
        let all = 0..MOST as u64 + 1;
        let kept: Vec<_> = all.clone().map(|inode| digests.known(identity(inode))).collect();
        assert_eq!(known_digests(&digests), MOST);
        let is_kept =
            |inode: u64| Arc::ptr_eq(&kept[inode as usize], &digests.known(identity(inode)));
        assert!(all.skip(1).all(is_kept));
        digests.forget(&identity(7));
        assert_eq!(known_digests(&digests), MOST - 1);
        assert!(!is_kept(0));
    }
}
