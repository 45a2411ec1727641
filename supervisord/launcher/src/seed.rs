//! The seed: supervisor-init, executed once, of which every sandbox's init is a copy.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::exit;

use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{dup, dup2_stderr, dup2_stdin, dup2_stdout};
use supervisor_launch::{Copied, Step, Wanted};
use supervisor_sys::{
    Cloned, SingleThreaded, execute, fork, handed_on, keep_on_exec, kill, receive, send,
};

use crate::failure::Failed;

/// A copy: its pidfd, its pid, and the sockets in its network namespace.
type Copy = (OwnedFd, u32, Vec<OwnedFd>);

/// The process that copies itself for us.
pub struct Seed {
    socket: OwnedFd,
    process: OwnedFd,
}

impl Seed {
    /// Executes the program. It has our confinement, the null device for its standard streams, and one
    /// socket, whose other end we hold.
    pub fn start(
        proof: &SingleThreaded,
        program: BorrowedFd<'_>,
        null: &OwnedFd,
    ) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (socket, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        match fork(proof)? {
            Cloned::Child => {
                let error = match inherit(&theirs, null) {
                    Ok(argv) => execute(program, &argv),
                    Err(error) => error,
                };
                exit(error.raw_os_error().unwrap_or(1))
            }
            Cloned::Parent { process, .. } => Ok(Self { socket, process }),
        }
    }

    /// Has a copy made that gets these descriptors. It is our own child. The outer
    /// error says that the seed is of no more use.
    pub fn copy(&self, wanted: Wanted, fds: &[BorrowedFd<'_>]) -> io::Result<Result<Copy, Failed>> {
        let expected = wanted.listeners.map_or(0, |listeners| listeners.places().count());
        if let Err(errno) = self.has_room(1 + expected) {
            return Ok(Err(Failed { step: Step::Clone, errno: errno as i32 }));
        }
        send(self.socket.as_fd(), &wanted.encode(), fds)?;
        let mut answer = [0; Copied::LENGTH];
        let (length, received) = receive(self.socket.as_fd(), &mut answer)?;
        if length == 0 {
            return Err(Errno::EPIPE.into());
        }
        let answer = answer.get(..length).unwrap_or_default();
        match Copied::decode(answer).map_err(io::Error::other)? {
            Copied::Made { pid } => {
                let mut received = received.into_iter();
                let process = received.next().ok_or(io::ErrorKind::InvalidData)?;
                let sockets: Vec<_> = received.collect();
                if sockets.len() != expected {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                Ok(Ok((process, pid, sockets)))
            }
            Copied::Failed { step, errno } => Ok(Err(Failed { step, errno })),
        }
    }

    /// Whether we may have so many more descriptors. What comes without room for it is gone: a copy without
    /// its pidfd could be neither used nor ended. We have one thread, so that the room is there afterwards too.
    fn has_room(&self, descriptors: usize) -> Result<(), Errno> {
        let held: Result<Vec<_>, _> = (0..descriptors).map(|_| dup(&self.socket)).collect();
        held.map(drop)
    }

    /// Ends it and waits for its end, unless that was done.
    pub fn end(&self) -> io::Result<()> {
        match kill(self.process.as_fd()) {
            Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => return Ok(()), // and waited for
            ended => ended?,
        }
        waitid(Id::PIDFd(self.process.as_fd()), WaitPidFlag::WEXITED)?;
        Ok(())
    }
}

fn inherit(socket: &OwnedFd, null: &OwnedFd) -> io::Result<Vec<CString>> {
    set_pdeathsig(Signal::SIGKILL)?; // besides, it ends with its socket
    dup2_stdin(null)?;
    dup2_stdout(null)?;
    dup2_stderr(null)?;
    keep_on_exec(socket)?;
    let number = CString::new(socket.as_raw_fd().to_string()).map_err(io::Error::other)?;
    Ok([c"supervisor-init".to_owned(), number].into_iter().chain(handed_on()).collect())
}
