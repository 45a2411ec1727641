//! The digest of what was kept of a stream.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use supervisor_api::Stream;
use tokio::task::spawn_blocking;

use crate::capture::Capture;
use crate::capture::files::{Files, Part};

/// Bytes that are digested before the thread is given back: some hundredths of a second.
const TURN: u64 = 8 << 20;

/// Bytes that are read at a time.
const BUFFER: usize = 64 << 10;

impl Capture {
    /// SHA-256 of what was kept of a stream that has ended.
    pub async fn digest(&self, stream: Stream) -> io::Result<[u8; 32]> {
        let kept = self.progress.borrow().kept.get(stream);
        let (mut digest, mut at) = (Sha256::new(), 0);
        while at < kept {
            let (files, to) = (Arc::clone(&self.files), kept.min(at + TURN));
            digest = spawn_blocking(move || take(digest, &files, stream, at..to)).await??;
            at = to;
        }
        Ok(digest.finalize().into())
    }
}

fn take(
    mut digest: Sha256,
    files: &Files,
    stream: Stream,
    range: std::ops::Range<u64>,
) -> io::Result<Sha256> {
    let part = Part::Bytes(stream);
    let file = files.get(part).ok_or(io::Error::from(io::ErrorKind::NotFound));
    let file = file.map_err(|error| part.failed("read", error))?;
    let (mut buffer, mut at) = (vec![0; BUFFER], range.start);
    while at < range.end {
        let size = usize::try_from(range.end - at).unwrap_or(BUFFER).min(BUFFER);
        let piece = buffer.get_mut(..size).unwrap_or_default();
        file.read_exact_at(piece, at).map_err(|error| part.failed("read", error))?;
        digest.update(&*piece);
        at += size as u64;
    }
    Ok(digest)
}
