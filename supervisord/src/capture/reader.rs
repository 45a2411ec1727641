//! Reads what was kept, from any offset, at the reader's own pace.
//!
//! Files are read on the runtime's threads for blocking calls: the output of an execution of last
//! week is not in memory, and a slow disk must not hold up anybody but the one who reads it.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use supervisor_api::{Content, OutputChunk, Stream};
use tokio::sync::watch;

use crate::capture::files::{Files, Part};
use crate::capture::order::{self, Both};
use crate::capture::{Capture, Progress};

/// Bytes of a chunk at the most; all that a slow reader costs.
const CHUNK_BYTES: u64 = 64 << 10;

/// Reads output chunk by chunk. It is made by [`Capture::reader`].
#[derive(Debug)]
pub struct CaptureReader {
    capture: Arc<Capture>,
    progress: watch::Receiver<Progress>,
    stream: Option<Stream>,
    /// The offset of the next chunk.
    offset: u64,
    follow: bool,
    place: Place,
}

/// How far a reader is in the files.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// The run of the order that it is in.
    run: u64,
    /// How many of its bytes are behind it.
    into: u64,
    /// How many of each stream's bytes are behind it.
    behind: Both<u64>,
}

impl CaptureReader {
    pub(super) fn new(
        capture: Arc<Capture>,
        stream: Option<Stream>,
        offset: u64,
        follow: bool,
    ) -> Self {
        let progress = capture.progress.subscribe();
        Self { capture, progress, stream, offset, follow, place: Place::default() }
    }

    /// The next bytes, at most 64 KiB; `None` at the end. When following, waits for more.
    ///
    /// When the capture has finished and a stream was cut, a line that says how much comes after
    /// everything that was kept.
    pub async fn next(&mut self) -> io::Result<Option<OutputChunk>> {
        loop {
            let now = *self.progress.borrow_and_update();
            let kept = self.stream.map_or(now.kept.total(), |stream| now.kept.get(stream));
            let found = if self.offset < kept {
                self.read(now).await?
            } else if now.finished {
                self.marker(&now, self.offset - kept)
            } else {
                None
            };
            if let Some((stream, bytes)) = found {
                let offset = self.offset;
                self.offset += bytes.len() as u64;
                return Ok(Some(OutputChunk { offset, stream, data: Content(bytes) }));
            }
            if now.finished || !self.follow {
                return Ok(None);
            }
            // The sender lives as long as the capture, which this reader holds.
            self.progress.changed().await.map_err(io::Error::other)?;
        }
    }

    /// Bytes of the files at the offset, which lies before their end.
    async fn read(&mut self, now: Progress) -> io::Result<Option<(Stream, Vec<u8>)>> {
        let (files, stream, offset) = (Arc::clone(&self.capture.files), self.stream, self.offset);
        let mut place = self.place;
        let (place, stream, bytes) = tokio::task::spawn_blocking(move || -> io::Result<_> {
            let (stream, at, length) = match stream {
                Some(stream) => (stream, offset, now.kept.get(stream) - offset),
                None => place.find(&files, &now, offset)?,
            };
            let mut bytes = vec![0; length.min(CHUNK_BYTES) as usize];
            let part = Part::Bytes(stream);
            files
                .get(part)
                .ok_or(io::Error::from(io::ErrorKind::NotFound))
                .and_then(|file| file.read_exact_at(&mut bytes, at))
                .map_err(|error| part.failed("read", error))?;
            place.pass(stream, bytes.len() as u64);
            Ok((place, stream, bytes))
        })
        .await??;
        self.place = place;
        Ok(Some((stream, bytes)))
    }

    /// The rest of the lines that say what was cut, given the offset in them.
    fn marker(&self, now: &Progress, mut offset: u64) -> Option<(Stream, Vec<u8>)> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if self.stream.is_none_or(|wanted| wanted == stream) && now.cut.get(stream) > 0 {
                let mut line = self.marker_line(stream, now).into_bytes();
                if offset < line.len() as u64 {
                    return Some((stream, line.split_off(offset as usize)));
                }
                offset -= line.len() as u64;
            }
        }
        None
    }

    fn marker_line(&self, stream: Stream, now: &Progress) -> String {
        let (cut, limit) = (now.cut.get(stream), self.capture.limit);
        if now.kept.get(stream) < limit {
            return format!("\n[supervisord: {cut} bytes cut, no space left to keep them]\n");
        }
        format!("\n[supervisord: {cut} bytes cut, limit output_bytes = {limit}]\n")
    }
}

impl Place {
    /// Goes to an offset of both streams together, which lies at this place or after it and before
    /// the end. Gives the stream there, the offset in its file, and how many bytes go on from it.
    fn find(
        &mut self,
        files: &Files,
        now: &Progress,
        offset: u64,
    ) -> io::Result<(Stream, u64, u64)> {
        loop {
            let stream = now.order.stream(self.run);
            let is_closed = self.run < now.order.runs();
            let length = if is_closed {
                order::read_run(files, self.run)?
            } else {
                now.order.open_length(now.kept)
            };
            let left = length.saturating_sub(self.into);
            let skipped = left.min(offset.saturating_sub(self.behind.total()));
            self.pass(stream, skipped);
            if skipped < left {
                return Ok((stream, self.behind.get(stream), left - skipped));
            }
            if !is_closed {
                let short = io::Error::from(io::ErrorKind::UnexpectedEof);
                return Err(Part::Index.failed("follow", short));
            }
            (self.run, self.into) = (self.run + 1, 0);
        }
    }

    fn pass(&mut self, stream: Stream, bytes: u64) {
        self.into += bytes;
        *self.behind.get_mut(stream) += bytes;
    }
}
