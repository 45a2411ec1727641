//! Fills a pipe with output. The reader gets the other end and reads at its own pace; what it costs
//! meanwhile is a chunk and two descriptors.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::unix::pipe::{Sender, pipe};
use tokio::time::timeout;

use crate::dbus::bounds::STALL;
use crate::http::Share;
use crate::supervisor::OutputReader;

/// Starts filling a pipe and gives its reading end. `share` is held until the pipe is done with.
///
/// # Errors
///
/// When there are no descriptors left.
pub fn start(reader: OutputReader, share: Share) -> io::Result<OwnedFd> {
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
async fn fill(mut reader: OutputReader, mut sender: Sender) -> io::Result<()> {
    loop {
        let chunk = tokio::select! {
            biased;
            gone = sender.ready(Interest::ERROR) => return gone.map(drop),
            chunk = reader.next() => chunk?,
        };
        let Some(chunk) = chunk else { return Ok(()) };
        timeout(STALL, sender.write_all(&chunk.data.0)).await??;
    }
}
