//! A payload that is paused: its processes are frozen and its time stands still until somebody lets it go on.
//!
//! ```text
//! running ──frozen, recorded, told──▶ paused ──recorded, told, thawed──▶ running
//! ```
//!
//! What the record says decides after the daemon's death: what it calls paused is frozen again, everything
//! else goes on.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::sys::uio::pread;
use supervisor_api::{ApiError, ErrorCode, Limits, Outcome, State};
use supervisor_launch::Descriptor;
use tokio::io::Interest;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout};

use crate::accounting;
use crate::clock;
use crate::journal;
use crate::launcher::Sandbox;
use crate::live::Live;
use crate::outcome::limit_reached;
use crate::readiness::register;
use crate::supervisor::{Inner, from_store, internal};
use crate::watch::{thaw, watch};

/// How long a payload is paused at a stretch. It keeps its place among those that run, of which half may be paused
/// (`Bounds::paused`), so it can't be for ever; then it goes on by itself.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// How long it stays as it is where it can't go on by itself just then: its going on can't be recorded, as on a full
/// disk, or its session has changes in it by half. A try costs one write.
const AGAIN: Duration = Duration::from_secs(10);

/// How long the kernel may take to freeze a payload. A process that waits for a disk is frozen after that.
const FREEZING: Duration = Duration::from_secs(5);

/// Wishes that wait for the driver. Whoever has more waits.
const WISHES: usize = 4;

/// How long a payload has run, without the time in which it was paused.
#[derive(Debug)]
pub struct Clock {
    /// Up to the last time that it was started or stopped.
    ran: Duration,
    /// Paused and gone on since, up to the last time that it was paused.
    rested: Duration,
    since: Instant,
    rests: bool,
}

impl Default for Clock {
    fn default() -> Self {
        Self::going(Duration::ZERO, Duration::ZERO)
    }
}

impl Clock {
    /// Of a payload that goes on from here.
    pub fn going(ran: Duration, rested: Duration) -> Self {
        Self { ran, rested, since: Instant::now(), rests: false }
    }

    /// Of one that is paused since then.
    pub fn resting(ran: Duration, rested: Duration, since: Duration) -> Self {
        let now = Instant::now();
        Self { ran, rested, since: now.checked_sub(since).unwrap_or(now), rests: true }
    }

    /// Whether it stands still.
    pub const fn rests(&self) -> bool {
        self.rests
    }

    /// How long the payload has run.
    pub fn ran(&self) -> Duration {
        if self.rests { self.ran } else { self.ran + self.since.elapsed() }
    }

    /// How long it was paused.
    pub fn rested(&self) -> Duration {
        if self.rests { self.rested + self.since.elapsed() } else { self.rested }
    }

    /// When a payload that goes on has run for so long.
    fn at(&self, ran: Duration) -> Instant {
        self.since + ran.saturating_sub(self.ran)
    }

    fn turn(&mut self, rests: bool) {
        *self = Self { ran: self.ran(), rested: self.rested(), since: Instant::now(), rests };
    }
}

/// A clock that a driver shares with what it is asked.
pub type SharedClock = Mutex<Clock>;

/// Returns once a payload has run for so long by its clock, which stands still while it is paused.
pub async fn has_run(clock: &SharedClock, live: &Live, ran: Duration) {
    let mut changes = live.execution.subscribe();
    loop {
        let end = {
            let clock = lock(clock);
            match (clock.rests(), clock.ran() >= ran) {
                (true, _) => None,
                (false, true) => return,
                (false, false) => Some(clock.at(ran)),
            }
        };
        let up = async {
            match end {
                Some(end) => sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = up => {}
            // Who pauses it and who lets it go on turn the clock before they tell.
            changed = changes.changed() => if changed.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// What somebody wants of a payload that runs.
#[derive(Debug, Clone, Copy)]
pub enum Wish {
    /// Let it stand still; give its memory back as well, if so asked.
    Pause {
        /// Whether to do so.
        reclaim: bool,
    },
    /// Let it go on.
    Resume,
}

type Asked = (Wish, oneshot::Sender<Result<(), ApiError>>);

/// The way to an execution's driver.
#[derive(Debug)]
pub struct Wishes {
    sender: mpsc::Sender<Asked>,
    /// Until the driver takes it.
    receiver: Mutex<Option<mpsc::Receiver<Asked>>>,
}

impl Default for Wishes {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(WISHES);
        Self { sender, receiver: Mutex::new(Some(receiver)) }
    }
}

impl Wishes {
    /// Has the driver do it; returns when it is done.
    pub async fn ask(&self, wish: Wish) -> Result<(), ApiError> {
        let ended = || {
            let problem = "the execution does not run any more";
            ApiError::new(ErrorCode::Conflict, problem)
        };
        let (answer, answered) = oneshot::channel();
        self.sender.send((wish, answer)).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }

    /// Nobody does anything more: who waits is told so. A driver that was told to end first has never looked.
    pub fn end(&self) {
        drop(self.take());
    }

    fn take(&self) -> Option<mpsc::Receiver<Asked>> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Does what is wished of a payload until its time is up or it reaches a limit, and says which.
pub async fn attend_limits(
    inner: &Inner,
    live: &Live,
    sandbox: &Sandbox,
    limits: &Limits,
    clock: &SharedClock,
    seen: &AtomicU64,
) -> Outcome {
    let Some(mut wishes) = live.wishes.take() else {
        return Outcome::Lost { reason: "it is driven twice".to_owned() };
    };
    let mut not_before = Instant::now(); // it goes on by itself
    let owner = live.execution.borrow().owner_uid;
    let mut place = lock(clock).rests().then(|| inner.admission.already_paused(owner));
    loop {
        let (rests, end) = {
            let clock = lock(clock);
            let wall_time = Duration::from_millis(limits.wall_time);
            let rests = clock.rests();
            let longest = not_before.max(clock.since + LONGEST);
            (rests, if rests { longest } else { clock.at(wall_time) })
        };
        let asked = tokio::select! {
            biased;
            asked = wishes.recv() => asked,
            () = sleep_until(end) => {
                if !rests {
                    return Outcome::TimedOut;
                }
                if let Some(session) = live.session.as_ref().map(|held| held.session()) {
                    session.copied().await; // it changes nothing of what is being copied
                }
                None
            }
            limit = watch(sandbox, limits, seen), if !rests => return limit_reached(limit),
        };
        if !rests {
            thaw(sandbox); // the look at its share was broken off, and may have frozen it
        }
        let (wish, answer) = match asked {
            Some((wish, answer)) => (wish, Some(answer)),
            None => (Wish::Resume, None),
        };
        let done = match wish {
            Wish::Pause { reclaim } => {
                match place.take().map_or_else(|| inner.admission.pause(owner), Ok) {
                    Ok(taken) => {
                        place = Some(taken);
                        pause(inner, live, sandbox, clock, reclaim).await
                    }
                    Err(refused) => Err(refused),
                }
            }
            Wish::Resume => resume(inner, live, sandbox, clock).await,
        };
        if !lock(clock).rests() {
            place = None;
        }
        match (answer, done) {
            (Some(answer), done) => drop(answer.send(done)), // whoever asked may be gone
            (None, Ok(())) => {
                tracing::info!(execution_id = %live.id(), "it was paused for as long as can be and goes on");
            }
            (None, Err(error)) => {
                tracing::warn!(%error, execution_id = %live.id(), "it can't go on yet");
                not_before = Instant::now() + AGAIN;
            }
        }
    }
}

async fn pause(
    inner: &Inner,
    live: &Live,
    sandbox: &Sandbox,
    clock: &SharedClock,
    reclaim: bool,
) -> Result<(), ApiError> {
    let reclaims = if reclaim { Some(can_reclaim(sandbox)?) } else { None };
    if !lock(clock).rests() {
        if !live.recorded.load(Ordering::Relaxed) {
            // Its first record is on its way, and may be older than what we would write.
            return Err(
                ApiError::new(ErrorCode::Conflict, "it has only just begun").with_hint("try again")
            );
        }
        if let Err(error) = freeze(sandbox).await {
            thaw(sandbox);
            return Err(error);
        }
        lock(clock).turn(true);
        let mut paused = live.snapshot();
        paused.state = State::Paused;
        paused.paused_at = Some(clock::now());
        paused.usage.wall_ms = millis(lock(clock).ran());
        if let Err(error) = inner.store.update(&paused).await {
            thaw(sandbox);
            lock(clock).turn(false);
            live.change(|_| {}); // whoever looked at the clock meanwhile looks again
            return Err(from_store(&error));
        }
        live.change(|execution| *execution = paused);
        journal::paused(&live.snapshot(), true);
    }
    let Some(file) = reclaims else { return Ok(()) };
    let before = accounting::memory_in_use(sandbox).unwrap_or_default();
    let file = file.try_clone().map_err(internal)?;
    let written = spawn_blocking(move || nix::unistd::write(&file, before.to_string().as_bytes()));
    match written.await.map_err(internal)? {
        Ok(_) | Err(Errno::EAGAIN) => {} // cgroup-v2.rst: less than asked for was given back
        Err(error) => return Err(internal(error)),
    }
    let given = before.saturating_sub(accounting::memory_in_use(sandbox).unwrap_or(before));
    live.change(|execution| {
        let sum = execution.usage.memory_reclaimed.unwrap_or_default().saturating_add(given);
        execution.usage.memory_reclaimed = Some(sum);
    });
    Ok(())
}

/// On disk before it goes on: a daemon that dies between has it go on, too.
async fn resume(
    inner: &Inner,
    live: &Live,
    sandbox: &Sandbox,
    clock: &SharedClock,
) -> Result<(), ApiError> {
    if !lock(clock).rests() {
        return Ok(());
    }
    // Until it is seen to run, or a copy could begin while this is being recorded.
    let session = live.session.as_ref().map(|held| held.session().go_on()).transpose()?;
    let mut going = live.snapshot();
    going.state = State::Running;
    going.paused_at = None;
    going.usage.paused_ms = millis(lock(clock).rested());
    inner.store.update(&going).await.map_err(|error| from_store(&error))?;
    lock(clock).turn(false);
    live.change(|execution| *execution = going);
    drop(session);
    journal::paused(&live.snapshot(), false);
    thaw(sandbox);
    Ok(())
}

/// Freezes a sandbox that an earlier daemon had paused.
pub fn freeze_again(sandbox: &Sandbox) {
    let frozen = sandbox.get(Descriptor::Freeze).map(|freeze| nix::unistd::write(freeze, b"1"));
    if let Some(Err(error)) = frozen {
        tracing::error!(%error, "can't freeze a sandbox");
    }
}

/// Returns once none of its processes runs.
pub(crate) async fn freeze(sandbox: &Sandbox) -> Result<(), ApiError> {
    let cgroup = sandbox.get(Descriptor::Freeze).zip(sandbox.get(Descriptor::Cgroup));
    let Some((freeze, cgroup)) = cgroup else {
        let problem = "nothing can freeze it: it has no cgroup of its own";
        return Err(ApiError::new(ErrorCode::ControlMissing, problem)
            .with_hint("run supervisor-launcher as root with a cgroup v2 hierarchy"));
    };
    nix::unistd::write(freeze, b"1").map_err(internal)?;
    match timeout(FREEZING, frozen(cgroup)).await {
        Ok(frozen) => frozen.map_err(internal),
        Err(_elapsed) => {
            let problem = "one of its processes can't be frozen just now";
            Err(ApiError::new(ErrorCode::Conflict, problem)
                .with_hint("it waits for a disk; try again, or cancel it"))
        }
    }
}

/// cgroup-v2.rst: `frozen` in `cgroup.events` says when it is done, and polling tells of changes.
async fn frozen(cgroup: &OwnedFd) -> io::Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let events = openat(cgroup, "cgroup.events", flags, Mode::empty())?;
    let events = register(events, Interest::PRIORITY)?;
    loop {
        let mut text = [0; 256];
        let length = pread(events.get_ref().as_fd(), &mut text, 0)?;
        let text = String::from_utf8_lossy(text.get(..length).unwrap_or_default());
        if text.lines().any(|line| line == "frozen 1") {
            return Ok(());
        }
        events.ready(Interest::PRIORITY).await?.clear_ready();
    }
}

fn can_reclaim(sandbox: &Sandbox) -> Result<&OwnedFd, ApiError> {
    sandbox.get(Descriptor::Reclaim).ok_or_else(|| {
        let problem = "no memory can be given back: the memory controller is not on the host's \
                       cgroup v2 hierarchy";
        ApiError::new(ErrorCode::ControlMissing, problem)
            .with_field("reclaim")
            .with_hint("leave `reclaim` out; `supervisorctl doctor` says how to get memory_max")
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Nothing between two changes of a clock panics, so a poisoned one is whole.
pub fn lock(clock: &SharedClock) -> std::sync::MutexGuard<'_, Clock> {
    clock.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn what_is_wished_of_one_that_ends_before_it_looks_is_refused() {
        let wishes = Wishes::default();
        let (asked, ()) = tokio::join!(
            wishes.ask(Wish::Pause { reclaim: false }), // polled first, so it waits
            async { wishes.end() }
        );
        assert_eq!(asked.unwrap_err().code, ErrorCode::Conflict);
        assert_eq!(wishes.ask(Wish::Resume).await.unwrap_err().code, ErrorCode::Conflict);
    }

    #[test]
    fn time_stands_still_while_a_payload_is_paused() {
        let mut clock = Clock::resting(3 * SECOND, SECOND, 5 * SECOND);
        assert_eq!(clock.ran(), 3 * SECOND);
        assert!(clock.rested() >= 6 * SECOND);
        clock.turn(false);
        let (ran, rested) = (clock.ran(), clock.rested());
        assert!(ran < 4 * SECOND && rested < 7 * SECOND, "{clock:?}");
        assert!(clock.at(10 * SECOND) <= Instant::now() + 7 * SECOND);
        clock.turn(true);
        assert!(clock.ran() >= ran && clock.rested() >= rested, "{clock:?}");
    }
}
