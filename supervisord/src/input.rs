//! Standard input that stays open while a payload runs.
//!
//! What callers send is appended to a file in memory, which the launcher made and keeps besides, and goes
//! on from there to the payload's pipe. How much has come is the file's size, how much went on is the
//! position of its one description, and that no more comes is a seal on it. The kernel advances each
//! within the system call that moves the bytes, and none of it is ours to lose: a daemon that is killed
//! at any moment leaves the exact numbers to the next, and a byte that was acknowledged arrives once.
//!
//! ```text
//!   callers ──append──▶ file in memory ──sendfile──▶ pipe ──▶ payload
//!                       size = offset    position = passed on
//! ```

mod feed;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::stat::fstat;
use nix::sys::uio::{pread, pwrite};
use nix::unistd::{Whence, lseek};
use supervisor_api::{ApiError, ErrorCode, InputState};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout_at};

pub use self::feed::End;
use crate::supervisor::internal;

/// Bytes that may wait for a payload that doesn't read, besides those in its pipe. More are taken when
/// it has read some.
pub const WINDOW: u64 = 1 << 18;

/// Bytes of one call, and of the submission where input stays open.
pub const MAX_PIECE: u64 = 1 << 20;

/// How long a call waits for a payload to read, or to start: less than any client's patience.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The standard input of one execution.
#[derive(Debug)]
pub struct Input {
    file: Arc<OwnedFd>,
    /// Whoever appends, or ends it, holds this: one after the other, or offsets would mean nothing.
    turn: Mutex<()>,
    /// Told whenever bytes came or went on, and at the end.
    changed: watch::Sender<()>,
    /// Nobody can read it any more.
    deaf: AtomicBool,
    /// Bytes at the front of the file whose memory was given back.
    freed: AtomicU64,
}

impl Input {
    /// The input in this file of the launcher's.
    pub fn new(file: OwnedFd) -> Arc<Self> {
        Arc::new(Self {
            file: Arc::new(file),
            turn: Mutex::new(()),
            changed: watch::Sender::new(()),
            deaf: AtomicBool::new(false),
            freed: AtomicU64::new(0),
        })
    }

    /// Puts the bytes of the submission first, before anything runs or is sent.
    pub fn begin(&self, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            written += self.append(written as u64, rest)?;
        }
        Ok(())
    }

    /// How far it has come, by the kernel's own count.
    pub fn state(&self) -> io::Result<InputState> {
        let size = fstat(&*self.file)?.st_size;
        let passed_on = lseek(&*self.file, 0, Whence::SeekCur)?;
        let seals = fcntl(&*self.file, FcntlArg::F_GET_SEALS)?;
        let ended = SealFlag::from_bits_truncate(seals).contains(SealFlag::F_SEAL_GROW);
        Ok(InputState {
            offset: size.try_into().map_err(io::Error::other)?,
            passed_on: passed_on.try_into().map_err(io::Error::other)?,
            open: !ended && !self.deaf.load(Ordering::Acquire),
        })
    }

    /// Takes bytes, of which the first stands at `offset`, or comes after all that arrived. Those that
    /// arrived before are passed over; where others stand in their place somebody else sends as well, who is not
    /// overwritten and of whom nothing is taken for these. Where there is no room for all of them, waits a while;
    /// what is returned says how much was taken.
    pub async fn send(&self, offset: Option<u64>, bytes: &[u8]) -> Result<InputState, ApiError> {
        self.send_by(Instant::now() + PATIENCE, offset, bytes).await
    }

    async fn send_by(
        &self,
        deadline: Instant,
        offset: Option<u64>,
        bytes: &[u8],
    ) -> Result<InputState, ApiError> {
        let Ok(_turn) = timeout_at(deadline, self.turn.lock()).await else { return self.now() };
        let mut changed = self.changed.subscribe();
        let before = self.now()?;
        let offset = offset.unwrap_or(before.offset);
        let Some(known) = before.offset.checked_sub(offset) else {
            let problem = format!("bytes before this offset are missing: {} came", before.offset);
            return Err(ApiError::new(ErrorCode::Conflict, problem)
                .with_field("offset")
                .with_hint(format!("send what stands at offset {}", before.offset)));
        };
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let again = bytes.get(..known).unwrap_or(bytes);
        if !again.is_empty() && offset < before.passed_on.saturating_sub(feed::HELD) {
            return Err(too_old(offset, before.offset));
        }
        if !self.holds(offset, again).map_err(internal)? {
            return Err(somebody_else_s(offset, before.offset));
        }
        let mut rest = bytes.get(known..).unwrap_or_default();
        loop {
            changed.mark_unchanged();
            let now = self.now()?;
            if rest.is_empty() {
                return Ok(now);
            }
            if !now.open {
                return Err(if self.deaf.load(Ordering::Acquire) {
                    closed()
                } else {
                    ended(now.offset)
                });
            }
            let room = WINDOW.saturating_sub(now.offset - now.passed_on);
            if room == 0 {
                if timeout_at(deadline, changed.changed()).await.is_err() {
                    return Ok(now);
                }
                continue;
            }
            let most = usize::try_from(room).unwrap_or(usize::MAX).min(rest.len());
            let piece = rest.get(..most).unwrap_or_default();
            let written = self.append(now.offset, piece).map_err(internal)?;
            rest = rest.get(written..).unwrap_or_default();
            self.changed.send_replace(());
        }
    }

    /// Whether these very bytes stand at this offset. Of what was passed on long ago nobody can tell: no call that is
    /// repeated is as old.
    fn holds(&self, offset: u64, bytes: &[u8]) -> io::Result<bool> {
        if bytes.is_empty() {
            return Ok(true);
        }
        let mut found = vec![0; bytes.len()];
        let at = offset.try_into().map_err(io::Error::other)?;
        let read = pread(&*self.file, &mut found, at)?;
        Ok(read == bytes.len() && found == bytes)
    }

    /// Takes no more bytes: the payload finds the end after what has come. Ending it twice is no error.
    pub async fn close(&self, offset: Option<u64>) -> Result<InputState, ApiError> {
        let _turn = self.turn.lock().await; // held for [`PATIENCE`] at the most
        let now = self.now()?;
        if offset.is_some_and(|offset| offset != now.offset) {
            let problem = format!("{} bytes have come, and not as many as was said", now.offset);
            return Err(ApiError::new(ErrorCode::Conflict, problem).with_field("offset"));
        }
        let seal = FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_GROW);
        fcntl(&*self.file, seal).map_err(internal)?;
        self.changed.send_replace(());
        self.now()
    }

    /// Nobody reads it any more.
    pub fn hang_up(&self) {
        self.deaf.store(true, Ordering::Release);
        self.changed.send_replace(());
    }

    fn now(&self) -> Result<InputState, ApiError> {
        self.state().map_err(internal)
    }

    fn append(&self, at: u64, bytes: &[u8]) -> io::Result<usize> {
        Ok(pwrite(&*self.file, bytes, at.try_into().map_err(io::Error::other)?)?)
    }
}

fn somebody_else_s(offset: u64, came: u64) -> ApiError {
    let problem =
        format!("bytes of somebody else's stand at offset {offset}; none of these were taken");
    ApiError::new(ErrorCode::Conflict, problem)
        .with_field("offset")
        .with_hint(format!("send them at offset {came}, or without an offset"))
}

fn too_old(offset: u64, came: u64) -> ApiError {
    let problem = format!(
        "what stands at offset {offset} was passed on too long ago to be compared with these bytes"
    );
    ApiError::new(ErrorCode::Conflict, problem).with_field("offset").with_hint(format!(
        "{came} bytes came: send what comes after them at offset {came}, and nothing that was sent before"
    ))
}

fn ended(came: u64) -> ApiError {
    let problem =
        format!("its standard input was ended after {came} bytes; not all of these were taken");
    ApiError::new(ErrorCode::Conflict, problem).with_field("offset")
}

fn closed() -> ApiError {
    ApiError::new(ErrorCode::Conflict, "its standard input is closed: nobody reads it any more")
}
