//! System V shared memory and semaphores, where memory is watched by looking at processes: a segment that nobody
//! has attached shows in none, nor does what the kernel keeps of semaphores. The ipc namespace's own numbers
//! bound both (Documentation/admin-guide/sysctl/kernel.rst). Root of a user namespace may set them in newer kernels
//! only; where it can't, there is neither.

use std::fs::{read_to_string, write};
use std::io;

use nix::unistd::{SysconfVar, sysconf};
use supervisor_launch::Setup;
use supervisor_sys::without;

/// All segments together have this part of the memory limit: what nobody has attached comes on top of it.
/// Programs of today that share much use /dev/shm, which has a size of its own.
const PART: u64 = 8;

/// Segments. The kernel has some kilobytes of its own for each.
const SEGMENTS: &str = "256";

/// Semaphores in a set, in all, operations in one call, and sets: with 64 bytes for each they take 2 MiB. It is what
/// databases ask for in their manuals, and Linux's own number for all until 3.19; since then there can be 64 GiB of them.
const SEMAPHORES: &str = "250 32000 100 128";

/// Writes the bounds into the namespace that was just made, and says whether they hold: where nothing else counts
/// what they are about they have to.
pub fn bound(setup: &Setup) -> bool {
    if !setup.limit_memory || without("segment-limit") || without("ipc-namespace") {
        return true;
    }
    let Ok(Some(page)) = sysconf(SysconfVar::PAGE_SIZE) else { return false };
    let pages = (setup.limits.memory_max / PART).checked_div(page as u64).unwrap_or_default();
    let numbers = [("shmall", &*pages.to_string()), ("shmmni", SEGMENTS), ("sem", SEMAPHORES)];
    numbers.iter().all(|(name, numbers)| set(name, numbers).unwrap_or(false))
}

/// Whether it is read back as it was written.
fn set(name: &str, numbers: &str) -> io::Result<bool> {
    let path = format!("/proc/sys/kernel/{name}");
    write(&path, numbers)?;
    Ok(read_to_string(&path)?.split_whitespace().eq(numbers.split(' ')))
}
