//! Files and archives of any size on their way into and out of a session, a piece at a time.

use std::io::{self, Read, Write};
use std::os::fd::AsFd as _;
use std::sync::Arc;

use axum::body::Bytes;
use supervisor_api::{ApiError, ErrorCode, FileEntry, SessionId, UnpackReport};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::{JoinHandle, spawn_blocking};

use super::files::{checked, refuse};
use super::set::Use;
use crate::supervisor::{Caller, Supervisor, internal};
use crate::workspace::{self, Replacement, UnpackBounds};

/// Pieces on their way between a connection and a thread: enough that neither waits for each.
const PIECES: usize = 4;

/// Bytes of a piece of an archive on its way out.
const PIECE: usize = 64 << 10;

/// Archives at once. Each holds one of the daemon's sixteen threads for blocking work until the caller has
/// sent or taken all of it.
pub const ARCHIVES: usize = 4;

/// A file on its way into a workspace. Dropped before [`Upload::finish`], nothing of it stays.
pub struct Upload {
    replacement: Option<Replacement>,
    root: Arc<std::os::fd::OwnedFd>,
    path: workspace::WorkspacePath,
    guard: Use,
}

/// An archive on its way into a workspace.
pub struct Unpacking {
    pieces: mpsc::Sender<Piece>,
    work: JoinHandle<Result<UnpackReport, ApiError>>,
}

enum Piece {
    Bytes(Bytes),
    /// All of it has arrived. Without this word an end is a caller that went away.
    End,
}

impl Supervisor {
    /// Begins to write a file.
    pub async fn begin_file(
        &self,
        caller: &Caller,
        id: SessionId,
        path: &str,
        executable: bool,
    ) -> Result<Upload, ApiError> {
        let path = checked(path)?;
        let (guard, root) = self.enter(caller, id).await?;
        let (place, name) = (root.clone(), path.clone());
        let begun = spawn_blocking(move || Replacement::begin(place.as_fd(), &name, executable));
        let replacement = begun.await.map_err(internal)?.map_err(refuse)?;
        Ok(Upload { replacement: Some(replacement), root, path, guard })
    }

    /// Begins to unpack an archive.
    pub async fn begin_unpacking(
        &self,
        caller: &Caller,
        id: SessionId,
    ) -> Result<Unpacking, ApiError> {
        let (guard, root) = self.enter(caller, id).await?;
        let permits = self.archive_permits(&guard)?;
        let record = guard.session().record();
        let bounds =
            UnpackBounds { entries: record.workspace_inodes, bytes: record.workspace_bytes };
        let (pieces, incoming) = mpsc::channel(PIECES);
        let work = spawn_blocking(move || {
            let incoming = Incoming { pieces: incoming, piece: Bytes::new(), ended: false };
            let result = workspace::unpack(root.as_fd(), incoming, bounds).map_err(refuse);
            drop((guard, permits));
            result
        });
        Ok(Unpacking { pieces, work })
    }

    /// The whole workspace as an archive, piece by piece. An error ends it.
    pub async fn pack_session(
        &self,
        caller: &Caller,
        id: SessionId,
    ) -> Result<mpsc::Receiver<io::Result<Bytes>>, ApiError> {
        let (guard, root) = self.enter(caller, id).await?;
        let permits = self.archive_permits(&guard)?;
        let (pieces, receiver) = mpsc::channel(PIECES);
        spawn_blocking(move || {
            let outgoing = Outgoing { pieces: pieces.clone() };
            let mut buffered = io::BufWriter::with_capacity(PIECE, outgoing);
            let packed = workspace::pack(root.as_fd(), None, &mut buffered);
            let packed = packed.map_err(io::Error::other).and_then(|()| buffered.flush());
            if let Err(error) = packed {
                // Whoever reads it sees that it was cut; a caller that went away sees nothing.
                drop(pieces.blocking_send(Err(error)));
            }
            drop((guard, permits));
        });
        Ok(receiver)
    }

    fn archive_permits(&self, guard: &Use) -> Result<[OwnedSemaphorePermit; 2], ApiError> {
        let busy = |_| {
            ApiError::new(ErrorCode::Busy, "too many archives are being packed or unpacked")
                .with_hint("one of a session at a time; try again when it is done")
        };
        let own = guard.session().archives.clone().try_acquire_owned().map_err(busy)?;
        let shared = self.inner().archives.clone().try_acquire_owned().map_err(busy)?;
        Ok([own, shared])
    }
}

impl Upload {
    /// Appends a piece.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), ApiError> {
        let Some(mut replacement) = self.replacement.take() else { return Ok(()) };
        let written = spawn_blocking(move || replacement.write(&piece).map(|()| replacement));
        self.replacement = Some(written.await.map_err(internal)?.map_err(refuse)?);
        Ok(())
    }

    /// Puts the file in its place.
    pub async fn finish(mut self) -> Result<FileEntry, ApiError> {
        let Some(replacement) = self.replacement.take() else {
            return Err(internal("a file that failed is finished"));
        };
        let Self { root, path, guard, .. } = self;
        let done = spawn_blocking(move || {
            replacement.finish()?;
            let entry = workspace::look(root.as_fd(), &path);
            drop(guard);
            entry
        });
        done.await.map_err(internal)?.map_err(refuse)
    }
}

impl Unpacking {
    /// Hands over a piece. Where unpacking has ended already there is nobody to take it, which
    /// [`Unpacking::finish`] explains.
    pub async fn write(&mut self, piece: Bytes) -> bool {
        self.pieces.send(Piece::Bytes(piece)).await.is_ok()
    }

    /// All of it has been handed over; what came of it.
    pub async fn finish(self) -> Result<UnpackReport, ApiError> {
        drop(self.pieces.send(Piece::End).await); // if nobody takes it the work is done
        drop(self.pieces);
        self.work.await.map_err(internal)?
    }
}

/// What arrives, for a thread that reads it.
struct Incoming {
    pieces: mpsc::Receiver<Piece>,
    piece: Bytes,
    ended: bool,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(Piece::Bytes(piece)) => self.piece = piece,
                Some(Piece::End) => self.ended = true,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let part = self.piece.split_to(self.piece.len().min(buffer.len()));
        for (to, from) in buffer.iter_mut().zip(&part) {
            *to = *from;
        }
        Ok(part.len())
    }
}

/// What is packed, for a connection that takes it.
struct Outgoing {
    pieces: mpsc::Sender<io::Result<Bytes>>,
}

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Bytes::copy_from_slice(bytes);
        let sent = self.pieces.blocking_send(Ok(piece));
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
