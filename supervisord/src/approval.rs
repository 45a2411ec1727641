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
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{self, Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use supervisor_api::{
    AnswerRequest, ApiError, Approval, ApprovalId, ApprovalList, ApprovalState, ErrorCode,
    ExecutionId,
};
use supervisor_sys::random_bits;
use tokio::sync::{Mutex, broadcast};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

pub use changes::Changes;
pub use kept::KeptError;
pub use question::Question;

use crate::approval::events::event;
use crate::approval::kept::Kept;
use crate::audit::Audit;
use crate::clock;
use crate::supervisor::{Caller, Role};

/// Questions of one execution; what comes on top is denied. A person reads them.
const MAX_QUESTIONS: usize = 64;

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
    kept: Mutex<Kept>,
    /// The same questions for those who only look.
    shown: RwLock<HashMap<ApprovalId, Approval>>,
    /// What waits for the deadline of each that waits for an answer, and for no other.
    deadlines: sync::Mutex<HashMap<ApprovalId, AbortHandle>>,
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
        let (kept, questions) = Kept::open(state)?;
        let shown = questions.into_iter().map(|question| (question.id, question)).collect();
        let (changes, _) = broadcast::channel(CHANGES);
        let operators = operators.into_iter().collect();
        let (kept, shown) = (Mutex::new(kept), RwLock::new(shown));
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
            let left = left_until(&asked.deadline);
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
        let times = answer.times.unwrap_or(1);
        if !(1..=MAX_TIMES).contains(&times) || (answer.times.is_some() && !answer.approve) {
            let problem =
                format!("an approval is good for 1 to {MAX_TIMES} times, a denial has none");
            return Err(ApiError::invalid("times", problem));
        }
        let mut kept = self.inner.kept.lock().await;
        let mut approval = self.visible(caller, id)?;
        if caller.uid == approval.owner_uid {
            let problem = "nobody answers its own question";
            return Err(ApiError::new(ErrorCode::PermissionDenied, problem)
                .with_hint("have another operator or administrator answer"));
        }
        if !self.may_answer(caller, &approval) {
            let problem = "only administrators and operators answer";
            return Err(ApiError::new(ErrorCode::PermissionDenied, problem));
        }
        let waits = approval.state == ApprovalState::Waiting;
        let is_late = waits && left_until(&approval.deadline).is_zero();
        // An approval that is not spent can be taken back; no request is made by it from then on.
        let is_open = waits || (approval.state == ApprovalState::Approved && !answer.approve);
        if is_late || !is_open {
            return Err(ApiError::new(ErrorCode::Conflict, "the question is answered or expired")
                .with_hint("supervisorctl approvals show tells how it stands"));
        }
        (approval.state, approval.left) = match answer.approve {
            true => (ApprovalState::Approved, times),
            false => (ApprovalState::Denied, 0),
        };
        approval.answered_by = Some(caller.uid);
        approval.answered_at = Some(show(clock::timestamp()));
        self.inner.audit.write(event(&approval, answer.approve.then_some(times))).await?;
        kept.put(&approval).await.map_err(|error| {
            tracing::error!(%error, "can't keep an answer");
            ApiError::new(ErrorCode::Internal, "the answer could not be kept; it is not given")
        })?;
        self.tell(&approval);
        Ok(approval)
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

    /// An execution has ended, and with it all that it asked and was answered.
    pub async fn end(&self, execution: ExecutionId) {
        self.retain(|approval| approval.execution != execution).await;
    }

    /// After a start: forgets what belongs to no execution of these, and sets the deadlines of the rest.
    pub async fn restore(&self, live: &BTreeSet<ExecutionId>) {
        self.retain(|approval| live.contains(&approval.execution)).await;
        let shown = self.inner.shown.read().unwrap_or_else(PoisonError::into_inner);
        for approval in shown.values().filter(|it| it.state == ApprovalState::Waiting) {
            self.watch_deadline(approval);
        }
    }

    async fn retain(&self, keep: impl Fn(&Approval) -> bool) {
        let ended: Vec<ApprovalId> = {
            let shown = self.inner.shown.read().unwrap_or_else(PoisonError::into_inner);
            shown.values().filter(|approval| !keep(approval)).map(|approval| approval.id).collect()
        };
        if ended.is_empty() {
            return;
        }
        let mut kept = self.inner.kept.lock().await;
        if let Err(error) = kept.remove(&ended).await {
            tracing::error!(%error, questions = ended.len(), "can't forget questions");
        }
        let mut shown = self.inner.shown.write().unwrap_or_else(PoisonError::into_inner);
        for id in ended {
            self.forget_deadline(id);
            shown.remove(&id);
        }
    }

    /// The question that was asked before in the same words, or a new one.
    async fn find_or_ask(&self, question: &Question) -> Result<Approval, &'static str> {
        let digest = question.digest().to_string();
        let mut kept = self.inner.kept.lock().await;
        {
            let shown = self.inner.shown.read().unwrap_or_else(PoisonError::into_inner);
            let mut own = 0;
            for approval in shown.values().filter(|it| it.execution == question.execution) {
                let over = matches!(approval.state, ApprovalState::Spent | ApprovalState::Expired);
                if approval.digest == digest && !over {
                    return Ok(approval.clone());
                }
                own += 1;
            }
            if own >= MAX_QUESTIONS || shown.len() >= MAX_ALL {
                return Err("too_many_questions");
            }
        }
        let now = clock::timestamp();
        let patience =
            SignedDuration::try_from(question.deadline.min(MAX_WAIT)).unwrap_or_default();
        let approval = Approval {
            id: ApprovalId::from_bits(random_bits().map_err(|_| "approval_unkept")?),
            state: ApprovalState::Waiting,
            execution: question.execution,
            session: question.session,
            owner_uid: question.uid,
            policy: question.policy.clone(),
            rule: question.rule.clone(),
            request: question.request.clone(),
            digest,
            asked_at: show(now),
            deadline: show(now.saturating_add(patience).unwrap_or(now)),
            answered_by: None,
            answered_at: None,
            left: 0,
        };
        let recorded = self.inner.audit.write(event(&approval, None)).await;
        recorded.map_err(|_| "approval_unkept")?;
        kept.put(&approval).await.map_err(|error| {
            tracing::error!(%error, "can't keep a question");
            "approval_unkept"
        })?;
        self.tell(&approval);
        self.watch_deadline(&approval);
        Ok(approval)
    }

    /// Takes one of the times that a request may be made; who allowed it.
    async fn take(&self, id: ApprovalId) -> Result<u32, &'static str> {
        let mut kept = self.inner.kept.lock().await;
        let Some(mut approval) = self.get(id) else { return Err("approval_expired") };
        match approval.state {
            ApprovalState::Approved => {}
            ApprovalState::Denied => return Err("approval_denied"),
            ApprovalState::Spent => return Err("approval_spent"),
            ApprovalState::Waiting | ApprovalState::Expired => return Err("approval_expired"),
        }
        approval.left = approval.left.saturating_sub(1);
        if approval.left == 0 {
            approval.state = ApprovalState::Spent;
        }
        // On disk before the request is made: a killed daemon must not give one time twice.
        kept.put(&approval).await.map_err(|error| {
            tracing::error!(%error, "can't keep an answer");
            "approval_unkept"
        })?;
        self.tell(&approval);
        Ok(approval.answered_by.unwrap_or_default())
    }

    async fn expire(&self, id: ApprovalId) {
        let mut kept = self.inner.kept.lock().await;
        let waiting = |it: &Approval| it.state == ApprovalState::Waiting;
        let Some(mut approval) = self.get(id).filter(waiting) else { return };
        approval.state = ApprovalState::Expired;
        self.inner.audit.note(event(&approval, None));
        if let Err(error) = kept.put(&approval).await {
            tracing::error!(%error, "can't keep that a question expired; its deadline still holds");
        }
        self.tell(&approval);
    }

    /// Denies a question at its deadline, even when nobody waits for the answer any more.
    fn watch_deadline(&self, approval: &Approval) {
        let (approvals, id, left) = (self.clone(), approval.id, left_until(&approval.deadline));
        let mut deadlines = self.deadlines(); // before it can be forgotten by what it waits for
        let watch = tokio::spawn(async move {
            sleep(left).await;
            approvals.expire(id).await;
        });
        deadlines.insert(id, watch.abort_handle());
    }

    /// What is answered, expired or gone has no deadline any more.
    fn forget_deadline(&self, id: ApprovalId) {
        if let Some(watch) = self.deadlines().remove(&id) {
            watch.abort();
        }
    }

    fn deadlines(&self) -> sync::MutexGuard<'_, HashMap<ApprovalId, AbortHandle>> {
        self.inner.deadlines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, approval: &Approval) {
        if approval.state != ApprovalState::Waiting {
            // What expires is told by what waited for that: it does nothing more that could be cut off.
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
