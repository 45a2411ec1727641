//! A relay between two streams whose bytes have to pass through this process: a WebSocket in TLS, or
//! one that has to be watched for a credential that comes back.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Ended, Meter, idle};
use crate::credential::{CredentialRefusal, Frames, OutboundFrames};
use crate::limits::UPGRADED_BUFFER;
use crate::seam::{Lack, Overspent};

/// Why one direction stopped.
enum Stop {
    Broken(io::Error),
    Overdrawn(Lack),
    Reflected,
    Leaking(Box<CredentialRefusal>),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

fn overdrawn(overspent: Overspent) -> Stop {
    Stop::Overdrawn(overspent.lack)
}

/// Relays until both sides are done, one breaks, or nothing happens for `patience`. What comes from
/// the payload and what comes from the upstream is looked through.
pub async fn relay_copied(
    client: impl AsyncRead + AsyncWrite,
    upstream: impl AsyncRead + AsyncWrite,
    meter: &Meter,
    (mut going, mut coming): (OutboundFrames, Frames),
    patience: Duration,
) -> Ended {
    let (client_reads, client_writes) = tokio::io::split(client);
    let (upstream_reads, upstream_writes) = tokio::io::split(upstream);
    let out = pump(client_reads, upstream_writes, |bytes| {
        going.look(&bytes).map_err(|refusal| Stop::Leaking(Box::new(refusal)))?;
        meter.send(bytes.len()).map_err(overdrawn)?;
        Ok(bytes)
    });
    let back = pump(upstream_reads, client_writes, |bytes| {
        let read = bytes.len();
        let passed = match read {
            0 => coming.finish(),
            _ => coming.pass(bytes).map_err(|_| Stop::Reflected)?,
        };
        meter.receive(read).map_err(overdrawn)?;
        Ok(passed)
    });
    let both = async { tokio::try_join!(out, back) };
    tokio::select! {
        ended = both => match ended {
            Ok(_) => Ended::Done,
            Err(Stop::Overdrawn(lack)) => Ended::Overdrawn(lack),
            Err(Stop::Reflected) => Ended::Reflected,
            Err(Stop::Leaking(refusal)) => Ended::Leaking(refusal),
            Err(Stop::Broken(error)) => {
                tracing::debug!(%error, "a relayed connection broke off");
                Ended::Broken
            }
        },
        () = idle(meter, patience) => Ended::Idle,
    }
}

/// One direction. `pass` is given each piece that was read, and nothing at the end; what it gives goes on.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut pass: impl FnMut(Bytes) -> Result<Bytes, Stop>,
) -> Result<(), Stop> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(UPGRADED_BUFFER);
        let read = from.read_buf(&mut buffer).await?;
        let mut bytes = pass(buffer.split().freeze())?;
        to.write_all_buf(&mut bytes).await?;
        to.flush().await?;
        if read == 0 {
            to.shutdown().await?;
            return Ok(());
        }
    }
}
