//! A root that can be written: the image, read-only as for everybody, beneath a directory of the workspace's
//! own disk that takes what is written. The mount is this user namespace's own, and so is what it can do.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use caps::CapSet;
use nix::errno::Errno;
use nix::unistd::{Gid, Uid, fchdir, setfsgid, setfsuid};
use supervisor_launch::{INIT_ID, PAYLOAD_ID, Step};
use supervisor_sys::{FsContext, MountAttributes, attach, clone_tree};

use crate::failure::{Failed, at};
use crate::inherited::{Inherited, Layers};
use crate::privilege;

/// Where the launcher's root has room for the parts: the kernel makes such a file system of what has a path.
const IMAGE: &CStr = c"/root/image";
const WRITTEN: &CStr = c"/root/written";
const WHOLE: &CStr = c"/root/whole";

/// The devices of every sandbox.
const DEVICES: &CStr = c"/images/0/dev";

/// Lays the two over each other and goes there.
pub fn enter(layers: &Layers, inherited: &Inherited) -> Result<(), Failed> {
    at(Step::MountRoot, attach(layers.image.as_fd(), IMAGE))?;
    at(Step::MountRoot, attach(layers.written.as_fd(), WRITTEN))?;
    let root = at(Step::MountRoot, as_payload(lay_over))?;
    // The kernel took the wish back when ids changed.
    privilege::die_with_launcher(inherited)?;
    at(Step::MountRoot, attach(root.as_fd(), WHOLE))?;
    let devices = at(Step::MountRoot, clone_tree(DEVICES))?;
    at(Step::MountRoot, fchdir(&root))?;
    at(Step::MountRoot, attach(devices.as_fd(), c"dev"))
}

fn lay_over() -> io::Result<OwnedFd> {
    let context = FsContext::open(c"overlay")?;
    context.set(c"lowerdir", IMAGE)?;
    context.set(c"upperdir", c"/root/written/upper")?;
    context.set(c"workdir", c"/root/written/work")?;
    context.set_flag(c"userxattr")?; // what it notes of files takes no privilege
    context.set(c"index", c"off")?; // the sandbox before may be about to let go of it still
    context.mount(MountAttributes::NO_SUID.and(MountAttributes::NO_DEV))
}

/// Does something with the payload's ids for files, which are the only ones that the workspace's disk has,
/// and with all that init may do: the file system writes there as whoever made it.
fn as_payload<T>(act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let become_id = |id| (setfsgid(Gid::from_raw(id)), setfsuid(Uid::from_raw(id)));
    become_id(PAYLOAD_ID);
    let is_payload =
        become_id(PAYLOAD_ID) == (Gid::from_raw(PAYLOAD_ID), Uid::from_raw(PAYLOAD_ID));
    let all = caps::read(None, CapSet::Permitted)
        .and_then(|all| caps::set(None, CapSet::Effective, &all))
        .map_err(io::Error::other);
    let done = if is_payload { all.and_then(|()| act()) } else { Err(Errno::EPERM.into()) };
    become_id(INIT_ID);
    done
}
