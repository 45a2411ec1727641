//! The launcher's own root: a small tree in memory that holds the images and /proc and nothing of
//! the host besides. A sandbox's mount namespace starts as a copy of ours, so what is not here can
//! never be reached from one, and the fewer mounts there are the faster a start is.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{chdir, getegid, geteuid, pivot_root};
use supervisor_sys::{FsContext, MountAttributes, attach, clone_tree, mount_attributes};

use crate::failure::{Fatal, fatal};
use crate::restriction;
use crate::{image, images};

/// The launcher's root and what it means for ids.
pub struct Root {
    privileged: bool,
}

impl Root {
    /// Leaves the host's mount namespace for a copy of it; without privilege, in a user namespace in
    /// which we are root.
    pub fn begin() -> Result<Self, Fatal> {
        let privileged = geteuid().is_root();
        if privileged {
            fatal("make a mount namespace", unshare(CloneFlags::CLONE_NEWNS))?;
        } else {
            become_root_in_a_namespace()?;
        }
        Ok(Self { privileged })
    }

    /// Builds the root and moves into it: nothing of the host can be opened by path after this.
    pub fn enter(&self) -> Result<(), Fatal> {
        fatal("build the launcher's root", build())
    }

    /// Whether the host's ids can be mapped, so that each sandbox has its own.
    pub fn privileged(&self) -> bool {
        self.privileged
    }
}

fn become_root_in_a_namespace() -> Result<(), Fatal> {
    let (user, group) = (geteuid(), getegid());
    let result = unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
        .map_err(io::Error::from)
        .and_then(|()| fs::write("/proc/self/setgroups", "deny"))
        .and_then(|()| fs::write("/proc/self/uid_map", format!("0 {user} 1\n")))
        .and_then(|()| fs::write("/proc/self/gid_map", format!("0 {group} 1\n")))
        // Where the distribution takes the capabilities away, this is the first call to notice.
        .and_then(|()| make_private().map_err(io::Error::from));
    let restriction = result.as_ref().err().and_then(restriction::found);
    let why = restriction.map(|restriction| format!(": {restriction}")).unwrap_or_default();
    fatal(&format!("make a user namespace (control user_namespace{why})"), result)
}

fn make_private() -> nix::Result<()> {
    let nothing: Option<&str> = None;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)
}

fn build() -> io::Result<()> {
    // Every id enters the image's directories, whatever mask we were started with; payloads get it, too.
    umask(Mode::from_bits_truncate(0o022));
    make_private()?;
    let proc = clone_tree(c"/proc")?;
    let context = FsContext::open(c"tmpfs")?;
    context.set(c"mode", c"0755")?;
    context.set(c"size", c"64m")?;
    let attributes = MountAttributes::NO_SUID.and(MountAttributes::NO_DEV);
    let root = context.mount(attributes)?;
    attach(root.as_fd(), c"/tmp")?; // any directory would do: the namespace is ours alone
    chdir("/tmp")?;
    for name in ["proc", "empty", "images", "images/0", "workbench", "workspaces", "store", "root"]
    {
        fs::create_dir(name)?;
    }
    for name in ["image", "written", "whole"] {
        fs::create_dir(format!("root/{name}"))?;
    }
    for place in 1..=images::PLACES {
        fs::create_dir(format!("images/{place}"))?;
    }
    image::lay_out(Path::new("/tmp/images/0"))?;
    attach(proc.as_fd(), c"proc")?;
    mount_attributes(root.as_fd(), MountAttributes::READ_ONLY, false, None)?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")?;
    Ok(())
}
