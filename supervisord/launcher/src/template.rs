//! Formatted images to make copies of. mkfs.ext4 makes them in memory, from numbers alone; then what the
//! file system has beyond the limits is taken away from it, so that the limits are exact.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::process::exit;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, OFlag, fallocate, openat};
use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, mkdirat};
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};
use nix::sys::statvfs::fstatvfs;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Gid, Uid, Whence, chdir, fchdir, lseek, pivot_root, setfsgid, setfsuid};
use supervisor_launch::DISK_ID;
use supervisor_sys::{Cloned, SingleThreaded, attach, clone_tree, execute, fork, keep_on_exec};

use crate::loops::{Loops, Stays};

/// The directory of an image that is the workspace. What else the image has, nobody gets to see.
pub const WORKSPACE: &CStr = c"workspace";

/// The directory with what is taken away.
const RESERVE: &str = "reserve";

/// Programs that format, the first that is there.
const MKFS: [&str; 2] = ["/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4"];

/// Bytes of a block, of an inode, and what mkfs puts into one group at the most.
const BLOCK: u64 = 4096;
const INODE: u64 = 256;
const BLOCKS_PER_GROUP: u64 = 8 * BLOCK;
const INODES_PER_GROUP: u64 = 8 * BLOCK;

/// Inodes that are not the workspace's: the first eleven, and what [`RESERVE`] takes at the least.
const OTHER_INODES: u64 = 16;

/// Blocks of the journal of a kept workspace, the smallest that there is.
const JOURNAL: u64 = 1024;

/// Templates that are remembered. Each is a few hundred kilobytes; policies have few sizes.
const REMEMBERED: usize = 8;

/// What a template depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Bytes that the workspace can hold.
    pub bytes: u64,
    /// Inodes, its root directory among them.
    pub inodes: u64,
    /// Whether it has to survive a loss of power.
    pub journal: bool,
}

/// The templates that were made, the latest last.
#[derive(Default)]
pub struct Templates {
    made: Vec<(Size, File)>,
}

/// Whether images can be formatted here; asked while the host's programs can be found by path.
pub fn can_format() -> bool {
    MKFS.iter().any(|path| File::open(path).is_ok())
}

impl Templates {
    /// Makes `image`, an empty file, a file system of this size. All of its room is its own from then on: a disk
    /// that is full when the kernel gets to write would take what a program has written long since, and the
    /// workspace's journal with it, and nobody would be told.
    pub fn copy(
        &mut self,
        proof: &SingleThreaded,
        loops: &Loops,
        size: Size,
        image: &File,
    ) -> io::Result<()> {
        let place = match self.made.iter().position(|(made, _)| *made == size) {
            Some(place) => place,
            None => {
                let template = make(proof, loops, size)?;
                if self.made.len() == REMEMBERED {
                    self.made.remove(0);
                }
                self.made.push((size, template));
                self.made.len() - 1
            }
        };
        let (_, template) = self.made.get(place).ok_or(Errno::ENOENT)?;
        copy(template, image)?;
        if fstatfs(image)?.filesystem_type() == TMPFS_MAGIC {
            return Ok(()); // which would take all of it from memory at once
        }
        let length = i64::try_from(image.metadata()?.len()).map_err(io::Error::other)?;
        Ok(fallocate(image, FallocateFlags::empty(), 0, length)?)
    }
}

/// Copies what is not a hole.
fn copy(template: &File, image: &File) -> io::Result<()> {
    let length = template.metadata()?.len();
    image.set_len(length)?;
    let mut buffer = vec![0; 128 << 10];
    let mut at = 0;
    loop {
        at = match lseek(template, at, Whence::SeekData) {
            Err(Errno::ENXIO) => return Ok(()), // holes only from here on
            other => other?,
        };
        let end = lseek(template, at, Whence::SeekHole)?;
        while at < end {
            let part = usize::try_from(end - at).map_err(io::Error::other)?.min(buffer.len());
            let part = buffer.get_mut(..part).unwrap_or_default();
            template.read_exact_at(part, at.cast_unsigned())?;
            image.write_all_at(part, at.cast_unsigned())?;
            at += i64::try_from(part.len()).map_err(io::Error::other)?;
        }
    }
}

fn make(proof: &SingleThreaded, loops: &Loops, size: Size) -> io::Result<File> {
    let template = File::from(memfd_create(c"template", MFdFlags::MFD_CLOEXEC)?);
    template.set_len(bytes_of(size))?;
    format(proof, &template, size)?;
    let mount = loops.mount_own(template.as_fd(), Stays::No)?;
    as_owner(|| take_away(mount.as_fd(), size))?;
    Ok(template) // its mount goes first, and the kernel writes all that it knows
}

/// Bytes that an image takes from the disk when it is made; none where that is memory.
pub fn taken_by(directory: impl AsFd, size: Size) -> io::Result<u64> {
    let is_memory = fstatfs(directory)?.filesystem_type() == TMPFS_MAGIC;
    Ok(if is_memory { 0 } else { bytes_of(size) })
}

/// Bytes of an image.
fn bytes_of(size: Size) -> u64 {
    blocks(size) * BLOCK
}

/// Blocks of an image that has room for all that is asked for; a little too many.
fn blocks(size: Size) -> u64 {
    let inodes = size.inodes + OTHER_INODES;
    let journal = if size.journal { JOURNAL } else { 0 };
    let plain = size.bytes.div_ceil(BLOCK) + inodes.div_ceil(BLOCK / INODE) + journal;
    // The kernel keeps a fiftieth to itself, 4,096 blocks at the most; bitmaps and copies of the
    // superblock take less than a five-hundredth.
    let all = plain + (plain / 40).min(4200) + plain / 500 + 512;
    all.max(inodes.div_ceil(INODES_PER_GROUP) * BLOCKS_PER_GROUP)
}

fn format(proof: &SingleThreaded, image: &File, size: Size) -> io::Result<()> {
    let process = match fork(proof)? {
        Cloned::Child => {
            let error = match enter_image(image, size) {
                Ok((program, argv)) => execute(program.as_fd(), &argv),
                Err(error) => error,
            };
            exit(error.raw_os_error().unwrap_or(1))
        }
        Cloned::Parent { process, .. } => process,
    };
    match waitid(Id::PIDFd(process.as_fd()), WaitPidFlag::WEXITED)? {
        WaitStatus::Exited(_, 0) => Ok(()),
        other => Err(io::Error::other(format!("mkfs.ext4 ended with {other:?}"))),
    }
}

/// In the child: the host's programs are in the image's tree only, so that becomes the root; and there
/// is nothing that mkfs needs privilege for.
fn enter_image(image: &File, size: Size) -> io::Result<(File, Vec<CString>)> {
    set_pdeathsig(Signal::SIGKILL)?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    let (root, proc) = (clone_tree(c"/images/0")?, clone_tree(c"/proc")?);
    attach(root.as_fd(), c"/images/0")?; // over itself: a root must be a mount
    fchdir(&root)?;
    attach(proc.as_fd(), c"proc")?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")?;
    for set in [caps::CapSet::Effective, caps::CapSet::Permitted] {
        caps::clear(None, set).map_err(io::Error::other)?;
    }
    let program = MKFS.iter().find_map(|path| File::open(path).ok());
    let program = program.ok_or(Errno::ENOENT)?;
    keep_on_exec(image)?;
    Ok((program, arguments(image.as_fd(), size)?))
}

fn arguments(image: BorrowedFd<'_>, size: Size) -> io::Result<Vec<CString>> {
    const FEATURES: &str = "none,ext_attr,filetype,extent,flex_bg,sparse_super,large_file,huge_file,\
                            dir_nlink,extra_isize,metadata_csum,dir_index";
    let inodes = (size.inodes + OTHER_INODES).to_string();
    let extended =
        format!("nodiscard,lazy_itable_init=1,lazy_journal_init=1,root_owner={DISK_ID}:{DISK_ID}");
    let (features, path) = (FEATURES.to_owned(), format!("/proc/self/fd/{}", image.as_raw_fd()));
    let features = if size.journal { features + ",has_journal" } else { features };
    let journal: &[&str] = if size.journal { &["-J", "size=4"] } else { &[] };
    let mut words = vec!["mkfs.ext4", "-q", "-F", "-b", "4096", "-I", "256", "-m", "0"];
    words.extend(["-N", &inodes, "-O", &features]);
    words.extend(journal);
    words.extend(["-E", &extended, &path]);
    Ok(words.into_iter().map(CString::new).collect::<Result<_, _>>()?)
}

/// Makes the workspace's directory, and has as many inodes and blocks used up as there are too many.
fn take_away(root: BorrowedFd<'_>, size: Size) -> io::Result<()> {
    mkdirat(root, WORKSPACE, Mode::from_bits_truncate(0o700))?;
    mkdirat(root, RESERVE, Mode::from_bits_truncate(0o700))?;
    let reserve = openat(root, RESERVE, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let file = |name: &str| {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        openat(&reserve, name, flags, Mode::from_bits_truncate(0o600))
    };
    let space: OwnedFd = file("space")?;
    // The workspace's root directory is there already.
    for number in size.inodes.saturating_sub(1)..fstatvfs(&reserve)?.files_available() {
        file(&number.to_string())?;
    }
    let free = fstatvfs(&reserve)?.blocks_available();
    let most = size.bytes / BLOCK;
    let Some(above) = free.checked_sub(most) else { return Err(Errno::ENOSPC.into()) };
    let above = i64::try_from(above * BLOCK).map_err(io::Error::other)?;
    if above > 0 {
        fallocate(&space, FallocateFlags::empty(), 0, above)?;
    }
    Ok(())
}

/// Does something as the owner of workspaces' files, for file systems alone: what it meets was made by
/// a payload, and for this id the host has nothing.
pub fn as_owner<T>(act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let become_id = |id| (setfsgid(Gid::from_raw(id)), setfsuid(Uid::from_raw(id)));
    become_id(DISK_ID);
    let is_owner = become_id(DISK_ID) == (Gid::from_raw(DISK_ID), Uid::from_raw(DISK_ID));
    let done = if is_owner { act() } else { Err(Errno::EPERM.into()) };
    become_id(0);
    done
}
