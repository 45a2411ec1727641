//! A relay between two TCP connections, by splice(2): bytes go from socket to socket within the
//! kernel. An idle relay holds nothing but the two sockets.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::{Shutdown, shutdown};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::meter::Overdrawn;
use super::pipe::{Borrowed, Pipes};
use super::{Ended, Meter, idle};
use crate::limits::RELAY_BUFFER;

/// Why one direction stopped.
enum Stop {
    Broken(io::Error),
    Overdrawn,
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl From<Overdrawn> for Stop {
    fn from(_: Overdrawn) -> Self {
        Self::Overdrawn
    }
}

/// Relays until both sides are done, one breaks, or nothing happens for `patience`.
pub async fn relay_spliced(
    client: &TcpStream,
    upstream: &TcpStream,
    meter: &Meter,
    pipes: &Pipes,
    patience: Duration,
) -> Ended {
    let out = pump(client, upstream, pipes, |bytes| meter.send(bytes));
    let back = pump(upstream, client, pipes, |bytes| meter.receive(bytes));
    let both = async { tokio::try_join!(out, back) };
    tokio::select! {
        ended = both => match ended {
            Ok(_) => Ended::Done,
            Err(Stop::Overdrawn) => Ended::Overdrawn,
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
    count: impl Fn(usize) -> Result<(), Overdrawn>,
) -> Result<(), Stop> {
    loop {
        from.readable().await?;
        let more = match pipes.borrow() {
            Some(mut pipe) => spliced(from, to, &mut pipe, &count).await?,
            None => copied(from, to, &count).await?,
        };
        if !more {
            close(to)?;
            return Ok(());
        }
    }
}

/// Moves what there is; `false` at the end of the input.
async fn spliced(
    from: &TcpStream,
    to: &TcpStream,
    pipe: &mut Borrowed<'_>,
    count: &impl Fn(usize) -> Result<(), Overdrawn>,
) -> Result<bool, Stop> {
    loop {
        match from.try_io(Interest::READABLE, || pipe.fill(from)) {
            Ok(0) => return Ok(false),
            // Counted before it is delivered, so no budget is passed by more than one chunk.
            Ok(taken) => count(taken)?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
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

/// Does the same by copying, one buffer at a time.
async fn copied(
    from: &TcpStream,
    to: &TcpStream,
    count: &impl Fn(usize) -> Result<(), Overdrawn>,
) -> Result<bool, Stop> {
    let mut buffer = vec![0u8; RELAY_BUFFER];
    let taken = match from.try_read(&mut buffer) {
        Ok(0) => return Ok(false),
        Ok(taken) => taken,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
        Err(error) => return Err(error.into()),
    };
    count(taken)?;
    buffer.truncate(taken);
    let mut rest = buffer.as_slice();
    while !rest.is_empty() {
        to.writable().await?;
        match to.try_write(rest) {
            Ok(given) => rest = rest.get(given..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

fn close(stream: &TcpStream) -> io::Result<()> {
    match shutdown(stream.as_raw_fd(), Shutdown::Write) {
        // The other direction has found out before.
        Ok(()) | Err(nix::errno::Errno::ENOTCONN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
