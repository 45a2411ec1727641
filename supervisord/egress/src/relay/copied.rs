//! A relay between two streams whose bytes have to pass through this process: a WebSocket in TLS, or
//! one that has to be watched for a credential that comes back.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Ended, Meter, idle};
use crate::credential::Frames;
use crate::limits::UPGRADED_BUFFER;

/// Why one direction stopped.
enum Stop {
    Broken(io::Error),
    Overdrawn,
    Reflected,
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// Relays until both sides are done, one breaks, or nothing happens for `patience`. What comes from
/// the upstream passes the watcher.
pub async fn relay_copied(
    client: impl AsyncRead + AsyncWrite,
    upstream: impl AsyncRead + AsyncWrite,
    meter: &Meter,
    watcher: Frames,
    patience: Duration,
) -> Ended {
    let (client_reads, client_writes) = tokio::io::split(client);
    let (upstream_reads, upstream_writes) = tokio::io::split(upstream);
    let out = pump(client_reads, upstream_writes, None, |bytes| {
        meter.send(bytes).map_err(|_| Stop::Overdrawn)
    });
    let back = pump(upstream_reads, client_writes, Some(watcher), |bytes| {
        meter.receive(bytes).map_err(|_| Stop::Overdrawn)
    });
    let both = async { tokio::try_join!(out, back) };
    tokio::select! {
        ended = both => match ended {
            Ok(_) => Ended::Done,
            Err(Stop::Overdrawn) => Ended::Overdrawn,
            Err(Stop::Reflected) => Ended::Reflected,
            Err(Stop::Broken(error)) => {
                tracing::debug!(%error, "a relayed connection broke off");
                Ended::Broken
            }
        },
        () = idle(meter, patience) => Ended::Idle,
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut watcher: Option<Frames>,
    count: impl Fn(usize) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(UPGRADED_BUFFER);
        let read = from.read_buf(&mut buffer).await?;
        let mut bytes = match &mut watcher {
            Some(watcher) if read == 0 => watcher.finish(),
            Some(watcher) => watcher.pass(buffer.split().freeze()).map_err(|_| Stop::Reflected)?,
            None => buffer.split().freeze(),
        };
        count(read)?;
        to.write_all_buf(&mut bytes).await?;
        to.flush().await?;
        if read == 0 {
            to.shutdown().await?;
            return Ok(());
        }
    }
}
