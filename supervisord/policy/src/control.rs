//! The controls that hold an execution, by the names that the matrix of controls, results and
//! policies use.

use std::fmt;

use crate::limit::{Limit, Limits};

macro_rules! controls {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A control. Whether this host can enforce it is for the daemon to probe.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Control {
            $($(#[$doc])* $variant,)*
        }

        impl Control {
            /// Every control, in the order of the documentation.
            pub const ALL: &[Control] = &[$(Control::$variant,)*];

            /// The name as it stands in policy files and in results.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Control::$variant => $name,)*
                }
            }
        }
    };
}

controls! {
    /// A user namespace of its own.
    UserNamespace = "user_namespace",
    /// A mount namespace of its own.
    MountNamespace = "mount_namespace",
    /// A pid namespace of its own.
    PidNamespace = "pid_namespace",
    /// A network namespace of its own, with loopback only.
    NetworkNamespace = "network_namespace",
    /// A System V IPC and POSIX queue namespace of its own.
    IpcNamespace = "ipc_namespace",
    /// A host name of its own.
    UtsNamespace = "uts_namespace",
    /// A cgroup namespace of its own.
    CgroupNamespace = "cgroup_namespace",
    /// A root directory made of the image, with the host's detached.
    PivotedRoot = "pivoted_root",
    /// A `/proc` of its own with the telling parts covered.
    MaskedProc = "masked_proc",
    /// No capability in any set.
    Capabilities = "capabilities",
    /// No privilege gained by exec.
    NoNewPrivileges = "no_new_privileges",
    /// Landlock on files.
    LandlockFiles = "landlock_files",
    /// Landlock on TCP (Linux 6.7).
    LandlockNetwork = "landlock_network",
    /// Landlock on abstract sockets and signals (Linux 6.12).
    LandlockScopes = "landlock_scopes",
    /// The allow-list of system calls.
    Seccomp = "seccomp",
    /// Resource limits of each process, open files among them.
    Rlimits = "rlimits",
    /// Host uids that no other live sandbox has, init's apart from the payload's.
    SeparateUids = "separate_uids",
    /// Killing everything at once through the cgroup.
    CgroupKill = "cgroup_kill",
    /// Memory, by the cgroup.
    MemoryMax = "memory_max",
    /// Processes, by the cgroup.
    PidsMax = "pids_max",
    /// CPU share, by the cgroup.
    CpuMax = "cpu_max",
    /// CPU time of all processes together.
    CpuTime = "cpu_time",
    /// Time from start to end.
    WallTime = "wall_time",
    /// Block I/O, by the cgroup.
    IoMax = "io_max",
    /// Hard byte and inode limits of the workspace.
    WorkspaceDisk = "workspace_disk",
    /// Hard byte and inode limits of /tmp and /dev/shm.
    TmpDisk = "tmp_disk",
}

/// The limits behind [`Control::IoMax`].
const IO_LIMITS: [Limit; 4] =
    [Limit::IoReadBps, Limit::IoWriteBps, Limit::IoReadIops, Limit::IoWriteIops];

impl Control {
    /// The control of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|control| control.as_str() == name)
    }

    /// Whether an execution with these limits gives the control anything to do. Block I/O without a
    /// single limit needs nobody to enforce it; everything else always does.
    pub fn applies_to(self, limits: &Limits) -> bool {
        self != Control::IoMax || IO_LIMITS.iter().any(|limit| limits.get(*limit) != 0)
    }
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_control_is_found_by_its_name() {
        assert_eq!(Control::ALL.len(), 26);
        for control in Control::ALL {
            assert_eq!(Control::from_name(control.as_str()), Some(*control));
        }
    }

    #[test]
    fn block_io_needs_enforcing_only_where_it_is_limited() {
        let mut limits = Limits::default();
        assert!(!Control::IoMax.applies_to(&limits));
        assert!(Control::MemoryMax.applies_to(&limits));
        limits.set(Limit::IoWriteIops, 10);
        assert!(Control::IoMax.applies_to(&limits));
    }
}
