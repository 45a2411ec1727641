//! Who watches files (inotify(7)), where memory is watched by looking at processes: none of them shows the events that
//! wait to be read, nor the files that stay in the kernel's memory for as long as they are watched. The user namespace's
//! own numbers bound both (Documentation/admin-guide/sysctl/user.rst).

use std::fs::{read_to_string, write};
use std::io::{self, ErrorKind};

use supervisor_launch::{Setup, Step};
use supervisor_sys::without;

use crate::failure::{Failed, at};

/// All events that wait have this part of the memory limit at the most, and all files that are watched another one.
/// Each comes on top of it.
const PART: u64 = 8;

/// Bytes of an event that waits: 32 of the kernel's own and a name of 255, as its allocator rounds them.
const EVENT: u64 = 512;

/// Bytes of a file that is watched: the mark, and the inode and the name that can't go before it. A kilobyte and a half
/// on ext4.
const WATCH: u64 = 2048;

/// Writes the bounds into the user namespace that was just made, where nothing else counts what they are about.
pub fn bound(setup: &Setup) -> Result<(), Failed> {
    if !setup.limit_memory || without("watch-limit") {
        return Ok(());
    }
    at(Step::SetRlimits, write_bounds(setup.limits.memory_max / PART))
}

fn write_bounds(bytes: u64) -> io::Result<()> {
    let events = match read_to_string("/proc/sys/fs/inotify/max_queued_events") {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()), // the kernel has no such watchers
        text => text?.trim().parse::<u64>().map_err(io::Error::other)?,
    };
    // One at the least: what most programs that watch anything have.
    let queues = (bytes / events.saturating_mul(EVENT).max(1)).max(1);
    write("/proc/sys/user/max_inotify_instances", queues.min(MOST).to_string())?;
    write("/proc/sys/user/max_inotify_watches", (bytes / WATCH).min(MOST).to_string())
}

/// What the kernel takes for either number.
const MOST: u64 = i32::MAX as u64;
