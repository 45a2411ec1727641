//! Moves bytes from a pipe into the files, and says what it did.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, SpliceFFlags, open, splice};
use nix::sys::stat::Mode;
use supervisor_api::Stream;
use tokio::sync::watch;

use crate::capture::Progress;
use crate::capture::files::{Files, Part, is_full};
use crate::capture::order::{self, Both};
use crate::fault::{self, Point};

/// Runs that are recorded before it matters how short they are.
const FREE_RUNS: u64 = 1024;

/// Bytes kept per run from then on, on the average: the index takes at most a sixteenth of the
/// output besides.
const BYTES_PER_RUN: u64 = 128;

/// The writing side of a capture.
#[derive(Debug)]
pub(super) struct Recorder {
    files: Arc<Files>,
    limit: u64,
    progress: Arc<watch::Sender<Progress>>,
    /// Streams that the file system had no space for. They stay cut: what came later must not
    /// stand where something is missing.
    full: Both<bool>,
    /// Where cut bytes go, once there are any.
    null: Option<OwnedFd>,
}

impl Recorder {
    /// A recorder that goes on from this progress.
    pub(super) fn new(
        files: Arc<Files>,
        limit: u64,
        progress: Arc<watch::Sender<Progress>>,
    ) -> Self {
        let cut = progress.borrow().cut;
        let full = Both { stdout: cut.stdout > 0, stderr: cut.stderr > 0 };
        Self { files, limit, progress, full, null: None }
    }

    /// Takes at most so many bytes from a pipe, as long as it holds any.
    pub(super) fn take(
        &mut self,
        stream: Stream,
        pipe: BorrowedFd<'_>,
        mut bytes: usize,
    ) -> io::Result<()> {
        while bytes > 0 {
            let moved = match self.room(stream) {
                0 => self.discard(stream, pipe, bytes),
                room => self.keep(stream, pipe, bytes.min(usize::try_from(room).unwrap_or(bytes))),
            };
            match moved {
                Ok(0) => return Ok(()),
                Ok(moved) => bytes = bytes.saturating_sub(moved),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if is_full(&error) && !self.full.get(stream) => {
                    *self.full.get_mut(stream) = true;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether the payload changes streams so often that the index grows out of proportion.
    pub(super) fn is_fragmented(&self) -> bool {
        let Progress { kept, order, .. } = *self.progress.borrow();
        order.runs() > FREE_RUNS + kept.total() / BYTES_PER_RUN
    }

    /// How many more bytes of a stream may be kept.
    fn room(&self, stream: Stream) -> u64 {
        if self.full.get(stream) {
            return 0;
        }
        self.limit.saturating_sub(self.progress.borrow().kept.get(stream))
    }

    fn keep(&mut self, stream: Stream, pipe: BorrowedFd<'_>, bytes: usize) -> io::Result<usize> {
        let part = Part::Bytes(stream);
        self.files.check_room()?;
        let file = self.files.make(part)?;
        fault::reach(Point::OutputMade);
        let before = self.progress.borrow().kept.get(stream);
        let mut offset =
            i64::try_from(before).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let moved = move_bytes(pipe, file.as_fd(), Some(&mut offset), bytes)
            .map_err(|error| if_not_empty(error, part))?;
        if moved == 0 {
            return Ok(0);
        }
        fault::reach(Point::OutputKept);
        match self.record(stream, moved as u64) {
            Ok(()) => Ok(moved),
            Err(error) if is_full(&error) => {
                // Bytes whose order can't be recorded are not kept: readers of both streams would
                // get them at another place the next time.
                file.set_len(before).map_err(|error| part.failed("shorten", error))?;
                *self.full.get_mut(stream) = true;
                self.count_cut(stream, moved as u64)?;
                Ok(moved)
            }
            Err(error) => Err(error),
        }
    }

    fn discard(&mut self, stream: Stream, pipe: BorrowedFd<'_>, bytes: usize) -> io::Result<usize> {
        let null = match self.null.take() {
            Some(null) => null,
            None => open("/dev/null", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?,
        };
        let moved = move_bytes(pipe, null.as_fd(), None, bytes);
        self.null = Some(null);
        let moved = moved.map_err(io::Error::from)?;
        if moved > 0 {
            fault::reach(Point::OutputCut);
            self.count_cut(stream, moved as u64)?;
        }
        Ok(moved)
    }

    /// Closes the run before, where these bytes begin one, and lets the readers see them.
    fn record(&self, stream: Stream, bytes: u64) -> io::Result<()> {
        let mut now = *self.progress.borrow();
        if now.kept.total() == 0 {
            now.order = order::Order::new(stream);
            if stream == Stream::Stderr {
                order::write_header(&self.files, stream, now.cut)?;
            }
        } else if now.order.open() != stream {
            let length = now.order.open_length(now.kept);
            order::write_run(&self.files, &now.order, length, now.cut)?;
            fault::reach(Point::OrderWritten);
            now.order = now.order.close(length);
        }
        *now.kept.get_mut(stream) += bytes;
        self.progress.send_modify(|progress| {
            (progress.kept, progress.order) = (now.kept, now.order);
        });
        Ok(())
    }

    /// Counts bytes that are gone. Without space for the count it stays in memory for now.
    fn count_cut(&self, stream: Stream, bytes: u64) -> io::Result<()> {
        self.progress.send_modify(|progress| {
            let cut = progress.cut.get_mut(stream);
            *cut = cut.saturating_add(bytes);
        });
        let Progress { order, cut, .. } = *self.progress.borrow();
        match order::write_header(&self.files, order.stream(0), cut) {
            Err(error) if !is_full(&error) => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Moves bytes out of a pipe within one system call, so that nothing is ever in our hands.
fn move_bytes(
    pipe: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    mut offset: Option<&mut i64>,
    bytes: usize,
) -> Result<usize, Errno> {
    let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
    loop {
        match splice(pipe, None, to, offset.as_deref_mut(), bytes, flags) {
            Err(Errno::EINTR) => {}
            moved => return moved,
        }
    }
}

fn if_not_empty(error: Errno, part: Part) -> io::Error {
    match error {
        Errno::EAGAIN => error.into(),
        _ => part.failed("write", error.into()),
    }
}
