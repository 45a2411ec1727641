//! Taking connections off a listener, without ever giving up and without ever spinning.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::sleep;

/// Wait after the first failed accept; it doubles with every further one.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// Wait after a failed accept at the most: descriptors come back when connections end.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What connections are taken off.
pub trait Listener {
    /// A connection.
    type Stream;

    /// The next connection, or why there is none.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// Takes connections, with a pause after a failure.
#[derive(Debug)]
pub struct Acceptor<L> {
    listener: L,
    pause: Duration,
}

impl<L: Listener> Acceptor<L> {
    /// Takes connections off this listener.
    pub fn new(listener: L) -> Self {
        Self { listener, pause: PAUSE_MIN }
    }

    /// The next connection, however long it takes. Dropping the future loses no connection.
    pub async fn next(&mut self) -> L::Stream {
        loop {
            match self.listener.accept().await {
                Ok(stream) => {
                    self.pause = PAUSE_MIN;
                    return stream;
                }
                Err(error) if is_the_peers(&error) => {
                    tracing::debug!(%error, "a connection ended before it was accepted");
                }
                Err(error) => {
                    let pause = self.pause;
                    tracing::error!(%error, ?pause, "accepting a connection failed");
                    self.pause = lengthen(pause);
                    sleep(pause).await;
                }
            }
        }
    }
}

/// Whether the failure was this one connection's and the next one may well be there already.
/// Everything else (EMFILE, ENFILE, ENOMEM, ENOBUFS …) is a shortage that takes time to pass.
fn is_the_peers(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::ECONNABORTED | Errno::EINTR))
}

fn lengthen(pause: Duration) -> Duration {
    pause.saturating_mul(2).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_to_its_bound_and_stays_there() {
        let mut pause = PAUSE_MIN;
        let mut pauses = 0;
        while pause < PAUSE_MAX {
            let next = lengthen(pause);
            assert!(next > pause);
            pause = next;
            pauses += 1;
        }
        assert!(pauses < 10);
        assert_eq!(lengthen(pause), PAUSE_MAX);
    }

    #[test]
    fn a_shortage_is_waited_out_and_a_lost_peer_is_not() {
        for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::ENOBUFS] {
            assert!(!is_the_peers(&errno.into()), "{errno}");
        }
        assert!(is_the_peers(&Errno::ECONNABORTED.into()));
    }
}
