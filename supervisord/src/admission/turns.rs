//! Who runs, who waits, and who is next.

use std::collections::{HashMap, VecDeque};

use supervisor_api::{ApiError, ErrorCode, ExecutionId};
use tokio::sync::oneshot;

use crate::admission::{Bounds, Need, Turn};

/// Everybody's.
pub(super) struct Turns {
    pub(super) bounds: Bounds,
    pub(super) running: usize,
    /// Of those that run.
    pub(super) paused: usize,
    pub(super) waiting: usize,
    /// Places in line that are kept free for what is to come.
    pub(super) coming: usize,
    /// Bytes of all submissions.
    pub(super) submissions: u64,
    pub(super) callers: HashMap<u32, Line>,
    /// Uids with something waiting, the next one first.
    pub(super) order: VecDeque<u32>,
}

/// One uid's.
#[derive(Default)]
pub(super) struct Line {
    pub(super) running: usize,
    /// Of those that run.
    pub(super) paused: usize,
    /// What those that run or are parked take.
    pub(super) taken: Need,
    /// Workspaces that are kept, and their bytes.
    pub(super) kept: usize,
    pub(super) kept_bytes: u64,
    /// Places in its line that are kept free.
    pub(super) coming: usize,
    /// Bytes of the submissions of what waits and runs, and of what is to come.
    pub(super) submissions: u64,
    pub(super) waiting: VecDeque<Waiting>,
}

/// An execution in line.
pub(super) struct Waiting {
    pub(super) id: ExecutionId,
    pub(super) need: Need,
    pub(super) turn: oneshot::Sender<Turn>,
}

impl Bounds {
    /// How many of those that run may be paused, of all callers and of one uid: half of them, so that what is paused never
    /// keeps all others from running; one at the least, where there is one place for all.
    pub(super) fn paused(&self) -> (usize, usize) {
        ((self.running / 2).max(1), (self.running_per_uid / 2).max(1))
    }

    /// Whether one more fits beneath its owner's ceilings.
    pub(super) fn has_room(&self, line: &Line, need: Need) -> bool {
        let memory = line.taken.memory.saturating_add(need.memory);
        let workspace = line.taken.workspace.saturating_add(line.kept_bytes);
        let workspace = workspace.saturating_add(need.workspace);
        within(memory, self.memory_per_uid) && within(workspace, self.workspace_bytes_per_uid)
    }

    /// Refuses what has no room even where nothing else is.
    pub(super) fn check_alone(&self, need: Need) -> Result<(), ApiError> {
        for (field, asked, most) in [
            ("limits.memory_max", need.memory, self.memory_per_uid),
            ("limits.workspace_bytes", need.workspace, self.workspace_bytes_per_uid),
            ("files", need.submission, self.submission_bytes_per_uid),
        ] {
            if !within(asked, most) {
                let problem = format!("{asked} is above the {most} that all of one uid may have");
                return Err(ApiError::new(ErrorCode::PolicyDenied, problem)
                    .with_field(field)
                    .with_hint(format!("ask for {most} at the most, or have [bounds] raised")));
            }
        }
        Ok(())
    }
}

/// Whether a sum is not above a ceiling, of which 0 is none.
fn within(sum: u64, ceiling: u64) -> bool {
    ceiling == 0 || sum <= ceiling
}

impl Line {
    pub(super) fn start(&mut self, need: Need) {
        self.running += 1;
        self.take(need);
    }

    pub(super) fn take(&mut self, need: Need) {
        self.taken.memory = self.taken.memory.saturating_add(need.memory);
        self.taken.workspace = self.taken.workspace.saturating_add(need.workspace);
    }

    pub(super) fn give(&mut self, need: Need) {
        self.taken.memory = self.taken.memory.saturating_sub(need.memory);
        self.taken.workspace = self.taken.workspace.saturating_sub(need.workspace);
    }

    pub(super) fn keep(&mut self, bytes: u64) {
        self.kept += 1;
        self.kept_bytes = self.kept_bytes.saturating_add(bytes);
    }
}

impl Turns {
    /// Nobody is there yet.
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            running: 0,
            paused: 0,
            waiting: 0,
            coming: 0,
            submissions: 0,
            callers: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Refuses what would be one too many.
    pub(super) fn check_room(&self, uid: u32, need: Need) -> Result<(), ApiError> {
        let bounds = self.bounds;
        let line = self.callers.get(&uid);
        let own = line.map_or(0, |line| line.waiting.len() + line.coming);
        if own >= bounds.waiting_per_uid || self.waiting + self.coming >= bounds.waiting {
            let problem = format!("{own} executions of uid {uid} are waiting already");
            return Err(ApiError::new(ErrorCode::Busy, problem)
                .with_hint("wait for some of them to finish"));
        }
        let own = line.map_or(0, |line| line.submissions);
        let has_room = within(own.saturating_add(need.submission), bounds.submission_bytes_per_uid)
            && within(self.submissions.saturating_add(need.submission), bounds.submission_bytes);
        if !has_room {
            let problem = format!(
                "what waits and runs of uid {uid} was submitted with {own} bytes already, and there is no \
                 room for {} more",
                need.submission
            );
            return Err(ApiError::new(ErrorCode::Busy, problem)
                .with_hint("wait for some of them to finish, or hand files in with a session"));
        }
        Ok(())
    }

    /// Refuses what would be one too many that is paused.
    pub(super) fn check_paused(&self, uid: u32) -> Result<(), ApiError> {
        let (most, most_of_one) = self.bounds.paused();
        let own = self.callers.get(&uid).map_or(0, |line| line.paused);
        let problem = if own >= most_of_one {
            format!(
                "{own} executions of uid {uid} are paused, half of those that it may run at once"
            )
        } else if self.paused >= most {
            format!("{} executions are paused, half of those that may run at once", self.paused)
        } else {
            return Ok(());
        };
        Err(ApiError::new(ErrorCode::Busy, problem).with_hint(
            "let one of them go on, or cancel it; an administrator raises `running_per_uid` or `running`",
        ))
    }

    pub(super) fn pause(&mut self, uid: u32) {
        self.paused += 1;
        self.callers.entry(uid).or_default().paused += 1;
    }

    pub(super) fn pause_no_more(&mut self, uid: u32) {
        self.paused = self.paused.saturating_sub(1);
        if let Some(line) = self.callers.get_mut(&uid) {
            line.paused = line.paused.saturating_sub(1);
        }
        self.forget_if_idle(uid);
    }

    /// Whether there was anything that nobody waits for any more.
    pub(super) fn leave_line(&mut self, uid: u32) -> bool {
        let Some(line) = self.callers.get_mut(&uid) else { return false };
        let (mut left, mut bytes) = (0, 0_u64);
        line.waiting.retain(|waiting| {
            let waits = !waiting.turn.is_closed();
            if !waits {
                left += 1;
                bytes = bytes.saturating_add(waiting.need.submission);
            }
            waits
        });
        if left == 0 {
            return false;
        }
        line.submissions = line.submissions.saturating_sub(bytes);
        if line.waiting.is_empty() {
            self.order.retain(|other| *other != uid);
        }
        self.submissions = self.submissions.saturating_sub(bytes);
        self.waiting = self.waiting.saturating_sub(left);
        self.forget_if_idle(uid);
        true
    }

    /// Keeps a place in a uid's line free.
    pub(super) fn expect(&mut self, uid: u32, need: Need) {
        let line = self.callers.entry(uid).or_default();
        line.coming += 1;
        line.submissions = line.submissions.saturating_add(need.submission);
        self.coming += 1;
        self.submissions = self.submissions.saturating_add(need.submission);
    }

    /// Gives such a place back, or to what has come.
    pub(super) fn expect_no_more(&mut self, uid: u32, need: Need) {
        if let Some(line) = self.callers.get_mut(&uid) {
            line.coming = line.coming.saturating_sub(1);
            line.submissions = line.submissions.saturating_sub(need.submission);
        }
        self.coming = self.coming.saturating_sub(1);
        self.submissions = self.submissions.saturating_sub(need.submission);
        self.forget_if_idle(uid);
    }

    pub(super) fn line_up(&mut self, uid: u32, waiting: Waiting) {
        self.submissions = self.submissions.saturating_add(waiting.need.submission);
        let line = self.callers.entry(uid).or_default();
        if line.waiting.is_empty() {
            self.order.push_back(uid);
        }
        line.submissions = line.submissions.saturating_add(waiting.need.submission);
        line.waiting.push_back(waiting);
        self.waiting += 1;
    }

    pub(super) fn next(&mut self) -> Option<(u32, Waiting)> {
        let bounds = self.bounds;
        if self.running >= bounds.running {
            return None;
        }
        for _ in 0..self.order.len() {
            let uid = self.order.pop_front()?;
            let Some(line) = self.callers.get_mut(&uid) else { continue };
            let Some(first) = line.waiting.front() else { continue };
            // In its own line nobody overtakes: what needs much would never have its turn.
            if line.running >= bounds.running_per_uid || !bounds.has_room(line, first.need) {
                self.order.push_back(uid);
                continue;
            }
            let Some(waiting) = line.waiting.pop_front() else { continue };
            line.start(waiting.need);
            self.running += 1;
            self.waiting -= 1;
            if !line.waiting.is_empty() {
                self.order.push_back(uid);
            }
            return Some((uid, waiting));
        }
        None
    }

    pub(super) fn forget_if_idle(&mut self, uid: u32) {
        let nothing = Need::default();
        let idle = |line: &Line| {
            let has_none =
                line.running == 0 && line.paused == 0 && line.kept == 0 && line.coming == 0;
            has_none && line.waiting.is_empty() && line.taken == nothing
        };
        if self.callers.get(&uid).is_some_and(idle) {
            self.callers.remove(&uid);
        }
    }
}
