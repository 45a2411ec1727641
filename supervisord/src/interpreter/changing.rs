//! What changes the cells of an interpreter. A change is in the file before anybody sees it, and whoever makes
//! one has the file to itself: what takes long is written away from the thread that serves everybody, which
//! never waits for the file.

use std::io;
use std::sync::{Arc, MutexGuard, PoisonError};

use supervisor_api::{
    ApiError, Cell, CellState, ErrorCode, InterpreterEnd, Outcome, OutputSummary, RunCell,
};

use super::cells;
use super::record::{self, Record};
use super::set::{Interpreter, Kept, gone};
use super::weight::LARGE;
use crate::supervisor::internal;

impl Interpreter {
    /// Takes a cell; gives its number.
    pub async fn accept(self: &Arc<Self>, request: RunCell) -> Result<u64, ApiError> {
        let cell = self.check(request)?;
        self.write(cell.source.len(), move |this, record| this.add(record, cell)).await?
    }

    /// Changes a cell, by so many bytes, and tells who waits. What it is then is on record, or the journal says
    /// why not.
    pub async fn change(
        self: &Arc<Self>,
        number: u64,
        bytes: usize,
        change: impl FnOnce(&mut Cell) + Send + 'static,
    ) {
        let known = self.locked().cells.get(number).map_or(0, |cell| cell.source.len());
        let changed = self.write(known + bytes, move |this, record| {
            let Some(mut cell) = this.locked().cells.get(number).cloned() else { return };
            change(Arc::make_mut(&mut cell));
            this.put(record, vec![cell]);
        });
        if let Err(error) = changed.await {
            tracing::error!(%error, execution_id = %self.id, cell = number, "a cell is not changed");
        }
        self.tell();
    }

    /// A cell's turn has come, when the execution had been paused for so many milliseconds in all.
    pub async fn begin(self: &Arc<Self>, cell: Cell, rested: u64) {
        self.locked().cells.rested = rested;
        self.change(cell.number, 0, move |known| *known = cell).await;
    }

    /// It has ended; what had not ended in it is lost. Its cells are in their file from now on.
    pub async fn end(self: &Arc<Self>, outcome: &Outcome, written: &OutputSummary) {
        let (this, outcome, written) = (self.clone(), outcome.clone(), *written);
        let ended = self.away(move || this.end_now(outcome, &written));
        if let Err(error) = ended.await {
            tracing::error!(%error, execution_id = %self.id, "an interpreter's end is not on record");
        }
        self.tell();
    }

    fn end_now(&self, outcome: Outcome, written: &OutputSummary) {
        // An earlier daemon may have come as far as this.
        let end = (*self.ends.borrow()).or(self.kept.end).unwrap_or(match outcome {
            Outcome::Cancelled => InterpreterEnd::Closed,
            _ => InterpreterEnd::Process,
        });
        let mut record = self.record();
        let open = |cell: &&Arc<Cell>| cell.state != CellState::Done;
        let mut lost: Vec<_> = self.locked().cells.all().filter(open).cloned().collect();
        for cell in &mut lost {
            cells::lost(Arc::make_mut(cell), written);
        }
        self.put(&mut record, lost);
        let kept = Kept { end: Some(end), cells: Some(self.locked().cells.last), ..self.kept };
        let noted = serde_json::to_vec(&kept).map_err(io::Error::from);
        if let Err(error) = noted.and_then(|kept| self.places.keep_interpreter(self.id, &kept)) {
            tracing::warn!(%error, execution_id = %self.id, "an interpreter's end is not on record");
        }
        record.close(); // nothing changes any more
        let mut inside = self.locked();
        inside.cells.clear();
        inside.ended = Some((end, outcome));
    }

    /// Nothing else changes the cells as long as the record is in these hands.
    fn add(&self, record: &mut Record, mut cell: Cell) -> Result<u64, ApiError> {
        let inside = self.locked();
        if let Some((end, outcome)) = &inside.ended {
            return Err(gone(*end, outcome));
        }
        inside.cells.room_for(0)?;
        let (number, rested) = (inside.cells.last + 1, inside.cells.rested);
        drop(inside);
        cell.number = number;
        let line = record::line(rested, &cell).map_err(internal)?;
        let size = cells::size(&cell, line.len());
        self.locked().cells.room_for(size)?;
        let share = self.waiting.take_of(self.owner, size as u64).ok_or_else(|| {
            ApiError::new(ErrorCode::Busy, "the cells that wait in your interpreters take too much")
                .with_hint("wait for their ends, or interrupt those that run")
        })?;
        self.renew(record);
        record.append(&line).map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                ApiError::new(ErrorCode::StorageFull, "the state directory is full")
                    .with_hint("try again later; nothing was run")
            }
            _ => internal(error),
        })?;
        self.locked().cells.place(Arc::new(cell), line.len(), Some(share));
        self.asked.notify_one(); // whether or not anybody waits for the answer any more
        Ok(number)
    }

    /// Has cells on record as they are now, all at once, and seen.
    fn put(&self, record: &mut Record, changed: Vec<Arc<Cell>>) {
        let rested = self.locked().cells.rested;
        let (mut lines, mut together) = (Vec::new(), Vec::new());
        for cell in &changed {
            let line = record::line(rested, cell);
            together.extend_from_slice(line.as_deref().unwrap_or_default());
            lines.push(line.map(|line| line.len()));
        }
        self.renew(record);
        let mut failed = record.append(&together).err();
        let mut inside = self.locked();
        for (cell, line) in changed.into_iter().zip(lines) {
            let length = line.map_err(|error| failed = Some(error));
            inside.cells.place(cell, length.unwrap_or_default(), None);
        }
        drop(inside);
        if let Some(error) = failed {
            tracing::error!(%error, execution_id = %self.id, "cells are not on record");
        }
    }

    /// Writes the file anew if it is time to.
    fn renew(&self, record: &mut Record) {
        let inside = self.locked();
        if !record.is_due(inside.cells.lines()) {
            return;
        }
        let (rested, kept) = (inside.cells.rested, inside.cells.all().cloned().collect::<Vec<_>>());
        drop(inside);
        if let Err(error) = record.renew(rested, &kept) {
            tracing::warn!(%error, execution_id = %self.id, "a file of cells can't be written anew");
        }
    }

    /// Does something that writes about so many bytes to the record: at once where that is little and nobody
    /// else does, or else away from this thread. It is done whatever becomes of who asked for it.
    async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        bytes: usize,
        act: impl FnOnce(&Self, &mut Record) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        if bytes <= LARGE
            && let Ok(mut record) = self.record.try_lock()
            && !self.is_due(&record)
        {
            return Ok(act(self, &mut record));
        }
        let this = self.clone();
        self.away(move || act(&this, &mut this.record())).await
    }

    fn is_due(&self, record: &Record) -> bool {
        record.is_due(self.locked().cells.lines())
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
