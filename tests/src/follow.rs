//! Output as it is followed.

use std::io;

use supervisor_api::{NDJSON, OutputChunk, Stream};

use crate::contract::assert_valid;
use crate::http::{Connection, Reply};

/// Which output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Both in the order in which they were read.
    Both,
}

impl Selection {
    /// The word in a query.
    pub fn word(self) -> &'static str {
        match self {
            Selection::Stdout => "stdout",
            Selection::Stderr => "stderr",
            Selection::Both => "both",
        }
    }
}

/// Output that is being read.
#[derive(Debug)]
pub struct Follow {
    connection: Connection,
    head: Reply,
    unread: Vec<u8>,
}

impl Follow {
    pub(crate) fn new(mut connection: Connection) -> io::Result<Self> {
        let head = connection.head()?;
        assert_eq!(head.status, 200, "{head:?}");
        Ok(Self { connection, head, unread: Vec::new() })
    }

    /// The next bytes of one stream; `None` at its end. An answer that is cut off is an error.
    pub fn bytes(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.connection.piece(&self.head)
    }

    /// The next chunk of both streams; `None` at the end.
    pub fn chunk(&mut self) -> io::Result<Option<OutputChunk>> {
        assert_eq!(self.head.field("content-type"), Some(NDJSON));
        let line = loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                break self.unread.drain(..=end).collect::<Vec<u8>>();
            }
            match self.bytes()? {
                Some(more) => self.unread.extend(more),
                None if self.unread.is_empty() => return Ok(None),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        };
        let value = serde_json::from_slice(&line).map_err(io::Error::other)?;
        assert_valid("OutputChunk", &value);
        serde_json::from_value(value).map(Some).map_err(io::Error::other)
    }

    /// Reads one stream until it has said this in whole lines. What was read comes back.
    #[track_caller]
    pub fn until_it_says(&mut self, words: &str) -> String {
        let mut text = String::new();
        while !(text.contains(words) && text.ends_with('\n')) {
            match self.bytes().expect("the answer goes on") {
                Some(bytes) => text.push_str(&String::from_utf8_lossy(&bytes)),
                None => panic!("it ended without {words:?}: {text}"),
            }
        }
        text
    }

    /// Reads one stream to its end.
    pub fn to_the_end(&mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(bytes) = self.bytes()? {
            all.extend(bytes);
        }
        Ok(all)
    }

    /// Reads both streams to their end; the bytes of each, with every offset checked.
    pub fn both_to_the_end(&mut self, mut offset: u64) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        while let Some(chunk) = self.chunk()? {
            assert_eq!(chunk.offset, offset, "a byte is missing or comes twice");
            offset += chunk.data.0.len() as u64;
            match chunk.stream {
                Stream::Stdout => stdout.extend(chunk.data.0),
                Stream::Stderr => stderr.extend(chunk.data.0),
            }
        }
        Ok((stdout, stderr))
    }
}
