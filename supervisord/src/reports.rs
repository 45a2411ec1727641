//! Reading what a sandbox reports, and waiting for its end.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use supervisor_launch::Report;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::readiness::register;

/// The read end of a sandbox's report pipe. A compromised init may write anything there: what is
/// not a report ends the reading.
pub struct Reports {
    pipe: AsyncFd<OwnedFd>,
}

impl Reports {
    /// Takes the pipe.
    pub fn new(pipe: OwnedFd) -> io::Result<Self> {
        Ok(Self { pipe: register(pipe, Interest::READABLE)? })
    }

    /// The next report; `None` once nothing can write any more. Nothing is lost when the future is
    /// dropped.
    pub async fn next(&self) -> io::Result<Option<Report>> {
        loop {
            let mut guard = self.pipe.readable().await?;
            let mut record = [0; Report::LENGTH];
            // Records are written whole and are read whole: both are below PIPE_BUF (pipe(7)).
            let read = guard.try_io(|pipe| Ok(nix::unistd::read(pipe.get_ref(), &mut record)?));
            match read {
                Err(_would_block) => {}
                Ok(length) => match length? {
                    0 => return Ok(None),
                    Report::LENGTH => {
                        return Report::decode(&record).map(Some).map_err(io::Error::other);
                    }
                    _ => return Err(io::Error::other("half a report")),
                },
            }
        }
    }
}

/// Returns once the process behind a pidfd has ended (pidfd_open(2): it becomes readable).
pub async fn ended(process: &OwnedFd) -> io::Result<()> {
    let process = register(process.as_fd(), Interest::READABLE)?;
    process.readable().await?.retain_ready();
    Ok(())
}

/// Writes all of `bytes` to a pipe and closes it. A reader that is gone is no error: a payload need
/// not read what it is given.
pub async fn feed(pipe: OwnedFd, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    // Most of what is written fits the pipe at once, without waiting to be told so.
    match nix::unistd::write(&pipe, rest) {
        Ok(written) => rest = rest.get(written..).unwrap_or_default(),
        Err(nix::Error::EAGAIN) => {}
        Err(nix::Error::EPIPE) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    if rest.is_empty() {
        return Ok(());
    }
    let pipe = register(pipe, Interest::WRITABLE)?;
    while !rest.is_empty() {
        let mut guard = pipe.writable().await?;
        let written = guard.try_io(|pipe| Ok(nix::unistd::write(pipe.get_ref(), rest)?));
        match written {
            Err(_would_block) => {}
            Ok(Ok(written)) => rest = rest.get(written..).unwrap_or_default(),
            Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Ok(Err(error)) => return Err(error),
        }
    }
    Ok(())
}
