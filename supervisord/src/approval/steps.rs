//! What changes questions, each change one step: one at a time, and to its end once it has begun. Whoever
//! wanted it, a payload's request or a caller, may go away meanwhile; what is on disk is what is shown even so.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use jiff::SignedDuration;
use supervisor_api::{
    AnswerRequest, ApiError, Approval, ApprovalId, ApprovalState, ErrorCode, ExecutionId,
};
use supervisor_sys::random_bits;
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinError;

use super::events::{event, not_kept};
use super::kept::Kept;
use super::{Approvals, MAX_ALL, MAX_OF_USER, MAX_QUESTIONS, MAX_WAIT, Question, show};
use crate::clock;
use crate::supervisor::Caller;

/// How long a question counts that nobody answered in time.
pub(super) const UNANSWERED: Duration = Duration::from_secs(3600);

/// Held by whoever makes a step.
type Turn = OwnedMutexGuard<Kept>;

impl Approvals {
    /// Makes one step. Whoever goes away before its turn has come makes none; from then on it runs to its end.
    async fn step<F, T>(&self, work: impl FnOnce(Self, Turn) -> F) -> Result<T, JoinError>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let turn = self.inner.kept.clone().lock_owned().await;
        tokio::spawn(work(self.clone(), turn)).await
    }

    /// The question that was asked before in the same words, or a new one.
    pub(super) async fn find_or_ask(&self, question: &Question) -> Result<Approval, &'static str> {
        let question = question.clone();
        let asked =
            self.step(|this, kept| async move { this.write_question(kept, &question).await });
        asked.await.unwrap_or(Err("approval_unkept"))
    }

    async fn write_question(
        &self,
        mut kept: Turn,
        question: &Question,
    ) -> Result<Approval, &'static str> {
        let digest = question.digest().to_string();
        let in_the_way = {
            let shown = self.inner.shown.read().unwrap_or_else(PoisonError::into_inner);
            let own = |it: &&Approval| it.execution == question.execution;
            let known = shown.values().filter(own).find(|it| it.digest == digest && !is_over(it));
            if let Some(known) = known {
                return Ok(known.clone());
            }
            let of_user = |it: &&Approval| it.owner_uid == question.uid;
            let found =
                in_the_way(shown.values().filter(own), MAX_QUESTIONS).and_then(|mut gone| {
                    gone.extend(in_the_way(shown.values().filter(of_user), MAX_OF_USER)?);
                    gone.extend(in_the_way(shown.values(), MAX_ALL)?);
                    Some(gone)
                });
            found.ok_or("too_many_questions")?
        };
        self.drop_all(&mut kept, in_the_way).await;
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

    /// Gives an answer, which says by itself that it is good for so many `times`.
    pub(super) async fn give(
        &self,
        caller: Caller,
        id: ApprovalId,
        answer: AnswerRequest,
    ) -> Result<Approval, ApiError> {
        let given = self
            .step(|this, kept| async move { this.write_answer(kept, &caller, id, &answer).await });
        given.await.unwrap_or_else(|_| Err(not_given()))
    }

    async fn write_answer(
        &self,
        mut kept: Turn,
        caller: &Caller,
        id: ApprovalId,
        answer: &AnswerRequest,
    ) -> Result<Approval, ApiError> {
        let before = self.visible(caller, id)?;
        let mut approval = before.clone();
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
        let is_late = waits && self.left(&approval).is_zero();
        // An approval that is not spent can be taken back; no request is made by it from then on.
        let is_open = waits || (approval.state == ApprovalState::Approved && !answer.approve);
        if is_late || !is_open {
            return Err(ApiError::new(ErrorCode::Conflict, "the question is answered or expired")
                .with_hint("supervisorctl approvals show tells how it stands"));
        }
        let times = answer.approve.then(|| answer.times.unwrap_or(1));
        (approval.state, approval.left) = match times {
            Some(times) => (ApprovalState::Approved, times),
            None => (ApprovalState::Denied, 0),
        };
        approval.answered_by = Some(caller.uid);
        approval.answered_at = Some(show(clock::timestamp()));
        // In the log before it is good for anything. What does not hold after all is not left there unsaid.
        self.inner.audit.write(event(&approval, times)).await?;
        if let Err(error) = kept.put(&approval).await {
            tracing::error!(%error, "can't keep an answer");
            self.inner.audit.note(not_kept(&before, caller.uid));
            return Err(if error.is_full() { no_room() } else { not_given() });
        }
        self.tell(&approval);
        Ok(approval)
    }

    /// Takes one of the times that a request may be made; who allowed it.
    pub(super) async fn take(&self, id: ApprovalId) -> Result<u32, &'static str> {
        let taken = self.step(|this, kept| async move { this.write_taken(kept, id).await });
        taken.await.unwrap_or(Err("approval_unkept"))
    }

    async fn write_taken(&self, mut kept: Turn, id: ApprovalId) -> Result<u32, &'static str> {
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

    /// Denies what nobody has answered in time.
    pub(super) async fn expire(&self, id: ApprovalId) {
        let expired = self.step(|this, kept| async move { this.write_expired(kept, id).await });
        if let Err(error) = expired.await {
            tracing::error!(%error, "can't let a question expire; its deadline still holds");
        }
    }

    async fn write_expired(&self, mut kept: Turn, id: ApprovalId) {
        let waiting = |it: &Approval| it.state == ApprovalState::Waiting;
        let Some(mut approval) = self.get(id).filter(waiting) else { return };
        approval.state = ApprovalState::Expired;
        self.inner.audit.note(event(&approval, None));
        if let Err(error) = kept.put(&approval).await {
            tracing::error!(%error, "can't keep that a question expired; its deadline still holds");
        }
        self.tell(&approval);
    }

    /// An execution has ended, and with it all that it asked and was answered.
    pub async fn end(&self, execution: ExecutionId) {
        self.forget(move |approval| approval.execution == execution).await;
    }

    /// After a start: forgets what belongs to no execution of these, and sets the deadlines of the rest.
    pub async fn restore(&self, live: &BTreeSet<ExecutionId>) {
        let live = live.clone();
        self.forget(move |approval| !live.contains(&approval.execution)).await;
        let shown = self.inner.shown.read().unwrap_or_else(PoisonError::into_inner);
        for approval in shown.values().filter(|it| it.state == ApprovalState::Waiting) {
            self.watch_deadline(approval);
        }
    }

    async fn forget(&self, is_over: impl Fn(&Approval) -> bool + Send + 'static) {
        let forgotten = self.step(|this, kept| async move { this.remove(kept, is_over).await });
        if let Err(error) = forgotten.await {
            tracing::error!(%error, "can't forget questions");
        }
    }

    async fn remove(&self, mut kept: Turn, is_over: impl Fn(&Approval) -> bool) {
        // Looked for in turn: what was being asked meanwhile is among them.
        let over: Vec<ApprovalId> = {
            let shown = self.inner.shown.read().unwrap_or_else(PoisonError::into_inner);
            shown
                .values()
                .filter(|approval| is_over(approval))
                .map(|approval| approval.id)
                .collect()
        };
        self.drop_all(&mut kept, over).await;
    }

    async fn drop_all(&self, kept: &mut Kept, over: Vec<ApprovalId>) {
        if over.is_empty() {
            return;
        }
        if let Err(error) = kept.remove(&over).await {
            tracing::error!(%error, questions = over.len(), "can't forget questions");
        }
        let mut shown = self.inner.shown.write().unwrap_or_else(PoisonError::into_inner);
        for id in over {
            self.forget_deadline(id);
            shown.remove(&id);
        }
    }
}

/// Whether nothing is asked or answered by it any more.
const fn is_over(approval: &Approval) -> bool {
    matches!(approval.state, ApprovalState::Spent | ApprovalState::Expired)
}

/// Whether it can make room for another. What nobody answered in time counts for a while yet, or whoever asks in vain
/// could fill a person's screen for ever.
fn can_go(approval: &Approval) -> bool {
    let is_old = || clock::since(&approval.deadline).is_some_and(|ago| ago >= UNANSWERED);
    approval.state == ApprovalState::Spent || (approval.state == ApprovalState::Expired && is_old())
}

/// Which of these questions make room for one more where there may be so many: the oldest that can. `None` if there
/// are too few of them.
fn in_the_way<'a>(all: impl Iterator<Item = &'a Approval>, most: usize) -> Option<Vec<ApprovalId>> {
    let all: Vec<&Approval> = all.collect();
    let excess = (all.len() + 1).saturating_sub(most);
    if excess == 0 {
        return Some(Vec::new());
    }
    let mut can_go: Vec<&Approval> = all.into_iter().filter(|it| can_go(it)).collect();
    can_go.sort_by_key(|approval| &approval.asked_at);
    (excess <= can_go.len()).then(|| can_go.iter().take(excess).map(|it| it.id).collect())
}

fn not_given() -> ApiError {
    ApiError::new(ErrorCode::Internal, "the answer could not be kept; it is not given")
}

fn no_room() -> ApiError {
    ApiError::new(ErrorCode::StorageFull, "the state directory is full; the answer is not given")
        .with_hint("make room there, and answer again")
}
