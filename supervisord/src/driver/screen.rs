//! What a payload's terminal shows, on its way to where standard output is kept.
//!
//! A terminal can't be moved into a file at once, only into a pipe; that pipe is the launcher's as well, so
//! a daemon that is killed leaves every byte in the terminal, in the pipe or in the file:
//!
//! ```text
//!   payload ──▶ terminal ──splice──▶ pipe ──splice──▶ file
//! ```

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{SpliceFFlags, splice};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use supervisor_launch::Descriptor;
use tokio::io::Interest;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::launcher::Sandbox;
use crate::live::Live;
use crate::readiness::register;

/// Bytes that are moved at once, as many as the pipe holds.
const PIECE: usize = 1 << 16;

/// A payload's terminal, and where goes what it shows.
pub(super) struct Screen {
    terminal: Arc<OwnedFd>,
    pipe: Arc<OwnedFd>,
}

impl Screen {
    /// That of a sandbox, if its payload has one. From now on it can be resized.
    pub(super) fn of(sandbox: &mut Sandbox, live: &Live) -> Option<Self> {
        let terminal = Arc::new(sandbox.take(Descriptor::Terminal)?);
        let pipe = Arc::new(sandbox.take(Descriptor::Screen)?);
        live.terminal.send_replace(Some(terminal.clone()));
        Some(Self { terminal, pipe })
    }

    /// Moves what is shown until no process is left, and then the rest. The launcher has the other side
    /// open, so there is no end before: a payload could close its side and open it again.
    pub(super) async fn show(self, mut silent: watch::Receiver<bool>) -> io::Result<()> {
        let shown = register(self.terminal.clone(), Interest::READABLE)?;
        let room = register(self.pipe.clone(), Interest::WRITABLE)?;
        loop {
            let shown = tokio::select! {
                biased;
                shown = shown.readable() => Some(shown?),
                _ = silent.wait_for(|silent| *silent) => None,
            };
            let mut room = room.writable().await?;
            let (terminal, pipe) = (self.terminal.clone(), self.pipe.clone());
            // Whoever writes the pipe's bytes to a slow disk holds its lock meanwhile.
            let moved = spawn_blocking(move || {
                splice(&*terminal, None, &*pipe, None, PIECE, SpliceFFlags::SPLICE_F_NONBLOCK)
            });
            match moved.await? {
                Ok(0) | Err(Errno::EIO) => return Ok(()),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) if !is(&self.pipe, PollFlags::POLLOUT)? => room.clear_ready(),
                Err(Errno::EAGAIN) if is(&self.terminal, PollFlags::POLLIN)? => {} // it came just now
                Err(Errno::EAGAIN) => match shown {
                    Some(mut shown) => shown.clear_ready(),
                    None => return Ok(()),
                },
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Nobody can change its size any more.
pub(super) fn end(live: &Live) {
    live.terminal.send_replace(None);
}

/// Whether a descriptor is ready for this; of a terminal the kernel tells it when all that was written is
/// where it can be read.
fn is(fd: &OwnedFd, event: PollFlags) -> io::Result<bool> {
    let mut polled = [PollFd::new(fd.as_fd(), event)];
    poll(&mut polled, PollTimeout::ZERO)?;
    let [polled] = polled;
    Ok(polled.revents().is_some_and(|seen| seen.contains(event)))
}
