//! The one interpreter there is, and its one cell.

use supervisor_api::{
    ApiError, Cell, CellOutcome, CellOutput, CellState, ErrorCode, ExecutionId, Interpreter,
    InterpreterState, Language, SessionId,
};

use super::{KNOWN, sessions};
use crate::supervisor::Caller;

pub fn find(caller: &Caller, session: SessionId, id: ExecutionId) -> Result<Interpreter, ApiError> {
    sessions::find(caller, session)?;
    let found = Some(interpreter()).filter(|found| found.id == id);
    found.ok_or_else(|| ApiError::new(ErrorCode::NotFound, "there is no such interpreter"))
}

pub fn interpreter() -> Interpreter {
    Interpreter {
        id: KNOWN,
        session: sessions::SESSION,
        language: Language::Python,
        state: InterpreterState::Idle,
        end: None,
        outcome: None,
        idle_timeout: 60,
        cells: 1,
        waiting: 0,
        created_at: "2026-01-01T00:00:00.000Z".to_owned(),
    }
}

pub fn cell() -> Cell {
    Cell {
        number: 1,
        state: CellState::Done,
        outcome: Some(CellOutcome::Ok),
        source: "1".to_owned(),
        wall_time: 1,
        output_bytes: 1,
        results: Vec::new(),
        results_dropped: 0,
        error: None,
        exit_status: None,
        stdout: CellOutput::default(),
        stderr: CellOutput::default(),
        created_at: "2026-01-01T00:00:00.000Z".to_owned(),
        started_at: None,
        took_us: None,
    }
}
