//! HTTP/1.1 over a Unix socket, one request after the other. Small on purpose: a measuring process
//! with an async runtime in it would be slow to fork for the contestants that are commands.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Nothing that is measured takes longer than this to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of an answer at the most; an execution is about four thousand.
const MAX_ANSWER: usize = 1 << 20;

/// A connection that is kept.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    received: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
}

impl Client {
    /// Connects.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, received: Vec::with_capacity(8192) })
    }

    /// GET.
    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.exchange(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes())
    }

    /// POST of a JSON body.
    pub fn post(&mut self, path: &str, body: &[u8]) -> io::Result<Answer> {
        let length = body.len();
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n"
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.exchange(request)
    }

    fn exchange(&mut self, request: Vec<u8>) -> io::Result<Answer> {
        self.stream.write_all(&request)?;
        self.received.clear();
        let end = loop {
            if let Some(end) = end_of_head(&self.received) {
                break end;
            }
            self.more()?;
        };
        let head = String::from_utf8_lossy(self.received.get(..end).unwrap_or_default());
        let (status, length) = read_head(&head).ok_or(io::ErrorKind::InvalidData)?;
        let whole = end.saturating_add(length);
        while self.received.len() < whole {
            self.more()?;
        }
        let body = self.received.get(end..whole).unwrap_or_default().to_vec();
        Ok(Answer { status, body })
    }

    fn more(&mut self) -> io::Result<()> {
        let mut part = [0; 8192];
        let length = self.stream.read(&mut part)?;
        if length == 0 || self.received.len() > MAX_ANSWER {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.received.extend_from_slice(part.get(..length).unwrap_or_default());
        Ok(())
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|start| start + 4)
}

/// The status and the length of the body.
fn read_head(head: &str) -> Option<(u16, usize)> {
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })?;
    Some((status, length))
}
