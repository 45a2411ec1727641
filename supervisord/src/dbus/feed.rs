//! Fills a pipe with output, or with what the routes answer. The reader gets the other end and reads at its own pace; what it costs
//! meanwhile is a chunk and two descriptors.

use std::io;
use std::os::fd::OwnedFd;

use axum::body::Body;
use http_body_util::BodyExt;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::unix::pipe::{Sender, pipe};
use tokio::time::timeout;

use crate::dbus::bounds::STALL;
use crate::pool::Share;

/// What comes piece by piece.
#[derive(Debug)]
pub struct Pieces(pub Body);

impl Pieces {
    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        while let Some(frame) = self.0.frame().await {
            if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
                return Ok(Some(data.to_vec()));
            }
        }
        Ok(None)
    }
}

/// Starts filling a pipe and gives its reading end. `share` is held until the pipe is done with.
///
/// # Errors
///
/// When there are no descriptors left.
pub fn start(reader: Pieces, share: Share) -> io::Result<OwnedFd> {
    let (sender, receiver) = pipe()?;
    let end = receiver.into_blocking_fd()?;
    tokio::spawn(async move {
        if let Err(error) = fill(reader, sender).await {
            tracing::debug!(%error, "a pipe of output was left");
        }
        drop(share);
    });
    Ok(end)
}

/// Until the output ends, the reader is gone or it leaves a full pipe alone for too long.
async fn fill(mut reader: Pieces, mut sender: Sender) -> io::Result<()> {
    loop {
        let chunk = tokio::select! {
            biased;
            gone = sender.ready(Interest::ERROR) => return gone.map(drop),
            chunk = reader.next() => chunk?,
        };
        let Some(chunk) = chunk else { return Ok(()) };
        timeout(STALL, sender.write_all(&chunk)).await??;
    }
}
