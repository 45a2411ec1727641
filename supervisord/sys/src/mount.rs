//! Mounts by descriptor: the calls of the new mount interface (Linux 5.2, 5.12).

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use crate::{check, check_fd, without};

/// A file system that is being configured (fsopen(2)).
pub struct FsContext(OwnedFd);

impl FsContext {
    /// Begins one of this type, such as `tmpfs`.
    pub fn open(kind: &CStr) -> io::Result<Self> {
        const CLOEXEC: libc::c_uint = 1; // FSOPEN_CLOEXEC
        // SAFETY: the name is a C string and lives through the call.
        check_fd(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), CLOEXEC) }).map(Self)
    }

    /// Sets a parameter that has a value.
    pub fn set(&self, key: &CStr, value: &CStr) -> io::Result<()> {
        self.configure(1, key.as_ptr(), value.as_ptr()) // FSCONFIG_SET_STRING
    }

    /// Sets a parameter that has none.
    pub fn set_flag(&self, key: &CStr) -> io::Result<()> {
        self.configure(0, key.as_ptr(), std::ptr::null()) // FSCONFIG_SET_FLAG
    }

    fn configure(
        &self,
        command: u32,
        key: *const libc::c_char,
        value: *const libc::c_char,
    ) -> io::Result<()> {
        let fd = self.0.as_raw_fd();
        // SAFETY: key and value are null or C strings that live through the call.
        check(unsafe { libc::syscall(libc::SYS_fsconfig, fd, command, key, value, 0) }).map(drop)
    }

    /// Makes the file system and a mount of it that is attached nowhere (fsmount(2)).
    pub fn mount(self, attributes: MountAttributes) -> io::Result<OwnedFd> {
        const CLOEXEC: libc::c_uint = 1; // FSMOUNT_CLOEXEC
        self.configure(6, std::ptr::null(), std::ptr::null())?; // FSCONFIG_CMD_CREATE
        let fd = self.0.as_raw_fd();
        // SAFETY: the call takes numbers only.
        check_fd(unsafe { libc::syscall(libc::SYS_fsmount, fd, CLOEXEC, attributes.bits()) })
    }
}

/// What a mount forbids (MOUNT_ATTR_* of linux/mount.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MountAttributes(u64);

impl MountAttributes {
    /// Writing.
    pub const READ_ONLY: Self = Self(0x1);
    /// Set-user-id programs and file capabilities.
    pub const NO_SUID: Self = Self(0x2);
    /// Devices.
    pub const NO_DEV: Self = Self(0x4);
    /// Execution.
    pub const NO_EXEC: Self = Self(0x8);
    /// Nothing of the above.
    pub const NONE: Self = Self(0);

    /// Both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn bits(self) -> u64 {
        let named = [
            ("read-only", Self::READ_ONLY),
            ("nosuid", Self::NO_SUID),
            ("nodev", Self::NO_DEV),
            ("noexec", Self::NO_EXEC),
        ];
        let gone = named.into_iter().filter(|(name, _)| without(name));
        gone.fold(self.0, |bits, (_, each)| bits & !each.0)
    }
}

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Forbids `attributes` on a mount, and with `recursive` on everything mounted beneath it; with a
/// user namespace its ids are mapped by it (mount_setattr(2)). The mount must not be in use yet
/// for the latter.
pub fn mount_attributes(
    mount: BorrowedFd<'_>,
    attributes: MountAttributes,
    recursive: bool,
    user_namespace: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    const IDMAP: u64 = 0x10_0000; // MOUNT_ATTR_IDMAP
    let mut request = MountAttr { set: attributes.bits(), ..MountAttr::default() };
    if let Some(namespace) = user_namespace {
        request.set |= IDMAP;
        request.user_namespace = namespace.as_raw_fd() as u64;
    }
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    let (fd, empty) = (mount.as_raw_fd(), c"".as_ptr());
    let size = size_of::<MountAttr>();
    // SAFETY: the path is a C string and the request has the size that we name.
    check(unsafe {
        libc::syscall(libc::SYS_mount_setattr, fd, empty, flags, &raw const request, size)
    })
    .map(drop)
}

const OPEN_TREE_CLONE: libc::c_int = 1;

/// A copy of the mount at `path`, with what is mounted beneath it, attached nowhere (open_tree(2)).
pub fn clone_tree(path: &CStr) -> io::Result<OwnedFd> {
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC | libc::AT_RECURSIVE;
    // SAFETY: the path is a C string and lives through the call.
    check_fd(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })
}

/// The same without what is mounted beneath it, from a path beneath a descriptor; an empty path
/// means the descriptor itself.
pub fn clone_tree_beneath(directory: BorrowedFd<'_>, path: &CStr) -> io::Result<OwnedFd> {
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC | libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW;
    let fd = directory.as_raw_fd();
    // SAFETY: the path is a C string and lives through the call.
    check_fd(unsafe { libc::syscall(libc::SYS_open_tree, fd, path.as_ptr(), flags) })
}

/// Attaches a mount over what a descriptor is of (move_mount(2)).
pub fn attach_over(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    const EMPTY_PATHS: libc::c_uint = 4 | 0x40; // MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH
    let (fd, empty, target) = (mount.as_raw_fd(), c"".as_ptr(), target.as_raw_fd());
    // SAFETY: both paths are C strings that live through the call.
    check(unsafe { libc::syscall(libc::SYS_move_mount, fd, empty, target, empty, EMPTY_PATHS) })
        .map(drop)
}

/// Attaches a mount at a path relative to the working directory (move_mount(2)). No symbolic link
/// is followed.
pub fn attach(mount: BorrowedFd<'_>, target: &CStr) -> io::Result<()> {
    const FROM_EMPTY_PATH: libc::c_uint = 4; // MOVE_MOUNT_F_EMPTY_PATH; no T_SYMLINKS
    let (fd, empty, target) = (mount.as_raw_fd(), c"".as_ptr(), target.as_ptr());
    // SAFETY: both paths are C strings that live through the call.
    check(unsafe {
        libc::syscall(libc::SYS_move_mount, fd, empty, libc::AT_FDCWD, target, FROM_EMPTY_PATH)
    })
    .map(drop)
}
