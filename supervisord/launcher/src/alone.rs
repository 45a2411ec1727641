//! One launcher at a time. Of two over the same workspaces or behind the same name each knows its own sandboxes
//! only: a daemon that reached the other one would take what runs for lost, and nobody would end it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use supervisor_sys::is_listened_on;

use crate::failure::{Fatal, fatal};

/// Keeps other launchers away from a directory of workspaces for as long as this is open.
pub fn hold(workspaces: &Path) -> Result<File, Fatal> {
    let what = format!("use {} for workspaces", workspaces.display());
    fatal(&what, File::open(workspaces).and_then(lock))
}

/// Takes the name of a socket, which others can't for as long as this is open. What a launcher left there that was
/// killed is removed.
pub fn take_name(path: &Path) -> io::Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock"); // a socket can't be locked
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).mode(0o600);
    let held = lock(options.custom_flags(O_NOFOLLOW | O_NONBLOCK).open(name)?)?;
    // One that was started by other means, or is older than the lock.
    if is_listened_on(path)? {
        return Err(taken());
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(held),
    }
}

fn lock(file: File) -> io::Result<File> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(taken()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn taken() -> io::Error {
    io::Error::other(
        "another process has it; stop that one first, or name another place for this one",
    )
}
