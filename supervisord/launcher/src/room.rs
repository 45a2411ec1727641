//! Room that workspaces leave on the file system that they are on.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::statvfs::fstatvfs;

use crate::failure::tell;

/// What stays free: an eighth of the file system, and 1 GiB at the most. The daemon's records and outputs lie on
/// the same one by default, and without room for them nobody's end can be recorded. An eighth is half of what one
/// owner may keep on a small disk; 1 GiB is thousands of executions, and time to make more room.
const SHARE: u64 = 8;
const MOST: u64 = 1 << 30;

/// Whether workspaces may take more.
#[derive(Debug, Default)]
pub struct Room {
    /// That there is none was said, and has not changed since.
    is_told: bool,
}

impl Room {
    /// Refuses a workspace of so many bytes that would leave less, as a full file system does. We have one thread,
    /// so nobody of ours makes another between this and its making.
    pub fn leave(&mut self, directory: impl AsFd, bytes: u64) -> io::Result<()> {
        let disk = fstatvfs(directory)?;
        if disk.blocks() == 0 {
            return Ok(()); // without a bound it tells no numbers (tmpfs with size=0)
        }
        let unit = disk.fragment_size();
        // Without what is reserved for root, which the daemon can't have.
        let (size, free) = (disk.blocks() * unit, disk.blocks_available() * unit);
        let stays = reserve(size);
        let fits = bytes.checked_add(stays).is_some_and(|needed| needed <= free);
        if !fits && !self.is_told {
            tell(format_args!(
                "no workspace of {bytes} bytes is made: {free} of the {size} bytes of their file system are free, \
                 and {stays} stay so"
            ));
        }
        self.is_told = !fits;
        if fits { Ok(()) } else { Err(Errno::ENOSPC.into()) }
    }
}

/// Bytes of a file system of this size that stay free.
fn reserve(size: u64) -> u64 {
    (size / SHARE).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_eighth_of_a_small_file_system_stays_free_and_a_gibibyte_of_a_large_one() {
        assert_eq!(reserve(800 << 20), 100 << 20);
        assert_eq!(reserve(8 << 30), 1 << 30);
        assert_eq!(reserve(1 << 40), 1 << 30);
    }

    #[test]
    fn what_would_leave_less_is_refused_as_by_a_full_disk() {
        let directory = tempfile::tempdir().unwrap();
        let opened = std::fs::File::open(directory.path()).unwrap();
        let disk = fstatvfs(&opened).unwrap();
        for bytes in [disk.blocks_available() * disk.fragment_size(), u64::MAX] {
            let refused = Room::default().leave(&opened, bytes).unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(Errno::ENOSPC as i32));
        }
    }
}
