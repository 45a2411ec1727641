//! What a payload has shut is opened up to be read, and shut again afterwards: reading changes no permissions.
//!
//! A file is shut again as soon as it is open, for a descriptor needs no permission any more. A directory has to stay
//! open for as long as names are looked up in it, by all who do that: the last of them shuts it. A daemon that is
//! killed meanwhile leaves it open to its owner.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat};

use super::{SEARCH, lift, mode_of, open, open_directory, open_root, stat};

/// Directories that are open for a while, by device and inode.
type Shut = HashMap<(u64, u64), Shutting>;

/// How one is to be shut again.
#[derive(Clone, Copy)]
struct Shutting {
    /// The permissions that it has otherwise.
    mode: Mode,
    /// How many look up names in it.
    users: u64,
}

/// Of all workspaces. Held while something is opened up, counted or shut: nobody takes permissions for a payload's
/// that are ours.
static SHUT: Mutex<Option<Shut>> = Mutex::new(None);

fn locked() -> MutexGuard<'static, Option<Shut>> {
    SHUT.lock().unwrap_or_else(PoisonError::into_inner) // changed by single steps that don't panic
}

/// Opens a file that its owner may not read.
pub(super) fn open_for_a_moment<P: NixPath + ?Sized>(
    directory: BorrowedFd<'_>,
    name: &P,
    flags: OFlag,
) -> Result<OwnedFd, Errno> {
    let _turn = locked();
    let before = stat(directory, name)?;
    lift(directory, name, SFlag::S_IFREG, Mode::S_IRUSR)?;
    let opened = open(directory, name, flags, Mode::empty())?;
    if of(&fstat(&opened)?) == of(&before) {
        shut_again(opened.as_fd(), mode_of(&before), Mode::S_IRUSR)?;
    }
    Ok(opened)
}

/// A directory to look into. Dropped, it has the permissions that it had.
pub(in crate::workspace) struct LookedInto {
    directory: OwnedFd,
    /// What is to be shut again.
    shut: Option<(u64, u64)>,
    mode: Mode,
}

impl LookedInto {
    /// Opens a directory to list it and to read what it holds.
    pub(in crate::workspace) fn new<P: NixPath + ?Sized>(
        directory: BorrowedFd<'_>,
        name: &P,
    ) -> Result<Self, Errno> {
        let mut shut = locked();
        let before = stat(directory, name)?;
        Self::count(open_directory(directory, name)?, &before, shut.get_or_insert_default())
    }

    /// The same for the directory that a descriptor stands for.
    pub(in crate::workspace) fn root(root: BorrowedFd<'_>) -> Result<Self, Errno> {
        let mut shut = locked();
        let before = fstat(root)?;
        Self::count(open_root(root)?, &before, shut.get_or_insert_default())
    }

    /// Its permissions when nobody looks into it.
    pub(in crate::workspace) fn mode(&self) -> Mode {
        self.mode
    }

    fn count(directory: OwnedFd, before: &FileStat, all: &mut Shut) -> Result<Self, Errno> {
        let (itself, mode) = (of(&fstat(&directory)?), mode_of(before));
        if let Some(shutting) = all.get_mut(&itself) {
            shutting.users += 1;
            return Ok(Self { directory, shut: Some(itself), mode: shutting.mode });
        }
        // Another one has taken its name meanwhile, or it was open to its owner.
        if itself != of(before) || mode.contains(SEARCH) {
            return Ok(Self { directory, shut: None, mode });
        }
        all.insert(itself, Shutting { mode, users: 1 });
        Ok(Self { directory, shut: Some(itself), mode })
    }
}

impl AsFd for LookedInto {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

impl Drop for LookedInto {
    fn drop(&mut self) {
        let Some(itself) = self.shut else { return };
        let mut shut = locked();
        let all = shut.get_or_insert_default();
        let Some(shutting) = all.get_mut(&itself) else { return };
        shutting.users -= 1;
        if shutting.users == 0 {
            all.remove(&itself);
            if let Err(error) = shut_again(self.directory.as_fd(), self.mode, SEARCH) {
                tracing::error!(%error, "a directory of a workspace can't be shut again");
            }
        }
    }
}

fn of(found: &FileStat) -> (u64, u64) {
    (found.st_dev, found.st_ino)
}

/// Gives back the permissions that something had before these were added, unless somebody has changed them since.
fn shut_again(opened: BorrowedFd<'_>, before: Mode, added: Mode) -> Result<(), Errno> {
    if mode_of(&fstat(opened)?) != before | added {
        return Ok(());
    }
    fchmod(opened, before)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::super::open_file;
    use super::*;
    use crate::workspace::testing::{Fixture, as_ordinary_user};

    #[test]
    fn a_file_that_was_read_is_as_it_was() {
        as_ordinary_user(|| {
            let fixture = Fixture::new();
            fixture.file("file", "content");
            for mode in [0o000, 0o200, 0o044] {
                fixture.set_mode("file", mode);
                let opened = open_file(fixture.root().as_fd(), "file").unwrap();
                assert_eq!(fixture.mode_of("file"), mode);
                let mut buffer = [0; 7];
                assert_eq!(nix::unistd::read(&opened, &mut buffer), Ok(7));
            }
        });
    }

    #[test]
    fn a_directory_is_as_it_was_once_the_last_has_looked_into_it() {
        as_ordinary_user(|| {
            let fixture = Fixture::new();
            fixture.file("d/file", "");
            fixture.set_mode("d", 0o030);
            let root = fixture.root();
            let look = || LookedInto::new(root.as_fd(), "d").unwrap();
            let (first, second) = (look(), look());
            assert_eq!(
                (first.mode(), second.mode()),
                (second.mode(), Mode::from_bits_retain(0o030))
            );
            drop(first);
            assert!(stat(second.as_fd(), "file").is_ok(), "it is open to whoever looks into it");
            drop(second);
            assert_eq!(fixture.mode_of("d"), 0o030);
            // What its owner has made of it meanwhile stays so.
            let third = look();
            fixture.set_mode("d", 0o711);
            drop(third);
            assert_eq!(fixture.mode_of("d"), 0o711);
            assert!(
                locked().as_ref().is_none_or(|all| {
                    !all.contains_key(&of(&stat(root.as_fd(), "d").unwrap()))
                })
            );
        });
    }

    #[test]
    fn a_root_that_is_shut_is_looked_into_and_shut_again() {
        as_ordinary_user(|| {
            let fixture = Fixture::new();
            fixture.file("file", "");
            let root = fixture.root();
            fchmod(root.as_fd(), Mode::empty()).unwrap();
            let looked = LookedInto::root(root.as_fd()).unwrap();
            assert!(stat(looked.as_fd(), "file").is_ok());
            drop(looked);
            assert_eq!(mode_of(&fstat(&root).unwrap()), Mode::empty());
            fchmod(root.as_fd(), Mode::S_IRWXU).unwrap();
        });
    }
}
