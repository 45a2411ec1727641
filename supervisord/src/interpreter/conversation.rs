//! One task speaks with one interpreter: it hands over one cell after the other, and what comes back ends them.
//!
//! ```text
//! idle ──a cell waits──▶ running ──done──▶ idle
//!   │                       │ time, output, a caller ──▶ interrupted ──done──▶ idle
//!   └── too long ─▶ end     └──────────────────────────────┴── does not stop ─▶ end
//! ```

use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Socket;
use std::sync::Arc;
use std::time::Duration;

use supervisor_api::{
    Cell, CellOutcome, CellOutput, CellState, InterpreterEnd, OutputSummary, StreamSummary,
};
use supervisor_sys::random_bits;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use super::line::{Broken, Done, Lines, Said, Status};
use super::runner;
use super::set::Interpreter;
use super::weight::{self, LARGE};
use crate::capture::Capture;
use crate::clock;
use crate::driver::pausing::{SharedClock, has_run, lock};
use crate::live::Live;

/// How long a cell may go on after it was interrupted, before its interpreter is ended.
const GRACE: Duration = Duration::from_secs(5);

/// How long an interpreter whose channel is closed may take to end by itself.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long an interpreter may take to answer a daemon that comes back, besides the time that its cell has.
/// A thread in C code answers nothing.
const RESUME: Duration = Duration::from_secs(30);

/// How long the bytes of a cell's output may take from the pipe into their file. A payload can keep the pipe
/// to itself; then the cell's output is what had come by then.
const CATCH_UP: Duration = Duration::from_secs(2);

/// Lines that may come before an interpreter says how far it is: what it said to daemons before us.
const EARLIER: u32 = 64;

/// Bytes that are read at once.
const PIECE: usize = 64 << 10;

/// Speaks with an interpreter until it has to end; says why, and leaves the rest to whoever attends it.
pub async fn converse(
    interpreter: &Arc<Interpreter>,
    (live, clock): (&Live, &SharedClock),
    channel: Option<OwnedFd>,
) -> Infallible {
    let end = match channel.map(open) {
        Some(Ok(socket)) => {
            let mut conversation = Conversation {
                interpreter,
                live,
                clock,
                capture: &live.capture,
                socket,
                lines: Lines::default(),
                repeated: 0,
            };
            let Err(end) = conversation.hold().await;
            end
        }
        None | Some(Err(_)) => Stop::Broken(Broken("there is no channel")),
    };
    if let Stop::Broken(Broken(why)) = end {
        tracing::warn!(execution_id = %interpreter.id, why, "an interpreter's channel is broken");
    }
    interpreter.ends.send_if_modified(|ends| {
        let first = ends.is_none();
        *ends = ends.or(Some(end.into()));
        first
    });
    std::future::pending().await
}

fn open(channel: OwnedFd) -> std::io::Result<UnixStream> {
    UnixStream::from_std(Socket::from(channel)) // it does not block: the launcher made it so
}

/// Why a conversation ends.
enum Stop {
    Because(InterpreterEnd),
    Broken(Broken),
}

impl From<Stop> for InterpreterEnd {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Because(end) => end,
            Stop::Broken(_) => InterpreterEnd::ChannelBroken,
        }
    }
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Stop::Broken(broken)
    }
}

/// What ends a cell that doesn't end by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    Time,
    Output,
}

struct Conversation<'a> {
    interpreter: &'a Arc<Interpreter>,
    live: &'a Live,
    /// By which all of its time is measured: it stands still while the interpreter is paused.
    clock: &'a SharedClock,
    capture: &'a Capture,
    socket: UnixStream,
    lines: Lines,
    /// The last cell whose end was said once more.
    repeated: u64,
}

impl Conversation<'_> {
    async fn hold(&mut self) -> Result<Infallible, Stop> {
        let mut taken = if self.interpreter.taken_over { self.resume().await? } else { 0 };
        loop {
            match self.interpreter.next() {
                Some(cell) if cell.number <= taken => {
                    let before = self.capture.summary();
                    self.attend(&cell, self.ran(&cell), before).await?;
                }
                Some(cell) => {
                    taken = cell.number;
                    self.run(cell).await?;
                }
                None => self.idle(taken).await?,
            }
        }
    }

    /// Asks one that was there before us which cell it took last. Whatever it says before that is the rest of
    /// something that it said to the daemon before us, and what counts of it is said again.
    async fn resume(&mut self) -> Result<u64, Stop> {
        let nonce = format!("{:032x}", random_bits().map_err(|_| Broken("no random bits"))?);
        let language = self.interpreter.kept.language;
        self.say(&runner::resume(language, &nonce)).await?;
        let left = self
            .interpreter
            .next()
            .map(|cell| Duration::from_millis(cell.wall_time).saturating_sub(self.ran(&cell)));
        let left = left.unwrap_or_default();
        let up = has_run(self.clock, self.live, self.now() + left + GRACE + RESUME);
        tokio::pin!(up);
        for _ in 0..EARLIER {
            let line = tokio::select! {
                biased;
                line = self.line() => line?,
                () = &mut up => return Err(Broken("it does not answer").into()),
            };
            match self.read(line).await {
                Ok(Said::State { nonce: theirs, last }) if theirs == nonce => return Ok(last),
                _ => {}
            }
        }
        Err(Broken("it does not answer").into())
    }

    /// The end of a cell is said once more for a daemon that came back; more often than that it is none of ours.
    fn repeat(&mut self, number: u64) -> Result<(), Broken> {
        if number <= self.repeated {
            return Err(Broken("the end of a cell is said again and again"));
        }
        self.repeated = number;
        Ok(())
    }

    /// Waits for a cell.
    async fn idle(&mut self, taken: u64) -> Result<(), Stop> {
        let patience = Duration::from_secs(self.interpreter.kept.idle_timeout);
        let up = has_run(self.clock, self.live, self.now() + patience);
        let interpreter = self.interpreter;
        tokio::select! {
            () = interpreter.asked.notified() => Ok(()),
            () = up => Err(Stop::Because(InterpreterEnd::Idle)),
            line = self.line() => match self.read(line?).await? {
                Said::Done(done) if done.number <= taken => Ok(self.repeat(done.number)?),
                _ => Err(Broken("an answer to no question").into()),
            },
        }
    }

    /// Hands a cell over and stays with it to its end.
    async fn run(&mut self, cell: Arc<Cell>) -> Result<(), Stop> {
        let before = self.capture.summary();
        let begin = |stream: StreamSummary| CellOutput {
            from: stream.kept,
            to: stream.kept,
            cut: 0,
            text: None,
        };
        let language = self.interpreter.kept.language;
        let mut begun = (*cell).clone();
        let word = move || runner::cell(language, cell.number, &cell.source);
        let word = self.away(begun.source.len(), word).await?;
        begun.state = CellState::Running;
        begun.started_at = Some(clock::now());
        (begun.stdout, begun.stderr) = (begin(before.stdout), begin(before.stderr));
        self.interpreter.begin(begun.clone(), self.rested()).await;
        self.say(&word).await?;
        self.attend(&begun, Duration::ZERO, before).await
    }

    /// Stays with a cell that was handed over so long ago, when so much had been written.
    async fn attend(
        &mut self,
        cell: &Cell,
        ran: Duration,
        before: OutputSummary,
    ) -> Result<(), Stop> {
        let began = self.now().saturating_sub(ran);
        let (mut deadline, mut cause) = (began + Duration::from_millis(cell.wall_time), None);
        let from = cell.stdout.from + before.stdout.cut + cell.stderr.from + before.stderr.cut;
        let most = from.saturating_add(cell.output_bytes);
        let (interpreter, capture) = (self.interpreter, self.capture);
        let done = loop {
            if interpreter.take_interrupt(cell.number) {
                self.interrupt(cell.number).await?;
            }
            let (too_much, up) = (capture.exceeds(most), has_run(self.clock, self.live, deadline));
            tokio::select! {
                biased;
                line = self.line() => match self.read(line?).await? {
                    Said::Done(done) if done.number == cell.number => break *done,
                    Said::Done(done) if done.number < cell.number => self.repeat(done.number)?,
                    _ => return Err(Broken("an answer to no question").into()),
                },
                () = interpreter.asked.notified() => {}
                () = up => {
                    let end = match cause {
                        None => {
                            cause = Some(Cause::Time);
                            deadline = self.now() + GRACE;
                            self.interrupt(cell.number).await?;
                            continue;
                        }
                        Some(Cause::Time) => (CellOutcome::TimedOut, InterpreterEnd::CellTimedOut),
                        Some(Cause::Output) => (CellOutcome::OutputExceeded, InterpreterEnd::CellOutput),
                    };
                    let outcome = Some(end.0);
                    interpreter.change(cell.number, 0, move |cell| cell.outcome = outcome).await;
                    return Err(Stop::Because(end.1));
                }
                () = too_much, if cause.is_none() => {
                    cause = Some(Cause::Output);
                    deadline = self.now() + GRACE;
                    self.interrupt(cell.number).await?;
                }
            }
        };
        let exceeded = (cause == Some(Cause::Output)).then_some(CellOutcome::OutputExceeded);
        let timed_out = (cause == Some(Cause::Time)).then_some(CellOutcome::TimedOut);
        self.end(cell, done, exceeded.or(timed_out), (began, before, most)).await;
        Ok(())
    }

    /// All that a cell wrote is in the pipes when it says that it is done, or in the files already.
    async fn end(
        &self,
        cell: &Cell,
        done: Done,
        cut_short: Option<CellOutcome>,
        (began, before, most): (Duration, OutputSummary, u64),
    ) {
        let took = self.now().saturating_sub(began);
        let size = weight::results(&done.results) + done.error.as_ref().map_or(0, weight::error);
        match timeout(CATCH_UP, self.capture.catch_up()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, execution_id = %self.interpreter.id, "a cell's output may go on")
            }
            Err(_elapsed) => {
                tracing::warn!(execution_id = %self.interpreter.id, "a payload keeps its output's pipe")
            }
        }
        let after = self.capture.summary();
        let written = after.stdout.kept + after.stdout.cut + after.stderr.kept + after.stderr.cut;
        let ended = move |cell: &mut Cell| {
            cell.state = CellState::Done;
            cell.outcome = Some(match (cut_short, done.status) {
                (Some(outcome), _) => outcome,
                (None, _) if written > most => CellOutcome::OutputExceeded,
                (None, Status::Ok) => CellOutcome::Ok,
                (None, Status::Error) => CellOutcome::Error,
                (None, Status::Interrupted) => CellOutcome::Interrupted,
            });
            cell.results = done.results;
            cell.results_dropped = done.dropped;
            cell.error = done.error;
            cell.exit_status = done.exit_status;
            end_of(&mut cell.stdout, after.stdout, before.stdout);
            end_of(&mut cell.stderr, after.stderr, before.stderr);
            cell.took_us = Some(took.as_micros() as u64);
        };
        self.interpreter.change(cell.number, size, ended).await;
    }

    async fn interrupt(&mut self, number: u64) -> Result<(), Stop> {
        self.say(&runner::interrupt(self.interpreter.kept.language, number)).await
    }

    /// Words are smaller than what waits for an end that doesn't read; one that reads none is waited for no
    /// longer than a cell that was interrupted.
    async fn say(&mut self, word: &[u8]) -> Result<(), Stop> {
        let up = has_run(self.clock, self.live, self.now() + GRACE + RESUME);
        let said = tokio::select! {
            biased;
            said = self.socket.write_all(word) => said,
            () = up => return Err(Broken("it does not listen").into()),
        };
        match said {
            Ok(()) => Ok(()),
            Err(_) => self.closed().await,
        }
    }

    /// How long the interpreter has run.
    fn now(&self) -> Duration {
        lock(self.clock).ran()
    }

    /// How long it was paused, in milliseconds.
    fn rested(&self) -> u64 {
        u64::try_from(lock(self.clock).rested().as_millis()).unwrap_or(u64::MAX)
    }

    /// How long a cell has run whose turn came under an earlier daemon.
    fn ran(&self, cell: &Cell) -> Duration {
        let since = cell.started_at.as_deref().and_then(clock::since).unwrap_or_default();
        let rested = self.rested().saturating_sub(self.interpreter.rested_before());
        since.saturating_sub(Duration::from_millis(rested))
    }

    /// The next line. Nothing is lost when the future is dropped.
    async fn line(&mut self) -> Result<Vec<u8>, Stop> {
        loop {
            if let Some(line) = self.lines.next()? {
                return Ok(line);
            }
            if self.socket.readable().await.is_err() {
                return self.closed().await;
            }
            let mut piece = [0; PIECE];
            match self.socket.try_read(&mut piece) {
                Ok(0) => return self.closed().await,
                Ok(length) => self.lines.put(piece.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return self.closed().await,
            }
        }
    }

    /// Reads a line.
    async fn read(&self, line: Vec<u8>) -> Result<Said, Broken> {
        self.away(line.len(), move || Said::read(&line)).await?
    }

    /// Does what grows with so many bytes: where they are many, away from the thread that serves everybody.
    async fn away<T: Send + 'static>(
        &self,
        bytes: usize,
        act: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Broken> {
        if bytes <= LARGE {
            return Ok(act());
        }
        self.interpreter.away(act).await.map_err(|_| Broken("the daemon is stopping"))
    }

    /// The other end is closed: it is about to end, or was taken from the runner by a cell.
    async fn closed<T>(&self) -> Result<T, Stop> {
        sleep(LAST_WORDS).await;
        Err(Broken("its end of the channel is closed").into())
    }
}

/// Where a cell's output ends in a stream.
fn end_of(output: &mut CellOutput, stream: StreamSummary, before: StreamSummary) {
    output.to = stream.kept;
    output.cut = stream.cut.saturating_sub(before.cut);
}
