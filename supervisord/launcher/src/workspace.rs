//! Workspaces: a size-limited file system for each sandbox, and the daemon's own view of it.

use std::ffi::{CStr, CString};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::exit;

use nix::mount::{MntFlags, umount2};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use supervisor_launch::{SandboxLimits, Step};
use supervisor_sys::{
    Cloned, FsContext, MountAttributes, SingleThreaded, attach, clone_tree_beneath,
    clone_user_namespace, mount_attributes, receive, send,
};

use crate::failure::{Failed, at};

/// Where a new workspace is attached for as long as it takes to copy its mount, in our own root, on
/// kernels before 6.15, which copy attached mounts only.
pub const WORKBENCH: &CStr = c"/workbench";

/// A new workspace: two mounts of one file system, attached nowhere.
pub struct Workspace {
    /// For the sandbox.
    pub inside: OwnedFd,
    /// For the daemon.
    pub grant: OwnedFd,
}

/// Makes an empty tmpfs with hard byte and inode limits that belongs to `owner`. Its pages are
/// charged to the memory cgroup of whoever writes them. With a map, what belongs to the payload
/// belongs to the daemon in its mount, and no other id is mapped, so nothing else can be opened or
/// made there.
pub fn make(
    limits: &SandboxLimits,
    owner: u32,
    exec: bool,
    map: Option<BorrowedFd<'_>>,
) -> Result<Workspace, Failed> {
    let plain = MountAttributes::NO_SUID.and(MountAttributes::NO_DEV);
    let no_exec = plain.and(MountAttributes::NO_EXEC);
    let original = at(Step::MakeWorkspace, make_tmpfs(limits, owner))?;
    let copied = match clone_tree_beneath(original.as_fd(), c"") {
        Ok(grant) => Ok((original, grant)),
        Err(_) => copy_attached(&original),
    };
    let (inside, grant) = at(Step::GrantWorkspace, copied)?;
    let attributes = if exec { plain } else { no_exec };
    at(Step::MakeWorkspace, mount_attributes(inside.as_fd(), attributes, false, None))?;
    at(Step::GrantWorkspace, mount_attributes(grant.as_fd(), no_exec, false, map))?;
    Ok(Workspace { inside, grant })
}

/// Two copies that are attached nowhere, by way of the workbench.
fn copy_attached(original: &OwnedFd) -> io::Result<(OwnedFd, OwnedFd)> {
    attach(original.as_fd(), WORKBENCH)?;
    let copy = || clone_tree_beneath(original.as_fd(), c"");
    let copies = copy().and_then(|inside| Ok((inside, copy()?)));
    umount2(WORKBENCH, MntFlags::MNT_DETACH)?;
    copies
}

fn make_tmpfs(limits: &SandboxLimits, owner: u32) -> io::Result<OwnedFd> {
    let context = FsContext::open(c"tmpfs")?;
    let id = text(owner)?;
    context.set(c"size", &text(limits.workspace_bytes)?)?;
    context.set(c"nr_inodes", &text(limits.workspace_inodes)?)?;
    context.set(c"mode", c"0700")?;
    context.set(c"uid", &id)?;
    context.set(c"gid", &id)?;
    context.mount(MountAttributes::NO_SUID.and(MountAttributes::NO_DEV))
}

/// A user namespace whose map says: the file system's `inside` is the host's `outside`, uid and gid. A child
/// makes it and hands it out itself: only a tracer or the process itself may open it.
pub fn id_map(proof: &SingleThreaded, inside: u32, outside: (u32, u32)) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    match clone_user_namespace(proof)? {
        Cloned::Child => {
            drop(ours);
            exit(i32::from(hand_out_namespace(&theirs).is_err()))
        }
        Cloned::Parent { process, pid } => {
            drop(theirs);
            let namespace = receive(ours.as_fd(), &mut [0]).and_then(|(_, mut fds)| {
                write_maps(pid, &[(inside, outside.0)], &[(inside, outside.1)])?;
                fds.pop().ok_or(io::ErrorKind::UnexpectedEof.into())
            });
            drop(ours);
            waitid(Id::PIDFd(process.as_fd()), WaitPidFlag::WEXITED)?;
            namespace
        }
    }
}

fn hand_out_namespace(parent: &OwnedFd) -> io::Result<()> {
    let namespace = fs::File::open("/proc/self/ns/user")?;
    send(parent.as_fd(), &[0], &[namespace.as_fd()])?;
    // Stays until the maps are written: the parent closes its end, or is gone.
    receive(parent.as_fd(), &mut [0]).map(drop)
}

/// Writes the user and group maps of a process that was just cloned and can't go on without them.
/// Its pid can't have been given to another: it is our child and we have not waited for it.
pub fn write_maps(pid: u32, users: &[(u32, u32)], groups: &[(u32, u32)]) -> io::Result<()> {
    for (file, pairs) in [("uid_map", users), ("gid_map", groups)] {
        let mut map = String::new();
        for (inside, outside) in pairs {
            writeln!(map, "{inside} {outside} 1").map_err(io::Error::other)?;
        }
        fs::write(format!("/proc/{pid}/{file}"), &map)?;
    }
    Ok(())
}

fn text(number: impl std::fmt::Display) -> io::Result<CString> {
    CString::new(number.to_string()).map_err(io::Error::other)
}
