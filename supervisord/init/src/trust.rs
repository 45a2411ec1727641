//! What the payload's TLS clients trust: the image's authorities, and that of its session, with which
//! the daemon answers where a policy looks into requests. The session's is not known before the start,
//! so its place is made here and its stub fills it in, which is the payload already but for the program.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, fchown};
use supervisor_launch::{PAYLOAD_ID, Setup, Step};
use supervisor_sys::{FsContext, MountAttributes, attach, clone_tree_beneath};

use crate::failure::{Failed, at};

/// The image's own bundle, and what most programs are told or built to read.
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

/// Bytes of the file system for both files: Debian's bundle has 220 KiB, and the session's authority less
/// than one.
const SIZE: &std::ffi::CStr = c"4m";

/// The directory, the two files, and one to spare.
const INODES: &std::ffi::CStr = c"4";

/// Makes /run with both files; the bundle is a copy of the image's and stands in its place as well.
pub fn mount(setup: &Setup) -> Result<(), Failed> {
    let run = at(Step::MountTrust, file_system())?;
    at(Step::MountTrust, attach(run.as_fd(), c"run"))?;
    let bundle = at(Step::MountTrust, create(&run, "ca-certificates.crt", setup))?;
    at(Step::MountTrust, create(&run, "authority.pem", setup))?;
    match File::open(BUNDLE) {
        Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => return Ok(()),
        original => {
            let mut original = at(Step::MountTrust, original)?;
            at(Step::MountTrust, io::copy(&mut original, &mut File::from(bundle)))?;
        }
    }
    let copy = at(Step::MountTrust, clone_tree_beneath(run.as_fd(), c"ca-certificates.crt"))?;
    at(Step::MountTrust, attach(copy.as_fd(), c"etc/ssl/certs/ca-certificates.crt"))
}

/// Writes the session's authority where [`mount`] made place for it.
pub fn write(authority: &[u8]) -> Result<(), Failed> {
    for file in ["/run/authority.pem", "/run/ca-certificates.crt"] {
        let opened = OpenOptions::new().append(true).open(file);
        at(Step::WriteTrust, opened.and_then(|mut file| file.write_all(authority)))?;
    }
    Ok(())
}

fn file_system() -> io::Result<OwnedFd> {
    let context = FsContext::open(c"tmpfs")?;
    context.set(c"size", SIZE)?;
    context.set(c"nr_inodes", INODES)?;
    context.set(c"mode", c"0755")?;
    let plain = MountAttributes::NO_SUID.and(MountAttributes::NO_DEV);
    context.mount(plain.and(MountAttributes::NO_EXEC))
}

/// A file of the payload's in a directory that isn't. With one host id there is nothing to change: it is
/// the payload's as it is.
fn create(directory: &OwnedFd, name: &str, setup: &Setup) -> io::Result<OwnedFd> {
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let file = openat(directory, name, flags, Mode::from_bits_truncate(0o644))?;
    if !setup.single_id {
        fchown(&file, Some(Uid::from_raw(PAYLOAD_ID)), Some(Gid::from_raw(PAYLOAD_ID)))?;
    }
    Ok(file)
}
