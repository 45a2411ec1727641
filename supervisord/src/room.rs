//! Room on the file system of the state, which all owners fill together: each may keep a part of it, and three of them
//! can keep all. What is kept of executions leaves some to the records, without which nothing ends.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::statvfs::fstatvfs;
use supervisor_api::{ApiError, ControlReport, ErrorCode};

use crate::controls;
use crate::supervisor::storage;

/// What stays free as long as the configuration doesn't say less: a sixteenth of the file system, and half a gibibyte
/// at the most. That is half of what workspaces leave, which lie on it too as the installation makes it, and thousands of
/// records.
pub const USUAL: u64 = 512 << 20;
const SHARE: u64 = 16;

/// Bytes that a small file takes on a disk at the least.
const BLOCK: u64 = 4096;

/// The file system of the state, and what of it stays free.
#[derive(Debug)]
pub struct Room {
    directory: OwnedFd,
    configured: AtomicU64,
}

/// How a file system stands, in bytes.
#[derive(Debug, Clone, Copy)]
struct Standing {
    size: u64,
    free: u64,
    /// What has to be free for another execution.
    stays: u64,
}

impl Room {
    /// That of a directory's file system, of which so many bytes stay free.
    pub const fn new(directory: OwnedFd, stays: u64) -> Self {
        Self { directory, configured: AtomicU64::new(stays) }
    }

    /// So many stay free from now on; 0 is none.
    pub fn leave(&self, stays: u64) {
        self.configured.store(stays, Ordering::Relaxed);
    }

    /// Refuses another execution where less is free.
    pub fn admit(&self) -> Result<(), ApiError> {
        let Standing { size, free, stays } = self.standing().map_err(storage)?;
        if free >= stays {
            return Ok(());
        }
        let problem = format!(
            "the state directory's file system has {free} of {size} bytes left, and executions leave {stays} to records"
        );
        Err(ApiError::new(ErrorCode::StorageFull, problem).with_hint(REMEDY))
    }

    /// Bytes that output and artifacts of what runs already may take: half of what stays free is theirs, so that what
    /// was let in just before is not cut for what came with it.
    pub fn left(&self) -> io::Result<u64> {
        let Standing { free, stays, .. } = self.standing()?;
        Ok(free.saturating_sub(stays / 2))
    }

    /// What of it no execution takes.
    pub fn reserve(&self) -> u64 {
        self.standing().map_or(0, |standing| standing.stays / 2)
    }

    /// Its line among the controls, once half of what keeps it from refusing is taken; and whether it refuses.
    pub fn control(&self) -> Option<(ControlReport, bool)> {
        let Standing { size, free, stays } = self.standing().ok()?;
        if free >= stays.saturating_mul(2) {
            return None;
        }
        let refuses = free < stays;
        let reason = format!(
            "its file system has {free} of {size} bytes left; below {stays} nothing new runs, and below {} output is cut \
             and artifacts are left out",
            stays / 2
        );
        Some((controls::room(refuses, &reason, REMEDY), refuses))
    }

    fn standing(&self) -> io::Result<Standing> {
        let disk = fstatvfs(&self.directory)?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.fragment_size());
        // Without a bound a file system tells no numbers (tmpfs with size=0).
        if disk.blocks() == 0 {
            return Ok(Standing { size: 0, free: u64::MAX, stays: 0 });
        }
        let (size, free) = (bytes(disk.blocks()), bytes(disk.blocks_available()));
        Ok(Standing { size, free, stays: stays(size, self.configured.load(Ordering::Relaxed)) })
    }
}

const REMEDY: &str = "remove executions that have finished (`supervisorctl remove`), or close sessions; an administrator \
    makes room on that file system, or bounds what is kept (`kept_bytes_per_uid`) or what stays free (`state_free_bytes`)";

/// Bytes that a file of this length takes on a disk, about.
pub const fn on_disk(length: u64) -> u64 {
    length.div_ceil(BLOCK).saturating_mul(BLOCK)
}

/// Bytes of a file system of this size that stay free.
fn stays(size: u64, configured: u64) -> u64 {
    (size / SHARE).min(configured)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sixteenth_of_a_small_file_system_stays_free_and_half_a_gibibyte_of_a_large_one() {
        assert_eq!(stays(800 << 20, USUAL), 50 << 20);
        assert_eq!(stays(8 << 30, USUAL), 512 << 20);
        assert_eq!(stays(1 << 40, USUAL), 512 << 20);
        assert_eq!(stays(1 << 40, 0), 0);
    }

    #[test]
    fn a_file_takes_whole_blocks() {
        assert_eq!([0, 1, 4096, 4097].map(on_disk), [0, 4096, 4096, 8192]);
    }
}
