//! Files and archives of any size on their way into and out of a session, a piece at a time.

use std::io::{self, Read, Write};
use std::os::fd::AsFd as _;
use std::sync::Arc;

use axum::body::Bytes;
use supervisor_api::{ApiError, ErrorCode, FileEntry, SessionId, UnpackReport};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::{JoinHandle, spawn_blocking};

use super::files::{checked, refuse, some};
use super::pace::Pace;
use super::root::Root;
use super::set::{Kept, Use};
use super::uses::being_closed;
use super::writing::BeingWritten;
use crate::elsewhere::Elsewhere;
use crate::in_turn::Piece as Turn;
use crate::pool::Share;
use crate::supervisor::{Caller, Supervisor, internal, storage};
use crate::workspace::{self, Replacement, UnpackBounds};

/// Pieces on their way between a connection and a thread: enough that neither waits for each.
const PIECES: usize = 4;

/// Bytes of a piece of an archive on its way out.
const PIECE: usize = 64 << 10;

/// A file on its way into a workspace. Dropped before [`Upload::finish`], nothing of it stays.
pub struct Upload {
    supervisor: Supervisor,
    owner: u32,
    root: Arc<Root>,
    path: workspace::WorkspacePath,
    /// None once it has failed.
    begun: Option<Elsewhere<Begun>>,
}

/// What there is of it so far: taken back first, which its session is used for until it is.
struct Begun {
    replacement: Replacement,
    written: BeingWritten,
    guard: Use,
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
        let owner = guard.session().record().owner_uid;
        let (writing, name) = (self.inner().writing.clone(), path.clone());
        let begun = self.in_turn((guard, root.clone()), move |guard, root| {
            let written = writing.begin(id).map_err(storage)?;
            let replacement = Replacement::begin(root, &name, executable).map_err(refuse)?;
            Ok(Elsewhere::new(owner, Begun { replacement, written, guard }))
        });
        let begun = Some(begun.await?);
        Ok(Upload { supervisor: self.clone(), owner, root, path, begun })
    }

    /// Begins to unpack an archive.
    pub async fn begin_unpacking(
        &self,
        caller: &Caller,
        id: SessionId,
    ) -> Result<Unpacking, ApiError> {
        let (guard, root) = self.enter_to_change(caller, id).await?;
        let permits = self.archive_permits(caller, &guard)?;
        let writing = self.inner().writing.clone();
        let record = guard.session().record();
        let bounds =
            UnpackBounds { entries: record.workspace_inodes, bytes: record.workspace_bytes };
        let (pieces, incoming) = mpsc::channel(PIECES);
        let work = spawn_blocking(move || {
            let pace = Pace::of(guard.session());
            let incoming = Incoming { pieces: incoming, piece: Bytes::new(), ended: false, pace };
            let result = writing.begin(id).map_err(storage).and_then(|_written| {
                workspace::unpack(root.as_fd(), incoming, bounds).map_err(|error| {
                    if guard.session().is_closing() { being_closed() } else { refuse(error) }
                })
            });
            drop((guard, permits));
            result
        });
        Ok(Unpacking { pieces, work })
    }

    /// The whole workspace as an archive, piece by piece. An error ends it.
    pub async fn pack_session(&self, caller: &Caller, id: SessionId) -> Result<Packing, ApiError> {
        let (guard, root) = self.enter(caller, id).await?;
        let permits = self.archive_permits(caller, &guard)?;
        let place = root.clone();
        let turn = self.files_turn(guard.session()).await?;
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
            let outgoing = Outgoing { pieces: pieces.clone(), pace: Pace::of(guard.session()) };
            let mut buffered = io::BufWriter::with_capacity(PIECE, outgoing);
            let packed = workspace::pack(root.as_fd(), None, &mut buffered);
            let packed = packed.map_err(io::Error::other).and_then(|()| buffered.flush());
            // A buffer that is dropped is written, and waits for the caller.
            let (mut outgoing, _) = buffered.into_parts();
            // A caller that doesn't read is not waited for: it sees its archive break off.
            match packed {
                Ok(()) => drop(outgoing.pace.wait(pieces.send(Ok(Piece::End)))),
                Err(error) => drop(pieces.try_send(Err(error))),
            }
            drop((guard, permits));
        });
        Ok(packing)
    }

    /// An archive of this caller's may go to or from this session.
    fn archive_permits(
        &self,
        caller: &Caller,
        guard: &Use,
    ) -> Result<(OwnedSemaphorePermit, Share), ApiError> {
        Ok((one_of(guard)?, self.inner().threads.archive(caller)?))
    }

    /// The turn of a session's owner to have a workspace copied or applied. The session is entered after that: until
    /// then it is used as ever.
    pub(super) async fn copy_turn(&self, session: &Arc<Kept>) -> Result<Turn, ApiError> {
        tokio::select! {
            biased;
            () = session.closing() => Err(being_closed()),
            turn = self.inner().threads.copy(session.record().owner_uid) => turn,
        }
    }

    /// The turn of a session's owner for a call about files of it. Who waits for it behind others of the same owner lets
    /// go of a session that is being closed, which waits for that.
    pub(super) async fn files_turn(&self, session: &Kept) -> Result<Turn, ApiError> {
        tokio::select! {
            biased;
            () = session.closing() => Err(being_closed()),
            turn = self.inner().threads.files(session.record().owner_uid) => turn,
        }
    }
}

/// One archive or copy of a session at a time.
pub(super) fn one_of(guard: &Use) -> Result<OwnedSemaphorePermit, ApiError> {
    guard.session().archives.clone().try_acquire_owned().map_err(|_| {
        let problem = "the session is being packed, unpacked or copied already, or changes are being applied to it \
                       or discarded";
        ApiError::new(ErrorCode::Busy, problem).with_hint("try again when that is done")
    })
}

impl Upload {
    /// Appends a piece.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), ApiError> {
        let Some(begun) = self.begun.take() else { return Ok(()) };
        let turn = self.supervisor.files_turn(begun.guard.session()).await?;
        let owner = self.owner;
        let written = spawn_blocking(move || {
            let mut begun = begun.into_inner(); // what fails is taken back before that is told
            let written = begun.replacement.write(&piece);
            let written = written.map(|()| Elsewhere::new(owner, begun));
            drop(turn);
            written
        });
        self.begun = Some(written.await.map_err(internal)?.map_err(refuse)?);
        Ok(())
    }

    /// Puts the file in its place.
    pub async fn finish(self) -> Result<FileEntry, ApiError> {
        let Self { supervisor, root, path, begun, .. } = self;
        let Some(begun) = begun else {
            return Err(internal("a file that failed is finished"));
        };
        let turn = supervisor.files_turn(begun.guard.session()).await?;
        let done = spawn_blocking(move || {
            let Begun { replacement, written, guard } = begun.into_inner();
            let entry = replacement.finish().and_then(|()| workspace::look(root.as_fd(), &path));
            drop((written, guard, turn));
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

/// What arrives, for a thread that reads it.
struct Incoming {
    pieces: mpsc::Receiver<Piece>,
    piece: Bytes,
    ended: bool,
    pace: Pace,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.ended {
            match self.pace.wait(self.pieces.recv())? {
                Some(Piece::Bytes(piece)) => {
                    self.pace.moved(piece.len());
                    self.piece = piece;
                }
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
    pace: Pace,
}

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Bytes::copy_from_slice(bytes);
        let sent = self.pace.wait(self.pieces.send(Ok(Piece::Bytes(piece))))?;
        self.pace.moved(bytes.len());
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
