//! How a connection is refused in the terms of what it speaks: a TLS alert, an HTTP answer, a reset.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::sniff::Speech;
use crate::limits::MAX_SWALLOWED;
use crate::refused::Refused;
use crate::tls::alert;

/// Ends a connection with a reset, which no program takes for an answer.
pub fn reset(stream: TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "a refused connection is closed, not reset");
    }
    drop(stream);
}

/// Ends a connection with words that its program understands.
pub async fn refuse(stream: TcpStream, speech: &Speech, refused: &Refused, linger: Duration) {
    let words = match speech {
        Speech::Tls(_) if refused.status.is_server_error() => alert::INTERNAL_ERROR.to_vec(),
        Speech::Tls(_) => alert::ACCESS_DENIED.to_vec(),
        Speech::BrokenTls => alert::DECODE_ERROR.to_vec(),
        // Clients of SSH show what comes before its own words.
        Speech::Words | Speech::Ssh => refused.last_words(),
        Speech::Unknown | Speech::Silence => return reset(stream),
    };
    match timeout(linger, part(stream, &words)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a refused peer left early"),
        Err(_) => tracing::debug!("a refused peer did not close"),
    }
}

/// What can be said without waiting, where there are too many connections to wait for any.
pub fn refuse_at_once(stream: TcpStream, words: &[u8]) {
    match stream.try_write(words) {
        Ok(_) => drop(stream),
        Err(_) => reset(stream),
    }
}

async fn part(mut stream: TcpStream, words: &[u8]) -> io::Result<()> {
    stream.write_all(words).await?;
    stream.shutdown().await?;
    // A connection that is closed with bytes unread is reset, and the words with it.
    copy(&mut stream.take(MAX_SWALLOWED), &mut sink()).await?;
    Ok(())
}
