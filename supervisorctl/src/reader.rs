//! The output of an execution, read without losing or repeating a byte: when the connection breaks
//! the reading goes on at the offset after the last whole chunk.

use std::collections::VecDeque;

use serde::de::DeserializeOwned;
use supervisor_api::{Content, ExecutionId, OutputChunk, Stream};

use crate::backoff::Backoff;
use crate::cli::Selection;
use crate::client::Client;
use crate::connection::Answer;
use crate::failure::Failure;

/// The longest line of NDJSON: far more than one chunk of the daemon in base64.
const LINE_MAX: usize = 16 << 20;

/// Reads the output of one execution.
#[derive(Debug)]
pub struct OutputReader<'a> {
    client: &'a Client,
    id: ExecutionId,
    selection: Selection,
    follow: bool,
    offset: u64,
    missing: u64,
    answer: Option<Answer>,
    lines: Lines,
    backoff: Backoff,
}

impl<'a> OutputReader<'a> {
    /// A reader from this offset on; with `follow`, to the end of the execution.
    pub fn new(
        client: &'a Client,
        id: ExecutionId,
        selection: Selection,
        offset: u64,
        follow: bool,
    ) -> Self {
        let (answer, lines, backoff) = (None, Lines::default(), Backoff::default());
        Self { client, id, selection, follow, offset, missing: 0, answer, lines, backoff }
    }

    /// Offset of the next byte.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes that the daemon passed over.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// The next bytes; `None` at the end. After the end it asks again from where it stopped.
    pub async fn next(&mut self) -> Result<Option<OutputChunk>, Failure> {
        loop {
            match self.attempt().await {
                Ok(Some(chunk)) => {
                    self.backoff.reset();
                    if let Some(chunk) = self.take(chunk) {
                        return Ok(Some(chunk));
                    }
                }
                Ok(None) => {
                    self.hang_up();
                    return Ok(None);
                }
                Err(failure) => {
                    self.hang_up();
                    self.backoff.wait(failure).await?;
                }
            }
        }
    }

    async fn attempt(&mut self) -> Result<Option<OutputChunk>, Failure> {
        if self.answer.is_none() {
            let answer =
                self.client.output(self.id, self.selection, self.offset, self.follow).await?;
            self.answer = Some(answer);
        }
        let Some(answer) = &mut self.answer else { return Ok(None) };
        let stream = match self.selection {
            Selection::Stdout => Stream::Stdout,
            Selection::Stderr => Stream::Stderr,
            Selection::Both => return next_of(answer, &mut self.lines).await,
        };
        let bytes = answer.bytes().await?;
        let offset = self.offset;
        Ok(bytes.map(|bytes| OutputChunk { offset, stream, data: Content(bytes.to_vec()) }))
    }

    /// What of the chunk is new. A daemon may start again with the chunk that holds the offset.
    fn take(&mut self, mut chunk: OutputChunk) -> Option<OutputChunk> {
        let known = self.offset.saturating_sub(chunk.offset);
        let known = usize::try_from(known).unwrap_or(usize::MAX).min(chunk.data.0.len());
        chunk.data.0.drain(..known);
        chunk.offset = chunk.offset.saturating_add(known as u64);
        if chunk.data.0.is_empty() {
            return None;
        }
        self.missing = self.missing.saturating_add(chunk.offset.saturating_sub(self.offset));
        self.offset = chunk.offset.saturating_add(chunk.data.0.len() as u64);
        Some(chunk)
    }

    fn hang_up(&mut self) {
        self.answer = None;
        self.lines = Lines::default();
    }
}

/// The next line of an answer as JSON of this type.
pub async fn next_of<T: DeserializeOwned>(
    answer: &mut Answer,
    lines: &mut Lines,
) -> Result<Option<T>, Failure> {
    loop {
        if let Some(line) = lines.whole.pop_front() {
            return serde_json::from_slice(&line)
                .map(Some)
                .map_err(Failure::misunderstood(answer.operation()));
        }
        match answer.bytes().await? {
            Some(bytes) => lines.push(&bytes),
            None if lines.partial.is_empty() => return Ok(None),
            None => return Err(Failure::broken(answer.operation())("the last line is cut off")),
        }
        if lines.partial.len() > LINE_MAX {
            return Err(Failure::misunderstood(answer.operation())("a line is too long"));
        }
    }
}

/// Bytes on their way to becoming lines.
#[derive(Debug, Default)]
pub struct Lines {
    whole: VecDeque<Vec<u8>>,
    partial: Vec<u8>,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(end) => {
                    self.partial.extend_from_slice(end);
                    let line = std::mem::take(&mut self.partial);
                    if !line.is_empty() {
                        self.whole.push_back(line);
                    }
                }
                None => self.partial.extend_from_slice(piece),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;

    fn chunk(offset: u64, data: &str) -> OutputChunk {
        OutputChunk { offset, stream: Stream::Stdout, data: Content(data.as_bytes().to_vec()) }
    }

    #[test]
    fn bytes_that_were_read_before_are_not_given_again_and_a_gap_is_counted() {
        let client = Client::new(PathBuf::from("unused"));
        let id = ExecutionId::from_bits(1);
        let mut reader = OutputReader::new(&client, id, Selection::Both, 4, true);
        assert_eq!(reader.take(chunk(0, "abcd")), None);
        assert_eq!(reader.take(chunk(2, "cdef")), Some(chunk(4, "ef")));
        assert_eq!(reader.missing(), 0);
        assert_eq!(reader.take(chunk(9, "j")), Some(chunk(9, "j")));
        assert_eq!((reader.missing(), reader.offset()), (3, 10));
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_the_bytes_arrive(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200),
            size in 1usize..20,
        ) {
            let mut lines = Lines::default();
            for piece in bytes.chunks(size) {
                lines.push(piece);
            }
            let mut expected: Vec<Vec<u8>> =
                bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            prop_assert_eq!(Some(&lines.partial), expected.last());
            expected.pop();
            expected.retain(|line| !line.is_empty());
            prop_assert_eq!(Vec::from(lines.whole), expected);
        }
    }
}
