//! What sandboxes write of images whose policies let them: a directory beside each workspace, on the same disk
//! and held to the same limits, with a layer for each image. Nobody but a sandbox of that workspace and
//! image gets to see it, and only through the file system that its init makes of both.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use supervisor_sys::{project_of, put_into_project};

use crate::images::hexadecimal;

/// The directory's name in an image of a workspace.
pub const ROOTS: &CStr = c"roots";

/// What makes the end of its name where workspaces are directories beside each other.
const SUFFIX: &str = ".roots";

const DIRECTORY: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_CLOEXEC).union(OFlag::O_NOFOLLOW);

/// The name of the directory that goes with the workspace of this name.
pub fn roots_of(workspace: &str) -> String {
    format!("{workspace}{SUFFIX}")
}

/// The name of the workspace that a directory of this name goes with, if it is one of these.
pub fn workspace_of(roots: &str) -> Option<&str> {
    roots.strip_suffix(SUFFIX)
}

/// Makes the layer of an image, if it isn't there. It takes what is written, and a place of the kernel's own for
/// what is half written.
pub fn make(
    disk: &OwnedFd,
    workspace: &CStr,
    roots: &CStr,
    image: [u8; 32],
) -> io::Result<CString> {
    let directory = make_directory(disk, roots, 0o700)?;
    let workspace = openat(disk, workspace, DIRECTORY, Mode::empty())?;
    // Before there is anything in it: what is made in there later is counted with the workspace.
    match project_of(workspace.as_fd()) {
        Ok(0) => {}
        Ok(project) if project_of(directory.as_fd())? == project => {}
        Ok(project) => put_into_project(directory.as_fd(), project)?,
        // A file system that knows no projects.
        Err(error) if error.raw_os_error() == Some(Errno::ENOTTY as i32) => {}
        Err(error) => return Err(error),
    }
    let name = CString::new(hexadecimal(&image))?;
    let layer = make_directory(&directory, &name, 0o700)?;
    make_directory(&layer, c"upper", 0o755)?;
    make_directory(&layer, c"work", 0o700)?;
    Ok(CString::new([roots.to_bytes(), b"/", name.to_bytes()].concat())?)
}

fn make_directory(parent: &OwnedFd, name: &CStr, mode: u32) -> io::Result<OwnedFd> {
    match mkdirat(parent, name, Mode::from_bits_truncate(mode)) {
        Err(Errno::EEXIST) | Ok(()) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(openat(parent, name, DIRECTORY, Mode::empty())?)
}
