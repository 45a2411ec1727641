//! What is given up before the first byte of an archive is read.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use caps::{CapSet, Capability};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_no_new_privs;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, chdir, pivot_root, setgroups, setresgid, setresuid};
use supervisor_launch::seccomp::{Architecture, Profile, compile};
use supervisor_sys::{
    FsContext, Instruction, MountAttributes, SingleThreaded, attach, install_filter, landlock_abi,
};

/// Memory for the tree of a million entries, and for what a zstd frame may refer back to.
const MEMORY: u64 = 4 << 30;

/// Seconds of CPU. An image of 10 GiB takes two minutes.
const CPU: u64 = 3600;

/// Open files: ours, and one at a time.
const FILES: u64 = 64;

/// Room in a file for what is not counted against the bytes of an archive.
const SPARE: u64 = 1 << 20;

/// Makes namespaces; the ids in them come from whoever started us.
pub fn leave(_: &SingleThreaded) -> io::Result<()> {
    Ok(unshare(
        CloneFlags::CLONE_NEWUSER
            | CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWCGROUP,
    )?)
}

/// Becomes root of nothing but the tree's ids, in an empty root directory, and gives up the rest.
pub fn confine(tree: &OwnedFd, bytes: u64) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(0), Gid::from_raw(0));
    setgroups(&[])?;
    setresgid(group, group, group)?;
    setresuid(user, user, user)?;
    umask(Mode::empty());
    empty_root()?;
    for (resource, most) in [
        (Resource::RLIMIT_AS, MEMORY),
        (Resource::RLIMIT_CPU, CPU),
        (Resource::RLIMIT_NOFILE, FILES),
        (Resource::RLIMIT_FSIZE, bytes.saturating_add(SPARE)),
        (Resource::RLIMIT_CORE, 0),
    ] {
        setrlimit(resource, most, most)?;
    }
    set_no_new_privs()?;
    keep_one_capability()?;
    restrict(tree).map_err(io::Error::other)?;
    let filter: Vec<Instruction> = compile(Profile::Unpack, Architecture::NATIVE)
        .into_iter()
        .map(|each| Instruction { code: each.code, jt: each.jt, jf: each.jf, k: each.k })
        .collect();
    install_filter(&filter)
}

/// Nothing is there: what is read and written is open already.
fn empty_root() -> io::Result<()> {
    let nothing: Option<&str> = None;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
    let safe = MountAttributes::NO_SUID.and(MountAttributes::NO_DEV).and(MountAttributes::NO_EXEC);
    let root = FsContext::open(c"tmpfs")?.mount(safe.and(MountAttributes::READ_ONLY))?;
    attach(root.as_fd(), c"/tmp")?; // any directory would do: the namespace is ours alone
    chdir("/tmp")?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    Ok(chdir("/")?)
}

/// The tree's files are given to the ids that the archive says; that is all that takes a capability.
fn keep_one_capability() -> io::Result<()> {
    for capability in caps::runtime::thread_all_supported() {
        caps::drop(None, CapSet::Bounding, capability).map_err(io::Error::other)?;
    }
    for set in [CapSet::Ambient, CapSet::Inheritable] {
        caps::clear(None, set).map_err(io::Error::other)?;
    }
    let kept = [Capability::CAP_CHOWN].into_iter().collect();
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &kept).map_err(io::Error::other)?;
    }
    Ok(())
}

/// Landlock: the tree may be made, and nothing else opened.
fn restrict(tree: &OwnedFd) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let abi = landlock_abi();
    if abi < 2 {
        return Err("this kernel has no Landlock that lets files have several names (ABI 2): add \
                    landlock to the boot parameter lsm="
            .into());
    }
    let abi = ABI::from(i32::from(abi.min(7)));
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(abi))?;
    if abi >= ABI::V4 {
        ruleset = ruleset.handle_access(AccessNet::from_all(abi))?;
    }
    if abi >= ABI::V6 {
        ruleset = ruleset.scope(Scope::from_all(abi))?;
    }
    let making: BitFlags<AccessFs> = AccessFs::MakeDir
        | AccessFs::MakeReg
        | AccessFs::MakeSym
        | AccessFs::WriteFile
        | AccessFs::ReadDir
        | AccessFs::Refer;
    let status = ruleset.create()?.add_rule(PathBeneath::new(tree, making))?.restrict_self()?;
    if status.ruleset == RulesetStatus::FullyEnforced && status.no_new_privs {
        return Ok(());
    }
    Err(format!("not fully enforced: {status:?}").into())
}
