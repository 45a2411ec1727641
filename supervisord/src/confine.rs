//! What the daemon gives up before it takes its first call. It faces hostile bytes from callers and
//! from payloads; whoever takes it over has a process that can't become root, start a program or
//! open a file outside its own state.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use caps::CapSet;
use landlock::{
    ABI, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus, Scope,
};
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::{set_dumpable, set_no_new_privs};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::Mode;
use nix::unistd::{
    Gid, Uid, chdir, getegid, geteuid, mkdir, pivot_root, setgroups, setresgid, setresuid,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use supervisor_sys::{
    FsContext, MountAttributes, attach, clone_tree, empty_bounding_set, landlock_abi,
    mount_attributes, set_securebits,
};

/// The daemon could not give something up.
#[derive(Debug)]
pub struct ConfineError {
    what: &'static str,
    cause: Box<dyn std::error::Error + Send + Sync>,
}

impl fmt::Display for ConfineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "can't confine the daemon: {}", self.what)
    }
}

impl std::error::Error for ConfineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.cause.as_ref())
    }
}

fn at<T, E>(what: &'static str, result: Result<T, E>) -> Result<T, ConfineError>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    result.map_err(|cause| ConfineError { what, cause: cause.into() })
}

/// Descriptors a daemon with every sandbox it may have could hold: a dozen each, and connections.
const DESCRIPTORS: u64 = 32_768;

/// Becomes an ordinary user for good: no groups, no way back.
pub fn become_user(id: u32) -> Result<(), ConfineError> {
    let (user, group) = (Uid::from_raw(id), Gid::from_raw(id));
    at("drop groups", setgroups(&[]))?;
    at("change the group", setresgid(group, group, group))?;
    at("change the user", setresuid(user, user, user))?;
    let back = setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0));
    match back {
        Err(_) => Ok(()),
        Ok(()) => at("change the user", Err("root could be had back")),
    }
}

/// Limits and flags of the whole process; before threads start.
pub fn harden() -> Result<(), ConfineError> {
    at("become non-dumpable", set_dumpable(false))?;
    at("forbid core dumps", setrlimit(Resource::RLIMIT_CORE, 0, 0))?;
    let (_, hard) = at("read the descriptor limit", getrlimit(Resource::RLIMIT_NOFILE))?;
    let most = hard.min(DESCRIPTORS);
    at("set the descriptor limit", setrlimit(Resource::RLIMIT_NOFILE, most, hard))?;
    at("set no_new_privs", set_no_new_privs())
}

/// Where the state directory is in the daemon's own root.
pub const STATE: &str = "/state";

/// Makes a mount namespace whose root holds the state directory, /proc and the null device, and
/// nothing else of the host. What is not there can't be opened, whoever this process obeys. Without privilege it takes
/// a user namespace, in which the caller stays who it is.
pub fn enter_small_root(state: &Path) -> Result<(), ConfineError> {
    let (user, group) = (geteuid(), getegid());
    let mut namespaces = CloneFlags::CLONE_NEWNS;
    if !user.is_root() {
        namespaces |= CloneFlags::CLONE_NEWUSER;
    }
    at("make a mount namespace", unshare(namespaces))?;
    if !user.is_root() {
        at("map ids", map_to_self(user, group))?;
    }
    at("make a small root", build_small_root(state))?;
    at("drop capabilities", drop_capabilities())
}

fn map_to_self(user: Uid, group: Gid) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1\n"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1\n"))
}

fn build_small_root(state: &Path) -> io::Result<()> {
    let nothing: Option<&str> = None;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
    let path = CString::new(state.as_os_str().as_bytes())?;
    let (state, proc, null) =
        (clone_tree(&path)?, clone_tree(c"/proc")?, clone_tree(c"/dev/null")?);
    let safe = MountAttributes::NO_SUID.and(MountAttributes::NO_DEV).and(MountAttributes::NO_EXEC);
    mount_attributes(state.as_fd(), safe, true, None)?;
    let root = FsContext::open(c"tmpfs")?.mount(safe)?;
    attach(root.as_fd(), c"/tmp")?; // any directory would do: the namespace is ours alone
    chdir("/tmp")?;
    for (name, tree) in [(c"state", &state), (c"proc", &proc)] {
        mkdir(name, Mode::from_bits_truncate(0o755))?;
        attach(tree.as_fd(), name)?;
    }
    mkdir("dev", Mode::from_bits_truncate(0o755))?;
    fs::write("dev/null", [])?;
    attach(null.as_fd(), c"dev/null")?; // where output goes that is cut
    mount_attributes(root.as_fd(), MountAttributes::READ_ONLY, false, None)?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")?;
    Ok(())
}

/// In a user namespace of its own the process has every capability over it; as root of the host it
/// loses them with the change of ids, and this is then for the bounding set.
fn drop_capabilities() -> io::Result<()> {
    set_securebits()?;
    empty_bounding_set()?;
    if !geteuid().is_root() {
        for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
            caps::clear(None, set).map_err(io::Error::other)?;
        }
    }
    Ok(())
}

/// Landlock and seccomp; before threads start, since both hold for the thread that asks and those
/// that it starts.
pub fn restrict() -> Result<(), ConfineError> {
    let abi = landlock_abi();
    if abi > 0 {
        at("restrict files", restrict_files(ABI::from(i32::from(abi))))?;
    }
    let filter = at("compile the filter", filter())?;
    at("install the filter", seccompiler::apply_filter(&filter))
}

/// Execution, devices and signals. Reading and writing are not Landlock's here: workspaces come as
/// mounts that hang nowhere in the tree, which no rule can name (landlock(7), "disconnected"). What
/// may be opened is bounded by the small root, or by the service's own mount namespace.
fn restrict_files(abi: ABI) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let handled = AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock;
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(handled)?;
    if abi >= ABI::V6 {
        ruleset = ruleset.scope(Scope::Signal)?;
    }
    match ruleset.create()?.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Ok(()),
        other => Err(format!("not fully enforced: {other:?}").into()),
    }
}

/// System calls that a daemon of this kind never makes and that whoever took it over would want.
/// A list of what is allowed would have to follow every update of the runtime and of SQLite; this
/// one closes what leads out of the process: programs, other processes, namespaces, mounts, devices.
const FORBIDDEN: [libc::c_long; 44] = [
    libc::SYS_execve,            // no program is ever started by this process
    libc::SYS_execveat,          // the same
    libc::SYS_ptrace,            // other processes
    libc::SYS_process_vm_readv,  // the same
    libc::SYS_process_vm_writev, // the same
    libc::SYS_kcmp,              // the same
    libc::SYS_pidfd_getfd,       // the same
    libc::SYS_unshare,           // namespaces
    libc::SYS_setns,             // the same
    libc::SYS_mount,             // mounts
    libc::SYS_umount2,           // the same
    libc::SYS_pivot_root,        // the same
    libc::SYS_chroot,            // the same
    libc::SYS_open_tree,         // the same
    libc::SYS_move_mount,        // the same
    libc::SYS_mount_setattr,     // the same
    libc::SYS_fsopen,            // the same
    libc::SYS_fsconfig,          // the same
    libc::SYS_fsmount,           // the same
    libc::SYS_fspick,            // the same
    libc::SYS_bpf,               // kernel programs
    libc::SYS_perf_event_open,   // kernel surface
    libc::SYS_userfaultfd,       // kernel surface
    libc::SYS_io_uring_setup,    // would pass by this filter
    libc::SYS_io_uring_enter,    // the same
    libc::SYS_io_uring_register, // the same
    libc::SYS_add_key,           // keyrings
    libc::SYS_request_key,       // the same
    libc::SYS_keyctl,            // the same
    libc::SYS_init_module,       // the kernel's own code
    libc::SYS_finit_module,      // the same
    libc::SYS_delete_module,     // the same
    libc::SYS_kexec_load,        // the same
    libc::SYS_kexec_file_load,   // the same
    libc::SYS_reboot,            // the host
    libc::SYS_swapon,            // the host
    libc::SYS_swapoff,           // the host
    libc::SYS_acct,              // the host
    libc::SYS_settimeofday,      // the host's clock
    libc::SYS_clock_settime,     // the same
    libc::SYS_open_by_handle_at, // files past every path
    libc::SYS_name_to_handle_at, // the same
    libc::SYS_mknodat,           // devices
    libc::SYS_personality,       // the legacy address space
];

fn filter() -> Result<BpfProgram, Box<dyn std::error::Error + Send + Sync>> {
    let rules: BTreeMap<i64, Vec<_>> =
        FORBIDDEN.into_iter().map(|number| (number, Vec::new())).collect();
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    // Every number carries 32 bits; those of the x32 interface are above all that are listed, and
    // kernels have it switched off by default. seccompiler kills on another architecture.
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::KillProcess, arch)?;
    Ok(filter.try_into()?)
}
