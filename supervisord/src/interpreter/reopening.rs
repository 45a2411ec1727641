//! Interpreters of before this daemon, and what was kept of them.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use supervisor_api::{Execution, InterpreterEnd, Outcome};
use tokio::task::spawn_blocking;

use super::record::Record;
use super::set::{IDLE_TIMEOUT, Interpreter, InterpreterSet, Kept};
use crate::places::Places;

impl Interpreter {
    /// With the cells of its file. Blocks.
    pub(super) fn with_cells(mut self) -> io::Result<Self> {
        let (record, mut cells) = Record::open(&self.places, self.id)?;
        cells.share(|size| self.waiting.hold(self.owner, size as u64));
        self.record = Mutex::new(record);
        self.state.get_mut().unwrap_or_else(PoisonError::into_inner).cells = cells;
        Ok(self)
    }

    /// The interpreter that an execution of before this daemon is, if it is one, with its cells.
    pub async fn reopen(
        places: &Arc<Places>,
        among: &InterpreterSet,
        execution: &Execution,
    ) -> io::Result<Option<Arc<Self>>> {
        let Some(mut interpreter) = Self::known(places, among, execution)? else { return Ok(None) };
        interpreter.taken_over = true;
        Ok(Some(Arc::new(spawn_blocking(move || interpreter.with_cells()).await??)))
    }

    /// The same of one that has yet to be started: it has taken no cell.
    pub async fn reopen_unstarted(
        places: &Arc<Places>,
        among: &InterpreterSet,
        execution: &Execution,
    ) -> io::Result<Option<Arc<Self>>> {
        let mut reopened = Self::reopen(places, among, execution).await?;
        if let Some(interpreter) = reopened.as_mut().and_then(Arc::get_mut) {
            interpreter.taken_over = false;
        }
        Ok(reopened)
    }

    /// The same of one that has ended so, without its cells.
    pub fn ended_as(
        places: &Arc<Places>,
        among: &InterpreterSet,
        execution: &Execution,
        outcome: &Outcome,
    ) -> io::Result<Option<Self>> {
        let found = Self::known(places, among, execution)?;
        Ok(found.map(|mut interpreter| {
            let end = interpreter.kept.end.unwrap_or(InterpreterEnd::Process);
            let inside = interpreter.state.get_mut().unwrap_or_else(PoisonError::into_inner);
            inside.cells.last = interpreter.kept.cells.unwrap_or(0);
            inside.ended = Some((end, outcome.clone()));
            interpreter
        }))
    }

    /// It was given so many cells, which are in its file.
    pub fn had_cells(&mut self, count: u64) {
        self.state.get_mut().unwrap_or_else(PoisonError::into_inner).cells.last = count;
    }

    fn known(
        places: &Arc<Places>,
        among: &InterpreterSet,
        execution: &Execution,
    ) -> io::Result<Option<Self>> {
        let Some(kept) = places.interpreter(execution.id)? else { return Ok(None) };
        let kept = match (serde_json::from_slice(&kept), execution.language) {
            (Ok(kept), _) => kept,
            (Err(error), language) => {
                // A host that lost its power can leave it empty. The record has all of it that matters then.
                tracing::warn!(%error, execution_id = %execution.id, "what was kept of an interpreter can't be read");
                let Some(language) = language else { return Ok(None) };
                Kept { language, idle_timeout: IDLE_TIMEOUT, end: None, cells: None }
            }
        };
        Ok(Some(Self::new(execution, kept, places, among)))
    }
}
