//! The cells of one interpreter: those that wait, the one that runs, and the last that have ended.

use std::collections::VecDeque;
use std::sync::Arc;

use supervisor_api::{ApiError, Cell, CellOutcome, CellState, ErrorCode, OutputSummary};

use super::weight;
use crate::clock;
use crate::pool::Share;

/// Cells that are kept; of those that have ended, the oldest go first.
pub const MAX_CELLS: usize = 100;

/// Bytes that those that have ended take; the oldest go first.
const MAX_BYTES: usize = 8 << 20;

/// Cells that wait at the most. One that reads no results is no reason to keep more.
const MAX_WAITING: usize = 64;

/// Bytes that those take that have not ended.
const MAX_OPEN: usize = 8 << 20;

/// The cells.
#[derive(Debug, Default)]
pub struct Cells {
    kept: VecDeque<Kept>,
    /// The last number that was given.
    pub last: u64,
    /// For how many milliseconds the execution had been paused when the last turn came.
    pub rested: u64,
}

#[derive(Debug)]
struct Kept {
    cell: Arc<Cell>,
    /// What it takes: in memory, or on record if that is more.
    size: usize,
    /// Bytes of its line on record.
    line: usize,
    /// Its part of what its owner's may take, until it has ended.
    share: Option<Share>,
}

impl Kept {
    fn is_open(&self) -> bool {
        self.cell.state != CellState::Done
    }
}

/// What a cell takes whose line is so long.
pub fn size(cell: &Cell, line: usize) -> usize {
    weight::of(cell).max(line)
}

impl Cells {
    /// Whether one more may wait that takes so much.
    pub fn room_for(&self, size: usize) -> Result<(), ApiError> {
        let open: usize =
            self.kept.iter().filter(|kept| kept.is_open()).map(|kept| kept.size).sum();
        let problem = if self.waiting() >= MAX_WAITING {
            format!("{MAX_WAITING} cells wait already")
        } else if open + size > MAX_OPEN {
            format!("the cells that wait take {open} of {MAX_OPEN} bytes already")
        } else {
            return Ok(());
        };
        Err(ApiError::new(ErrorCode::Busy, problem)
            .with_hint("wait for their ends, or interrupt the one that runs"))
    }

    /// Puts a cell in its place: that of what it was before, or behind all others.
    pub fn place(&mut self, cell: Arc<Cell>, line: usize, share: Option<Share>) {
        let size = size(&cell, line);
        match self.kept.iter_mut().rev().find(|known| known.cell.number == cell.number) {
            Some(known) => {
                let share = share.or(known.share.take());
                *known = Kept { cell, size, line, share };
                if !known.is_open() {
                    known.share = None;
                }
            }
            None => {
                self.last = self.last.max(cell.number);
                self.kept.push_back(Kept { cell, size, line, share });
            }
        }
        self.forget();
    }

    /// Gives those that have not ended their part of what their owner's may take.
    pub fn share(&mut self, share: impl Fn(usize) -> Share) {
        for kept in self.kept.iter_mut().filter(|kept| kept.is_open()) {
            kept.share = Some(share(kept.size));
        }
    }

    /// One that is still kept.
    pub fn get(&self, number: u64) -> Option<&Arc<Cell>> {
        self.all().find(|cell| cell.number == number)
    }

    /// All that are kept, oldest first.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Cell>> {
        self.kept.iter().map(|kept| &kept.cell)
    }

    /// The first that has not ended.
    pub fn next(&self) -> Option<&Arc<Cell>> {
        self.all().find(|cell| cell.state != CellState::Done)
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.all().filter(|cell| cell.state == CellState::Waiting).count()
    }

    /// How many were forgotten.
    pub fn forgotten(&self) -> u64 {
        self.last - self.kept.len() as u64
    }

    /// Bytes on record of all that are kept.
    pub fn lines(&self) -> u64 {
        self.kept.iter().map(|kept| kept.line as u64).sum()
    }

    /// Forgets all of them, but how many there were.
    pub fn clear(&mut self) {
        self.kept = VecDeque::new();
    }

    fn forget(&mut self) {
        let ended = self.kept.iter().filter(|kept| !kept.is_open());
        let (mut count, mut bytes) =
            ended.fold((0, 0), |(count, bytes), kept| (count + 1, bytes + kept.size));
        // They end in their order, so the oldest of them is the first of all. The last is not let go of.
        while (self.kept.len() > MAX_CELLS || bytes > MAX_BYTES) && count > 1 {
            if self.kept.front().is_none_or(Kept::is_open) {
                break;
            }
            let size = self.kept.pop_front().map_or(0, |oldest| oldest.size);
            (count, bytes) = (count - 1, bytes - size);
        }
    }
}

/// What becomes of a cell that has not ended when nothing runs it any more. What was written since the turn of
/// one that ran is its own.
pub fn lost(cell: &mut Cell, written: &OutputSummary) {
    if cell.state == CellState::Running {
        cell.stdout.to = written.stdout.kept.max(cell.stdout.from);
        cell.stderr.to = written.stderr.kept.max(cell.stderr.from);
    }
    cell.state = CellState::Done;
    cell.outcome = Some(cell.outcome.unwrap_or(CellOutcome::Lost));
    let began = cell.started_at.as_deref().and_then(clock::since);
    cell.took_us = began.map(|took| took.as_micros() as u64);
}
