//! What a connection speaks, told by its first bytes.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Duration, timeout};

use crate::limits::MAX_CLIENT_HELLO;
use crate::tls::client_hello::{self, ClientHello};

/// Bytes that are read at once.
const PIECE: usize = 2048;

/// What the first bytes are.
#[derive(Debug, PartialEq, Eq)]
pub enum Speech {
    /// TLS, with its first message.
    Tls(ClientHello),
    /// TLS whose first message can't be read.
    BrokenTls,
    /// SSH, which begins with its name (RFC 4253 §4.2).
    Ssh,
    /// Something else in words: HTTP, as far as can be told.
    Words,
    /// Nothing that is known here.
    Unknown,
    /// Nothing at all, in time.
    Silence,
}

/// Reads as much as is needed to tell, into `front`.
///
/// # Errors
///
/// When reading fails.
pub async fn sniff(
    stream: &mut (impl AsyncRead + Unpin),
    front: &mut BytesMut,
    first_byte: Duration,
    whole: Duration,
) -> io::Result<Speech> {
    if front.is_empty() {
        match timeout(first_byte, read(stream, front)).await {
            Ok(Ok(0)) | Err(_) => return Ok(Speech::Silence),
            Ok(read) => drop(read?),
        }
    }
    match front.first().copied() {
        Some(first) if client_hello::may_start_with(first) => {}
        _ if front.starts_with(b"SSH-") => return Ok(Speech::Ssh),
        Some(first) if first.is_ascii_uppercase() => return Ok(Speech::Words),
        _ => return Ok(Speech::Unknown),
    }
    let hello = async {
        loop {
            match client_hello::read(front) {
                Ok(Some(hello)) => return Ok(Speech::Tls(hello)),
                Err(_) => return Ok(Speech::BrokenTls),
                Ok(None) if front.len() > 2 * MAX_CLIENT_HELLO => return Ok(Speech::BrokenTls),
                Ok(None) => {}
            }
            if read(stream, front).await? == 0 {
                return Ok(Speech::BrokenTls);
            }
        }
    };
    timeout(whole, hello).await.unwrap_or(Ok(Speech::BrokenTls))
}

async fn read(stream: &mut (impl AsyncRead + Unpin), front: &mut BytesMut) -> io::Result<usize> {
    front.reserve(PIECE);
    stream.read_buf(front).await
}
