//! What a workspace holds, as its own file system counts it.

use std::io;
use std::os::fd::BorrowedFd;

use nix::sys::statvfs::fstatvfs;

use super::refusal::failure;

/// What is in use of a workspace's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkspaceUsage {
    /// Bytes in use.
    pub bytes: u64,
    /// Bytes left.
    pub bytes_free: u64,
    /// Inodes in use: files, directories and links.
    pub inodes: u64,
    /// Inodes left; 0 as well where the file system makes inodes as it needs them.
    pub inodes_free: u64,
}

/// What is in use of the file system that the workspace is. Costs one system call, however much a
/// payload has put there.
pub fn usage(root: BorrowedFd<'_>) -> io::Result<WorkspaceUsage> {
    let counted = fstatvfs(root).map_err(|error| failure("counting the workspace", error))?;
    let blocks = counted.blocks().saturating_sub(counted.blocks_free());
    Ok(WorkspaceUsage {
        bytes: blocks.saturating_mul(counted.fragment_size()),
        bytes_free: counted.blocks_available().saturating_mul(counted.fragment_size()),
        inodes: counted.files().saturating_sub(counted.files_free()),
        inodes_free: counted.files_free(),
    })
}
