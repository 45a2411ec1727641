//! The cells of one interpreter: those that wait, the one that runs, and the last that have ended. Every change
//! is a line of a file, the whole cell as it is then, so that a daemon that was killed finds them again.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Write as _};

use serde::{Deserialize, Serialize};
use supervisor_api::{ApiError, Cell, CellOutcome, CellState, ErrorCode, OutputSummary};

use crate::clock;

/// Cells that are kept; of those that have ended, the oldest go first.
pub const MAX_CELLS: usize = 100;

/// Bytes that all of them take; the oldest go first.
const MAX_BYTES: usize = 8 << 20;

/// Cells that wait at the most. One that reads no results is no reason to keep more.
const MAX_WAITING: usize = 64;

/// Bytes of the file before it is written anew, with what is kept only.
const MAX_FILE: u64 = 4 * MAX_BYTES as u64;

/// The cells.
#[derive(Debug)]
pub struct Cells {
    kept: VecDeque<Cell>,
    /// The last number that was given.
    pub last: u64,
    /// For how many milliseconds the execution had been paused when the last turn came.
    pub rested: u64,
    /// Until they are [closed](Self::close).
    file: Option<File>,
    /// How long the file is.
    length: u64,
}

/// A line of the file.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    rested: u64,
    #[serde(flatten)]
    cell: Cell,
}

/// The same, to be written.
#[derive(Serialize)]
struct Written<'a> {
    rested: u64,
    #[serde(flatten)]
    cell: &'a Cell,
}

impl Cells {
    /// Those that a file holds. A last line that was cut off is a change that nobody heard of.
    pub fn read(mut file: File) -> io::Result<Self> {
        let kept = VecDeque::new();
        let mut cells = Self { kept, last: 0, rested: 0, file: None, length: 0 };
        let mut reader = BufReader::new((&mut file).take(2 * MAX_FILE));
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            let whole = line.strip_suffix(b"\n");
            let Some(read) = whole.and_then(|line| serde_json::from_slice::<Line>(line).ok())
            else {
                break;
            };
            cells.length += line.len() as u64;
            cells.rested = read.rested;
            cells.place(read.cell);
            line.clear();
        }
        file.set_len(cells.length)?; // it is open for appending
        cells.file = Some(file);
        Ok(cells)
    }

    /// Adds a cell, whose number is given here.
    pub fn add(&mut self, mut cell: Cell) -> Result<u64, ApiError> {
        if self.waiting() >= MAX_WAITING {
            let problem = format!("{MAX_WAITING} cells wait already");
            return Err(ApiError::new(ErrorCode::Busy, problem)
                .with_hint("wait for their ends, or interrupt the one that runs"));
        }
        cell.number = self.last + 1;
        self.note(&cell).map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                ApiError::new(ErrorCode::StorageFull, "the state directory is full")
                    .with_hint("try again later; nothing was run")
            }
            _ => crate::supervisor::internal(error),
        })?;
        let number = cell.number;
        self.place(cell);
        Ok(number)
    }

    /// A cell's turn has come.
    pub fn begin(&mut self, begun: Cell, rested: u64) {
        self.rested = rested;
        self.change(begun.number, |cell| *cell = begun);
    }

    /// Changes a cell; what it is then is on record, or the journal says why not.
    pub fn change(&mut self, number: u64, change: impl FnOnce(&mut Cell)) -> Option<Cell> {
        let cell = self.kept.iter_mut().find(|cell| cell.number == number)?;
        change(cell);
        let cell = cell.clone();
        if let Err(error) = self.note(&cell) {
            tracing::error!(%error, cell = number, "a cell is not on record");
        }
        self.forget();
        Some(cell)
    }

    /// One that is still kept.
    pub fn get(&self, number: u64) -> Option<&Cell> {
        self.kept.iter().find(|cell| cell.number == number)
    }

    /// All that are kept, oldest first.
    pub fn all(&self) -> impl Iterator<Item = &Cell> {
        self.kept.iter()
    }

    /// The first that has not ended.
    pub fn next(&self) -> Option<&Cell> {
        self.kept.iter().find(|cell| cell.state != CellState::Done)
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.kept.iter().filter(|cell| cell.state == CellState::Waiting).count()
    }

    /// How many were forgotten.
    pub fn forgotten(&self) -> u64 {
        self.last - self.kept.len() as u64
    }

    /// Ends those that have not ended: nothing runs them any more. What was written since the turn of the one
    /// that ran is its own.
    pub fn lose(&mut self, written: &OutputSummary) {
        while let Some(number) = self.next().map(|cell| cell.number) {
            self.change(number, |cell| {
                if cell.state == CellState::Running {
                    cell.stdout.to = written.stdout.kept.max(cell.stdout.from);
                    cell.stderr.to = written.stderr.kept.max(cell.stderr.from);
                }
                cell.state = CellState::Done;
                cell.outcome = Some(cell.outcome.unwrap_or(CellOutcome::Lost));
                let began = cell.started_at.as_deref().and_then(clock::since);
                cell.took_us = began.map(|took| took.as_micros() as u64);
            });
        }
    }

    /// Lets go of the file: nothing changes any more.
    pub fn close(&mut self) {
        self.file = None;
    }

    fn place(&mut self, cell: Cell) {
        match self.kept.iter_mut().find(|known| known.number == cell.number) {
            Some(known) => *known = cell,
            None => {
                self.last = self.last.max(cell.number);
                self.kept.push_back(cell);
            }
        }
        self.forget();
    }

    fn forget(&mut self) {
        let mut bytes: usize = self.kept.iter().map(size).sum();
        while (self.kept.len() > MAX_CELLS || bytes > MAX_BYTES)
            && self.kept.front().is_some_and(|oldest| oldest.state == CellState::Done)
            && self.kept.len() > 1
        {
            bytes -= self.kept.pop_front().as_ref().map_or(0, size);
        }
    }

    /// Not synced: a machine that stops takes the interpreter along.
    fn note(&mut self, cell: &Cell) -> io::Result<()> {
        if self.length > MAX_FILE {
            self.file()?.set_len(0)?;
            self.length = 0;
            for kept in self.kept.clone() {
                self.append(&kept)?;
            }
        }
        self.append(cell)
    }

    fn append(&mut self, cell: &Cell) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Written { rested: self.rested, cell })?;
        line.push(b'\n');
        if let Err(error) = self.file()?.write_all(&line) {
            self.file()?.set_len(self.length)?; // no half of a line among whole ones
            return Err(error);
        }
        self.length += line.len() as u64;
        Ok(())
    }

    fn file(&self) -> io::Result<&File> {
        self.file.as_ref().ok_or_else(|| io::Error::other("its file is closed"))
    }
}

/// About how much memory a cell takes.
fn size(cell: &Cell) -> usize {
    let results = cell.results.iter().flat_map(|result| &result.data);
    let results: usize = results.map(|(name, text)| name.len() + text.len() + 64).sum();
    let traceback = cell.error.iter().flat_map(|error| &error.traceback);
    let error: usize = traceback.map(|line| line.len() + 24).sum();
    let value = cell.error.as_ref().map_or(0, |error| error.name.len() + error.value.len());
    cell.source.len() + results + error + value + 512
}

#[cfg(test)]
mod tests {
    use supervisor_api::CellOutput;

    use super::*;

    fn cell(source: &str) -> Cell {
        Cell {
            number: 0,
            state: CellState::Waiting,
            outcome: None,
            source: source.to_owned(),
            wall_time: 1,
            output_bytes: 1,
            results: Vec::new(),
            results_dropped: 0,
            error: None,
            exit_status: None,
            stdout: CellOutput::default(),
            stderr: CellOutput::default(),
            created_at: clock::now(),
            started_at: None,
            took_us: None,
        }
    }

    fn end(cells: &mut Cells, number: u64) {
        cells.change(number, |cell| cell.state = CellState::Done).expect("it is there");
    }

    fn open(path: &std::path::Path) -> Cells {
        Cells::read(File::options().read(true).append(true).create(true).open(path).unwrap())
            .unwrap()
    }

    #[test]
    fn a_daemon_that_comes_back_finds_every_change_but_one_that_was_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cells");
        let mut cells = open(&path);
        for source in ["one", "two"] {
            cells.add(cell(source)).unwrap();
        }
        end(&mut cells, 1);
        drop(cells);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(open(&path).next().map(|cell| cell.number), Some(1), "its end was cut off");
        std::fs::write(&path, &whole).unwrap();
        let mut cells = open(&path);
        assert_eq!((cells.last, cells.next().map(|cell| cell.number)), (2, Some(2)));
        assert_eq!(cells.add(cell("three")).unwrap(), 3);
        cells.lose(&OutputSummary::default());
        assert_eq!(cells.get(3).and_then(|cell| cell.outcome), Some(CellOutcome::Lost));
        assert_eq!(open(&path).next(), None);
    }

    #[test]
    fn what_is_kept_has_bounds_in_number_and_in_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let mut cells = open(&directory.path().join("cells"));
        for number in 1..=300 {
            cells.add(cell("x")).unwrap();
            end(&mut cells, number);
        }
        assert_eq!((cells.all().count(), cells.forgotten()), (MAX_CELLS, 200));
        let large = "x".repeat(1 << 20);
        for number in 301..=340 {
            cells.add(cell(&large)).unwrap();
            end(&mut cells, number);
        }
        assert!(cells.all().map(size).sum::<usize>() <= MAX_BYTES);
        assert!(cells.file().unwrap().metadata().unwrap().len() <= MAX_FILE + (3 << 20));
        for _ in 0..MAX_WAITING {
            cells.add(cell("waits")).unwrap();
        }
        assert_eq!(cells.add(cell("one more")).unwrap_err().code, ErrorCode::Busy);
    }
}
