//! The operations on interpreters and their cells.

use std::time::Duration;

use supervisor_api::{
    Cell, CellList, CreateInterpreter, ExecutionId, Interpreter, InterpreterList, RunCell,
    SessionId,
};

use super::sessions::{LONG, delete};
use super::{Client, PATIENCE, WAIT_MAX, get, post};
use crate::connection::Call;
use crate::failure::Failure;

impl Client {
    /// Starts an interpreter.
    pub async fn create_interpreter(
        &self,
        session: SessionId,
        request: &CreateInterpreter,
    ) -> Result<Interpreter, Failure> {
        let target = format!("/v1/sessions/{session}/interpreters");
        self.ask("start an interpreter".to_owned(), target, request, PATIENCE).await
    }

    /// The interpreters of a session.
    pub async fn interpreters(&self, session: SessionId) -> Result<InterpreterList, Failure> {
        let target = format!("/v1/sessions/{session}/interpreters");
        self.json(get("list interpreters".to_owned(), target)).await
    }

    /// One interpreter.
    pub async fn interpreter(
        &self,
        session: SessionId,
        id: ExecutionId,
    ) -> Result<Interpreter, Failure> {
        self.json(get(format!("tell about {id}"), place(session, id))).await
    }

    /// Interrupts the cell that runs.
    pub async fn interrupt(
        &self,
        session: SessionId,
        id: ExecutionId,
    ) -> Result<Interpreter, Failure> {
        let target = format!("{}/interrupt", place(session, id));
        self.json(post(format!("interrupt {id}"), target)).await
    }

    /// Ends an interpreter; the answer comes when nothing of it runs any more.
    pub async fn close_interpreter(
        &self,
        session: SessionId,
        id: ExecutionId,
    ) -> Result<Interpreter, Failure> {
        let call = delete(format!("close {id}"), place(session, id));
        self.json(Call { patience: LONG, ..call }).await
    }

    /// Gives an interpreter a cell; the answer comes at once. Not to be repeated after a failure, because it
    /// may have been taken.
    pub async fn run_cell(
        &self,
        session: SessionId,
        id: ExecutionId,
        request: &RunCell,
    ) -> Result<Cell, Failure> {
        let target = format!("{}/cells", place(session, id));
        self.ask("run the cell".to_owned(), target, request, PATIENCE).await
    }

    /// One cell, once it has ended or after a minute.
    pub async fn cell(
        &self,
        session: SessionId,
        id: ExecutionId,
        number: u64,
    ) -> Result<Cell, Failure> {
        let target = format!("{}/cells/{number}?wait={WAIT_MAX}", place(session, id));
        let patience = PATIENCE + Duration::from_secs(WAIT_MAX);
        self.json(Call { patience, ..get(format!("tell about cell {number}"), target) }).await
    }

    /// The last cells.
    pub async fn cells(&self, session: SessionId, id: ExecutionId) -> Result<CellList, Failure> {
        let target = format!("{}/cells", place(session, id));
        self.json(get(format!("list the cells of {id}"), target)).await
    }
}

fn place(session: SessionId, id: ExecutionId) -> String {
    format!("/v1/sessions/{session}/interpreters/{id}")
}
