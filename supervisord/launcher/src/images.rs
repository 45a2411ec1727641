//! Images that root imported, as the store has them (the directory that only root can enter, which
//! `supervisorctl image` writes). The daemon names one by its digest; what is at that place is looked at
//! here, shown read-only where every sandbox's init takes its root from, and kept from being removed.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, open, openat};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::{Mode, fstat};
use supervisor_launch::{DISK_ID, IMAGE_ID, Step};
use supervisor_sys::{MountAttributes, attach, clone_tree, clone_tree_beneath, mount_attributes};

use crate::failure::{Failed, Fatal, at, fatal};

/// Images that are shown at once at the most. Each is two mounts, which every start copies.
pub const PLACES: u16 = 16;

/// Where the store is in our own root.
const STORE: &str = "/store";

/// Nothing in an image gives privilege or is a device, and nobody writes there.
const SAFE: MountAttributes =
    MountAttributes::READ_ONLY.and(MountAttributes::NO_SUID).and(MountAttributes::NO_DEV);

/// Digits of a digest.
const DIGITS: usize = 64;

/// The store, found while the host's files could still be reached by path.
pub struct Store(OwnedFd);

/// What is shown, by place.
pub struct Images {
    is_there: bool,
    places: Vec<Option<Shown>>,
}

/// An image there.
struct Shown {
    id: [u8; 32],
    users: u32,
    /// As long as we have it nobody removes the image.
    _lock: Flock<OwnedFd>,
}

impl Store {
    /// Looks at the directory. It must be one that nobody but root can enter.
    pub fn look(path: &Path) -> Result<Self, Fatal> {
        let look = || -> io::Result<Self> {
            let directory = File::open(path)?;
            let metadata = directory.metadata()?;
            if !metadata.is_dir() || metadata.uid() != 0 || metadata.mode() & 0o077 != 0 {
                return Err(io::Error::other("it must be root's own and have the mode 0700"));
            }
            let tree = clone_tree(&CString::new(path.as_os_str().as_encoded_bytes())?)?;
            mount_attributes(tree.as_fd(), SAFE, true, None)?;
            Ok(Self(tree))
        };
        fatal(&format!("use {} for images", path.display()), look())
    }
}

impl Images {
    /// Takes the store into our own root. None is shown yet.
    pub fn open(store: Option<Store>) -> io::Result<Self> {
        if let Some(Store(tree)) = &store {
            attach(tree.as_fd(), &CString::new(STORE)?)?;
        }
        let places = (0..PLACES).map(|_| None).collect();
        Ok(Self { is_there: store.is_some(), places })
    }

    /// What a name stands for. The file is root's own; nothing but its digits is read.
    pub fn find(&self, key: [u8; 32]) -> Result<[u8; 32], Failed> {
        if !self.is_there {
            return Err(Failed::refused(Step::FindImage));
        }
        let find = || -> io::Result<[u8; 32]> {
            let path = format!("{STORE}/names/{}", hexadecimal(&key));
            let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
            let mut digits = [0; DIGITS];
            File::from(open(path.as_str(), flags, Mode::empty())?).read_exact(&mut digits)?;
            parse(&digits).ok_or(Errno::EILSEQ.into())
        };
        at(Step::FindImage, find())
    }

    /// Shows an image, if it is not shown already, and tells where. It stays until [`leave`](Self::leave).
    pub fn show(&mut self, id: [u8; 32]) -> Result<u16, Failed> {
        if !self.is_there {
            return Err(Failed::refused(Step::ShowImage));
        }
        let is_it = |place: &Option<Shown>| place.as_ref().is_some_and(|shown| shown.id == id);
        let there = self.places.iter().position(is_it);
        let full = Failed { step: Step::ShowImage, errno: Errno::EMFILE as i32 };
        let index = there.or_else(|| self.places.iter().position(Option::is_none)).ok_or(full)?;
        let place = self.places.get_mut(index).ok_or(full)?;
        let shown = match place {
            Some(shown) => shown,
            None => place.insert(at(Step::ShowImage, show(id, path_of(index)))?),
        };
        shown.users += 1;
        Ok(index as u16 + 1)
    }

    /// A mount of what is shown there for one sandbox, without the devices, attached nowhere: to that
    /// sandbox its files are somebody's, by the map.
    pub fn copy(&self, place: u16, map: Option<BorrowedFd<'_>>) -> io::Result<OwnedFd> {
        let index = usize::from(place).checked_sub(1).ok_or(Errno::ENOENT)?;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let shown = open(path_of(index).as_str(), flags, Mode::empty())?;
        let copy = clone_tree_beneath(shown.as_fd(), c"")?;
        mount_attributes(copy.as_fd(), SAFE, false, map)?;
        Ok(copy)
    }

    /// A sandbox no longer has what is shown there; 0 is the default image. With the last one it is taken
    /// down, so that whoever wants to remove it can.
    pub fn leave(&mut self, place: u16) -> io::Result<()> {
        let Some(index) = usize::from(place).checked_sub(1) else { return Ok(()) };
        let Some(place) = self.places.get_mut(index) else { return Ok(()) };
        let Some(shown) = place else { return Ok(()) };
        shown.users = shown.users.saturating_sub(1);
        if shown.users == 0 {
            umount2(path_of(index).as_str(), MntFlags::MNT_DETACH)?;
            *place = None;
        }
        Ok(())
    }
}

fn path_of(index: usize) -> String {
    format!("/images/{}", index + 1)
}

/// Locks an image, looks whether it is what root made, and shows it with the devices of every sandbox.
fn show(id: [u8; 32], path: String) -> io::Result<Shown> {
    let place = format!("{STORE}/sha256/{}", hexadecimal(&id));
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let directory = open(place.as_str(), flags, Mode::empty())?;
    let status = fstat(&directory)?;
    if status.st_uid != 0 || status.st_mode & 0o077 != 0 {
        return Err(Errno::EPERM.into());
    }
    let lock = Flock::lock(directory, FlockArg::LockSharedNonblock).map_err(|(_, error)| error)?;
    // Whoever removes one takes its place from it first, under the same lock.
    let again = fstat(open(place.as_str(), flags, Mode::empty())?)?;
    if (again.st_dev, again.st_ino) != (status.st_dev, status.st_ino) {
        return Err(Errno::ENOENT.into());
    }
    let tree = openat(&*lock, "tree", flags | OFlag::O_PATH, Mode::empty())?;
    let owner = fstat(&tree)?.st_uid;
    if !(IMAGE_ID..DISK_ID).contains(&owner) {
        return Err(Errno::EPERM.into());
    }
    let mount = clone_tree_beneath(tree.as_fd(), c"")?;
    mount_attributes(mount.as_fd(), SAFE, false, None)?;
    let devices = clone_tree(c"/images/0/dev")?;
    attach(mount.as_fd(), &CString::new(path.clone())?)?;
    if let Err(error) = attach(devices.as_fd(), &CString::new(format!("{path}/dev"))?) {
        umount2(path.as_str(), MntFlags::MNT_DETACH)?;
        return Err(error);
    }
    Ok(Shown { id, users: 0, _lock: lock })
}

/// Bytes as digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse(digits: &[u8; DIGITS]) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            *byte = *byte << 4 | char::from(*digit).to_digit(16)? as u8;
        }
    }
    Some(bytes)
}
