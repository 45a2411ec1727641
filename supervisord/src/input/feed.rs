//! Passes input on, as far as the payload takes it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::sendfile::sendfile;
use tokio::io::Interest;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Input;
use crate::readiness::register;

/// Bytes that are passed on at once; a pipe of the payload's holds no more.
const PIECE: usize = 1 << 16;

/// Bytes that a payload can have in its pipe at the most (proc(5), pipe-max-size). The pipe holds the
/// file's own pages, so their memory is not given back before they are out of it.
pub(super) const HELD: u64 = 1 << 20;

/// Memory is given back in steps of so many bytes, which are whole pages on every machine.
const STEP: u64 = 1 << 16;

/// How long a payload that takes nothing is left alone if the kernel doesn't say that it takes some.
const AGAIN: Duration = Duration::from_millis(250);

/// Why no more is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All has been passed on, and no more comes.
    Complete,
    /// Nobody can read it.
    Unread,
}

impl Input {
    /// Passes bytes on as they come, until the last or as long as somebody can read them.
    ///
    /// The payload has the other end, and can hold the pipe's lock for as long as it likes, so bytes are
    /// moved on the runtime's threads for blocking calls.
    pub async fn feed(&self, to: OwnedFd) -> io::Result<End> {
        let to = Arc::new(to);
        let ready = register(to.clone(), Interest::WRITABLE)?;
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let now = self.state()?;
            if now.passed_on == now.offset {
                if !now.open {
                    return Ok(End::Complete);
                }
                changed.changed().await.map_err(io::Error::other)?;
                continue;
            }
            let Ok(guard) = timeout(AGAIN, ready.writable()).await else { continue };
            let mut guard = guard?;
            let (from, to) = (self.file.clone(), to.clone());
            let moved = spawn_blocking(move || sendfile(&*to, &*from, None, PIECE)).await?;
            match moved {
                Ok(_) => {
                    self.free(now.passed_on)?;
                    self.changed.send_replace(());
                }
                Err(Errno::EAGAIN) => guard.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(Errno::EPIPE | Errno::EIO) => {
                    self.hang_up();
                    return Ok(End::Unread);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gives back the memory of what has been read.
    fn free(&self, passed_on: u64) -> io::Result<()> {
        let read = passed_on.saturating_sub(HELD);
        let (end, before) = (read - read % STEP, self.freed.load(Ordering::Relaxed));
        if end <= before {
            return Ok(());
        }
        let signed = |number: u64| i64::try_from(number).map_err(io::Error::other);
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        fallocate(self.file.as_fd(), flags, signed(before)?, signed(end - before)?)?;
        self.freed.store(end, Ordering::Relaxed);
        Ok(())
    }
}
