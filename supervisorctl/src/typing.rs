//! What goes from our standard input to a payload while it runs.

use std::future::Future;
use std::io::{self, IsTerminal};
use std::time::Duration;

use supervisor_api::{ErrorCode, Execution, ExecutionId};
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time;

use crate::backoff::{Backoff, retrying};
use crate::client::Client;
use crate::failure::Failure;
use crate::raw::{self, RawTerminal};

/// Bytes that are read and sent at once.
const PIECE: usize = 64 << 10;

/// Pause before an execution that has not started is asked about again.
const PAUSE: Duration = Duration::from_millis(200);

/// How long the first key that detaches waits for the second.
const HOLD: Duration = Duration::from_millis(500);

/// How long our terminal stays as it is for a payload that takes no more keys: most of them are at their end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The keys that detach, one after the other: Ctrl-P and Ctrl-Q.
const DETACH: [u8; 2] = [0x10, 0x11];

/// Passes our standard input on to one execution.
#[derive(Debug, Clone, Copy)]
pub struct Typing<'a> {
    /// The daemon.
    pub client: &'a Client,
    /// The execution.
    pub id: ExecutionId,
    /// Whether it has a terminal, for which ours is used.
    pub terminal: bool,
    /// Whether keys can leave it running.
    pub detachable: bool,
}

/// Why no more is passed on.
enum End {
    /// Nothing comes from us, or nobody takes it.
    Over,
    /// The operator wants to leave.
    Detached,
}

/// Fails unless our standard input is a terminal.
pub fn need_terminal(remedy: &str) -> Result<(), Failure> {
    if io::stdin().is_terminal() {
        return Ok(());
    }
    Err(Failure::Usage(format!("our standard input is no terminal; {remedy}")))
}

impl Typing<'_> {
    /// Does the work, and passes standard input on meanwhile; one who detaches ends both.
    pub async fn during(
        &self,
        work: impl Future<Output = Result<Execution, Failure>>,
    ) -> Result<Execution, Failure> {
        tokio::pin!(work);
        // What it shows may come before it is asked for keys, and after it takes any.
        let _shown = self.terminal.then(RawTerminal::show).transpose()?;
        let mut raw = None;
        let end = tokio::select! {
            done = &mut work => return done,
            end = self.pass_on(&mut raw) => end?,
        };
        match end {
            End::Over => {
                // What it says last is shown as the rest was.
                if let Ok(done) = time::timeout(LAST_WORDS, &mut work).await {
                    return done;
                }
                drop(raw); // it goes on and takes no keys, so they are ours again
                work.await
            }
            End::Detached => {
                let id = self.id;
                Err(Failure::Detached(format!("detached; {id} goes on: supervisorctl attach {id}")))
            }
        }
    }

    /// Passes on what is typed; our terminal stays as raw as it was made for that.
    async fn pass_on(&self, raw: &mut Option<RawTerminal>) -> Result<End, Failure> {
        let Some(mut offset) = self.begin().await? else { return Ok(End::Over) };
        *raw = self.terminal.then(RawTerminal::enter).transpose()?;
        let resized = signal(SignalKind::window_change());
        let mut resized = resized.map_err(Failure::local("cannot take signals"))?;
        let (mut stdin, mut buffer) = (tokio::io::stdin(), vec![0; PIECE]);
        let mut keys = Keys { detach: self.terminal && self.detachable, held: false };
        if self.terminal {
            self.resize().await?;
        }
        loop {
            let read = tokio::select! {
                read = stdin.read(&mut buffer) => read,
                _ = resized.recv(), if self.terminal => {
                    self.resize().await?;
                    continue;
                }
                () = time::sleep(HOLD), if keys.held => {
                    keys.held = false;
                    match self.send(offset, &DETACH[..1]).await? {
                        Some(next) => offset = next,
                        None => return Ok(End::Over),
                    }
                    continue;
                }
            };
            let read = read.map_err(Failure::local("cannot read standard input"))?;
            if read == 0 {
                return self.end().await;
            }
            let (bytes, leave) = keys.pass(buffer.get(..read).unwrap_or_default());
            match self.send(offset, &bytes).await? {
                Some(next) => offset = next,
                None => return Ok(End::Over),
            }
            if leave {
                return Ok(End::Detached);
            }
        }
    }

    /// Waits until it runs; the offset of what is sent first, or nothing if it takes nothing.
    async fn begin(&self) -> Result<Option<u64>, Failure> {
        let mut backoff = Backoff::default();
        loop {
            match self.client.input(self.id).await {
                Ok(state) => return Ok(state.open.then_some(state.offset)),
                Err(failure) => match failure.code() {
                    Some(ErrorCode::Busy) => {
                        backoff.reset(); // it waits for its turn, and so do we
                        time::sleep(PAUSE).await;
                    }
                    Some(ErrorCode::Conflict) => return Ok(None),
                    _ => backoff.wait(failure).await?,
                },
            }
        }
    }

    /// Sends all of these; the offset of what comes next, or nothing if no more is taken.
    async fn send(&self, mut offset: u64, bytes: &[u8]) -> Result<Option<u64>, Failure> {
        let mut rest = bytes;
        if self.terminal && !bytes.is_empty() {
            // Others may type as well.
            match taken(retrying(async || self.client.input(self.id).await).await)? {
                Some(state) => offset = state.offset,
                None => return Ok(None),
            }
        }
        while !rest.is_empty() {
            let sent =
                retrying(async || self.client.send_input(self.id, offset, rest.to_vec()).await);
            let state = match sent.await {
                // What others typed meanwhile stands there; ours comes after it.
                Err(failure) if self.terminal && is_elsewhere(&failure) => {
                    self.client.input(self.id).await.map(|state| (state.offset, 0))
                }
                sent => sent.map(|state| (state.offset, state.offset.saturating_sub(offset))),
            };
            let Some((next, count)) = taken(state)? else { return Ok(None) };
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            (offset, rest) = (next, rest.get(count..).unwrap_or_default());
        }
        Ok(Some(offset))
    }

    async fn end(&self) -> Result<End, Failure> {
        if self.terminal {
            return Ok(if self.detachable { End::Detached } else { End::Over }); // ours is gone
        }
        taken(retrying(async || self.client.close_input(self.id).await).await)?;
        Ok(End::Over)
    }

    async fn resize(&self) -> Result<(), Failure> {
        let size = raw::size();
        taken(retrying(async || self.client.resize_terminal(self.id, size).await).await).map(drop)
    }
}

/// Nothing, if the payload takes nothing any more: to be told is its end's to do. That somebody else sends to it, or
/// ended what it reads, is ours to tell.
fn taken<T>(result: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match result {
        Ok(taken) => Ok(Some(taken)),
        Err(failure) if is_elsewhere(&failure) => Err(failure),
        Err(failure) if failure.code() == Some(ErrorCode::Conflict) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Whether bytes were refused for where they were to stand.
fn is_elsewhere(failure: &Failure) -> bool {
    let Failure::Refused { error, .. } = failure else { return false };
    error.code == ErrorCode::Conflict && error.field.as_deref() == Some("offset")
}

/// Keys on their way, of which two in a row detach.
struct Keys {
    detach: bool,
    /// The first of the two came, and has not been passed on.
    held: bool,
}

impl Keys {
    /// What is to be passed on, and whether the operator wants to leave.
    fn pass(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let [first, second] = DETACH;
        let mut passed = Vec::with_capacity(bytes.len() + 1);
        for byte in bytes {
            if std::mem::take(&mut self.held) {
                if *byte == second {
                    return (passed, true);
                }
                passed.push(first);
            }
            if self.detach && *byte == first {
                self.held = true;
            } else {
                passed.push(*byte);
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_keys_in_a_row_detach_and_everything_else_is_passed_on() {
        let mut keys = Keys { detach: true, held: false };
        assert_eq!(keys.pass(b"ls\x10"), (b"ls".to_vec(), false));
        assert_eq!(keys.pass(b"x\x10\x10"), (b"\x10x\x10".to_vec(), false));
        assert_eq!(keys.pass(b"\x11gone"), (Vec::new(), true));
        assert_eq!(keys.pass(b"\x11\x03"), (b"\x11\x03".to_vec(), false));
        let mut keys = Keys { detach: false, held: false };
        assert_eq!(keys.pass(b"\x10\x11"), (b"\x10\x11".to_vec(), false));
    }
}
