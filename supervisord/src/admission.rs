//! Who runs when: bounds on what runs and on what waits, and a fair turn for every caller. Each uid
//! with something waiting gets a turn before any gets a second one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use supervisor_api::{ApiError, ErrorCode};
use tokio::sync::oneshot;

/// How many executions there may be.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// At once, of all callers.
    pub running: usize,
    /// At once, of one uid.
    pub running_per_uid: usize,
    /// Waiting, of one uid; what comes on top is refused as busy.
    pub waiting_per_uid: usize,
    /// Waiting, of all callers.
    pub waiting: usize,
}

/// Decides whose turn it is.
pub struct Admission {
    state: Mutex<Turns>,
}

struct Turns {
    bounds: Bounds,
    running: usize,
    waiting: usize,
    callers: HashMap<u32, Line>,
    /// Uids with something waiting, the next one first.
    order: VecDeque<u32>,
}

#[derive(Default)]
struct Line {
    running: usize,
    waiting: VecDeque<oneshot::Sender<Turn>>,
}

/// A place among those that run. It is given back when it is dropped.
pub struct Turn {
    admission: Arc<Admission>,
    uid: u32,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.admission.give_back(self.uid);
    }
}

impl Admission {
    /// Nothing runs yet.
    pub fn new(bounds: Bounds) -> Arc<Self> {
        let turns = Turns {
            bounds,
            running: 0,
            waiting: 0,
            callers: HashMap::new(),
            order: VecDeque::new(),
        };
        Arc::new(Self { state: Mutex::new(turns) })
    }

    /// Puts other bounds in force. What runs or waits beyond them stays; nothing comes on top.
    pub fn bound(self: &Arc<Self>, bounds: Bounds) {
        self.lock().bounds = bounds;
        self.hand_out();
    }

    /// Puts an execution of this uid in line. The receiver gets its turn.
    pub fn line_up(self: &Arc<Self>, uid: u32) -> Result<oneshot::Receiver<Turn>, ApiError> {
        let (turn, receiver) = oneshot::channel();
        {
            let mut turns = self.lock();
            let (bounds, waiting) = (turns.bounds, turns.waiting);
            let line = turns.callers.entry(uid).or_default();
            let own = line.waiting.len();
            if own >= bounds.waiting_per_uid || waiting >= bounds.waiting {
                let problem = format!("{own} executions of uid {uid} are waiting already");
                return Err(ApiError::new(ErrorCode::Busy, problem)
                    .with_hint("wait for some of them to finish"));
            }
            line.waiting.push_back(turn);
            turns.waiting += 1;
            if own == 0 {
                turns.order.push_back(uid);
            }
        }
        self.hand_out();
        Ok(receiver)
    }

    /// A place for an execution that runs already: a daemon that came back adopts it, whatever the
    /// bounds are now.
    pub fn already_running(self: &Arc<Self>, uid: u32) -> Turn {
        let mut turns = self.lock();
        turns.running += 1;
        turns.callers.entry(uid).or_default().running += 1;
        Turn { admission: self.clone(), uid }
    }

    fn give_back(self: &Arc<Self>, uid: u32) {
        {
            let mut turns = self.lock();
            turns.running = turns.running.saturating_sub(1);
            if let Some(line) = turns.callers.get_mut(&uid) {
                line.running = line.running.saturating_sub(1);
                if line.running == 0 && line.waiting.is_empty() {
                    turns.callers.remove(&uid);
                }
            }
        }
        self.hand_out();
    }

    /// Hands out turns as long as there is room for one. A receiver that has gone away gives its
    /// turn back by dropping it, which must happen after the lock is released.
    fn hand_out(self: &Arc<Self>) {
        loop {
            let next = self.lock().next(); // the guard is gone with this line
            let Some((uid, waiting)) = next else { return };
            drop(waiting.send(Turn { admission: self.clone(), uid }));
        }
    }

    /// A panic in a holder can't leave the numbers half-changed: nothing between two of them panics.
    fn lock(&self) -> MutexGuard<'_, Turns> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turns {
    fn next(&mut self) -> Option<(u32, oneshot::Sender<Turn>)> {
        let bounds = self.bounds;
        if self.running >= bounds.running {
            return None;
        }
        for _ in 0..self.order.len() {
            let uid = self.order.pop_front()?;
            let Some(line) = self.callers.get_mut(&uid) else { continue };
            if line.running >= bounds.running_per_uid {
                self.order.push_back(uid);
                continue;
            }
            let Some(waiting) = line.waiting.pop_front() else { continue };
            line.running += 1;
            self.running += 1;
            self.waiting -= 1;
            if !line.waiting.is_empty() {
                self.order.push_back(uid);
            }
            return Some((uid, waiting));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds =
        Bounds { running: 3, running_per_uid: 2, waiting_per_uid: 4, waiting: 6 };

    fn turn(receiver: &mut oneshot::Receiver<Turn>) -> Option<Turn> {
        receiver.try_recv().ok()
    }

    #[test]
    fn a_caller_cannot_take_more_places_than_its_own() {
        let admission = Admission::new(BOUNDS);
        let mut lines: Vec<_> = (0..3).map(|_| admission.line_up(1).unwrap()).collect();
        let turns: Vec<_> = lines.iter_mut().map(turn).collect();
        assert_eq!(turns.iter().flatten().count(), 2);
        assert!(turn(&mut admission.line_up(2).unwrap()).is_some());
        drop(turns);
        assert!(turn(&mut lines[2]).is_some());
    }

    #[test]
    fn callers_take_turns_however_long_their_lines_are() {
        let admission = Admission::new(Bounds { running: 1, ..BOUNDS });
        let first = turn(&mut admission.line_up(1).unwrap());
        let mut ones: Vec<_> = (0..3).map(|_| admission.line_up(1).unwrap()).collect();
        let mut two = admission.line_up(2).unwrap();
        drop(first);
        let one = turn(&mut ones[0]);
        assert!(one.is_some() && turn(&mut two).is_none());
        drop(one);
        assert!(turn(&mut two).is_some());
    }

    #[test]
    fn a_line_that_is_full_refuses_with_busy() {
        let admission = Admission::new(BOUNDS);
        let _lines: Vec<_> = (0..6).map(|_| admission.line_up(1).unwrap()).collect();
        assert_eq!(admission.line_up(1).err().map(|error| error.code), Some(ErrorCode::Busy));
    }

    #[test]
    fn wider_bounds_let_those_in_who_wait() {
        let admission = Admission::new(Bounds { running: 1, ..BOUNDS });
        let _first = turn(&mut admission.line_up(1).unwrap());
        let mut second = admission.line_up(1).unwrap();
        assert!(turn(&mut second).is_none());
        admission.bound(BOUNDS);
        assert!(turn(&mut second).is_some());
    }

    #[test]
    fn a_caller_that_went_away_does_not_keep_its_place() {
        let admission = Admission::new(Bounds { running: 1, ..BOUNDS });
        let first = turn(&mut admission.line_up(1).unwrap());
        drop(admission.line_up(1).unwrap());
        let mut third = admission.line_up(1).unwrap();
        drop(first);
        assert!(turn(&mut third).is_some());
        assert_eq!(admission.lock().running, 0);
    }
}
