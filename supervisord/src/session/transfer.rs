//! Files and archives of any size on their way into and out of a session, a piece at a time.

use std::io::{self, Read, Write};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use supervisor_api::{ApiError, ErrorCode, FileEntry, SessionId, UnpackReport};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, timeout_at};

use super::files::{checked, refuse, some};
use super::set::{Kept, Use};
use super::uses::being_closed;
use super::writing::BeingWritten;
use crate::pool::Share;
use crate::supervisor::{Caller, Supervisor, internal, storage};
use crate::threads::too_many_archives;
use crate::workspace::{self, Replacement, UnpackBounds};

/// Pieces on their way between a connection and a thread: enough that neither waits for each.
const PIECES: usize = 4;

/// Bytes of a piece of an archive on its way out.
const PIECE: usize = 64 << 10;

/// For an archive from its first byte to its last: 64 GiB, the most that a uid has by default, at 20 MiB a
/// second.
const PATIENCE: Duration = Duration::from_secs(3600);

/// A file on its way into a workspace. Dropped before [`Upload::finish`], nothing of it stays.
pub struct Upload {
    replacement: Option<Replacement>,
    root: Arc<std::os::fd::OwnedFd>,
    path: workspace::WorkspacePath,
    guard: Use,
    _written: BeingWritten,
}

/// An archive on its way into a workspace.
pub struct Unpacking {
    pieces: mpsc::Sender<Piece>,
    work: JoinHandle<Result<UnpackReport, ApiError>>,
}

/// An archive on its way out.
pub struct Packing {
    pieces: mpsc::Receiver<io::Result<Piece>>,
}

/// A part of an archive.
pub enum Piece {
    /// Some of it.
    Bytes(Bytes),
    /// That was all of it. Without this word an end comes too early.
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
        let (guard, root) = self.enter_to_change(caller, id).await?;
        let written = self.inner().writing.begin(id).map_err(storage)?;
        let (place, name) = (root.clone(), path.clone());
        let begun = spawn_blocking(move || Replacement::begin(place.as_fd(), &name, executable));
        let replacement = begun.await.map_err(internal)?.map_err(refuse)?;
        Ok(Upload { replacement: Some(replacement), root, path, guard, _written: written })
    }

    /// Begins to unpack an archive.
    pub async fn begin_unpacking(
        &self,
        caller: &Caller,
        id: SessionId,
    ) -> Result<Unpacking, ApiError> {
        let (guard, root) = self.enter_to_change(caller, id).await?;
        let permits = self.archive_permits(&guard)?;
        let written = self.inner().writing.begin(id).map_err(storage)?;
        let record = guard.session().record();
        let bounds =
            UnpackBounds { entries: record.workspace_inodes, bytes: record.workspace_bytes };
        let (pieces, incoming) = mpsc::channel(PIECES);
        let work = spawn_blocking(move || {
            let end = End::of(&guard);
            let incoming = Incoming { pieces: incoming, piece: Bytes::new(), ended: false, end };
            let result = workspace::unpack(root.as_fd(), incoming, bounds).map_err(|error| {
                if guard.session().is_closing() { being_closed() } else { refuse(error) }
            });
            drop((guard, permits, written));
            result
        });
        Ok(Unpacking { pieces, work })
    }

    /// The whole workspace as an archive, piece by piece. An error ends it.
    pub async fn pack_session(&self, caller: &Caller, id: SessionId) -> Result<Packing, ApiError> {
        let (guard, root) = self.enter(caller, id).await?;
        let permits = self.archive_permits(&guard)?;
        let place = root.clone();
        let turn = self.inner().threads.files(guard.session().record().owner_uid).await?;
        let looked = spawn_blocking(move || {
            let looked = workspace::obstacles(place.as_fd());
            drop(turn);
            looked
        });
        let obstacles = looked.await.map_err(internal)?.map_err(refuse)?;
        if !obstacles.is_empty() {
            let problem = format!("not all of it can be packed: {}", some(obstacles.into_iter()));
            return Err(ApiError::new(ErrorCode::Conflict, problem)
                .with_hint("have a payload rename them, set their permissions or remove them"));
        }
        let (pieces, packing) = Packing::new();
        spawn_blocking(move || {
            let end = End::of(&guard);
            let outgoing = Outgoing { pieces: pieces.clone(), end: end.clone() };
            let mut buffered = io::BufWriter::with_capacity(PIECE, outgoing);
            let packed = workspace::pack(root.as_fd(), None, &mut buffered);
            let packed = packed.map_err(io::Error::other).and_then(|()| buffered.flush());
            drop(buffered.into_parts()); // a buffer that is dropped is written, and waits for the caller
            // A caller that doesn't read is not waited for: it sees its archive break off.
            match packed {
                Ok(()) => drop(end.wait(pieces.send(Ok(Piece::End)))),
                Err(error) => drop(pieces.try_send(Err(error))),
            }
            drop((guard, permits));
        });
        Ok(packing)
    }

    pub(super) fn archive_permits(
        &self,
        guard: &Use,
    ) -> Result<(OwnedSemaphorePermit, Share), ApiError> {
        let session = guard.session();
        let own = session.archives.clone().try_acquire_owned();
        let own = own.map_err(|_| too_many_archives())?;
        Ok((own, self.inner().threads.archive(session.record().owner_uid)?))
    }
}

impl Upload {
    /// Appends a piece.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), ApiError> {
        let Some(mut replacement) = self.replacement.take() else { return Ok(()) };
        if self.guard.session().is_closing() {
            return Err(being_closed());
        }
        let written = spawn_blocking(move || replacement.write(&piece).map(|()| replacement));
        self.replacement = Some(written.await.map_err(internal)?.map_err(refuse)?);
        Ok(())
    }

    /// Puts the file in its place.
    pub async fn finish(mut self) -> Result<FileEntry, ApiError> {
        let Some(replacement) = self.replacement.take() else {
            return Err(internal("a file that failed is finished"));
        };
        let Self { root, path, guard, _written: written, .. } = self;
        let done = spawn_blocking(move || {
            replacement.finish()?;
            let entry = workspace::look(root.as_fd(), &path);
            drop((guard, written));
            entry
        });
        done.await.map_err(internal)?.map_err(refuse)
    }
}

impl Packing {
    /// An archive that whoever has the other end packs.
    pub fn new() -> (mpsc::Sender<io::Result<Piece>>, Self) {
        let (sender, pieces) = mpsc::channel(PIECES);
        (sender, Self { pieces })
    }

    /// The next part of it; nothing after the last.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        match self.pieces.recv().await.transpose()? {
            Some(Piece::Bytes(bytes)) => Ok(Some(bytes)),
            Some(Piece::End) => Ok(None),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
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

/// When an archive ends whose caller takes its time, for a thread that waits for the caller.
#[derive(Clone)]
struct End {
    session: Arc<Kept>,
    at: Instant,
    runtime: Handle,
}

impl End {
    fn of(guard: &Use) -> Self {
        let session = guard.session().clone();
        Self { session, at: Instant::now() + PATIENCE, runtime: Handle::current() }
    }

    /// What the caller comes to; an error where the session is closed or the time is up before.
    fn wait<T>(&self, caller: impl Future<Output = T>) -> io::Result<T> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.session.closing() => Err(io::Error::other("the session is being closed")),
                done = timeout_at(self.at, caller) => Ok(done?),
            }
        })
    }
}

/// What arrives, for a thread that reads it.
struct Incoming {
    pieces: mpsc::Receiver<Piece>,
    piece: Bytes,
    ended: bool,
    end: End,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.ended {
            match self.end.wait(self.pieces.recv())? {
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
    pieces: mpsc::Sender<io::Result<Piece>>,
    end: End,
}

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Bytes::copy_from_slice(bytes);
        let sent = self.end.wait(self.pieces.send(Ok(Piece::Bytes(piece))))?;
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
