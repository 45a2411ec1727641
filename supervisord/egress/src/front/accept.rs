//! Taking connections off a sandbox's listeners, without ever giving up and without ever spinning.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::limits::{ACCEPT_BACKOFF_MAX, ACCEPT_BACKOFF_MIN};

/// Takes connections, with a pause after a failure.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    pause: Duration,
}

impl Acceptor {
    /// Takes connections off this listener.
    pub fn new(listener: TcpListener) -> Self {
        Self { listener, pause: ACCEPT_BACKOFF_MIN }
    }

    /// The next connection, however long it takes.
    pub async fn next(&mut self) -> TcpStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    self.pause = ACCEPT_BACKOFF_MIN;
                    return stream;
                }
                Err(error) if is_the_peers(&error) => {
                    tracing::debug!(%error, "a connection ended before it was accepted");
                }
                Err(error) => {
                    let pause = self.pause;
                    tracing::error!(%error, ?pause, "accepting a sandbox's connection failed");
                    self.pause = pause.saturating_mul(2).min(ACCEPT_BACKOFF_MAX);
                    sleep(pause).await;
                }
            }
        }
    }
}

/// Whether the failure was this one connection's. Everything else is a shortage that takes time to
/// pass.
fn is_the_peers(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::ECONNABORTED | Errno::EINTR))
}
