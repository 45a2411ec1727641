//! Host ids: one range for each live sandbox. Ranges that were used before go first, so that the
//! id maps made for them serve again; among those, the one that was free the longest.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc::O_NOFOLLOW;
use supervisor_launch::{
    BLOCK_LOCKS, BLOCKS, IDS_PER_SANDBOX, MAX_SANDBOXES, first_id, used_blocks,
};
use supervisor_sys::{lock_first_free, without};

/// A range of host ids that one sandbox has to itself. It goes back with [`Ids::give_back`], and
/// only once nothing runs under it.
#[derive(Debug, PartialEq, Eq)]
pub struct Range {
    slot: u32,
    first: u32,
}

impl Range {
    /// The host id of the sandbox's init.
    pub fn init(&self) -> u32 {
        self.first
    }

    /// The host id of the payload.
    pub fn payload(&self) -> u32 {
        self.init() + 1
    }
}

/// The free ranges.
pub struct Ids {
    first: u32,
    used_before: VecDeque<u32>,
    never_used: u32,
    /// Keeps other launchers away from our block.
    _block: Option<OwnedFd>,
}

impl Ids {
    /// The ids of the block that begins with `first`, which whoever started us has locked.
    pub fn of(first: u32) -> Self {
        Self { first, used_before: VecDeque::new(), never_used: 0, _block: None }
    }

    /// A block that no other launcher has.
    pub fn claim() -> io::Result<Self> {
        Self::claim_by(Path::new(BLOCK_LOCKS))
    }

    /// Of a launcher that was killed, sandboxes may not quite be dead: their block is passed over.
    fn claim_by(locks: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).mode(0o600);
        let file = OwnedFd::from(options.custom_flags(O_NOFOLLOW).open(locks)?);
        let used = used_blocks()?;
        let block = lock_first_free(file.as_fd(), BLOCKS, |block| !used.contains(&block))?
            .ok_or_else(|| io::Error::other("every block of ids is taken"))?;
        Ok(Self { _block: Some(file), ..Self::of(first_id(block)) })
    }

    /// Takes a free range.
    pub fn take(&mut self) -> Option<Range> {
        let slot = match self.used_before.pop_front() {
            Some(slot) => slot,
            None if self.never_used < MAX_SANDBOXES => {
                self.never_used += 1;
                self.never_used - 1
            }
            None => return None,
        };
        if without("host-ids") {
            return Some(Range { slot, first: self.first + IDS_PER_SANDBOX });
        }
        // The first few of a block are the daemon's.
        Some(Range { slot, first: self.first + (slot + 1) * IDS_PER_SANDBOX })
    }

    /// Gives a range back.
    pub fn give_back(&mut self, range: Range) {
        self.used_before.push_back(range.slot);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use supervisor_launch::{FIRST_ID, IDS_PER_BLOCK};

    use super::*;

    #[test]
    fn the_ids_of_a_process_that_still_runs_are_not_given_out_again() {
        let locks = tempfile::NamedTempFile::new().unwrap();
        let free = Ids::claim_by(locks.path()).unwrap();
        let block = (free.first - FIRST_ID) / IDS_PER_BLOCK;
        let payload = Ids::of(free.first).take().unwrap().payload();
        drop(free); // as when its launcher is killed
        let mut left = Command::new("sleep").arg("1000").uid(payload).spawn().unwrap();
        let next = Ids::claim_by(locks.path()).unwrap();
        left.kill().unwrap();
        left.wait().unwrap();
        assert_ne!(next.first, first_id(block));
    }

    #[test]
    fn no_two_live_sandboxes_share_an_id() {
        let mut ids = Ids::of(supervisor_launch::FIRST_ID);
        let ranges: Vec<Range> = (0..MAX_SANDBOXES).filter_map(|_| ids.take()).collect();
        assert!(ids.take().is_none());
        for pair in ranges.windows(2) {
            assert!(pair[0].payload() < pair[1].init());
        }
    }

    #[test]
    fn a_range_that_came_back_first_goes_out_first() {
        let mut ids = Ids::of(supervisor_launch::FIRST_ID);
        let (first, second) = (ids.take().unwrap(), ids.take().unwrap());
        ids.give_back(second);
        ids.give_back(first);
        assert_eq!(ids.take().unwrap().slot, 1);
        assert_eq!(ids.take().unwrap().slot, 0);
    }
}
