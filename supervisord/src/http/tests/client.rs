//! A client that writes what it is told to and reads answers by their own framing.

use serde_json::Value;
use supervisor_api::PROBLEM_JSON;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::PATIENCE;

/// One connection.
pub struct Client {
    pub stream: UnixStream,
    inbox: Vec<u8>,
}

/// One answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether the body came to its end.
    pub complete: bool,
}

impl Client {
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, inbox: Vec::new() }
    }

    /// Writes these bytes; a server that has closed meanwhile is not this function's business.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        drop(timeout(PATIENCE, self.stream.write_all(bytes.as_ref())).await.expect("no hang"));
    }

    /// Closes the sending half.
    pub async fn close_sending(&mut self) {
        drop(self.stream.shutdown().await);
    }

    pub async fn get(&mut self, target: &str) -> Reply {
        self.call("GET", target).await
    }

    pub async fn call(&mut self, method: &str, target: &str) -> Reply {
        self.send(format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        self.reply_to(method).await
    }

    pub async fn post(&mut self, target: &str, body: impl AsRef<[u8]>) -> Reply {
        let body = body.as_ref();
        self.send(post_head(target, body.len())).await;
        self.send(body).await;
        self.reply().await
    }

    pub async fn put(&mut self, target: &str, body: impl AsRef<[u8]>) -> Reply {
        self.send_bytes("PUT", target, body).await
    }

    /// Sends a body of bytes.
    pub async fn send_bytes(
        &mut self,
        method: &str,
        target: &str,
        body: impl AsRef<[u8]>,
    ) -> Reply {
        let body = body.as_ref();
        let length = body.len();
        self.send(format!("{method} {target} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n")).await;
        self.send(body).await;
        self.reply().await
    }

    pub async fn reply(&mut self) -> Reply {
        self.reply_to("GET").await
    }

    /// The next answer, whole.
    pub async fn reply_to(&mut self, method: &str) -> Reply {
        let mut reply = self.head().await.expect("an answer");
        if method == "HEAD" {
            return reply;
        }
        while let Some(piece) = self.piece(&mut reply).await {
            reply.body.extend(piece);
        }
        reply
    }

    /// The head of the next answer, or nothing at the end of the connection.
    pub async fn head(&mut self) -> Option<Reply> {
        let end = loop {
            if let Some(end) = find(&self.inbox, b"\r\n\r\n") {
                break end + 4;
            }
            if !self.fill().await {
                assert!(self.inbox.is_empty(), "{:?}", String::from_utf8_lossy(&self.inbox));
                return None;
            }
        };
        let head: Vec<u8> = self.inbox.drain(..end).collect();
        let head = String::from_utf8(head).expect("a head is text");
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status");
        let fields = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
        Some(Reply {
            status: status.parse().expect("a number"),
            fields: fields.collect(),
            body: Vec::new(),
            complete: false,
        })
    }

    /// More of an answer's body: a chunk where it comes in chunks, else all of it.
    pub async fn piece(&mut self, reply: &mut Reply) -> Option<Vec<u8>> {
        if reply.complete {
            return None;
        }
        if reply.field("transfer-encoding") == Some("chunked") {
            let line = self.until(b"\r\n").await?;
            let size = String::from_utf8(line).expect("a chunk's size is text");
            let size = usize::from_str_radix(&size, 16).expect("a chunk's size");
            let piece = self.exactly(size).await?;
            assert_eq!(self.exactly(2).await?, b"\r\n");
            reply.complete = size == 0;
            return Some(piece).filter(|piece| !piece.is_empty());
        }
        let length = reply.field("content-length").expect("a length").parse().expect("a number");
        let piece = self.exactly(length).await?;
        reply.complete = true;
        Some(piece)
    }

    /// Everything up to the end of the connection.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.inbox)
    }

    async fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = find(&self.inbox, end) {
                let found = self.inbox.drain(..at).collect();
                self.inbox.drain(..end.len());
                return Some(found);
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    async fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.inbox.len() < length {
            if !self.fill().await {
                return None;
            }
        }
        Some(self.inbox.drain(..length).collect())
    }

    /// Reads once; false at the end of the connection, orderly or not.
    async fn fill(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.inbox)).await;
        read.expect("no hang").is_ok_and(|count| count > 0)
    }
}

impl Reply {
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    /// Checks that this is a problem in due form and returns its code.
    pub fn code(&self) -> String {
        assert_eq!(self.field("content-type"), Some(PROBLEM_JSON), "{self:?}");
        assert_eq!(self.field("content-length"), Some(self.body.len().to_string().as_str()));
        assert_eq!(self.field("cache-control"), Some("no-store"));
        assert_eq!(self.field("x-content-type-options"), Some("nosniff"));
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{problem}");
        assert!(!problem["detail"].as_str().expect("a detail").is_empty());
        problem["code"].as_str().expect("a code").to_owned()
    }
}

pub fn post_head(target: &str, length: usize) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n"
    )
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}
