//! What may take long to let go of is let go of on threads for that.
//!
//! Whoever closes a file last that was removed takes it apart, whoever closes a file system last that is mounted nowhere
//! any more writes it back, and whoever closes a workspace in memory last frees it. For what a payload can make of its
//! workspace that takes seconds to minutes, and for ever where the disk stands still. The runtime's one thread is never
//! the one that closes last:
//!
//! ```text
//! Elsewhere<T> ──dropped──▶ a line, owner by owner ──▶ one of eight threads, of which one owner's occupies two at the most
//! ```
//!
//! What waits is bounded. Workspaces and sandboxes count against their owner until they are closed, and so do workspaces
//! that are watched; whoever has many files in the line, which he may have left open and gone away from, has no others
//! opened before it is shorter ([`admit`]).

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use supervisor_api::{ApiError, ErrorCode};
use tokio::sync::oneshot;

/// Threads that close: four owners whose workspaces stand still have to conspire to keep the others' from being closed.
const THREADS: usize = 8;

/// Of them, those that one owner's occupies; what else it lets go of waits.
const OF_ONE: usize = 2;

/// What one owner may have in the line before nothing more is opened for it: as many as it may have connections, each
/// of which has one file open at the most. Calls that are under way by then may come on top: twice as many descriptors.
const MOST_OF_ONE: usize = 64;

/// How long the end of the daemon waits for what is being closed. The kernel closes the rest, and the next start removes
/// what was not finished.
const LAST: Duration = Duration::from_secs(5);

/// The owner of what is the daemon's own: (uid_t)-1 is nobody's.
pub const NOBODY: u32 = u32::MAX;

/// Whoever has nothing to do but to close, once the daemon has started them. Before, and in tests of a part of it,
/// everything is closed where it is dropped.
static LINE: OnceLock<Line> = OnceLock::new();

thread_local! {
    /// Whether this thread is one of them: what is inside of what it closes is closed there and then.
    static CLOSES: Cell<bool> = const { Cell::new(false) };
}

/// Something whose drop happens on another thread.
#[derive(Debug)]
pub struct Elsewhere<T: Send + 'static> {
    owner: u32,
    /// None only while it is dropped or taken out.
    value: Option<T>,
}

impl<T: Send + 'static> Elsewhere<T> {
    /// This, of a caller or of [`NOBODY`].
    pub const fn new(owner: u32, value: T) -> Self {
        Self { owner, value: Some(value) }
    }

    /// Takes it out, for a thread that may wait for it.
    pub fn into_inner(mut self) -> T {
        match self.value.take() {
            Some(value) => value,
            None => unreachable!("it is taken out once"),
        }
    }

    /// Drops it, and when that is done what was held meanwhile.
    pub fn and_then_drop(mut self, held: impl Send + 'static) {
        hand_over(self.owner, (self.value.take(), held)); // in this order
    }

    /// Returns once it has been dropped.
    pub async fn gone(self) {
        let (held, is_gone) = oneshot::channel::<()>();
        self.and_then_drop(held);
        drop(is_gone.await); // an error is what says so
    }
}

impl<T: Send + 'static> Deref for Elsewhere<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.value {
            Some(value) => value,
            None => unreachable!("it is taken out by value"),
        }
    }
}

impl<T: Send + 'static> DerefMut for Elsewhere<T> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.value {
            Some(value) => value,
            None => unreachable!("it is taken out by value"),
        }
    }
}

impl<T: AsFd + Send + 'static> AsFd for Elsewhere<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.deref().as_fd()
    }
}

impl<T: AsRawFd + Send + 'static> AsRawFd for Elsewhere<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.deref().as_raw_fd()
    }
}

impl<T: Send + 'static> Drop for Elsewhere<T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            hand_over(self.owner, value);
        }
    }
}

/// Starts the threads, which there are to the end.
pub fn start() -> io::Result<()> {
    let mut is_first = false;
    let line = LINE.get_or_init(|| {
        is_first = true;
        Line::default()
    });
    if is_first {
        for _ in 0..THREADS {
            thread::Builder::new().name("closing".to_owned()).spawn(move || line.work())?;
        }
    }
    Ok(())
}

/// Waits a moment for what is being closed.
pub fn finish() {
    if let Some(left) = LINE.get().map(|line| line.drain(LAST)).filter(|left| *left > 0) {
        tracing::warn!(left, "files are still being closed; the kernel closes them");
    }
}

/// Whether something may be opened of this owner's that is closed here.
///
/// # Errors
/// [`ErrorCode::Busy`] when too much of it waits to be closed: its disk is slow, or stands still.
pub fn admit(owner: u32) -> Result<(), ApiError> {
    LINE.get().map_or(Ok(()), |line| line.admit(owner))
}

fn hand_over(owner: u32, value: impl Send + 'static) {
    match LINE.get() {
        Some(line) if !CLOSES.get() => line.push(owner, Box::new(value)),
        _ => drop(value),
    }
}

/// What is to be closed. Of those who have the fewest closed at the moment it is the turn of who has waited longest since
/// his last one, so that what a few have in it holds up nobody else for longer than one of theirs.
#[derive(Default)]
struct Line {
    state: Mutex<State>,
    /// Signalled when there may be something to do.
    more: Condvar,
    /// Signalled when something has been closed.
    less: Condvar,
}

#[derive(Default)]
struct State {
    /// Those of whom something waits or is being closed: nobody's 0 and 0 is kept.
    owners: HashMap<u32, Owner>,
    /// Counts up with each that comes and each that is begun.
    clock: u64,
}

/// What one owner has in the line.
#[derive(Default)]
struct Owner {
    waiting: VecDeque<Box<dyn Send>>,
    /// How many are being closed.
    under_way: usize,
    /// When one of them was begun last, or the first one came.
    since: u64,
}

impl Line {
    fn push(&self, owner: u32, value: Box<dyn Send>) {
        self.state().push(owner, value);
        self.more.notify_one();
    }

    fn admit(&self, owner: u32) -> Result<(), ApiError> {
        let waiting = self.state().owners.get(&owner).map_or(0, |owner| owner.waiting.len());
        if waiting < MOST_OF_ONE {
            return Ok(());
        }
        let problem =
            format!("{waiting} files wait for a disk to be closed; {MOST_OF_ONE} are the most");
        Err(ApiError::new(ErrorCode::Busy, problem).with_hint("try again when that disk goes on"))
    }

    /// Closes for ever.
    fn work(&self) {
        CLOSES.set(true);
        let mut state = self.state();
        loop {
            let Some((owner, value)) = state.next() else {
                state = self.more.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            drop(value);
            state = self.state();
            state.is_closed(owner);
            self.more.notify_one(); // the owner's next may have waited for this one
            self.less.notify_all();
        }
    }

    /// Waits so long for everything to be closed; says how much is not.
    fn drain(&self, patience: Duration) -> usize {
        let until = Instant::now() + patience;
        let mut state = self.state();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if state.left() == 0 || left.is_zero() {
                return state.left();
            }
            let waited = self.less.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Nothing between two changes of it panics, so a poisoned one is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, owner: u32, value: Box<dyn Send>) {
        self.clock += 1;
        let since = self.clock;
        let owner = self.owners.entry(owner).or_insert(Owner { since, ..Owner::default() });
        owner.waiting.push_back(value);
    }

    /// The next one of whoever's turn it is.
    fn next(&mut self) -> Option<(u32, Box<dyn Send>)> {
        let may = |owner: &Owner| !owner.waiting.is_empty() && owner.under_way < OF_ONE;
        let waiting = self.owners.iter_mut().filter(|(_, owner)| may(owner));
        let (id, owner) = waiting.min_by_key(|(_, owner)| (owner.under_way, owner.since))?;
        let value = owner.waiting.pop_front()?;
        self.clock += 1;
        (owner.under_way, owner.since) = (owner.under_way + 1, self.clock);
        Some((*id, value))
    }

    fn is_closed(&mut self, id: u32) {
        let Some(owner) = self.owners.get_mut(&id) else { return };
        owner.under_way = owner.under_way.saturating_sub(1);
        if owner.under_way == 0 && owner.waiting.is_empty() {
            self.owners.remove(&id);
        }
    }

    fn left(&self) -> usize {
        self.owners.values().map(|owner| owner.waiting.len() + owner.under_way).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};

    use super::*;

    /// Longer than any machine takes.
    const LONG: Duration = Duration::from_secs(60);

    /// Something that says when it is being dropped, and then is for as long as the test wants.
    struct Slow(u32, Sender<u32>, Receiver<()>);

    impl Drop for Slow {
        fn drop(&mut self) {
            self.1.send(self.0).unwrap();
            assert_eq!(self.2.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
        }
    }

    fn a_line() -> &'static Line {
        let line: &'static Line = Box::leak(Box::default());
        for _ in 0..THREADS {
            thread::spawn(move || line.work());
        }
        line
    }

    /// FT-33.
    #[test]
    fn what_takes_one_owner_for_ever_keeps_no_other_waiting() {
        let line = a_line();
        let (begun, begins) = channel();
        let mut ends = Vec::new();
        let mut let_go = |owner| {
            let (end, ended) = channel();
            ends.push(end);
            line.push(owner, Box::new(Slow(owner, begun.clone(), ended)));
        };
        (0..20).for_each(|_| let_go(1));
        let_go(2);
        let mut seen: Vec<u32> = (0..3).map(|_| begins.recv_timeout(LONG).unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, [1, 1, 2]);
        let_go(3);
        assert_eq!(begins.recv_timeout(LONG), Ok(3), "and of the first owner no third");
        assert_eq!(line.drain(Duration::ZERO), 22);
        drop(ends);
        assert_eq!(line.drain(LONG), 0);
        assert_eq!(begins.try_iter().collect::<Vec<_>>(), [1; 18]);
        assert!(line.state().owners.is_empty());
    }

    /// FT-33. However much they have in the line.
    #[test]
    fn whoever_comes_last_is_next_when_one_of_those_is_closed_who_have_all_threads() {
        let line = a_line();
        let (begun, begins) = channel();
        let mut ends = VecDeque::new();
        for owner in (0..20).flat_map(|_| 1..=4) {
            let (end, ended) = channel();
            ends.push_back((owner, end));
            line.push(owner, Box::new(Slow(owner, begun.clone(), ended)));
        }
        let mut seen: Vec<u32> = (0..THREADS).map(|_| begins.recv_timeout(LONG).unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, [1, 1, 2, 2, 3, 3, 4, 4]);
        let (end, ended) = channel();
        line.push(5, Box::new(Slow(5, begun, ended)));
        drop(ends.pop_front()); // the first one's first
        assert_eq!(begins.recv_timeout(LONG), Ok(5));
        drop((end, ends));
        assert_eq!(line.drain(LONG), 0);
    }

    /// FT-33.
    #[test]
    fn whoever_has_too_much_in_the_line_has_nothing_more_opened_until_it_is_shorter() {
        let line = a_line();
        let (begun, begins) = channel();
        let (ends, ended): (Vec<_>, Vec<_>) = (0..OF_ONE).map(|_| channel()).unzip();
        for end in ended {
            line.push(1, Box::new(Slow(1, begun.clone(), end)));
        }
        (0..OF_ONE).for_each(|_| assert_eq!(begins.recv_timeout(LONG), Ok(1)));
        for _ in 0..MOST_OF_ONE {
            line.admit(1).unwrap();
            line.push(1, Box::new(()));
        }
        let refusal = line.admit(1).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::Busy);
        assert!(refusal.detail.contains("64") && refusal.hint.is_some(), "{refusal:?}");
        line.admit(2).unwrap();
        drop(ends);
        assert_eq!(line.drain(LONG), 0);
        line.admit(1).unwrap();
    }

    #[test]
    fn what_is_inside_of_what_is_closed_is_closed_with_it() {
        let line = a_line();
        let (begun, begins) = channel();
        let (end, ended) = channel();
        drop(end);
        let inner = Elsewhere::new(2, Slow(7, begun, ended));
        line.push(1, Box::new((0, inner)));
        assert_eq!(begins.recv_timeout(LONG), Ok(7));
        assert_eq!(line.drain(LONG), 0);
    }

    #[tokio::test]
    async fn whoever_waits_for_it_is_told_and_what_is_taken_out_stays() {
        let kept = std::sync::Arc::new(());
        let weak = std::sync::Arc::downgrade(&kept);
        Elsewhere::new(NOBODY, kept).gone().await;
        assert!(weak.upgrade().is_none());
        let kept = Elsewhere::new(NOBODY, std::sync::Arc::new(())).into_inner();
        assert_eq!(std::sync::Arc::strong_count(&kept), 1);
    }
}
