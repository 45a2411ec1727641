//! The store of one execution's artifacts: a directory of the daemon's own, in which each file has
//! its sequence number for a name, never one that the payload chose.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write as _};
use std::os::fd::BorrowedFd;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};
use sha2::{Digest as _, Sha256};

use super::beneath;
use super::media::HEAD_BYTES;
use super::refusal::{Obstacle, Refusal, failure};

/// Bytes read at once: large enough that the system calls don't count.
pub(super) const BUFFER_BYTES: usize = 64 * 1024;

/// What was kept of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// SHA-256 of the bytes in the store, in hexadecimal.
    pub(super) sha256: String,
    /// The first [`HEAD_BYTES`] of them.
    pub(super) head: Vec<u8>,
}

/// Opens an artifact for reading by its place in the list of artifacts, counted from 0.
pub fn open_artifact(store: BorrowedFd<'_>, index: usize) -> io::Result<File> {
    let name = index.to_string();
    let opened = beneath::open(store, name.as_str(), OFlag::O_RDONLY, Mode::empty());
    opened.map(File::from).map_err(|error| failure(format!("opening artifact {index}"), error))
}

/// Copies a file of `size` bytes into the store as number `index`, durably except for its name:
/// [`sync_names`] comes once after all of them. A file that is refused leaves nothing behind.
pub(super) fn keep(
    store: BorrowedFd<'_>,
    index: usize,
    source: &mut impl Read,
    size: u64,
    buffer: &mut [u8],
) -> Result<Kept, Obstacle> {
    let name = index.to_string();
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
    let failed = |what| move |error| Obstacle::failed(format!("{what} artifact {index}"), error);
    let target = beneath::open(store, name.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR);
    let mut target = File::from(target.map_err(|error| failed("creating")(error.into()))?);
    match copy(source, &mut target, size, buffer) {
        Ok(kept) => {
            target.sync_all().map_err(failed("syncing"))?;
            Ok(kept)
        }
        Err(Stopped::Source(refusal)) => {
            unlinkat(store, name.as_str(), UnlinkatFlags::NoRemoveDir)
                .map_err(|error| failed("removing the half of")(error.into()))?;
            Err(refusal.into())
        }
        Err(Stopped::Target(error)) => Err(failed("writing")(error)),
    }
}

/// Makes the names in the store durable.
pub(super) fn sync_names(store: BorrowedFd<'_>) -> Result<(), Obstacle> {
    let failed = |error| Obstacle::failed("syncing the store of artifacts", error);
    let directory = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let opened = beneath::open(store, ".", directory, Mode::empty());
    let opened = File::from(opened.map_err(|error| failed(error.into()))?);
    opened.sync_all().map_err(failed)
}

enum Stopped {
    Source(Refusal),
    Target(io::Error),
}

/// Copies exactly `size` bytes. One byte more is asked for, to see that there is none.
fn copy(
    source: &mut impl Read,
    target: &mut File,
    size: u64,
    buffer: &mut [u8],
) -> Result<Kept, Stopped> {
    let mut digest = Sha256::new();
    let mut head = Vec::new();
    let mut left = size;
    loop {
        let wanted = usize::try_from(left.saturating_add(1)).unwrap_or(usize::MAX);
        let wanted = wanted.min(buffer.len());
        let room = buffer.get_mut(..wanted).unwrap_or_default();
        let read = match source.read(room) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return Err(Stopped::Source(Refusal::Unreadable)),
        };
        let bytes = room.get(..read).unwrap_or_default();
        let Some(rest) = left.checked_sub(bytes.len() as u64) else {
            return Err(Stopped::Source(Refusal::Changed));
        };
        if bytes.is_empty() {
            break;
        }
        left = rest;
        digest.update(bytes);
        target.write_all(bytes).map_err(Stopped::Target)?;
        head.extend(bytes.iter().take(HEAD_BYTES - head.len()));
    }
    if left > 0 {
        return Err(Stopped::Source(Refusal::Changed));
    }
    Ok(Kept { sha256: hexadecimal(&digest.finalize()), head })
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    fn keep_in(store: &tempfile::TempDir, bytes: &[u8], size: u64) -> Result<Kept, Obstacle> {
        let store = File::open(store.path()).unwrap();
        keep(store.as_fd(), 0, &mut &*bytes, size, &mut [0; 4])
    }

    #[test]
    fn an_artifact_is_stored_under_its_number_with_the_digest_of_what_was_stored() {
        let store = tempfile::tempdir().unwrap();
        let kept = keep_in(&store, b"hello world", 11).unwrap();
        assert_eq!(kept.sha256, "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9");
        assert_eq!(kept.head, b"hello world");
        let mut text = String::new();
        let directory = File::open(store.path()).unwrap();
        open_artifact(directory.as_fd(), 0).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello world");
        assert_eq!(open_artifact(directory.as_fd(), 1).unwrap_err().kind(), ErrorKind::NotFound);
        sync_names(directory.as_fd()).unwrap();
    }

    #[test]
    fn a_file_that_grows_or_shrinks_while_it_is_read_is_refused_and_leaves_nothing() {
        for size in [0, 3, 4, 10, 12, 1 << 40] {
            let store = tempfile::tempdir().unwrap();
            let refused = keep_in(&store, b"hello world", size).unwrap_err();
            assert!(matches!(refused, Obstacle::Refused(Refusal::Changed)), "{size}");
            assert_eq!(std::fs::read_dir(store.path()).unwrap().count(), 0, "{size}");
        }
    }

    #[test]
    fn a_store_that_is_not_empty_is_not_overwritten() {
        let store = tempfile::tempdir().unwrap();
        std::fs::write(store.path().join("0"), "old").unwrap();
        assert!(matches!(keep_in(&store, b"new", 3), Err(Obstacle::Failed(_))));
        assert_eq!(std::fs::read(store.path().join("0")).unwrap(), b"old");
    }
}
