//! What the payload's TLS clients trust: the image's authorities, and that of its session, with which
//! the daemon answers where a policy looks into requests. The session's is not known before the start,
//! so its place is made here and its stub fills it in, which is the payload already but for the program.

use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::libc::{S_IFMT, S_IFREG};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{Gid, Uid, fchown};
use supervisor_launch::{PAYLOAD_ID, Setup, Step};
use supervisor_sys::{FsContext, MountAttributes, attach, attach_over, clone_tree_beneath};

use crate::failure::{Failed, at};
use crate::keystore;

/// The image's own bundle, and what most programs are told or built to read: of Debian, Alpine and Arch; of
/// Fedora and what comes of it; of SUSE; of Alpine's older programs.
const BUNDLES: [&str; 5] = [
    "etc/ssl/certs/ca-certificates.crt",
    "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "etc/pki/tls/certs/ca-bundle.crt",
    "etc/ssl/ca-bundle.pem",
    "etc/ssl/cert.pem",
];

/// The image's store for Java, to which its Java packages link theirs: of Debian, and of Fedora.
const JAVA: [&str; 2] = ["etc/ssl/certs/java/cacerts", "etc/pki/ca-trust/extracted/java/cacerts"];

/// Bytes of the file system: Debian's bundle has 220 KiB, its store for Java 160 KiB, and the session's
/// authority less than one.
const SIZE: &CStr = c"4m";

/// The most of one file that is copied, so that together they fit. What is larger, or no file, is left where
/// it is: who reads it there trusts less than others do, not more.
const MOST: u64 = 1 << 20;

/// The directory, the three files, and one to spare.
const INODES: &CStr = c"5";

/// Makes /run with its files; the bundle is a copy of the image's and stands in its place as well, and
/// so does the store for Java where the image has one.
pub fn mount(setup: &Setup) -> Result<(), Failed> {
    let run = at(Step::MountTrust, file_system())?;
    at(Step::MountTrust, attach(run.as_fd(), c"run"))?;
    at(Step::MountTrust, create(&run, c"authority.pem", setup))?;
    let bundle = at(Step::MountTrust, create(&run, c"ca-certificates.crt", setup))?;
    let mut bundle = Some(File::from(bundle));
    for place in BUNDLES {
        let Some((over, original)) = at(Step::MountTrust, in_image(place, &run, setup))? else {
            continue;
        };
        // Where an image has several that differ, programs trust what the first of them does.
        if let Some(mut bundle) = bundle.take() {
            at(Step::MountTrust, bundle.write_all(&original))?;
        }
        cover(&run, c"ca-certificates.crt", &over)?;
    }
    for place in JAVA {
        match at(Step::MountTrust, in_image(place, &run, setup))? {
            Some((over, original)) if keystore::is_one(&original) => {
                let store = at(Step::MountTrust, create(&run, c"cacerts", setup))?;
                at(Step::MountTrust, File::from(store).write_all(&original))?;
                return cover(&run, c"cacerts", &over);
            }
            // In another format it stays as it is: Java then trusts less than others do, not more.
            _ => {}
        }
    }
    Ok(())
}

/// Writes the session's authority where [`mount`] made place for it.
pub fn write(authority: &[u8]) -> Result<(), Failed> {
    for file in ["/run/authority.pem", "/run/ca-certificates.crt"] {
        let opened = OpenOptions::new().append(true).open(file);
        at(Step::WriteTrust, opened.and_then(|mut file| file.write_all(authority)))?;
    }
    at(Step::WriteTrust, write_for_java(authority))
}

fn write_for_java(authority: &[u8]) -> io::Result<()> {
    const STORE: &str = "/run/cacerts";
    let Some(store) = original(STORE)? else { return Ok(()) };
    let whole = keystore::der(authority).and_then(|der| keystore::with(&store, &der));
    // It is longer than what it is written over: nothing has to be cut off, and nothing may be.
    let mut file = OpenOptions::new().write(true).open(STORE)?;
    file.write_all(&whole.ok_or(io::ErrorKind::InvalidData)?)
}

/// A file's content, if it is there and not too large. Nothing else that may stand there holds us up.
fn original(path: impl AsRef<Path>) -> io::Result<Option<Vec<u8>>> {
    let waiting_for_nobody = OFlag::O_NONBLOCK.bits();
    match OpenOptions::new().read(true).custom_flags(waiting_for_nobody).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => content(other?),
    }
}

/// A file of the image and its content, if it is there and none of ours already. Its links are followed
/// within the image: what they say is the image's, and whoever made that is not to say where we look.
fn in_image(path: &str, run: &OwnedFd, setup: &Setup) -> io::Result<Option<(OwnedFd, Vec<u8>)>> {
    let root = open(".", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut inside = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    if setup.image != 0 {
        // Nor does a link lead into /proc, which is init's own here, or into the workspace.
        inside |= ResolveFlag::RESOLVE_NO_XDEV;
    }
    let how = |flags| OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(inside);
    let over = match openat2(&root, path, how(OFlag::O_PATH)) {
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EACCES | Errno::EXDEV) => {
            return Ok(None);
        }
        other => other?,
    };
    let status = fstat(&over)?;
    if status.st_mode & S_IFMT != S_IFREG || status.st_dev == fstat(run)?.st_dev {
        return Ok(None);
    }
    let original = match openat2(&root, path, how(OFlag::O_RDONLY | OFlag::O_NONBLOCK)) {
        Err(Errno::EACCES) => return Ok(None), // nor can the payload
        other => content(File::from(other?))?,
    };
    Ok(original.map(|original| (over, original)))
}

/// What is in a file, if it is one with something in it and not too large.
fn content(file: File) -> io::Result<Option<Vec<u8>>> {
    let mut content = Vec::new();
    if file.metadata()?.is_file() {
        file.take(MOST + 1).read_to_end(&mut content)?;
    }
    let will_do = !content.is_empty() && content.len() as u64 <= MOST;
    Ok(will_do.then_some(content))
}

/// Mounts one of our files over one of the image's.
fn cover(run: &OwnedFd, name: &CStr, over: &OwnedFd) -> Result<(), Failed> {
    let copy = at(Step::MountTrust, clone_tree_beneath(run.as_fd(), name))?;
    at(Step::MountTrust, attach_over(copy.as_fd(), over.as_fd()))
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
fn create(directory: &OwnedFd, name: &CStr, setup: &Setup) -> io::Result<OwnedFd> {
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let file = openat(directory, name, flags, Mode::from_bits_truncate(0o644))?;
    if !setup.single_id {
        fchown(&file, Some(Uid::from_raw(PAYLOAD_ID)), Some(Gid::from_raw(PAYLOAD_ID)))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn what_is_too_large_or_no_file_is_not_copied() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("store");
        assert_eq!(original(&path).unwrap(), None);
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        assert_eq!(original(&path).unwrap(), None);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, vec![1; MOST as usize]).unwrap();
        assert_eq!(original(&path).unwrap().map(|content| content.len() as u64), Some(MOST));
        File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(original(&path).unwrap(), None);
    }
}
