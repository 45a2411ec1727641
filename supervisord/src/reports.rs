//! Reading what a sandbox reports, and waiting for its end.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::errno::Errno;
use nix::fcntl::{OFlag, SpliceFFlags, tee};
use nix::unistd::pipe2;
use supervisor_launch::Report;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::readiness::register;

/// Records that are looked at: twice as many as a sandbox makes, so that one too many is seen.
const MOST: usize = 8;

/// The read end of a sandbox's report pipe. Records are looked at and never taken out: a daemon that
/// comes after us finds them there again, however far we came. A compromised init may write anything
/// there: what is not a report ends the reading.
pub struct Reports {
    pipe: AsyncFd<OwnedFd>,
    /// Where the records are copied to, to be looked at.
    copy: (OwnedFd, OwnedFd),
    /// How many of them were returned.
    seen: AtomicUsize,
}

impl Reports {
    /// Takes the pipe.
    pub fn new(pipe: OwnedFd) -> io::Result<Self> {
        let copy = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        Ok(Self { pipe: register(pipe, Interest::READABLE)?, copy, seen: AtomicUsize::new(0) })
    }

    /// The next report; `None` once nothing can write any more. Nothing is lost when the future is
    /// dropped.
    pub async fn next(&self) -> io::Result<Option<Report>> {
        loop {
            let mut guard = self.pipe.readable().await?;
            let is_last = guard.ready().is_read_closed(); // nothing comes after what is seen now
            match guard.try_io(|pipe| self.look(pipe.get_ref(), is_last)) {
                Err(_would_block) => {}
                Ok(looked) => return looked,
            }
        }
    }

    /// Records are written whole and are copied whole: both are below PIPE_BUF (pipe(7), tee(2)).
    fn look(&self, pipe: &OwnedFd, is_last: bool) -> io::Result<Option<Report>> {
        let mut records = [0; MOST * Report::LENGTH];
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
        let length = match tee(pipe, &self.copy.1, records.len(), flags) {
            Ok(0) | Err(Errno::EAGAIN) => 0,
            Ok(_) => nix::unistd::read(&self.copy.0, &mut records)?,
            Err(error) => return Err(error.into()),
        };
        let seen = self.seen.load(Ordering::Relaxed);
        let unseen = records.get(seen * Report::LENGTH..length).unwrap_or_default();
        match unseen.split_first_chunk() {
            Some((record, _)) => {
                self.seen.store(seen + 1, Ordering::Relaxed);
                Report::decode(record).map(Some).map_err(io::Error::other)
            }
            None if !unseen.is_empty() => Err(io::Error::other("half a report")),
            None if is_last => Ok(None),
            None => Err(io::ErrorKind::WouldBlock.into()),
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

#[cfg(test)]
mod tests {
    use nix::unistd::write;
    use supervisor_launch::Ended;

    use super::*;

    const READY: Report = Report::Ready { landlock: 6 };
    const ENDED: Report = Report::Ended { status: Ended::Exited(3), max_rss: 1, cpu: 2 };

    fn made() -> (OwnedFd, OwnedFd) {
        pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).unwrap()
    }

    async fn all(reports: &Reports) -> Vec<Report> {
        let mut all = Vec::new();
        while let Some(report) = reports.next().await.unwrap() {
            all.push(report);
        }
        all
    }

    #[tokio::test]
    async fn reports_are_read_as_they_come_and_whoever_comes_later_reads_them_again() {
        let (reader, writer) = made();
        let first = Reports::new(reader.try_clone().unwrap()).unwrap();
        write(&writer, &READY.encode()).unwrap();
        assert_eq!(first.next().await.unwrap(), Some(READY));
        let (next, ()) = tokio::join!(first.next(), async {
            tokio::task::yield_now().await; // the one who reads waits by now
            write(&writer, &ENDED.encode()).unwrap();
        });
        assert_eq!(next.unwrap(), Some(ENDED));
        drop(writer);
        assert_eq!(first.next().await.unwrap(), None);
        drop(first);
        assert_eq!(all(&Reports::new(reader).unwrap()).await, [READY, ENDED]);
    }

    #[tokio::test]
    async fn what_is_no_report_or_half_of_one_is_an_error() {
        for junk in [vec![0xff; Report::LENGTH], vec![1, 2, 3]] {
            let (reader, writer) = made();
            write(&writer, &junk).unwrap();
            assert!(Reports::new(reader).unwrap().next().await.is_err());
        }
    }

    #[tokio::test]
    async fn a_flood_of_reports_is_looked_at_to_a_bound() {
        let (reader, writer) = made();
        while write(&writer, &READY.encode()).is_ok() {}
        drop(writer);
        assert_eq!(all(&Reports::new(reader).unwrap()).await.len(), MOST);
    }
}
