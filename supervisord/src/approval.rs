//! Asking a person: a rule's `ask` has a request wait until somebody says yes or no, or its deadline
//! says no.
//!
//! ```text
//!            ┌──approve──▶ approved ──made as often as it may──▶ spent
//! waiting ───┼──deny─────▶ denied ◀──deny── approved, as long as it is not spent
//!            └──deadline─▶ expired
//! ```
//!
//! An answer is bound to the exact request: the digest covers execution, rule, protocol, host, port,
//! method, path, WebSocket, the fields that say what it does, and the body by length and digest. The same request asked again gets the same
//! answer as long as it is good. Questions and answers are on disk before anybody acts on them and outlive the daemon; they end with their
//! execution. Whoever was waiting asks the policy again when the answer comes.

mod changes;
mod events;
mod kept;
mod question;
mod steps;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{self, Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use supervisor_api::{
    AnswerRequest, ApiError, Approval, ApprovalId, ApprovalList, ApprovalState, ErrorCode,
    ExecutionId,
};
use tokio::sync::{Mutex, broadcast};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

pub use changes::Changes;
pub use kept::KeptError;
pub use question::Question;

use crate::approval::kept::Kept;
use crate::audit::Audit;
use crate::clock;
use crate::supervisor::{Caller, Role};

/// Questions of one execution that wait, are answered and not spent, or had no answer within the last hour; what comes
/// on top is denied. A person reads them.
const MAX_QUESTIONS: usize = 64;

/// Questions of one user's executions, so that a few who ask in vain keep nobody else from asking.
const MAX_OF_USER: usize = 512;

/// Questions of all executions.
const MAX_ALL: usize = 4096;

/// The longest that a request waits: clients have given up long before.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// The most that one answer is good for.
const MAX_TIMES: u32 = 1000;

/// Changes that a slow follower may be behind; it then gets all questions anew.
const CHANGES: usize = 256;

/// All questions. Clones are the same ones.
#[derive(Clone)]
pub struct Approvals {
    inner: Arc<Inner>,
}

struct Inner {
    audit: Audit,
    operators: BTreeSet<u32>,
    /// Held while a change goes to disk, so that each is one step.
    kept: Arc<Mutex<Kept>>,
    /// The same questions for those who only look.
    shown: RwLock<HashMap<ApprovalId, Approval>>,
    /// The deadline of each that waits for an answer, and what waits for it; of no other. What counts is the time that
    /// has passed, wherever the host's clock is set meanwhile.
    deadlines: sync::Mutex<HashMap<ApprovalId, (Instant, AbortHandle)>>,
    changes: broadcast::Sender<Approval>,
}

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Somebody has approved this request, this time.
    Approved {
        /// The question.
        id: ApprovalId,
        /// Who.
        by: u32,
    },
    /// It may not be made.
    Refused {
        /// The question, if one was asked.
        id: Option<ApprovalId>,
        /// A stable word for why: `approval_denied`, `approval_expired`, `approval_spent`,
        /// `policy_changed`, `too_many_questions` or `approval_unkept`.
        reason: &'static str,
    },
}

impl Approvals {
    /// Opens the questions in a state directory. Blocks.
    ///
    /// # Errors
    /// When the database can't be opened or is not one of these.
    pub fn open(
        state: &Path,
        audit: Audit,
        operators: impl IntoIterator<Item = u32>,
    ) -> Result<Self, KeptError> {
        let (kept, questions) = Kept::open(state, MAX_QUESTIONS, MAX_ALL)?;
        let shown = questions.into_iter().map(|question| (question.id, question)).collect();
        let (changes, _) = broadcast::channel(CHANGES);
        let operators = operators.into_iter().collect();
        let (kept, shown) = (Arc::new(Mutex::new(kept)), RwLock::new(shown));
        let deadlines = sync::Mutex::default();
        Ok(Self { inner: Arc::new(Inner { audit, operators, kept, shown, deadlines, changes }) })
    }

    /// Asks, and waits for the answer or the deadline. `still_asks` is the policy of the moment at which
    /// the answer comes: whether it would ask this, by this rule, again.
    pub async fn ask(&self, question: &Question, still_asks: impl Fn() -> bool) -> Answer {
        // Before the look, so that no answer is missed after it.
        let mut changes = self.inner.changes.subscribe();
        let asked = match self.find_or_ask(question).await {
            Ok(asked) => asked,
            Err(reason) => return Answer::Refused { id: None, reason },
        };
        let id = asked.id;
        let refused = |reason| Answer::Refused { id: Some(id), reason };
        if asked.state == ApprovalState::Waiting {
            let answered = async {
                while self.state_of(id) == Some(ApprovalState::Waiting) {
                    if let Err(broadcast::error::RecvError::Closed) = changes.recv().await {
                        return;
                    }
                }
            };
            let left = self.left(&asked);
            if timeout(left, answered).await.is_err() {
                self.expire(id).await;
            }
        }
        if !still_asks() {
            return refused("policy_changed");
        }
        match self.take(id).await {
            Ok(by) => Answer::Approved { id, by },
            Err(reason) => refused(reason),
        }
    }

    /// Answers a question: administrators and operators only, and nobody one of its own.
    ///
    /// # Errors
    /// When the caller may not, or the question is answered or gone.
    pub async fn answer(
        &self,
        caller: &Caller,
        id: ApprovalId,
        answer: AnswerRequest,
    ) -> Result<Approval, ApiError> {
        if !(1..=MAX_TIMES).contains(&answer.times.unwrap_or(1))
            || (answer.times.is_some() && !answer.approve)
        {
            let problem =
                format!("an approval is good for 1 to {MAX_TIMES} times, a denial has none");
            return Err(ApiError::invalid("times", problem));
        }
        self.give(*caller, id, answer).await
    }

    /// The questions of executions that have not finished, as far as the caller may see them.
    pub fn list(&self, caller: &Caller) -> ApprovalList {
        let shown = self.inner.shown.read().unwrap_or_else(PoisonError::into_inner);
        let visible = shown.values().filter(|approval| self.may_see(caller, approval));
        let mut approvals: Vec<Approval> = visible.cloned().collect();
        approvals.sort_by(|one, other| (&one.asked_at, one.id).cmp(&(&other.asked_at, other.id)));
        ApprovalList { approvals }
    }

    /// One question.
    ///
    /// # Errors
    /// When there is none that the caller may see.
    pub fn show(&self, caller: &Caller, id: ApprovalId) -> Result<Approval, ApiError> {
        self.visible(caller, id)
    }

    /// Whether an answer by this caller to this question would be taken.
    pub fn answers(&self, caller: &Caller, id: ApprovalId) -> bool {
        self.visible(caller, id).is_ok_and(|approval| self.may_answer(caller, &approval))
    }

    /// Whether it is this user's own question.
    pub fn is_own(&self, uid: u32, id: ApprovalId) -> bool {
        self.get(id).is_some_and(|approval| approval.owner_uid == uid)
    }

    /// Every change from now on, after the questions there are.
    pub fn follow(&self, caller: &Caller) -> Changes {
        let changes = self.inner.changes.subscribe();
        let mut ahead = self.list(caller).approvals;
        ahead.reverse();
        Changes::new(self.clone(), *caller, ahead, changes)
    }

    /// What an execution waits for.
    pub fn waiting(&self, execution: ExecutionId) -> Vec<ApprovalId> {
        let shown = self.inner.shown.read().unwrap_or_else(PoisonError::into_inner);
        let waits =
            |it: &&Approval| it.execution == execution && it.state == ApprovalState::Waiting;
        shown.values().filter(waits).map(|approval| approval.id).collect()
    }

    /// Denies a question at its deadline, even when nobody waits for the answer any more.
    fn watch_deadline(&self, approval: &Approval) {
        let (approvals, id, left) = (self.clone(), approval.id, self.left(approval));
        let mut deadlines = self.deadlines(); // before it can be forgotten by what it waits for
        let watch = tokio::spawn(async move {
            sleep(left).await;
            approvals.expire(id).await;
        });
        deadlines.insert(id, (Instant::now() + left, watch.abort_handle()));
    }

    /// How long a question that waits still may. After a start nothing is known but what the host's clock says.
    fn left(&self, approval: &Approval) -> Duration {
        match self.deadlines().get(&approval.id) {
            Some((deadline, _)) => deadline.saturating_duration_since(Instant::now()),
            None => left_until(&approval.deadline).min(MAX_WAIT),
        }
    }

    /// What is answered, expired or gone has no deadline any more.
    fn forget_deadline(&self, id: ApprovalId) {
        if let Some((_, watch)) = self.deadlines().remove(&id) {
            watch.abort();
        }
    }

    fn deadlines(&self) -> sync::MutexGuard<'_, HashMap<ApprovalId, (Instant, AbortHandle)>> {
        self.inner.deadlines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, approval: &Approval) {
        if approval.state != ApprovalState::Waiting {
            // What expires is told by a step that what waited for that has begun: this doesn't cut it off.
            self.forget_deadline(approval.id);
        }
        let mut shown = self.inner.shown.write().unwrap_or_else(PoisonError::into_inner);
        shown.insert(approval.id, approval.clone());
        drop(self.inner.changes.send(approval.clone())); // nobody need be following
    }

    fn get(&self, id: ApprovalId) -> Option<Approval> {
        self.inner.shown.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    fn state_of(&self, id: ApprovalId) -> Option<ApprovalState> {
        self.get(id).map(|approval| approval.state)
    }

    fn visible(&self, caller: &Caller, id: ApprovalId) -> Result<Approval, ApiError> {
        self.get(id)
            .filter(|approval| self.may_see(caller, approval))
            .ok_or_else(|| ApiError::new(ErrorCode::NotFound, "there is no such approval"))
    }

    fn may_see(&self, caller: &Caller, approval: &Approval) -> bool {
        caller.role == Role::Admin
            || self.inner.operators.contains(&caller.uid)
            || caller.uid == approval.owner_uid
    }

    fn may_answer(&self, caller: &Caller, approval: &Approval) -> bool {
        let chosen = caller.role == Role::Admin || self.inner.operators.contains(&caller.uid);
        // Who may submit must not be enough to approve, whatever else it is.
        chosen && caller.uid != approval.owner_uid
    }
}

fn show(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// How long until a time that a question shows; nothing if it has passed or is none.
fn left_until(time: &str) -> Duration {
    let deadline = time.parse::<Timestamp>().unwrap_or(Timestamp::UNIX_EPOCH);
    Duration::try_from(deadline.duration_since(clock::timestamp())).unwrap_or_default()
}
