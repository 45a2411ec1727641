//! The end of a connection, so that a peer that was refused gets to read why.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::limits::MAX_SWALLOWED;

/// Bytes that are swallowed at a time.
const PIECE: usize = 4096;

/// How far the end of a connection is.
pub enum Parting {
    /// Nobody is told anything.
    NotYet,
    /// So much of the last words is said.
    Words(Vec<u8>, usize),
    /// All is said.
    Closing,
    /// The peer may read what it was told; what it still sends is not looked at.
    Swallowing(u64),
    /// It is over.
    Done,
}

impl Parting {
    /// The end begins with these words.
    pub const fn words(words: Vec<u8>) -> Self {
        Self::Words(words, 0)
    }

    /// Whether any of the words may be out.
    pub const fn has_begun(&self) -> bool {
        !matches!(self, Self::NotYet | Self::Words(_, 0))
    }

    /// Goes on to the end. Who `swallows` reads what the peer still sends, up to a bound: a connection
    /// that is closed with bytes unread loses what was said on it last.
    pub fn poll<S>(
        &mut self,
        stream: &mut S,
        swallows: bool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            match self {
                Self::NotYet => *self = Self::Closing,
                Self::Words(words, sent) => {
                    let rest = words.get(*sent..).unwrap_or_default();
                    let written = ready!(Pin::new(&mut *stream).poll_write(cx, rest));
                    let Ok(written) = written else { return self.fail(written.map(|_| ())) };
                    *sent += written;
                    if *sent >= words.len() {
                        *self = Self::Closing;
                    }
                }
                Self::Closing => {
                    let closed = ready!(Pin::new(&mut *stream).poll_shutdown(cx));
                    if closed.is_err() {
                        return self.fail(closed);
                    }
                    *self = if swallows { Self::Swallowing(MAX_SWALLOWED) } else { Self::Done };
                }
                Self::Swallowing(left) => {
                    let mut piece = [0u8; PIECE];
                    let mut buffer = ReadBuf::new(&mut piece);
                    let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer));
                    if read.is_err() {
                        return self.fail(read);
                    }
                    let count = u64::try_from(buffer.filled().len()).unwrap_or(*left);
                    *left = left.saturating_sub(count);
                    if count == 0 || *left == 0 {
                        *self = Self::Done;
                    }
                }
                Self::Done => return Poll::Ready(Ok(())),
            }
        }
    }

    fn fail(&mut self, failed: io::Result<()>) -> Poll<io::Result<()>> {
        *self = Self::Done;
        Poll::Ready(failed)
    }
}
