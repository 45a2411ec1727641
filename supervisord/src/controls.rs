//! The matrix of controls: what holds a sandbox, how well, and what to do about the rest. It is made
//! from what the launcher and init say they applied, never from what was hoped for.

use supervisor_api::{ApiError, ControlReport, ControlStatus, Limits};
use supervisor_launch::seccomp::Profile;
use supervisor_launch::{Applied, Descriptor, Storage};
use supervisor_policy::{Control, WorkspacePlace};

use crate::audit::Unaudited;
use ControlStatus::{Enforced, Missing, Unused, Weaker};

/// What was applied to one sandbox.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    /// By the launcher.
    pub applied: Applied,
    /// The Landlock ABI that init applied.
    pub landlock: u8,
    /// The payload's system calls.
    pub profile: Profile,
    /// Where its policy wants the workspace.
    pub place: WorkspacePlace,
}

/// How one control holds: status, mechanism, reason, remedy.
type Line = (ControlStatus, &'static str, Option<&'static str>, Option<&'static str>);

/// The ceilings of each uid: of the host and not of a sandbox, so no policy can require them.
const UID_CEILINGS: &str = "uid_ceilings";

const CGROUP: &str = "run as root on a host with cgroup v2, or install the service";
const CONTROLLER: &str = "boot with cgroup v2 only (systemd.unified_cgroup_hierarchy=1) and give \
    the launcher the controller (systemd: Delegate=memory pids cpu io)";
const DISK: &str = "run as root and give the launcher a directory of root's own \
    (--workspaces), on a file system with project quota or with e2fsprogs installed";
const KERNEL_LANDLOCK: &str =
    "boot a kernel with Landlock and name it in lsm= (Linux 6.1 or newer)";
const KERNEL_TCP: &str = "boot Linux 6.7 or newer, whose Landlock knows TCP";
const KERNEL_SCOPES: &str = "boot Linux 6.12 or newer, whose Landlock knows scopes";

/// The limit on core dumps and the session keyring: the launcher's own, whatever a policy says.
const CORE_DUMPS: &str = "core_dumps";
const IMAGES: &str = "images";
const SESSION_KEYRING: &str = "session_keyring";

/// Of the state directory, while it takes no records.
const RECORDS: &str = "records";

/// Of its file system, while that has little room.
const ROOM: &str = "state_room";

const FILE_OF_DUMPS: &str = "name a file for core dumps (sysctl kernel.core_pattern=core)";

/// One line for each control, in the order of the documentation.
pub fn matrix(held: &Held, limits: &Limits) -> Vec<ControlReport> {
    Control::ALL.iter().map(|control| report(*control, held, limits)).collect()
}

/// The matrix where no sandbox was made: nothing held, and nothing ran.
pub fn nothing(reason: &str, remedy: &str) -> Vec<ControlReport> {
    let each = |control: &Control| ControlReport {
        control: control.as_str().to_owned(),
        status: Missing,
        by: String::new(),
        reason: Some(reason.to_owned()),
        remedy: Some(remedy.to_owned()),
    };
    Control::ALL.iter().map(each).collect()
}

/// How the ceilings of each uid hold, over all that it runs: those of the launcher by controllers, those
/// of the daemon's configuration by admission.
pub fn uid_ceilings(applied: &Applied) -> ControlReport {
    let needed = [(Applied::MEMORY, "memory"), (Applied::PIDS, "pids"), (Applied::CPU, "cpu")];
    let missing = needed.iter().filter(|(bit, _)| applied.controllers & bit == 0);
    let missing: Vec<&str> = missing.map(|(_, name)| *name).collect();
    if missing.is_empty() {
        return ControlReport {
            control: UID_CEILINGS.to_owned(),
            status: Enforced,
            by: "admission, and a cgroup for each uid with memory.max, pids.max, cpu.max"
                .to_owned(),
            reason: None,
            remedy: None,
        };
    }
    let missing = missing.join(", ");
    ControlReport {
        control: UID_CEILINGS.to_owned(),
        status: Weaker,
        by: "admission by the sums of what is asked for".to_owned(),
        reason: Some(format!(
            "the launcher's ceilings need controllers that its cgroup v2 hierarchy lacks: {missing}"
        )),
        remedy: Some(CONTROLLER.to_owned()),
    }
}

/// Whether a crash in a sandbox can start or reach what collects the host's core dumps, by the host's
/// `core_pattern` (core(5)).
pub fn core_dumps(applied: &Applied, pattern: &str) -> ControlReport {
    let limited = applied.exposed & Applied::DUMPS == 0;
    let (status, by, reason, remedy) = match pattern.chars().next() {
        Some('@') => (
            Weaker,
            "nothing: no limit holds where dumps go to a socket (Linux 6.16)",
            Some("a crash in a sandbox sends its memory to the host's collector"),
            Some(FILE_OF_DUMPS),
        ),
        Some('|') if !limited => (
            Weaker,
            "nothing",
            Some(
                "a crash in a sandbox starts the host's collector: the launcher's hard limit is 0",
            ),
            Some("start the launcher with a hard limit of 1 (systemd: LimitCORE=1)"),
        ),
        _ if limited => (Enforced, "a limit of 1, at which no collector is started", None, None),
        _ => (Enforced, "a limit of 0, at which no file is written", None, None),
    };
    of_the_host(CORE_DUMPS, status, by, reason, remedy)
}

/// Whether sandboxes are without the session keyring that the launcher was started with.
pub fn session_keyring(applied: &Applied) -> ControlReport {
    if applied.exposed & Applied::KEYRING == 0 {
        return of_the_host(SESSION_KEYRING, Enforced, "a new one for the launcher", None, None);
    }
    of_the_host(
        SESSION_KEYRING,
        Weaker,
        "no system call of a payload's that uses keys",
        Some("the launcher could not leave the keyring that it was started with"),
        Some("let it use keyctl (Docker: a seccomp profile), or raise kernel.keys.root_maxkeys"),
    )
}

/// Where sandboxes have their roots from when a policy names an image.
pub fn images(shown: bool) -> ControlReport {
    let by = match shown {
        true => "root's own directory, by digest, read-only",
        false => "none is shown: a policy that names one is refused (launcher: --images DIRECTORY)",
    };
    of_the_host(IMAGES, Enforced, by, None, None)
}

/// That nothing new is let in, since it could not be recorded.
pub fn records(why: Unaudited) -> ControlReport {
    let refusal = ApiError::from(why);
    of_the_host(
        RECORDS,
        Missing,
        "nothing new runs",
        Some(&refusal.detail),
        refusal.hint.as_deref(),
    )
}

/// How much room the state directory has left, and whether nothing new is let in for it.
pub fn room(refuses: bool, reason: &str, remedy: &str) -> ControlReport {
    let (status, by) = if refuses {
        (Missing, "nothing new runs")
    } else {
        (Weaker, "new executions are refused before records have no room")
    };
    of_the_host(ROOM, status, by, Some(reason), Some(remedy))
}

fn of_the_host(
    control: &str,
    status: ControlStatus,
    by: &str,
    reason: Option<&str>,
    remedy: Option<&str>,
) -> ControlReport {
    ControlReport {
        control: control.to_owned(),
        status,
        by: by.to_owned(),
        reason: reason.map(str::to_owned),
        remedy: remedy.map(str::to_owned),
    }
}

/// The same where no sandbox can be made.
pub fn without_ceilings(reason: &str, remedy: &str) -> ControlReport {
    ControlReport {
        control: UID_CEILINGS.to_owned(),
        status: Missing,
        by: String::new(),
        reason: Some(reason.to_owned()),
        remedy: Some(remedy.to_owned()),
    }
}

fn report(control: Control, held: &Held, limits: &Limits) -> ControlReport {
    let (status, by, reason, remedy) = line(control, held, limits);
    ControlReport {
        control: control.as_str().to_owned(),
        status,
        by: by.to_owned(),
        reason: reason.map(str::to_owned),
        remedy: remedy.map(str::to_owned),
    }
}

fn line(control: Control, held: &Held, limits: &Limits) -> Line {
    let enforced = |by| (Enforced, by, None, None);
    match control {
        Control::UserNamespace => enforced("clone3 CLONE_NEWUSER"),
        Control::MountNamespace => enforced("unshare CLONE_NEWNS"),
        Control::PidNamespace => enforced("clone3 CLONE_NEWPID"),
        Control::NetworkNamespace => enforced("unshare CLONE_NEWNET, loopback only"),
        Control::IpcNamespace => enforced("unshare CLONE_NEWIPC"),
        Control::UtsNamespace => enforced("unshare CLONE_NEWUTS"),
        Control::CgroupNamespace => enforced("unshare CLONE_NEWCGROUP"),
        Control::PivotedRoot => enforced("pivot_root, image read-only"),
        Control::MaskedProc => enforced("proc with hidepid, sensitive entries covered"),
        Control::Capabilities => enforced("every set empty, bounding set included"),
        Control::NoNewPrivileges => enforced("PR_SET_NO_NEW_PRIVS"),
        Control::Seccomp => enforced("allow-list of system calls"),
        Control::Rlimits => enforced("setrlimit"),
        Control::WallTime => enforced("the daemon's monotonic clock"),
        Control::TmpDisk => enforced("tmpfs size= and nr_inodes="),
        Control::WorkspaceDisk => workspace(held),
        Control::LandlockFiles | Control::LandlockNetwork | Control::LandlockScopes => {
            landlock(control, held)
        }
        Control::SeparateUids if held.applied.separate_ids => {
            enforced("a host uid range of its own")
        }
        Control::SeparateUids => (
            Weaker,
            "a nested user namespace",
            Some("the supervisor is not root, so init, payload and caller share one host uid"),
            Some("run as root, or install the service"),
        ),
        Control::CgroupKill if held.applied.descriptors & Descriptor::Kill.bit() != 0 => {
            enforced("cgroup.kill")
        }
        Control::CgroupKill => (
            Weaker,
            "the end of the pid namespace",
            Some("there is no cgroup v2 that the launcher may write to"),
            Some(CGROUP),
        ),
        Control::MemoryMax
        | Control::PidsMax
        | Control::CpuMax
        | Control::CpuTime
        | Control::IoMax => resource(control, held, limits),
    }
}

fn workspace(held: &Held) -> Line {
    match (held.applied.workspace, held.place) {
        (Storage::Quota, _) => (Enforced, "project quota", None, None),
        (Storage::Image, _) => (Enforced, "image on a loop device", None, None),
        (Storage::Memory, WorkspacePlace::Memory) => {
            (Enforced, "tmpfs, counts as memory", None, None)
        }
        (Storage::Memory, WorkspacePlace::Disk) => (
            Weaker,
            "tmpfs, counts as memory",
            Some("the launcher has no place for workspaces on disk"),
            Some(DISK),
        ),
    }
}

fn landlock(control: Control, held: &Held) -> Line {
    let none = Some("the kernel has no Landlock, or it is switched off");
    let old = match held.landlock {
        0 => none,
        _ => Some("the kernel's Landlock is too old for it"),
    };
    match (control, held.landlock) {
        (Control::LandlockFiles, 3..) => (Enforced, "Landlock file rights", None, None),
        // Linux 6.1. Wherever a rule does not allow to write, the mount is read-only or what is there
        // has no content (/proc), so there is nothing that could be truncated.
        (Control::LandlockFiles, 2) => {
            (Enforced, "Landlock file rights; truncation by read-only mounts", None, None)
        }
        (Control::LandlockFiles, 1) => {
            (Weaker, "Landlock file rights of its first ABI", old, Some(KERNEL_LANDLOCK))
        }
        (Control::LandlockFiles, _) => (Missing, "", none, Some(KERNEL_LANDLOCK)),
        (Control::LandlockNetwork, abi) if held.profile == Profile::NoNetwork => match abi {
            4.. => (Enforced, "Landlock TCP rights: none", None, None),
            _ => (Weaker, "seccomp denies sockets", old, Some(KERNEL_TCP)),
        },
        (Control::LandlockNetwork, _) => (
            Unused,
            "the network namespace and the way out",
            Some("the policy's profile has sockets, so Landlock restricts no TCP"),
            Some("take a policy whose syscalls.profile is no-network"),
        ),
        (_, 6..) => (Enforced, "Landlock scopes: abstract sockets, signals", None, None),
        _ => (Weaker, "network and pid namespaces", old, Some(KERNEL_SCOPES)),
    }
}

fn resource(control: Control, held: &Held, limits: &Limits) -> Line {
    let has = |controller| held.applied.controllers & controller != 0;
    let frozen = held.applied.descriptors & Descriptor::Freeze.bit() != 0;
    let unlimited =
        [limits.io_read_bps, limits.io_write_bps, limits.io_read_iops, limits.io_write_iops]
            == [0; 4];
    let without = Some("the controller is not on the cgroup v2 hierarchy that the launcher has");
    match control {
        Control::MemoryMax if has(Applied::MEMORY) => {
            (Enforced, "cgroup v2 memory.max, no swap, group kill", None, None)
        }
        Control::MemoryMax => (
            Weaker,
            "the daemon looks every 20 ms and kills, where processes may share pages after a tenth of a second; \
             RLIMIT_DATA per process, no memfd, an eighth of it at the most for System V's segments, or none, and \
             each for watched files and for their events that wait; pages that are shared and no longer mapped, \
             buffers of sockets and pipes, records of mappings, and /tmp go uncounted, pages since a fork count twice",
            without,
            Some(CONTROLLER),
        ),
        Control::PidsMax if has(Applied::PIDS) => (Enforced, "cgroup v2 pids.max", None, None),
        Control::PidsMax => {
            (Weaker, "RLIMIT_NPROC in the user namespace", without, Some(CONTROLLER))
        }
        Control::CpuMax if has(Applied::CPU) => (Enforced, "cgroup v2 cpu.max", None, None),
        Control::CpuMax if frozen => {
            (Weaker, "the daemon looks every 20 ms and freezes", without, Some(CONTROLLER))
        }
        Control::CpuMax => (Missing, "", without, Some(CONTROLLER)),
        Control::CpuTime if held.applied.descriptors & Descriptor::Cgroup.bit() == 0 => (
            Weaker,
            "the daemon adds up processes and kills; RLIMIT_CPU per process",
            Some("without a cgroup, processes that ended unwaited-for go uncounted"),
            Some(CGROUP),
        ),
        Control::CpuTime => {
            (Enforced, "the daemon looks at the sum and kills; RLIMIT_CPU per process", None, None)
        }
        _ if unlimited => (Enforced, "no limit asked for", None, None),
        _ if has(Applied::IO) => (Enforced, "cgroup v2 io.max", None, None),
        _ => (Missing, "", without, Some(CONTROLLER)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_that_a_crash_would_start_or_reach_is_told() {
        let (held, open) =
            (Applied::default(), Applied { exposed: Applied::DUMPS, ..Applied::default() });
        for (pattern, applied, status) in [
            ("core", held, Enforced),
            ("core", open, Enforced),
            ("|/usr/lib/systemd/systemd-coredump %P", held, Enforced),
            ("|/usr/lib/systemd/systemd-coredump %P", open, Weaker),
            ("@/run/coredump.socket", held, Weaker),
            ("@@/run/coredump.socket", open, Weaker),
        ] {
            let line = core_dumps(&applied, pattern);
            assert_eq!(line.status, status, "{pattern}");
            assert_eq!(line.remedy.is_some(), status == Weaker, "{pattern}");
        }
    }

    #[test]
    fn a_keyring_that_is_kept_is_told() {
        let kept = Applied { exposed: Applied::KEYRING, ..Applied::default() };
        assert_eq!(session_keyring(&kept).status, Weaker);
        assert_eq!(session_keyring(&Applied::default()).status, Enforced);
    }
}
