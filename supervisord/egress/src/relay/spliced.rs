//! A relay between two TCP connections. Much goes from socket to socket within the kernel, by splice(2);
//! a little is copied. An idle relay holds nothing but the two sockets.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::socket::{MsgFlags, Shutdown, recv, shutdown};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::pipe::{Borrowed, Pipes};
use super::{Ended, Meter, idle};
use crate::limits::LITTLE;
use crate::seam::{Lack, Overspent};

/// Why one direction stopped.
enum Stop {
    Broken(io::Error),
    Overdrawn(Lack),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl From<Overspent> for Stop {
    fn from(overspent: Overspent) -> Self {
        Self::Overdrawn(overspent.lack)
    }
}

/// Relays until both sides are done, one breaks, or nothing happens for `patience`. The side that was told last is
/// told by the closing of its connection, which is up to whoever has it.
pub async fn relay_spliced(
    client: &TcpStream,
    upstream: &TcpStream,
    meter: &Meter,
    pipes: &Pipes,
    patience: Duration,
) -> Ended {
    let half = AtomicBool::new(false);
    let out = pump(client, upstream, pipes, &half, |bytes| meter.send(bytes));
    let back = pump(upstream, client, pipes, &half, |bytes| meter.receive(bytes));
    let both = async { tokio::try_join!(out, back) };
    tokio::select! {
        ended = both => match ended {
            Ok(_) => Ended::Done,
            Err(Stop::Overdrawn(lack)) => Ended::Overdrawn(lack),
            Err(Stop::Broken(error)) => {
                tracing::debug!(%error, "a relayed connection broke off");
                Ended::Broken
            }
        },
        () = idle(meter, patience) => Ended::Idle,
    }
}

async fn pump(
    from: &TcpStream,
    to: &TcpStream,
    pipes: &Pipes,
    half: &AtomicBool,
    count: impl Fn(usize) -> Result<(), Overspent>,
) -> Result<(), Stop> {
    let mut is_little = true;
    loop {
        from.readable().await?;
        let moved = match pipes.borrow().filter(|_| !is_little) {
            Some(mut pipe) => spliced(from, to, &mut pipe, &count).await?,
            None => copied(from, to, &count).await?,
        };
        let Some(moved) = moved else {
            // Behind the end of the other direction, nothing is left of either connection but its closing.
            if !half.swap(true, Ordering::Relaxed) {
                close(to)?;
            }
            return Ok(());
        };
        // A message of a handshake is copied, which takes fewer system calls; what is more is spliced.
        is_little = moved < LITTLE;
    }
}

/// Moves what there is; how much that was, or nothing at the end of the input.
async fn spliced(
    from: &TcpStream,
    to: &TcpStream,
    pipe: &mut Borrowed<'_>,
    count: &impl Fn(usize) -> Result<(), Overspent>,
) -> Result<Option<usize>, Stop> {
    let mut moved: usize = 0;
    loop {
        match from.try_io(Interest::READABLE, || pipe.fill(from)) {
            Ok(0) => return Ok(None),
            // Counted before it is delivered, so no budget is passed by more than one chunk.
            Ok(taken) => {
                count(taken)?;
                moved = moved.saturating_add(taken);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Some(moved)),
            Err(error) => return Err(error.into()),
        }
        loop {
            to.writable().await?;
            match to.try_io(Interest::WRITABLE, || pipe.drain(to)) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The same by copying, [`LITTLE`] at the most.
async fn copied(
    from: &TcpStream,
    to: &TcpStream,
    count: &impl Fn(usize) -> Result<(), Overspent>,
) -> Result<Option<usize>, Stop> {
    let Some((taken, left)) = copy(from, to, count)? else { return Ok(None) };
    let mut rest = left.as_slice();
    while !rest.is_empty() {
        to.writable().await?;
        match to.try_write(rest) {
            Ok(given) => rest = rest.get(given..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(taken))
}

/// Copies what there is, without waiting: how much that was, and what of it the other side doesn't take
/// yet. It is not a part of the future, which has no room for the buffer.
fn copy(
    from: &TcpStream,
    to: &TcpStream,
    count: &impl Fn(usize) -> Result<(), Overspent>,
) -> Result<Option<(usize, Vec<u8>)>, Stop> {
    let (mut buffer, mut taken) = ([0u8; LITTLE], None);
    let read = from.try_io(Interest::READABLE, || {
        let count = recv(from.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        taken = Some(count);
        // Less than there is room for is all that there was: it need not be asked again before the
        // next event (epoll(7), question 9). An end that has come already is remembered by itself.
        if (1..LITTLE).contains(&count) { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    let taken = match (taken, read) {
        (Some(0), _) => return Ok(None),
        (Some(taken), _) => taken,
        (None, Err(error)) if error.kind() != io::ErrorKind::WouldBlock => return Err(error.into()),
        (None, _) => return Ok(Some((0, Vec::new()))),
    };
    count(taken)?; // before it is delivered, as above
    let bytes = buffer.get(..taken).unwrap_or_default();
    let given = match to.try_write(bytes) {
        Ok(given) => given,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(error) => return Err(error.into()),
    };
    Ok(Some((taken, bytes.get(given..).unwrap_or_default().to_vec())))
}

fn close(stream: &TcpStream) -> io::Result<()> {
    match shutdown(stream.as_raw_fd(), Shutdown::Write) {
        // The other direction has found out before.
        Ok(()) | Err(nix::errno::Errno::ENOTCONN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
