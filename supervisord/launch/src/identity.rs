//! Host ids of sandboxes. They come from a range that systemd's table of ids leaves unused
//! (1879048192–2147483647), so no account of the host has one of them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

/// The first id of the first block. Each launcher has a block of its own, see [`IDS_PER_BLOCK`].
pub const FIRST_ID: u32 = 0x7000_0000;

/// Host ids set aside for each live sandbox: one for init, one for the payload, the rest to spare.
pub const IDS_PER_SANDBOX: u32 = 16;

/// Live sandboxes of one launcher at the most. A record in the launcher is about a kilobyte and a
/// dozen descriptors; 1,024 of them stay below the usual hard limit of 524,288 descriptors by far.
pub const MAX_SANDBOXES: u32 = 1024;

/// Ids of one launcher: the first is for a daemon that has no account of its own, and after the first
/// [`IDS_PER_SANDBOX`] come those of its sandboxes.
pub const IDS_PER_BLOCK: u32 = IDS_PER_SANDBOX * (MAX_SANDBOXES + 1);

/// Blocks that the range has room for.
pub const BLOCKS: u32 = 16_000;

/// The file whose bytes are locked, one for each block in use. It lies where only root writes.
pub const BLOCK_LOCKS: &str = "/run/supervisor-launcher.ids";

/// The first id of a block.
pub const fn first_id(block: u32) -> u32 {
    FIRST_ID + block * IDS_PER_BLOCK
}

/// Blocks of which a process that we can see has a sandbox's id.
pub fn used_blocks() -> io::Result<BTreeSet<u32>> {
    let mut used = BTreeSet::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let is_process = entry.file_name().as_bytes().iter().all(u8::is_ascii_digit);
        // One that has ended since then has no owner to tell.
        if is_process && let Ok(process) = entry.metadata() {
            used.extend(sandbox_block(process.uid()));
        }
    }
    Ok(used)
}

/// The block of which this is a sandbox's id.
fn sandbox_block(id: u32) -> Option<u32> {
    let place = id.checked_sub(FIRST_ID)?;
    let block = place / IDS_PER_BLOCK;
    (block < BLOCKS && place % IDS_PER_BLOCK >= IDS_PER_SANDBOX).then_some(block)
}

/// The `RLIMIT_CORE` of everything in a sandbox. 0 forbids files only: where the host collects dumps
/// (`core_pattern` begins with `|`), the kernel would start the collector, as root and outside, and let it
/// read what the payload has made of its memory. At 1 it starts nothing and writes nothing.
pub const NO_DUMP: u64 = 1;

/// What init is called inside the sandbox.
pub const INIT_ID: u32 = 0;

/// What the payload is called inside the sandbox.
pub const PAYLOAD_ID: u32 = 1000;

const _: () = assert!(BLOCKS < (0x8000_0000 - FIRST_ID) / IDS_PER_BLOCK);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_s_own_ids_are_no_sandbox_s() {
        assert_eq!(sandbox_block(first_id(3)), None);
        assert_eq!(sandbox_block(first_id(3) + IDS_PER_SANDBOX), Some(3));
        assert_eq!(sandbox_block(first_id(4) - 1), Some(3));
        assert_eq!(sandbox_block(1000), None);
    }
}
