//! HTTP/1.1 over a Unix socket, as little as the tests need: what is sent is up to the test, to the
//! byte, and answers are read by their own framing.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;
use supervisor_api::ApiError;

/// A call may wait a minute for an execution; the rest is for a busy host.
const PATIENCE: Duration = Duration::from_secs(150);

/// One connection.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<UnixStream>,
}

/// One answer.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Header fields, names in lower case.
    pub fields: Vec<(String, String)>,
    /// The body; empty until it was read.
    pub body: Vec<u8>,
}

impl Connection {
    /// Speaks through this stream.
    pub fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Sends these bytes and nothing else.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Says that nothing more will be sent.
    pub fn end_of_sending(&mut self) -> io::Result<()> {
        self.stream.get_mut().shutdown(Shutdown::Write)
    }

    /// Sends a request with this body, JSON if there is any.
    pub fn request(&mut self, method: &str, target: &str, body: Option<&[u8]>) -> io::Result<()> {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n");
        if let Some(body) = body {
            head.push_str("Content-Type: application/json\r\n");
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        self.send(head.as_bytes())?;
        self.send(body.unwrap_or_default())
    }

    /// Reads the next answer, whole.
    pub fn reply(&mut self) -> io::Result<Reply> {
        let mut reply = self.head()?;
        while let Some(piece) = self.piece(&reply)? {
            reply.body.extend(piece);
            if reply.field("transfer-encoding").is_none() {
                break;
            }
        }
        Ok(reply)
    }

    /// Reads the head of the next answer. The end of the connection is an error.
    pub fn head(&mut self) -> io::Result<Reply> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(": ") else { break };
            fields.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let status = status.ok_or_else(|| io::Error::other(format!("no status in {line:?}")))?;
        Ok(Reply { status, fields, body: Vec::new() })
    }

    /// Reads more of a body: a chunk where it comes in chunks, else all of it. `None` at its end; a
    /// body that is cut off is an error.
    pub fn piece(&mut self, reply: &Reply) -> io::Result<Option<Vec<u8>>> {
        if reply.field("transfer-encoding") != Some("chunked") {
            let length = reply.field("content-length").and_then(|text| text.parse().ok());
            return self.exactly(length.unwrap_or(0)).map(Some);
        }
        let line = self.line()?;
        let length = usize::from_str_radix(&line, 16).map_err(io::Error::other)?;
        let piece = self.exactly(length)?;
        self.line()?;
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }

    /// Reads what comes until the other side closes.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        drop(self.stream.read_to_end(&mut bytes)); // a reset is an end as well
        bytes
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

impl Reply {
    /// A header field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("{error} in {:?}", String::from_utf8_lossy(&self.body));
        })
    }

    /// The body as an error in due form.
    #[track_caller]
    pub fn problem(&self) -> ApiError {
        assert_eq!(self.field("content-type"), Some(supervisor_api::PROBLEM_JSON), "{self:?}");
        let value = self.json();
        crate::contract::assert_valid("ApiError", &value);
        let problem: ApiError = serde_json::from_value(value).unwrap();
        assert_eq!((problem.status, problem.code.status()), (self.status, self.status));
        problem
    }
}
