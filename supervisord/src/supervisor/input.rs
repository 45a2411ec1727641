//! What goes to a payload while it runs.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use supervisor_api::{
    ApiError, ErrorCode, Execution, ExecutionId, InputState, State, TerminalSize,
};
use supervisor_sys::resize_terminal;
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Caller, Supervisor, internal};
use crate::input::{Input, PATIENCE};
use crate::live::Live;
use crate::plan::streams::check_size;

impl Supervisor {
    /// How far an execution's standard input has come.
    pub async fn input(&self, caller: &Caller, id: ExecutionId) -> Result<InputState, ApiError> {
        self.open_input(caller, id).await?.state().map_err(internal)
    }

    /// Sends bytes to a payload's standard input, of which the first stands at `offset`.
    pub async fn send_input(
        &self,
        caller: &Caller,
        id: ExecutionId,
        offset: Option<u64>,
        bytes: Vec<u8>,
    ) -> Result<InputState, ApiError> {
        self.open_input(caller, id).await?.send(offset, &bytes).await
    }

    /// Ends a payload's standard input after all that was sent.
    pub async fn close_input(
        &self,
        caller: &Caller,
        id: ExecutionId,
        offset: Option<u64>,
    ) -> Result<InputState, ApiError> {
        let input = self.open_input(caller, id).await?;
        if self.own_live(caller, id).is_some_and(|live| live.execution.borrow().terminal) {
            let problem = "what is typed into a terminal has no end of its own";
            return Err(ApiError::new(ErrorCode::Conflict, problem)
                .with_hint("send byte 4 (Ctrl-D), which most programs take for one"));
        }
        input.close(offset).await
    }

    /// Sets the size of a payload's terminal.
    pub async fn resize_terminal(
        &self,
        caller: &Caller,
        id: ExecutionId,
        size: TerminalSize,
    ) -> Result<TerminalSize, ApiError> {
        let live = self.sent_to(caller, id).await?;
        if !live.execution.borrow().terminal {
            let problem = "its standard streams are no terminal";
            return Err(
                ApiError::new(ErrorCode::Conflict, problem).with_hint("submit with `terminal`")
            );
        }
        check_size(size, "")?;
        let terminal: Arc<OwnedFd> = begun(&live, &live.terminal).await?;
        resize_terminal(terminal.as_fd(), size.rows, size.columns).map_err(internal)?;
        Ok(size)
    }

    /// The standard input of an execution that takes more of it.
    async fn open_input(&self, caller: &Caller, id: ExecutionId) -> Result<Arc<Input>, ApiError> {
        let live = self.sent_to(caller, id).await?;
        if !live.execution.borrow().stdin_open {
            let problem = "its standard input came with the submission and takes no more";
            return Err(
                ApiError::new(ErrorCode::Conflict, problem).with_hint("submit with `stdin_open`")
            );
        }
        begun(&live, &live.input).await
    }

    /// An execution that has not finished and that this caller may send something; an administrator's
    /// first is recorded.
    async fn sent_to(&self, caller: &Caller, id: ExecutionId) -> Result<Arc<Live>, ApiError> {
        let Some(live) = self.own_live(caller, id) else {
            self.recorded(caller, id).await?;
            return Err(over());
        };
        let execution: Execution = live.execution.borrow().clone();
        live.administered(caller.uid, || self.note_administration(caller, &execution, "input"))?;
        Ok(live)
    }
}

/// What is there once an execution runs.
async fn begun<T: Clone + Send + Sync>(
    live: &Live,
    what: &watch::Sender<Option<T>>,
) -> Result<T, ApiError> {
    let (mut what, mut state) = (what.subscribe(), live.execution.subscribe());
    let begun = async {
        tokio::select! {
            begun = what.wait_for(Option::is_some) => begun.ok().and_then(|what| what.clone()),
            _ = state.wait_for(|now| [State::Collecting, State::Finished].contains(&now.state)) => None,
        }
    };
    match timeout(PATIENCE, begun).await {
        Ok(Some(begun)) => Ok(begun),
        Ok(None) => Err(over()),
        Err(_elapsed) => {
            let problem = "it has not started yet, and takes nothing before";
            Err(ApiError::new(ErrorCode::Busy, problem).with_hint("try again"))
        }
    }
}

fn over() -> ApiError {
    ApiError::new(ErrorCode::Conflict, "it has ended, and takes nothing any more")
}
