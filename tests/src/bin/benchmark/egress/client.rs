//! A client of the upstream: HTTP/1.1, one request after the other, over TCP or TLS, through a proxy
//! or not. It blocks, and does as little as it can, so that what is measured is the proxy.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName};

/// Nothing that is measured takes longer than this to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes that are read at once.
const BUFFER: usize = 256 * 1024;

/// A connection on which requests are made.
pub struct Connection {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    /// Plain HTTP over this stream.
    pub fn plain(stream: TcpStream) -> Self {
        Self { stream: Box::new(stream), buffer: vec![0; BUFFER] }
    }

    /// TLS over this stream; the handshake is done when it returns.
    pub fn secure(
        mut stream: TcpStream,
        to: SocketAddr,
        tls: &Arc<ClientConfig>,
    ) -> io::Result<Self> {
        let name = ServerName::from(to.ip());
        let mut session = ClientConnection::new(tls.clone(), name).map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        let stream = Box::new(StreamOwned::new(session, stream));
        Ok(Self { stream, buffer: vec![0; BUFFER] })
    }

    /// Sends a request and reads the answer, which has to be a 200; the bytes of its body.
    pub fn ask(&mut self, request: &[u8]) -> io::Result<usize> {
        self.stream.write_all(request)?;
        self.stream.flush()?;
        let mut there = 0;
        let end = loop {
            there += self.more(there)?;
            let head = self.buffer.get(..there).unwrap_or_default();
            if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let head = String::from_utf8_lossy(self.buffer.get(..end).unwrap_or_default());
        let length = length(&head).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("an unexpected answer: {head}"))
        })?;
        let mut left = (end + length).saturating_sub(there);
        while left > 0 {
            left = left.saturating_sub(self.more(0)?);
        }
        Ok(length)
    }

    fn more(&mut self, from: usize) -> io::Result<usize> {
        match self.stream.read(self.buffer.get_mut(from..).unwrap_or_default())? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => Ok(read),
        }
    }
}

/// The length of the body of an answer that says 200.
fn length(head: &str) -> Option<usize> {
    head.split(' ').nth(1).filter(|status| *status == "200")?;
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })
}

/// A connection to an address, which waits for answers no longer than they may take.
pub fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A connection through a proxy's tunnel.
pub fn tunnel(proxy: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = dial(proxy)?;
    stream.write_all(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n").as_bytes())?;
    // One byte after the other: what follows the head is the tunnel's.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    if head.get(9..12) == Some(b"200") {
        return Ok(stream);
    }
    Err(io::Error::other(format!("no tunnel: {}", String::from_utf8_lossy(&head))))
}

/// What is needed to speak TLS with whoever these vouch for. Sessions are not resumed: every
/// connection is that of a new client.
pub fn trusting(roots: &[CertificateDer<'static>]) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.iter().cloned());
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}
