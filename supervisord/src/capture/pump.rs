//! Waits for a stream's bytes and has them recorded.
//!
//! The payload has the other end of the pipe, and can hold the pipe's lock for as long as it likes:
//! by `splice` from a socket on which nothing arrives, or by writing memory that has yet to come
//! from a slow disk. Whoever reads the pipe meanwhile sleeps in the kernel, O_NONBLOCK or not. So
//! bytes are moved on the runtime's threads for blocking calls; only `poll`, which doesn't take the
//! lock, is called here. It tells the end of the stream too, so no output costs no thread.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use supervisor_api::Stream;
use tokio::net::unix::pipe::Receiver;
use tokio::time;

use crate::capture::Capture;

/// Bytes of one stream before the other one has its turn; as much as a pipe of an ordinary user
/// can hold.
const TURN_BYTES: usize = 1 << 20;

/// How long bytes gather in the pipes when the payload changes streams too often. A pipe holds 64
/// KiB, so this allows 3 MB a second, and a payload that writes as much is not too fragmented.
const PAUSE: Duration = Duration::from_millis(20);

/// What a pipe has to offer, if anything.
enum Offer {
    Bytes,
    End,
}

/// Pumps one stream to its end.
pub(super) async fn stream(capture: &Capture, stream: Stream, pipe: OwnedFd) -> io::Result<()> {
    let pipe = Arc::new(Receiver::from_owned_fd(pipe)?);
    let known = (stream, Arc::downgrade(&pipe));
    capture.pipes.lock().unwrap_or_else(PoisonError::into_inner).push(known);
    let mut silent = capture.silent.subscribe();
    loop {
        tokio::select! {
            biased;
            ready = pipe.readable() => ready?,
            _ = silent.wait_for(|silent| *silent) => {}
        }
        let is_last = *capture.silent.borrow();
        let offer = if is_last { offer(&pipe) } else { pipe.try_io(|| offer(&pipe)) };
        match offer {
            Ok(Offer::Bytes) if is_last => {
                return turn(capture, stream, &pipe, capacity).await;
            }
            Ok(Offer::Bytes) => turn(capture, stream, &pipe, |_| Ok(TURN_BYTES)).await?,
            Ok(Offer::End) => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            Err(_) if is_last => return Ok(()),
            Err(_) => {}
        }
    }
}

/// Takes what the pipe holds, if anything.
pub(super) async fn take_present(
    capture: &Capture,
    stream: Stream,
    pipe: &Arc<Receiver>,
) -> io::Result<()> {
    match offer(pipe) {
        Ok(Offer::Bytes) => turn(capture, stream, pipe, |_| Ok(TURN_BYTES)).await,
        Ok(Offer::End) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes so many bytes out of the pipe at the most, while the other stream waits.
async fn turn(
    capture: &Capture,
    stream: Stream,
    pipe: &Arc<Receiver>,
    bytes: fn(&Receiver) -> io::Result<usize>,
) -> io::Result<()> {
    let mut recorder = Arc::clone(&capture.recorder).lock_owned().await;
    let pipe = Arc::clone(pipe);
    let (recorder, taken) = tokio::task::spawn_blocking(move || {
        let taken = bytes(&pipe).and_then(|bytes| recorder.take(stream, pipe.as_fd(), bytes));
        (recorder, taken)
    })
    .await?;
    taken?;
    if recorder.is_fragmented() {
        let mut silent = capture.silent.subscribe();
        // Either way it goes on; once every process is dead there is nothing to wait for.
        drop(time::timeout(PAUSE, silent.wait_for(|silent| *silent)).await);
    }
    Ok(())
}

/// Looks into the pipe without taking its lock.
fn offer(pipe: &Receiver) -> io::Result<Offer> {
    let mut seen = look(pipe)?;
    if seen.contains(PollFlags::POLLHUP) {
        // The kernel looks for bytes before it looks for writers. Bytes written in between are
        // seen now that nobody is left to write more.
        seen = look(pipe)?;
    }
    if seen.contains(PollFlags::POLLIN) {
        Ok(Offer::Bytes)
    } else if seen.intersects(PollFlags::POLLHUP | PollFlags::POLLERR) {
        Ok(Offer::End)
    } else {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

fn look(pipe: &Receiver) -> io::Result<PollFlags> {
    let mut polled = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    poll(&mut polled, PollTimeout::ZERO)?;
    let [polled] = polled;
    Ok(polled.revents().unwrap_or(PollFlags::POLLERR))
}

/// The most that the pipe can hold. Takes its lock.
fn capacity(pipe: &Receiver) -> io::Result<usize> {
    let capacity = fcntl(pipe.as_fd(), FcntlArg::F_GETPIPE_SZ)?;
    Ok(usize::try_from(capacity).unwrap_or(TURN_BYTES))
}
