//! Views of a workspace: one for the sandbox, one for the daemon, wherever its files are.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use supervisor_launch::{DISK_ID, SandboxLimits, Step};
use supervisor_sys::{FsContext, MountAttributes, attach, clone_tree_beneath, mount_attributes};

use crate::failure::{Failed, at};
use crate::layers::{self, ROOTS, roots_of};
use crate::template::{WORKSPACE, as_owner};

/// Where a file system is attached for as long as it takes to copy its mount, in our own root, on kernels
/// before 6.15, which copy attached mounts only.
const WORKBENCH: &CStr = c"/workbench";

/// A workspace that views can be made of.
pub struct Source {
    /// A mount, or a directory of one.
    fd: OwnedFd,
    /// The workspace's root beneath it.
    root: CString,
    /// The directory beside it for what is written of images.
    roots: CString,
    /// Whether it is a mount that is attached nowhere yet.
    loose: bool,
    /// The id that owns its files.
    pub owner: u32,
}

impl Source {
    /// An empty tmpfs with hard byte and inode limits that belongs to `owner`. Its pages are charged to
    /// the memory cgroup of whoever writes them.
    pub fn memory(limits: &SandboxLimits, owner: u32) -> io::Result<Self> {
        let context = FsContext::open(c"tmpfs")?;
        let id = text(owner)?;
        context.set(c"size", &text(limits.workspace_bytes)?)?;
        context.set(c"nr_inodes", &text(limits.workspace_inodes)?)?;
        context.set(c"mode", c"0700")?;
        context.set(c"uid", &id)?;
        context.set(c"gid", &id)?;
        let fd = context.mount(MountAttributes::NO_SUID.and(MountAttributes::NO_DEV))?;
        Ok(Self { fd, root: CString::default(), roots: CString::default(), loose: true, owner })
    }

    /// The mounted file system of an image.
    pub fn image(fd: OwnedFd) -> Self {
        let (root, roots) = (WORKSPACE.to_owned(), ROOTS.to_owned());
        Self { fd, root, roots, loose: true, owner: DISK_ID }
    }

    /// A directory of one that is attached in our root.
    pub fn directory(parent: &OwnedFd, name: &str) -> io::Result<Self> {
        let (root, roots) = (CString::new(name)?, CString::new(roots_of(name))?);
        Ok(Self { fd: parent.try_clone()?, root, roots, loose: false, owner: DISK_ID })
    }

    /// Makes room for what is written of an image, where the workspace's limits hold; where it is.
    pub fn layer(&self, image: [u8; 32]) -> io::Result<CString> {
        if self.owner != DISK_ID {
            return Err(Errno::EOPNOTSUPP.into());
        }
        as_owner(|| layers::make(&self.fd, &self.root, &self.roots, image))
    }

    /// Makes a mount for each view, attached nowhere.
    pub fn views(&self, views: &[View<'_>]) -> Result<Vec<OwnedFd>, Failed> {
        match self.copies(views) {
            Err(_) if self.loose => {
                at(Step::MakeWorkspace, attach(self.fd.as_fd(), WORKBENCH))?;
                let made = self.copies(views);
                at(Step::MakeWorkspace, umount2(WORKBENCH, MntFlags::MNT_DETACH))?;
                made
            }
            made => made,
        }
    }

    fn copies(&self, views: &[View<'_>]) -> Result<Vec<OwnedFd>, Failed> {
        views.iter().map(|view| self.view(view)).collect()
    }

    fn view(&self, view: &View<'_>) -> Result<OwnedFd, Failed> {
        let plain = MountAttributes::NO_SUID.and(MountAttributes::NO_DEV);
        let attributes = if view.exec { plain } else { plain.and(MountAttributes::NO_EXEC) };
        let copy = || clone_tree_beneath(self.fd.as_fd(), view.layer.unwrap_or(&self.root));
        // A directory of its owner's is nobody else's to look into, root without CAP_DAC_OVERRIDE included.
        let mount = if self.owner == DISK_ID { as_owner(copy) } else { copy() };
        let mount = at(view.step, mount)?;
        at(view.step, mount_attributes(mount.as_fd(), attributes, false, view.map))?;
        Ok(mount)
    }
}

/// How somebody sees a workspace.
pub struct View<'a> {
    /// What was written of an image ([`Source::layer`]), in place of the workspace.
    pub layer: Option<&'a CStr>,
    /// Whether files may be executed.
    pub exec: bool,
    /// Whose the owner's files are there. No other id is mapped, so nothing else can be opened or made.
    pub map: Option<BorrowedFd<'a>>,
    /// The step that fails if it can't be made.
    pub step: Step,
}

fn text(number: impl std::fmt::Display) -> io::Result<CString> {
    CString::new(number.to_string()).map_err(io::Error::other)
}
