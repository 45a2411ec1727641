//! Interpreters are started, given cells, looked at, interrupted and closed.

use std::sync::Arc;
use std::time::Duration;

use supervisor_api::{
    ApiError, Cell, CellList, CellOutput, CellState, Content, CreateInterpreter, ErrorCode,
    ExecutionId, InterpreterEnd, InterpreterList, Limit, LimitsRequest, RunCell, SessionId, Stream,
    SubmitRequest,
};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::past::Past;
use super::runner::Runner;
use super::set::{Found, IDLE_TIMEOUT, Interpreter, Kept};
use super::weight::{self, LARGE};
use crate::plan;
use crate::supervisor::{Caller, OutputQuery, Supervisor, from_store, internal, policy};

/// Seconds without a cell at the most: a day.
const MAX_IDLE_TIMEOUT: u64 = 86_400;

/// Bytes of each stream that come with a cell; the rest is read as output of the execution.
const MAX_TEXT: u64 = 64 << 10;

impl Supervisor {
    /// Starts an interpreter in a session.
    pub async fn create_interpreter(
        &self,
        caller: &Caller,
        session: SessionId,
        request: CreateInterpreter,
    ) -> Result<supervisor_api::Interpreter, ApiError> {
        let idle_timeout = request.idle_timeout.unwrap_or(IDLE_TIMEOUT);
        if !(1..=MAX_IDLE_TIMEOUT).contains(&idle_timeout) {
            let problem = format!("an interpreter may be idle for 1 to {MAX_IDLE_TIMEOUT} seconds");
            return Err(ApiError::invalid("idle_timeout", problem));
        }
        let named = self.session_to_run_in(caller, session)?.record().policy;
        let policy = policy(&self.inner().settings.current(), &named)?;
        let kept = Kept { language: request.language, idle_timeout, end: None, cells: None };
        let submission = SubmitRequest {
            argv: Runner::of(request.language).argv(),
            env: request.env,
            limits: stays(request.limits, &policy.maximum()),
            session: Some(session),
            labels: request.labels,
            ..SubmitRequest::default()
        };
        let execution = self.submit_as(caller, submission, Some(kept)).await?;
        let made = self.inner().interpreters.get(execution.id);
        made.map(|made| made.show()).ok_or_else(|| internal("an interpreter is not there"))
    }

    /// The interpreters of a session, oldest first.
    pub fn interpreters(
        &self,
        caller: &Caller,
        session: SessionId,
    ) -> Result<InterpreterList, ApiError> {
        self.own_session(caller, session)?;
        let all = self.inner().interpreters.of(session);
        Ok(InterpreterList { interpreters: all.iter().map(|each| each.show()).collect() })
    }

    /// One interpreter.
    pub async fn interpreter(
        &self,
        caller: &Caller,
        session: SessionId,
        id: ExecutionId,
    ) -> Result<supervisor_api::Interpreter, ApiError> {
        self.find_interpreter(caller, session, id).await.map(|found| found.show())
    }

    /// Gives an interpreter a cell.
    pub async fn run_cell(
        &self,
        caller: &Caller,
        session: SessionId,
        id: ExecutionId,
        request: RunCell,
    ) -> Result<Cell, ApiError> {
        self.session_to_run_in(caller, session)?;
        let interpreter = self.find_interpreter(caller, session, id).await?;
        let number = interpreter.accept(request).await?;
        self.found(&interpreter, interpreter.cell(number), number).await
    }

    /// One cell with the beginning of its output, once it has ended or `wait` is up.
    pub async fn cell(
        &self,
        caller: &Caller,
        session: SessionId,
        id: ExecutionId,
        number: u64,
        wait: Duration,
    ) -> Result<Cell, ApiError> {
        let interpreter = self.find_interpreter(caller, session, id).await?;
        let found = match timeout(wait, interpreter.ended(number)).await {
            Ok(found) => found,
            Err(_elapsed) => interpreter.cell(number),
        };
        let mut cell = self.found(&interpreter, found, number).await?;
        if cell.state == CellState::Done {
            self.read(caller, id, Stream::Stdout, &mut cell.stdout).await?;
            self.read(caller, id, Stream::Stderr, &mut cell.stderr).await?;
        }
        Ok(cell)
    }

    /// The cells of an interpreter that are kept.
    pub async fn cells(
        &self,
        caller: &Caller,
        session: SessionId,
        id: ExecutionId,
    ) -> Result<CellList, ApiError> {
        let interpreter = self.find_interpreter(caller, session, id).await?;
        let (cells, forgotten) = match interpreter.cells() {
            Some(here) => here,
            None => {
                let past = self.past(interpreter.owner, id).await?;
                (past.cells.clone(), past.forgotten)
            }
        };
        let copied = spawn_blocking(move || cells.into_iter().map(Arc::unwrap_or_clone).collect());
        Ok(CellList { cells: copied.await.map_err(internal)?, forgotten })
    }

    /// Interrupts the cell that runs.
    pub async fn interrupt(
        &self,
        caller: &Caller,
        session: SessionId,
        id: ExecutionId,
    ) -> Result<supervisor_api::Interpreter, ApiError> {
        let interpreter = self.find_interpreter(caller, session, id).await?;
        interpreter.interrupt()?;
        Ok(interpreter.show())
    }

    /// Ends an interpreter; returns when nothing of it runs any more.
    pub async fn close_interpreter(
        &self,
        caller: &Caller,
        session: SessionId,
        id: ExecutionId,
    ) -> Result<supervisor_api::Interpreter, ApiError> {
        let interpreter = self.find_interpreter(caller, session, id).await?;
        if !interpreter.is_ended() {
            interpreter.ends.send_if_modified(|end| {
                let first = end.is_none();
                *end = end.or(Some(InterpreterEnd::Closed));
                first
            });
            self.cancel(caller, id).await?;
        }
        Ok(interpreter.show())
    }

    /// An interpreter of a session that the caller may see; also one that ended before this daemon started.
    async fn find_interpreter(
        &self,
        caller: &Caller,
        session: SessionId,
        id: ExecutionId,
    ) -> Result<Arc<Interpreter>, ApiError> {
        let not_found = || ApiError::new(ErrorCode::NotFound, "there is no such interpreter");
        self.own_session_for(caller, session, "interpreter")?;
        let inner = self.inner();
        if let Some(found) = inner.interpreters.get(id) {
            return Some(found).filter(|found| found.session == session).ok_or_else(not_found);
        }
        let execution = inner.store.get(id).await.map_err(|error| from_store(&error))?;
        let execution = execution.filter(|found| found.session == session).ok_or_else(not_found)?;
        let outcome = execution.outcome.as_ref().ok_or_else(not_found)?;
        let found = Interpreter::ended_as(&inner.places, &inner.interpreters, &execution, outcome);
        let mut interpreter = found.map_err(internal)?.ok_or_else(not_found)?;
        if interpreter.kept.cells.is_none() {
            interpreter.had_cells(self.past(execution.owner_uid, id).await?.last); // its end was not noted with it
        }
        Ok(Arc::new(interpreter))
    }

    /// The cells of an interpreter that has ended.
    async fn past(&self, owner: u32, id: ExecutionId) -> Result<Arc<Past>, ApiError> {
        let inner = self.inner();
        inner.interpreters.past.read(&inner.places, (owner, id)).await
    }

    /// A cell that was looked for, wherever it is.
    async fn found(
        &self,
        interpreter: &Interpreter,
        found: Found,
        number: u64,
    ) -> Result<Cell, ApiError> {
        let cell = match found {
            Found::Here(cell) => cell,
            Found::Past => self.past(interpreter.owner, interpreter.id).await?.get(number),
        };
        let cell = cell.ok_or_else(forgotten)?;
        if weight::of(&cell) <= LARGE {
            return Ok(Arc::unwrap_or_clone(cell));
        }
        spawn_blocking(move || Arc::unwrap_or_clone(cell)).await.map_err(internal)
    }

    /// Reads the beginning of what a cell wrote.
    async fn read(
        &self,
        caller: &Caller,
        id: ExecutionId,
        stream: Stream,
        output: &mut CellOutput,
    ) -> Result<(), ApiError> {
        let length = output.to.saturating_sub(output.from).min(MAX_TEXT);
        if length == 0 {
            return Ok(());
        }
        let query = OutputQuery { stream: Some(stream), offset: output.from, follow: false };
        let chunk = self.output(caller, id, query).await?.next().await.map_err(internal)?;
        output.text = chunk.map(|chunk| {
            let Content(mut bytes) = chunk.data;
            bytes.truncate(length as usize);
            Content(bytes)
        });
        Ok(())
    }
}

/// An interpreter stays, so what a program gets by default would end it soon.
fn stays(asked: LimitsRequest, most: &supervisor_policy::Limits) -> LimitsRequest {
    let most = |limit| plan::theirs(limit).map(|known| most.get(known));
    LimitsRequest {
        wall_time: asked.wall_time.or(most(Limit::WallTime)),
        cpu_time: asked.cpu_time.or(most(Limit::CpuTime)),
        output_bytes: asked.output_bytes.or(most(Limit::OutputBytes)),
        ..asked
    }
}

fn forgotten() -> ApiError {
    ApiError::new(ErrorCode::NotFound, "there is no such cell, or it is no longer kept")
}
