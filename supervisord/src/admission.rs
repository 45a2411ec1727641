//! Who runs when: bounds on what runs and on what waits, and a fair turn for every caller. Each uid
//! with something waiting gets a turn before any gets a second one, and a uid that is at a ceiling of
//! its own keeps nobody waiting but itself.

mod turns;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use supervisor_api::{ApiError, ErrorCode, ExecutionId};
use tokio::sync::oneshot;

use crate::admission::turns::{Turns, Waiting};

/// How many executions there may be, and what one uid may have at once.
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
    /// The sum of `memory_max` of what runs of one uid, in bytes; 0 is no ceiling.
    pub memory_per_uid: u64,
    /// The sum of `workspace_bytes` of what runs and what is kept of one uid; 0 is no ceiling.
    pub workspace_bytes_per_uid: u64,
    /// Workspaces that are kept of one uid; 0 is none.
    pub kept_per_uid: usize,
    /// Bytes of the submissions of what waits and runs, of all callers: the daemon has them in memory.
    pub submission_bytes: u64,
    /// The same, of one uid.
    pub submission_bytes_per_uid: u64,
}

/// What an execution takes of its owner's ceilings while it runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Need {
    /// Its `memory_max` in bytes.
    pub memory: u64,
    /// Its `workspace_bytes`; 0 if its workspace is one that is kept, which counts already.
    pub workspace: u64,
    /// What of its submission the daemon has in memory, in bytes, from its place in line to its end.
    pub submission: u64,
}

/// Decides whose turn it is.
pub struct Admission {
    state: Mutex<Turns>,
}

/// A place in line that is kept free for an execution, which has yet to be made ready and takes no turn meanwhile. It is
/// given back when it is dropped.
pub struct Coming {
    admission: Arc<Admission>,
    uid: u32,
    /// None when the execution has come.
    need: Option<Need>,
}

impl Coming {
    /// The execution is ready, and in line from now on.
    pub fn line_up(mut self, id: ExecutionId) -> InLine {
        let (admission, uid, need) = (self.admission.clone(), self.uid, self.need.take());
        let (turn, receiver) = oneshot::channel();
        if let Some(need) = need {
            let mut turns = admission.lock();
            turns.expect_no_more(uid, need);
            turns.line_up(uid, Waiting { id, need, turn });
        }
        admission.hand_out();
        InLine { admission, uid, turn: Some(receiver) }
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        if let Some(need) = self.need.take() {
            self.admission.lock().expect_no_more(self.uid, need);
        }
    }
}

/// A place in line; an execution that goes away leaves it by dropping this.
pub struct InLine {
    admission: Arc<Admission>,
    uid: u32,
    /// None when the turn has come.
    turn: Option<oneshot::Receiver<Turn>>,
}

impl InLine {
    /// Its turn, when that comes.
    pub async fn turn(mut self) -> Option<Turn> {
        let turn = self.turn.as_mut()?.await.ok();
        self.turn = None;
        turn
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        if let Some(turn) = &mut self.turn {
            turn.close(); // one that has come already is given back with the receiver
            self.admission.leave_line(self.uid);
        }
    }
}

/// A place among those that run. It is given back when it is dropped.
pub struct Turn {
    admission: Arc<Admission>,
    uid: u32,
    need: Need,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.admission.give_back(self.uid, self.need);
    }
}

/// What a parked sandbox takes of its owner's ceilings, until this is dropped. It has no turn.
pub struct ParkedPlace {
    admission: Arc<Admission>,
    uid: u32,
    need: Need,
}

impl Drop for ParkedPlace {
    fn drop(&mut self) {
        self.admission.leave(self.uid, self.need);
    }
}

/// One of those that may be paused, which keep their places among those that run; until this is dropped.
pub struct PausedPlace {
    admission: Arc<Admission>,
    uid: u32,
}

impl Drop for PausedPlace {
    fn drop(&mut self) {
        self.admission.lock().pause_no_more(self.uid);
    }
}

/// A workspace that counts among those its owner keeps, until this is dropped.
pub struct KeptPlace {
    admission: Arc<Admission>,
    uid: u32,
    bytes: u64,
}

impl fmt::Debug for KeptPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of uid {}", self.bytes, self.uid)
    }
}

impl Drop for KeptPlace {
    fn drop(&mut self) {
        self.admission.let_go(self.uid, self.bytes);
    }
}

impl Admission {
    /// Nothing runs yet.
    pub fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(Turns::new(bounds)) })
    }

    /// Puts other bounds in force. What runs or waits beyond them stays; nothing comes on top.
    pub fn bound(self: &Arc<Self>, bounds: Bounds) {
        self.lock().bounds = bounds;
        self.hand_out();
    }

    /// Keeps a place in line free for an execution of this uid.
    ///
    /// # Errors
    /// `policy_denied` if it can never have a turn, because it alone needs more than its owner may
    /// have; `busy` if too many wait.
    pub fn expect(self: &Arc<Self>, uid: u32, need: Need) -> Result<Coming, ApiError> {
        self.keep_free(uid, need, Turns::check_room)
    }

    /// Keeps a place free for an execution that waited already, however many wait now.
    ///
    /// # Errors
    /// `policy_denied` if it can never have a turn by the bounds as they are now.
    pub fn expect_again(self: &Arc<Self>, uid: u32, need: Need) -> Result<Coming, ApiError> {
        self.keep_free(uid, need, |_, _, _| Ok(()))
    }

    fn keep_free(
        self: &Arc<Self>,
        uid: u32,
        need: Need,
        check: fn(&Turns, u32, Need) -> Result<(), ApiError>,
    ) -> Result<Coming, ApiError> {
        let mut turns = self.lock();
        turns.bounds.check_alone(need)?;
        check(&turns, uid, need)?;
        turns.expect(uid, need);
        Ok(Coming { admission: self.clone(), uid, need: Some(need) })
    }

    /// Takes out of a uid's line what nobody waits for any more.
    fn leave_line(self: &Arc<Self>, uid: u32) {
        let left = self.lock().leave_line(uid);
        if left {
            self.hand_out(); // whoever comes next may need less
        }
    }

    /// How many turns there will be until an execution has had its own, if every one were of the same
    /// length and no ceiling in the way: 1 is the next. `None` if it doesn't wait.
    pub fn position(&self, uid: u32, id: ExecutionId) -> Option<u64> {
        let turns = self.lock();
        let line = turns.callers.get(&uid)?;
        let ahead = line.waiting.iter().position(|waiting| waiting.id == id)?;
        let place = turns.order.iter().position(|each| *each == uid)?;
        let others = turns.order.iter().enumerate().filter(|(_, other)| **other != uid);
        let before: usize = others
            .map(|(at, other)| {
                // One of theirs for each of ours, and one more if their turn comes first.
                let theirs = turns.callers.get(other).map_or(0, |line| line.waiting.len());
                theirs.min(ahead + usize::from(at < place))
            })
            .sum();
        Some((before + ahead + 1) as u64)
    }

    /// A place for an execution that runs already: a daemon that came back adopts it, whatever the
    /// bounds are now.
    pub fn already_running(self: &Arc<Self>, uid: u32, need: Need) -> Turn {
        let mut turns = self.lock();
        turns.running += 1;
        turns.callers.entry(uid).or_default().start(need);
        Turn { admission: self.clone(), uid, need }
    }

    /// Counts an execution of this uid that is to be paused.
    ///
    /// # Errors
    /// `busy` if half of what it, or all, may run at once is paused.
    pub fn pause(self: &Arc<Self>, uid: u32) -> Result<PausedPlace, ApiError> {
        let mut turns = self.lock();
        turns.check_paused(uid)?;
        turns.pause(uid);
        Ok(PausedPlace { admission: self.clone(), uid })
    }

    /// Counts one that is paused already, whatever the bounds are now.
    pub fn already_paused(self: &Arc<Self>, uid: u32) -> PausedPlace {
        self.lock().pause(uid);
        PausedPlace { admission: self.clone(), uid }
    }

    /// Counts a sandbox that is to be parked for this uid, if it fits beneath its ceilings.
    pub fn park(self: &Arc<Self>, uid: u32, need: Need) -> Option<ParkedPlace> {
        let mut turns = self.lock();
        let bounds = turns.bounds;
        let line = turns.callers.entry(uid).or_default();
        if !bounds.has_room(line, need) {
            turns.forget_if_idle(uid);
            return None;
        }
        line.take(need);
        Some(ParkedPlace { admission: self.clone(), uid, need })
    }

    /// Whether what is next of this uid waits for room beneath its own ceilings.
    pub fn lacks_room(&self, uid: u32) -> bool {
        let turns = self.lock();
        let line = turns.callers.get(&uid);
        let first = line.and_then(|line| Some((line, line.waiting.front()?)));
        first.is_some_and(|(line, first)| !turns.bounds.has_room(line, first.need))
    }

    fn leave(self: &Arc<Self>, uid: u32, need: Need) {
        {
            let mut turns = self.lock();
            if let Some(line) = turns.callers.get_mut(&uid) {
                line.give(need);
            }
            turns.forget_if_idle(uid);
        }
        self.hand_out();
    }

    /// Counts a workspace that is to be kept for this uid.
    ///
    /// # Errors
    /// `busy` if its owner keeps as many or as much as it may: nothing happens by waiting, so the hint
    /// says what does.
    pub fn keep(self: &Arc<Self>, uid: u32, bytes: u64) -> Result<KeptPlace, ApiError> {
        let need = Need { workspace: bytes, ..Need::default() };
        let mut turns = self.lock();
        let bounds = turns.bounds;
        bounds.check_alone(need)?;
        let line = turns.callers.entry(uid).or_default();
        let most = bounds.kept_per_uid;
        let refused = if line.kept >= most {
            Some(format!("uid {uid} keeps {most} workspaces, which is the most it may"))
        } else if !bounds.has_room(line, need) {
            let most = bounds.workspace_bytes_per_uid;
            Some(format!("the workspaces of uid {uid} would be above {most} bytes together"))
        } else {
            None
        };
        if let Some(problem) = refused {
            turns.forget_if_idle(uid);
            return Err(ApiError::new(ErrorCode::Busy, problem)
                .with_hint("close a session, or have the ceiling raised in [bounds]"));
        }
        line.keep(bytes);
        Ok(KeptPlace { admission: self.clone(), uid, bytes })
    }

    /// Counts a workspace that is kept already, whatever the bounds are now.
    pub fn already_kept(self: &Arc<Self>, uid: u32, bytes: u64) -> KeptPlace {
        self.lock().callers.entry(uid).or_default().keep(bytes);
        KeptPlace { admission: self.clone(), uid, bytes }
    }

    fn let_go(self: &Arc<Self>, uid: u32, bytes: u64) {
        {
            let mut turns = self.lock();
            if let Some(line) = turns.callers.get_mut(&uid) {
                line.kept = line.kept.saturating_sub(1);
                line.kept_bytes = line.kept_bytes.saturating_sub(bytes);
            }
            turns.forget_if_idle(uid);
        }
        self.hand_out();
    }

    /// How many have their turn, and how many wait.
    pub fn load(&self) -> (usize, usize) {
        let turns = self.lock();
        (turns.running, turns.waiting)
    }

    /// How many of this uid wait.
    pub fn waiting_of(&self, uid: u32) -> usize {
        self.lock().callers.get(&uid).map_or(0, |line| line.waiting.len())
    }

    fn give_back(self: &Arc<Self>, uid: u32, need: Need) {
        {
            let mut turns = self.lock();
            turns.running = turns.running.saturating_sub(1);
            if let Some(line) = turns.callers.get_mut(&uid) {
                line.running = line.running.saturating_sub(1);
                line.give(need);
                line.submissions = line.submissions.saturating_sub(need.submission);
            }
            turns.submissions = turns.submissions.saturating_sub(need.submission);
            turns.forget_if_idle(uid);
        }
        self.hand_out();
    }

    /// Hands out turns as long as there is room for one. One whose receiver goes away at this moment is given
    /// back by being dropped, which must happen after the lock is released.
    fn hand_out(self: &Arc<Self>) {
        loop {
            let next = self.lock().next(); // the guard is gone with this line
            let Some((uid, Waiting { need, turn, .. })) = next else { return };
            drop(turn.send(Turn { admission: self.clone(), uid, need }));
        }
    }

    /// A panic in a holder can't leave the numbers half-changed: nothing between two of them panics.
    fn lock(&self) -> MutexGuard<'_, Turns> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
