//! The sandbox's tree: the image, and over it what is its own. Everything is attached by
//! descriptor beneath a tree that only the launcher could write.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::AsFd;

use nix::mount::{MntFlags, umount2};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, mkdirat};
use nix::unistd::{chdir, fchdir, pivot_root};
use supervisor_launch::{Setup, Step};
use supervisor_sys::{FsContext, MountAttributes, attach, clone_tree, clone_tree_beneath, without};

use crate::failure::{Failed, at, ensure};
use crate::inherited::Inherited;

/// Nothing mounted here gives privilege, brings devices or can be executed from.
const PLAIN: MountAttributes =
    MountAttributes::NO_SUID.and(MountAttributes::NO_DEV).and(MountAttributes::NO_EXEC);

/// Bytes for pseudo-terminals and such are the kernel's; there are this many at the most.
const MAX_PTS: &CStr = c"64";

/// Makes a copy of the image's tree and goes there. The launcher made it read-only, and in this
/// user namespace that can't be undone.
pub fn enter_image(image: u16) -> Result<(), Failed> {
    let path = format!("/images/{image}");
    let path = at(Step::MountImage, CString::new(path).map_err(io::Error::other))?;
    let tree = at(Step::MountImage, clone_tree(&path))?;
    at(Step::MountImage, chdir("/"))?;
    at(Step::MountImage, attach(tree.as_fd(), &path))?; // over itself: a root must be a mount
    at(Step::MountImage, fchdir(&tree))
}

/// A /proc of this pid namespace in which only one's own processes show. It can't be written: what
/// can be set there is the supervisor's to set. Without privilege, the payload's process has its own
/// id map to write first, and Landlock alone forbids the rest.
pub fn mount_proc(setup: &Setup) -> Result<(), Failed> {
    let context = at(Step::MountProc, FsContext::open(c"proc"))?;
    if !without("hidepid") {
        at(Step::MountProc, context.set(c"hidepid", c"invisible"))?;
    }
    let attributes = if setup.single_id { PLAIN } else { PLAIN.and(MountAttributes::READ_ONLY) };
    let proc = at(Step::MountProc, context.mount(attributes))?;
    at(Step::MountProc, attach(proc.as_fd(), c"proc"))
}

/// One size-limited file system for /tmp and /dev/shm together.
pub fn mount_tmp(setup: &Setup) -> Result<(), Failed> {
    let context = at(Step::MountTmp, FsContext::open(c"tmpfs"))?;
    for (key, value) in [
        (c"size", setup.limits.tmp_bytes.to_string()),
        (c"nr_inodes", setup.limits.tmp_inodes.saturating_add(3).to_string()), // itself and the two
        (c"mode", "0755".to_owned()),
    ] {
        let value = at(Step::MountTmp, CString::new(value).map_err(io::Error::other))?;
        at(Step::MountTmp, context.set(key, &value))?;
    }
    let safe = MountAttributes::NO_SUID.and(MountAttributes::NO_DEV);
    let attributes = if setup.exec { safe } else { PLAIN };
    let scratch = at(Step::MountTmp, context.mount(attributes))?;
    // Kernels before 6.15 copy attached mounts only. In the end /tmp covers what it is a part of.
    at(Step::MountTmp, attach(scratch.as_fd(), c"tmp"))?;
    for (name, target) in [(c"shm", c"dev/shm"), (c"tmp", c"tmp")] {
        at(Step::MountTmp, mkdirat(&scratch, name, Mode::empty()))?;
        let mode = Mode::from_bits_truncate(0o1777);
        at(Step::MountTmp, fchmodat(&scratch, name, mode, FchmodatFlags::FollowSymlink))?;
        let part = at(Step::MountTmp, clone_tree_beneath(scratch.as_fd(), name))?;
        at(Step::MountTmp, attach(part.as_fd(), target))?;
    }
    Ok(())
}

/// Pseudo-terminals of this sandbox alone: those that the launcher began, where it made one of them the
/// payload's. Else there are some where the policy says so only: what is done with them the kernel does in threads
/// of its own, whose time no limit counts.
pub fn mount_pts(setup: &Setup, inherited: &Inherited) -> Result<(), Failed> {
    if let Some(terminals) = &inherited.terminals {
        return at(Step::MountPts, attach(terminals.as_fd(), c"dev/pts"));
    }
    if !setup.pseudo_terminals && !without("no-pseudo-terminals") {
        return Ok(());
    }
    let context = at(Step::MountPts, FsContext::open(c"devpts"))?;
    at(Step::MountPts, context.set(c"ptmxmode", c"0666"))?;
    at(Step::MountPts, context.set(c"mode", c"0620"))?;
    at(Step::MountPts, context.set(c"max", MAX_PTS))?;
    let attributes = MountAttributes::NO_SUID.and(MountAttributes::NO_EXEC);
    let pts = at(Step::MountPts, context.mount(attributes))?;
    at(Step::MountPts, attach(pts.as_fd(), c"dev/pts"))
}

/// Attaches the workspace that the launcher made.
pub fn mount_workspace(inherited: &Inherited) -> Result<(), Failed> {
    at(Step::MountWorkspace, attach(inherited.workspace.as_fd(), c"workspace"))
}

/// The image becomes the root; the launcher's tree is let go, and a look back finds nothing.
pub fn pivot() -> Result<(), Failed> {
    at(Step::PivotRoot, pivot_root(".", "."))?;
    at(Step::PivotRoot, umount2(".", MntFlags::MNT_DETACH))?;
    at(Step::PivotRoot, chdir("/"))?;
    let behind = nix::sys::stat::stat("/images");
    ensure(Step::PivotRoot, behind == Err(nix::Error::ENOENT))
}
