//! Opens one name in a directory, through no link and no mount, and lifts the permissions that a
//! payload took from its own files.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{self, AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmod, fchmodat, fstat, fstatat};
use supervisor_sys::without;

use super::refusal::failure;

/// How often an open is tried again. The kernel answers EAGAIN when a rename anywhere on the host
/// got in the way of a look-up; a name under a lease answers it for longer and is given up.
const OPEN_ATTEMPTS: u32 = 16;

/// What listing a directory and opening what it holds needs.
const SEARCH: Mode = Mode::S_IRUSR.union(Mode::S_IXUSR);

/// Opens `name`, which is one component, in `directory`.
pub(super) fn open<P: NixPath + ?Sized>(
    directory: BorrowedFd<'_>,
    name: &P,
    flags: OFlag,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let beneath = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    let (beneath, follow) = match without("beneath") {
        true => (ResolveFlag::empty(), OFlag::empty()),
        false => (beneath, OFlag::O_NOFOLLOW),
    };
    let how = OpenHow::new().flags(flags | follow | OFlag::O_CLOEXEC).mode(mode).resolve(beneath);
    for _ in 1..OPEN_ATTEMPTS {
        match openat2(directory, name, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            opened => return opened,
        }
    }
    openat2(directory, name, how)
}

/// Opens a directory to list it and to open what it holds. `.` opens `directory` itself.
pub(super) fn open_directory<P: NixPath + ?Sized>(
    directory: BorrowedFd<'_>,
    name: &P,
) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let opened = open_or_lift(directory, name, flags, SFlag::S_IFDIR, SEARCH)?;
    let mode = mode_of(&fstat(&opened)?);
    if !mode.contains(SEARCH) {
        fchmod(&opened, mode | SEARCH)?;
    }
    Ok(opened)
}

/// Opens the directory that a descriptor stands for, to walk it. A payload owns its root too and may
/// have shut it; there is no directory above to name it in, so it is opened up by the descriptor
/// alone.
pub(super) fn open_root(root: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    match open_directory(root, ".") {
        Err(Errno::EACCES) => {
            lift(root, SFlag::S_IFDIR, SEARCH)?;
            open_directory(root, ".")
        }
        opened => opened,
    }
}

/// Gives a workspace's root all permissions of its owner's back where a payload took them: nothing would
/// start in it any more to do so, no source could be written there, and nobody come to its files.
pub fn open_up(root: BorrowedFd<'_>) -> io::Result<()> {
    if !is_shut(root)? {
        return Ok(());
    }
    lift(root, SFlag::S_IFDIR, Mode::S_IRWXU)
        .map_err(|error| failure("opening up the workspace", error))
}

/// Whether [`open_up`] would change anything. It asks nothing of the disk, which that waits for.
pub fn is_shut(root: BorrowedFd<'_>) -> io::Result<bool> {
    let found = fstat(root).map_err(|error| failure("opening up the workspace", error))?;
    Ok(!mode_of(&found).contains(Mode::S_IRWXU))
}

/// Opens a file to read it. What was opened need not be a regular file: look at the descriptor. A
/// FIFO does not block and a terminal does not become ours.
pub(super) fn open_file<P: NixPath + ?Sized>(
    directory: BorrowedFd<'_>,
    name: &P,
) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    open_or_lift(directory, name, flags, SFlag::S_IFREG, Mode::S_IRUSR)
}

/// The type of a file.
pub(super) fn kind_of(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// What stands at `name`, links not followed.
pub(super) fn stat<P: NixPath + ?Sized>(
    directory: BorrowedFd<'_>,
    name: &P,
) -> Result<FileStat, Errno> {
    fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)
}

/// The permission bits of a file.
pub(super) fn mode_of(stat: &FileStat) -> Mode {
    Mode::from_bits_truncate(stat.st_mode)
}

/// The payload owns its files and so do we, through the mount's id map; a mode of 000 is lifted as
/// far as reading needs, once: given back after each read it would be a change to all who follow the
/// workspace, and they would read again. What is lifted is what is then opened, whatever has its
/// name by then: it is held by a descriptor.
fn open_or_lift<P: NixPath + ?Sized>(
    directory: BorrowedFd<'_>,
    name: &P,
    flags: OFlag,
    kind: SFlag,
    needed: Mode,
) -> Result<OwnedFd, Errno> {
    match open(directory, name, flags, Mode::empty()) {
        Err(Errno::EACCES) => {
            let found = open(directory, name, OFlag::O_PATH, Mode::empty())?;
            lift(found.as_fd(), kind, needed)?;
            fcntl::open(itself(found.as_fd()).as_str(), flags | OFlag::O_CLOEXEC, Mode::empty())
        }
        opened => opened,
    }
}

/// Adds permission bits to a file of this type and of no other name. The descriptor may be an O_PATH one.
fn lift(found: BorrowedFd<'_>, kind: SFlag, needed: Mode) -> Result<(), Errno> {
    let stat = fstat(found)?;
    if kind_of(&stat) != kind || (kind == SFlag::S_IFREG && stat.st_nlink != 1) {
        return Err(Errno::EACCES);
    }
    let mode = mode_of(&stat) | needed;
    fchmodat(AT_FDCWD, itself(found).as_str(), mode, FchmodatFlags::FollowSymlink)
}

/// What a descriptor stands for, for calls that take no O_PATH descriptor (open(2), NOTES).
fn itself(found: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", found.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::symlink;
    use std::sync::mpsc;
    use std::time::Duration;

    use nix::unistd::mkfifo;

    use super::*;
    use crate::workspace::testing::{Fixture, as_ordinary_user};

    #[test]
    fn nothing_is_opened_through_a_link_or_above_the_directory() {
        let fixture = Fixture::new();
        fixture.file("d/file", "");
        symlink("d", fixture.at("link")).unwrap();
        symlink("/proc/self/root", fixture.at("magic")).unwrap();
        let root = fixture.root();
        let opened = |name| open(root.as_fd(), name, OFlag::O_RDONLY, Mode::empty());
        assert!(opened("d/file").is_ok());
        for name in ["link", "link/file", "magic", "magic/etc/passwd"] {
            assert_eq!(opened(name).unwrap_err(), Errno::ELOOP, "{name}");
        }
        for name in ["..", "../outside/canary", "d/../../outside", "/etc/passwd", "/"] {
            assert_eq!(opened(name).unwrap_err(), Errno::EXDEV, "{name}");
        }
    }

    #[test]
    fn a_fifo_that_took_the_place_of_a_file_does_not_block_whoever_opens_it() {
        let fixture = Fixture::new();
        mkfifo(&fixture.at("fifo"), Mode::S_IRWXU).unwrap();
        let root = fixture.root();
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || sender.send(open_file(root.as_fd(), "fifo")));
        assert!(receiver.recv_timeout(Duration::from_secs(10)).unwrap().is_ok());
    }

    #[test]
    fn permissions_are_lifted_on_what_was_asked_for_and_nothing_behind_it() {
        let fixture = as_ordinary_user(|| {
            let fixture = Fixture::new();
            fixture.file("other/a", "a");
            fixture.file("one", "");
            fs::hard_link(fixture.at("one"), fixture.at("two")).unwrap();
            symlink("other", fixture.at("link")).unwrap();
            mkfifo(&fixture.at("fifo"), Mode::empty()).unwrap();
            fixture.set_mode("one", 0o000);
            fixture.set_mode("other", 0o000);
            let root = fixture.root();
            let lift = |name, kind| {
                let found = open(root.as_fd(), name, OFlag::O_PATH, Mode::empty())?;
                lift(found.as_fd(), kind, SEARCH)
            };
            for (name, kind) in [
                ("link", SFlag::S_IFDIR),
                ("link", SFlag::S_IFREG),
                ("link", SFlag::S_IFLNK),
                ("link/a", SFlag::S_IFREG),
                ("fifo", SFlag::S_IFREG),
                ("two", SFlag::S_IFREG),
            ] {
                assert!(lift(name, kind).is_err(), "{name} {kind:?}");
            }
            for name in ["other", "one", "fifo"] {
                assert_eq!(fixture.mode_of(name), 0, "{name}");
            }
            lift("other", SFlag::S_IFDIR).unwrap();
            assert_eq!(fixture.mode_of("other"), 0o500);
            fixture
        });
        fixture.assert_outside_untouched();
    }
}
