//! What the daemon gives up before it takes its first call. It faces hostile bytes from callers and
//! from payloads; whoever takes it over has a process that can't become root, start a program or
//! open a file outside its own state.

use std::ffi::CString;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use caps::CapSet;
use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus, Scope,
};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::{set_dumpable, set_no_new_privs};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::Mode;
use nix::unistd::{
    Gid, Uid, chdir, getegid, geteuid, mkdir, pivot_root, setgroups, setresgid, setresuid,
};
use supervisor_launch::seccomp::{Architecture, Profile, compile};
use supervisor_sys::{
    FsContext, Instruction, MountAttributes, attach, clone_tree, empty_bounding_set,
    install_filter, landlock_abi, mount_attributes, no_capabilities_left, set_securebits, without,
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
    if back.is_ok() {
        return at("change the user", Err("root could be had back"));
    }
    match at("read capabilities", no_capabilities_left())? {
        true => Ok(()),
        false => at("drop capabilities", Err("some are left")),
    }
}

/// Has whatever dumps this process all the same, such as a debugger of root's, leave out what it holds.
/// Before it changes its user or becomes non-dumpable: then this file is root's.
pub fn keep_memory_out_of_dumps() {
    // A kernel that dumps nothing has no such file.
    if let Err(error) = fs::write("/proc/self/coredump_filter", "0")
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "a debugger of root's could dump what this daemon holds");
    }
}

/// How many descriptors this process takes, and could.
pub fn descriptors() -> Result<(u64, u64), ConfineError> {
    let (_, hard) = at("read the descriptor limit", getrlimit(Resource::RLIMIT_NOFILE))?;
    Ok((hard.min(DESCRIPTORS), hard))
}

/// Limits and flags of the whole process; before threads start.
pub fn harden() -> Result<(), ConfineError> {
    at("become non-dumpable", set_dumpable(false))?;
    at("forbid core dumps", setrlimit(Resource::RLIMIT_CORE, 0, 0))?;
    let (most, hard) = descriptors()?;
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
    let mut sets = vec![CapSet::Ambient, CapSet::Inheritable];
    if !geteuid().is_root() {
        sets.extend([CapSet::Effective, CapSet::Permitted]);
    }
    for set in sets {
        caps::clear(None, set).map_err(io::Error::other)?;
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
    if without("daemon-seccomp") {
        return Ok(());
    }
    let filter: Vec<Instruction> = compile(Profile::Daemon, Architecture::NATIVE)
        .into_iter()
        .map(|each| Instruction { code: each.code, jt: each.jt, jf: each.jf, k: each.k })
        .collect();
    at("install the filter", install_filter(&filter))
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
        ruleset = ruleset.scope(Scope::from_all(abi))?; // no abstract socket of the host's, either
    }
    match ruleset.create()?.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Ok(()),
        other => Err(format!("not fully enforced: {other:?}").into()),
    }
}
