//! Executions are paused and go on, one by one or all of a session.

use std::sync::Arc;

use supervisor_api::{
    ApiError, ErrorCode, Execution, ExecutionId, ExecutionList, SessionId, State,
};
use tokio::task::JoinSet;

use super::{Caller, Supervisor, internal};
use crate::driver::Wish;
use crate::live::Live;

impl Supervisor {
    /// Freezes what runs of an execution and stops its clock; with `reclaim`, gives its memory back as well.
    /// One that is paused stays so.
    pub async fn pause(
        &self,
        caller: &Caller,
        id: ExecutionId,
        reclaim: bool,
    ) -> Result<Execution, ApiError> {
        self.wish(caller, id, Wish::Pause { reclaim }, "pause").await
    }

    /// Lets an execution go on. One that runs is left alone.
    pub async fn resume(&self, caller: &Caller, id: ExecutionId) -> Result<Execution, ApiError> {
        self.wish(caller, id, Wish::Resume, "resume").await
    }

    /// Pauses all that runs in a session. What waits for its turn is not held back.
    pub async fn pause_session(
        &self,
        caller: &Caller,
        id: SessionId,
        reclaim: bool,
    ) -> Result<ExecutionList, ApiError> {
        let running = self.of_session(caller, id, State::Running, "pause_session")?;
        self.wish_all(running, Wish::Pause { reclaim }).await
    }

    /// Lets all that is paused in a session go on.
    pub async fn resume_session(
        &self,
        caller: &Caller,
        id: SessionId,
    ) -> Result<ExecutionList, ApiError> {
        let paused = self.of_session(caller, id, State::Paused, "resume_session")?;
        self.wish_all(paused, Wish::Resume).await
    }

    async fn wish(
        &self,
        caller: &Caller,
        id: ExecutionId,
        wish: Wish,
        act: &str,
    ) -> Result<Execution, ApiError> {
        let Some(live) = self.own_live(caller, id) else {
            let state = self.recorded(caller, id).await?.state;
            return Err(not_now(state));
        };
        let execution = live.snapshot();
        if !matches!(execution.state, State::Running | State::Paused) {
            return Err(not_now(execution.state));
        }
        refuse_while_copied(&live, wish)?;
        self.note_administration(caller, &execution, act)?;
        live.wishes.ask(wish).await?;
        Ok(self.snapshot(&live))
    }

    /// What a caller has in this state in a session.
    fn of_session(
        &self,
        caller: &Caller,
        id: SessionId,
        state: State,
        act: &str,
    ) -> Result<Vec<Arc<Live>>, ApiError> {
        let session = self.own_session(caller, id)?;
        self.note_stewardship(caller, &session.record(), act)?;
        let mut all = self.inner.live.all();
        all.retain(|live| {
            let execution = live.execution.borrow();
            execution.session == id && execution.state == state
        });
        Ok(all)
    }

    /// Those that end meanwhile are left out.
    async fn wish_all(&self, all: Vec<Arc<Live>>, wish: Wish) -> Result<ExecutionList, ApiError> {
        let mut asking = JoinSet::new();
        for live in all {
            asking.spawn(async move {
                let done = match refuse_while_copied(&live, wish) {
                    Ok(()) => live.wishes.ask(wish).await,
                    refused => refused,
                };
                (live, done)
            });
        }
        let (mut executions, mut refused) = (Vec::new(), None);
        while let Some(asked) = asking.join_next().await {
            let (live, done) = asked.map_err(internal)?;
            let execution = self.snapshot(&live);
            let has_ended = matches!(execution.state, State::Collecting | State::Finished);
            match done {
                Ok(()) => executions.push(execution),
                Err(_) if has_ended => {}
                Err(error) => refused = Some(error),
            }
        }
        executions.sort_by(|one, other| other.created_at.cmp(&one.created_at));
        refused.map_or(Ok(ExecutionList { executions, next: None }), Err)
    }
}

fn not_now(state: State) -> ApiError {
    let problem = match state {
        State::Queued | State::Launching => "the execution does not run yet",
        _ => "the execution does not run any more",
    };
    ApiError::new(ErrorCode::Conflict, problem)
}

/// What would change a workspace that is being copied goes on after that.
fn refuse_while_copied(live: &Live, wish: Wish) -> Result<(), ApiError> {
    let session = live.session.as_ref().map(|held| held.session());
    if matches!(wish, Wish::Pause { .. }) || !session.is_some_and(|held| held.is_being_copied()) {
        return Ok(());
    }
    let problem = "the session's workspace is being copied";
    Err(ApiError::new(ErrorCode::Conflict, problem).with_hint("try again when it is done"))
}
