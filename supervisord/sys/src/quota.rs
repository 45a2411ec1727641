//! Project quota: hard limits on a directory tree of a file system (quotactl_fd(2), Linux 5.14;
//! linux/dqblk_xfs.h, linux/fs.h). The XFS forms of the requests serve every file system.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::check;

/// PRJQUOTA of linux/quota.h.
const PROJECTS: libc::c_int = 2;

const fn command(number: libc::c_int) -> libc::c_int {
    const XQM: libc::c_int = ('X' as libc::c_int) << 8; // the XFS forms
    ((XQM + number) << 8) | PROJECTS
}

/// `struct fs_quota_statv`.
#[repr(C)]
struct State {
    version: u8,
    padding: u8,
    flags: u16,
    enabled_later: u32,
    files: [[u64; 3]; 3],
    times: [i32; 3],
    warnings: [u16; 4],
    more_padding: u32,
    reserved: [u64; 7],
}

/// `struct fs_disk_quota`.
#[repr(C)]
struct DiskQuota {
    version: i8,
    kind: i8,
    fields: u16,
    id: u32,
    blocks_hard: u64,
    blocks_soft: u64,
    inodes_hard: u64,
    inodes_soft: u64,
    counted: [u64; 2],
    timers: [i32; 2],
    warnings: [u16; 2],
    padding: [i8; 4],
    real_time: [u64; 3],
    real_time_timer: i32,
    real_time_warnings: u16,
    more_padding: i16,
    rest: [i8; 8],
}

/// Whether the file system of a directory counts projects and holds them to their limits
/// (Q_XGETQSTATV). One that has no quota at all does not.
pub fn has_project_quota(directory: BorrowedFd<'_>) -> bool {
    const COUNTED_AND_HELD: u16 = 1 << 4 | 1 << 5; // FS_QUOTA_PDQ_ACCT, FS_QUOTA_PDQ_ENFD
    // SAFETY: the structure holds integers only, for which all zeroes is a value.
    let mut state: State = unsafe { std::mem::zeroed() };
    state.version = 1; // FS_QSTATV_VERSION1
    let (fd, get_state) = (directory.as_raw_fd(), command(8));
    // SAFETY: the kernel reads the version and writes a structure of that version's size.
    let asked = unsafe { libc::syscall(libc::SYS_quotactl_fd, fd, get_state, 0, &raw mut state) };
    asked == 0 && state.flags & COUNTED_AND_HELD == COUNTED_AND_HELD
}

/// The least that a project with limits can be held to: its root directory takes a block.
const LEAST: u64 = 4096;

/// Sets the hard limits of a project, in bytes and inodes; 0 is none (Q_XSETQLIM). Needs
/// CAP_SYS_ADMIN.
pub fn limit_project(
    directory: BorrowedFd<'_>,
    project: u32,
    bytes: u64,
    inodes: u64,
) -> io::Result<()> {
    const LIMITS: u16 = 0b1111; // FS_DQ_ISOFT, FS_DQ_IHARD, FS_DQ_BSOFT, FS_DQ_BHARD
    // SAFETY: the structure holds integers only, for which all zeroes is a value.
    let mut quota: DiskQuota = unsafe { std::mem::zeroed() };
    quota.version = 1; // FS_DQUOT_VERSION
    quota.kind = 2; // FS_PROJ_QUOTA
    quota.fields = LIMITS;
    quota.id = project;
    // Below one unit of 512 bytes the kernel would see 0.
    quota.blocks_hard = if bytes == 0 { 0 } else { bytes.max(LEAST) / 512 };
    quota.inodes_hard = inodes;
    let (fd, set_limit) = (directory.as_raw_fd(), command(4));
    // SAFETY: the kernel reads a structure of the layout and size that the request names.
    check(unsafe { libc::syscall(libc::SYS_quotactl_fd, fd, set_limit, project, &raw const quota) })
        .map(drop)
}

/// Whether nothing belongs to a project and nothing limits it. Needs CAP_SYS_ADMIN.
pub fn is_free_project(directory: BorrowedFd<'_>, project: u32) -> io::Result<bool> {
    let quota = quota(directory, project)?;
    Ok((quota.blocks_hard, quota.inodes_hard, quota.counted) == (0, 0, [0, 0]))
}

/// Whether nothing belongs to a project, nor anything that is removed and still open. Needs
/// CAP_SYS_ADMIN.
pub fn is_empty_project(directory: BorrowedFd<'_>, project: u32) -> io::Result<bool> {
    Ok(quota(directory, project)?.counted == [0, 0])
}

/// The limits of a project whose directory is being removed: nobody gets any more out of it, and by them it
/// is known for one.
pub const ENDED_BYTES: u64 = LEAST;

/// The same, of inodes.
pub const ENDED_INODES: u64 = 1;

/// Projects from this one on that have the limits of an ended one (Q_XGETNEXTQUOTA, Linux 4.6). Needs
/// CAP_SYS_ADMIN.
pub fn ended_projects(directory: BorrowedFd<'_>, first: u32) -> io::Result<Vec<u32>> {
    let (mut found, mut next) = (Vec::new(), first);
    while let Some(quota) = next_quota(directory, next)? {
        if (quota.blocks_hard, quota.inodes_hard) == (ENDED_BYTES / 512, ENDED_INODES) {
            found.push(quota.id);
        }
        match quota.id.checked_add(1) {
            Some(id) => next = id,
            None => break,
        }
    }
    Ok(found)
}

/// The first project from this one on that the kernel knows, if there is one.
fn next_quota(directory: BorrowedFd<'_>, first: u32) -> io::Result<Option<DiskQuota>> {
    // SAFETY: the structure holds integers only, for which all zeroes is a value.
    let mut quota: DiskQuota = unsafe { std::mem::zeroed() };
    let (fd, get_next) = (directory.as_raw_fd(), command(9));
    // SAFETY: the kernel writes a structure of the layout and size that the request names.
    let asked =
        unsafe { libc::syscall(libc::SYS_quotactl_fd, fd, get_next, first, &raw mut quota) };
    match check(asked) {
        Ok(_) => Ok(Some(quota)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the kernel knows of a project, all zeroes if it never heard of it (Q_XGETQUOTA).
fn quota(directory: BorrowedFd<'_>, project: u32) -> io::Result<DiskQuota> {
    // SAFETY: the structure holds integers only, for which all zeroes is a value.
    let mut quota: DiskQuota = unsafe { std::mem::zeroed() };
    let (fd, get_quota) = (directory.as_raw_fd(), command(3));
    // SAFETY: the kernel writes a structure of the layout and size that the request names.
    let asked =
        unsafe { libc::syscall(libc::SYS_quotactl_fd, fd, get_quota, project, &raw mut quota) };
    match check(asked) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(quota),
    }
}

/// `struct fsxattr`.
#[repr(C)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    cow_extent_size: u32,
    padding: [u8; 8],
}

/// The project that a directory belongs to (FS_IOC_FSGETXATTR); 0 is none.
pub fn project_of(directory: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(attributes(directory)?.project)
}

/// Puts an empty directory into a project, and with it whatever will be made in it
/// (FS_IOC_FSSETXATTR, FS_XFLAG_PROJINHERIT).
pub fn put_into_project(directory: BorrowedFd<'_>, project: u32) -> io::Result<()> {
    const SET: libc::Ioctl = 0x401c_5820;
    const INHERIT: u32 = 0x200;
    let mut attributes = attributes(directory)?;
    attributes.flags |= INHERIT;
    attributes.project = project;
    // SAFETY: the kernel reads a structure of the layout and size that the request names.
    check(unsafe { libc::ioctl(directory.as_raw_fd(), SET, &raw const attributes) }.into())
        .map(drop)
}

fn attributes(directory: BorrowedFd<'_>) -> io::Result<Attributes> {
    const GET: libc::Ioctl = 0x801c_581f_u32 as libc::Ioctl;
    // SAFETY: the structure holds integers only, for which all zeroes is a value.
    let mut attributes: Attributes = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes a structure of the layout and size that the request names.
    check(unsafe { libc::ioctl(directory.as_raw_fd(), GET, &raw mut attributes) }.into())?;
    Ok(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_have_the_sizes_that_the_kernel_expects() {
        assert_eq!(size_of::<State>(), 160);
        assert_eq!(size_of::<DiskQuota>(), 112);
        assert_eq!(size_of::<Attributes>(), 28);
    }
}
