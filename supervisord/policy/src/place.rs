//! Where an execution's workspace is.

use std::fmt;

/// Where a workspace that goes with its execution is. One that is kept is always on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WorkspacePlace {
    /// In memory: the fastest; its pages come out of `memory_max`.
    #[default]
    Memory,
    /// On disk, held to its limits by project quota or by an image of its own.
    Disk,
}

impl WorkspacePlace {
    /// Every place.
    pub const ALL: [WorkspacePlace; 2] = [WorkspacePlace::Memory, WorkspacePlace::Disk];

    /// The name as it stands in policy files.
    pub const fn as_str(self) -> &'static str {
        match self {
            WorkspacePlace::Memory => "memory",
            WorkspacePlace::Disk => "disk",
        }
    }

    /// The place of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|place| place.as_str() == name)
    }
}

impl fmt::Display for WorkspacePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
