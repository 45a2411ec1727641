//! Pipes through which bytes go from socket to socket without being copied to this process. There are
//! few of them: a relay holds one only while bytes are under way.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;

use crate::limits::{MAX_PIPES, RELAY_CHUNK};

const FLAGS: SpliceFFlags = SpliceFFlags::SPLICE_F_NONBLOCK.union(SpliceFFlags::SPLICE_F_MOVE);

/// The pipes of a daemon.
#[derive(Debug, Default)]
pub struct Pipes {
    shelf: Mutex<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    idle: Vec<Pipe>,
    made: usize,
}

#[derive(Debug)]
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

/// A pipe that goes back to its shelf if it is empty, and is closed if it isn't.
#[derive(Debug)]
pub struct Borrowed<'a> {
    pipes: &'a Pipes,
    pipe: Option<Pipe>,
    /// Bytes in it.
    held: usize,
}

impl Pipes {
    /// A pipe, or none if all are in use or the system gives no more: then bytes are copied.
    pub fn borrow(&self) -> Option<Borrowed<'_>> {
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipe) = shelf.idle.pop() {
            return Some(Borrowed { pipes: self, pipe: Some(pipe), held: 0 });
        }
        if shelf.made >= MAX_PIPES {
            return None;
        }
        let pipe = Pipe::new()?;
        shelf.made += 1;
        Some(Borrowed { pipes: self, pipe: Some(pipe), held: 0 })
    }
}

impl Pipe {
    fn new() -> Option<Self> {
        let (read, write) = match pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK) {
            Ok(ends) => ends,
            Err(error) => {
                tracing::debug!(%error, "no pipe to relay through");
                return None;
            }
        };
        // Users have a quota of pipe memory; the usual 64 KiB work too.
        let size = i32::try_from(RELAY_CHUNK).unwrap_or(i32::MAX);
        if let Err(error) = fcntl(&write, FcntlArg::F_SETPIPE_SZ(size)) {
            tracing::debug!(%error, "a relay's pipe stays small");
        }
        Some(Self { read, write })
    }
}

impl Borrowed<'_> {
    /// Moves what a socket has into the empty pipe; 0 at the end of its input.
    ///
    /// # Errors
    ///
    /// As splice(2); `WouldBlock` where the socket has nothing.
    pub fn fill(&mut self, from: impl AsFd) -> io::Result<usize> {
        let Some(pipe) = &self.pipe else { return Err(io::ErrorKind::NotConnected.into()) };
        self.held = splice(from, None, &pipe.write, None, RELAY_CHUNK, FLAGS)?;
        Ok(self.held)
    }

    /// Moves what the pipe holds into a socket, as far as that takes it, and returns what is left.
    ///
    /// # Errors
    ///
    /// As splice(2); `WouldBlock` where the socket takes nothing now.
    pub fn drain(&mut self, to: impl AsFd) -> io::Result<usize> {
        let Some(pipe) = &self.pipe else { return Err(io::ErrorKind::NotConnected.into()) };
        match splice(&pipe.read, None, to, None, self.held, FLAGS)? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            given => {
                self.held = self.held.saturating_sub(given);
                Ok(self.held)
            }
        }
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        let mut shelf = self.pipes.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        match self.pipe.take() {
            Some(pipe) if self.held == 0 => shelf.idle.push(pipe),
            _ => shelf.made = shelf.made.saturating_sub(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_are_bounded_and_come_back_only_when_they_are_empty() {
        let pipes = Pipes::default();
        let mut all: Vec<_> = std::iter::from_fn(|| pipes.borrow()).collect();
        assert_eq!(all.len(), MAX_PIPES);
        all[0].held = 1;
        drop(all);
        let shelf = pipes.shelf.lock().unwrap();
        assert_eq!((shelf.idle.len(), shelf.made), (MAX_PIPES - 1, MAX_PIPES - 1));
    }
}
