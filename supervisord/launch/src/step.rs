//! The steps of a launch, in the order in which they are taken. A launch that fails names its step.

macro_rules! steps {
    ($($(#[$doc:meta])* $variant:ident = $code:literal $name:literal,)*) => {
        /// A step of a launch.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Step {
            $($(#[$doc])* $variant = $code,)*
        }

        impl Step {
            /// Every step.
            pub const ALL: &[Step] = &[$(Step::$variant,)*];

            /// The name that errors and results show.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Step::$variant => $name,)*
                }
            }

            /// The step of this code.
            pub fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Step::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

steps! {
    // By the launcher.
    /// The request is checked against the launcher's own floor.
    Admit = 1 "admit",
    /// A host id range that no live sandbox has.
    TakeIds = 2 "take_ids",
    /// The execution's cgroup leaf.
    MakeCgroup = 3 "make_cgroup",
    /// Its limits, each read back.
    WriteLimits = 4 "write_limits",
    /// The workspace's file system.
    MakeWorkspace = 5 "make_workspace",
    /// The daemon's own view of the workspace.
    GrantWorkspace = 6 "grant_workspace",
    /// Pipes for standard streams, start and reports.
    MakePipes = 7 "make_pipes",
    /// A process in new user, pid and cgroup places.
    Clone = 8 "clone",
    /// The ids inside and outside.
    MapIds = 9 "map_ids",
    /// The setup message to init.
    SendSetup = 10 "send_setup",
    /// The sandbox is known to the launcher.
    Find = 11 "find",
    /// Nothing of the sandbox is left.
    Destroy = 12 "destroy",
    /// A network namespace that nobody was in before, with loopback up.
    MakeNetwork = 13 "make_network",
    /// The sockets in it on which the daemon takes its traffic.
    Listen = 14 "listen",
    /// The ceilings of all that its owner runs, each read back.
    LimitOwner = 16 "limit_owner",
    /// A kept workspace that is there and the owner's.
    FindWorkspace = 17 "find_workspace",
    /// A workspace on disk and its limits.
    MakeDisk = 18 "make_disk",
    /// A workspace's file system behind its loop device.
    MountDisk = 19 "mount_disk",
    /// Nothing of a workspace is left.
    RemoveWorkspace = 20 "remove_workspace",
    /// A pseudo-terminal of its own.
    MakeTerminal = 57 "make_terminal",
    /// An image that root imported, by its name.
    FindImage = 21 "find_image",
    /// An image where sandboxes can take it from.
    ShowImage = 22 "show_image",
    /// What init lays over each other to make a root that can be written.
    PrepareRoot = 23 "prepare_root",
    // By init.
    /// The setup message from the launcher.
    ReadSetup = 32 "read_setup",
    /// Init dies with the launcher.
    DieWithLauncher = 33 "die_with_launcher",
    /// Session, signals, umask: nothing inherited.
    ResetProcess = 34 "reset_process",
    /// Mount, ipc, uts and cgroup namespaces.
    Unshare = 35 "unshare",
    /// The sandbox's host name.
    SetHostname = 36 "set_hostname",
    /// No user namespace beneath its own.
    ForbidNamespaces = 31 "forbid_namespaces",
    /// Root of its own user namespace, and nobody in any other.
    BecomeInit = 37 "become_init",
    /// The image, read-only.
    MountImage = 38 "mount_image",
    /// The image beneath what was written of it.
    MountRoot = 24 "mount_root",
    /// Process information of this pid namespace.
    MountProc = 39 "mount_proc",
    /// Sensitive entries of it covered.
    MaskProc = 40 "mask_proc",
    /// /tmp and /dev/shm.
    MountTmp = 41 "mount_tmp",
    /// Pseudo-terminals of its own.
    MountPts = 42 "mount_pts",
    /// The workspace.
    MountWorkspace = 43 "mount_workspace",
    /// What the payload trusts: the image's authorities and its session's.
    MountTrust = 55 "mount_trust",
    /// The image becomes the root, the host's is gone.
    PivotRoot = 44 "pivot_root",
    /// Resource limits of processes.
    SetRlimits = 45 "set_rlimits",
    /// No gain of privilege at exec.
    NoNewPrivileges = 46 "no_new_privileges",
    /// The payload's process.
    Fork = 47 "fork",
    /// Its own user and group, no others.
    BecomePayload = 48 "become_payload",
    /// Its controlling terminal.
    TakeTerminal = 58 "take_terminal",
    /// Every capability set empty.
    DropCapabilities = 49 "drop_capabilities",
    /// File, network and scope rights.
    Landlock = 50 "landlock",
    /// The system call filter.
    Seccomp = 51 "seccomp",
    /// Init is asked about record locks, and sees how many there are.
    CountLocks = 63 "count_locks",
    /// It sees how many sockets listen.
    CountListeners = 64 "count_listeners",
    /// The start message from the daemon.
    ReadStart = 52 "read_start",
    /// The session's authority among those that the payload trusts.
    WriteTrust = 56 "write_trust",
    /// What a program that parks reads when it starts.
    WriteStartup = 62 "write_startup",
    /// The working directory.
    ChangeDirectory = 53 "change_directory",
    /// The payload's end of its channel.
    PassChannel = 59 "pass_channel",
    /// The payload's program.
    Exec = 54 "exec",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_one_code_and_one_name() {
        for step in Step::ALL {
            assert_eq!(Step::from_code(*step as u8), Some(*step));
            assert_eq!(Step::ALL.iter().filter(|other| other.name() == step.name()).count(), 1);
        }
    }
}
