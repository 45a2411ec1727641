//! Moving from one directory to another, which rename(2) doesn't do for us: a process that Landlock confines
//! moves nothing between directories unless a rule lets it (landlock(7), `LANDLOCK_ACCESS_FS_REFER`), and no
//! rule can name a workspace, which is a mount that hangs nowhere. A file or link gets there as a copy, which takes
//! its name whole; then the original goes. A daemon that is killed between leaves both.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, RenameFlags, renameat2};
use nix::unistd::{AccessFlags, UnlinkatFlags, faccessat, unlinkat};
use supervisor_api::FileKind;

use super::FileError;
use super::copy::copy_one;
use super::replace::temporary_name;

/// Why it was not moved.
pub(super) enum Obstacle {
    /// It is neither a file nor a link.
    Kind,
    /// It could not be copied.
    File(FileError),
    /// The copy could not take its name.
    Place(Errno),
    /// The original could not be removed.
    Origin(Errno),
}

/// Moves a name in one directory to a name in another.
pub(super) fn carry(
    (source, old): (BorrowedFd<'_>, &str),
    (target, new): (BorrowedFd<'_>, &str),
    flags: RenameFlags,
) -> Result<(), Obstacle> {
    // It would stay beside its copy.
    let may_change = AccessFlags::W_OK | AccessFlags::X_OK;
    faccessat(source, ".", may_change, AtFlags::empty()).map_err(Obstacle::Origin)?;
    // Said of where it was to go to, not of what was to be copied.
    faccessat(target, ".", may_change, AtFlags::empty()).map_err(Obstacle::Place)?;
    let temporary = temporary_name().map_err(|error| {
        let operation = "choose a name".to_owned();
        Obstacle::File(FileError::System { operation, source: error })
    })?;
    let copied = match copy_one(source, old, target, &temporary) {
        Ok((FileKind::File | FileKind::SymbolicLink, _)) => Ok(()),
        Ok(_) => return Err(Obstacle::Kind), // nothing was made
        Err(error) => Err(Obstacle::File(error)),
    };
    let placed = copied.and_then(|()| {
        renameat2(target, temporary.as_str(), target, new, flags).map_err(Obstacle::Place)
    });
    if placed.is_err() {
        match unlinkat(target, temporary.as_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => tracing::warn!(%error, "can't remove a copy that was not finished"),
        }
    }
    placed?;
    match unlinkat(source, old, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()), // gone meanwhile
        Err(error) => Err(Obstacle::Origin(error)),
    }
}
