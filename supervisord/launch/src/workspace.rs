//! Workspaces as messages name them: by number, never by path.

use crate::wire::{Malformed, Reader, Writer};

/// Who owns a workspace's files on disk, whichever sandbox or daemon sees them: an id of the reserved
/// range that no launcher hands to a sandbox. Id-mapped mounts translate it.
pub const DISK_ID: u32 = 0x7fff_0000;

/// The first of the ids that images' files have on disk: that of an image's own id 0. The 65,536 before
/// [`DISK_ID`] are theirs, and no launcher hands them to a sandbox either.
pub const IMAGE_ID: u32 = DISK_ID - 0x1_0000;

const _: () = assert!(IMAGE_ID >= crate::first_id(crate::BLOCKS));

/// Kept workspaces of one launcher at the most. A record of one is below a hundred bytes.
pub const MAX_WORKSPACES: usize = 16_384;

/// Workspaces in one [`crate::Reply::Workspaces`] at the most, so that it fits a message.
pub const MAX_LISTED: usize = 256;

/// Where an execution's workspace comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workspace {
    /// A new one in memory, which goes with the sandbox.
    Memory,
    /// A new one on disk, which goes with the sandbox.
    Disk,
    /// One that was made before and stays; its own limits hold.
    Kept(u128),
}

impl Workspace {
    pub(crate) fn write(self, writer: &mut Writer) {
        let (code, id) = match self {
            Workspace::Memory => (0, 0),
            Workspace::Disk => (1, 0),
            Workspace::Kept(id) => (2, id),
        };
        writer.u8(code);
        writer.u128(id);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match (reader.u8()?, reader.u128()?) {
            (0, 0) => Ok(Workspace::Memory),
            (1, 0) => Ok(Workspace::Disk),
            (2, id) => Ok(Workspace::Kept(id)),
            _ => Err(Malformed("unknown workspace")),
        }
    }
}

/// What holds a workspace's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Storage {
    /// A size-limited tmpfs, which counts as memory.
    #[default]
    Memory = 0,
    /// Project quota of the file system that workspaces lie on.
    Quota = 1,
    /// A file system of its own in an image file behind a loop device.
    Image = 2,
}

impl Storage {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.u8()? {
            0 => Ok(Storage::Memory),
            1 => Ok(Storage::Quota),
            2 => Ok(Storage::Image),
            _ => Err(Malformed("unknown storage")),
        }
    }
}

/// A workspace that outlives executions, daemons, launchers and reboots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Its id, of the daemon's choice.
    pub id: u128,
    /// The uid on whose behalf it is kept.
    pub owner: u32,
    /// Bytes at the most.
    pub bytes: u64,
    /// Inodes at the most, its root directory among them.
    pub inodes: u64,
}

impl Kept {
    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.u128(self.id);
        writer.u32(self.owner);
        writer.u64(self.bytes);
        writer.u64(self.inodes);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (id, owner) = (reader.u128()?, reader.u32()?);
        Ok(Self { id, owner, bytes: reader.u64()?, inodes: reader.u64()? })
    }
}
