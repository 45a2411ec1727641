//! The cells of interpreters that have ended: they are in their files, and are read when somebody asks.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use supervisor_api::{ApiError, Cell, CellState, ErrorCode, ExecutionId, OutputSummary};
use tokio::task::spawn_blocking;

use super::cells;
use super::record::Record;
use crate::in_turn::InTurn;
use crate::places::Places;
use crate::supervisor::internal;

/// The cells of one that has ended.
#[derive(Debug)]
pub struct Past {
    /// Those that are kept, oldest first.
    pub cells: Vec<Arc<Cell>>,
    /// How many were before them.
    pub forgotten: u64,
    /// The last number that was given.
    pub last: u64,
}

/// Files that are read at once: each has 64 MiB at the most, and what is kept of its cells 8 MiB.
const READINGS: usize = 4;

/// Of one owner: the others wait for one reading of each other owner at the most.
const READINGS_OF_ONE: usize = 1;

/// Reads files away from the thread that serves everybody, and remembers the last: who asks for the cells one by one
/// costs one reading.
#[derive(Debug)]
pub struct Reader {
    in_turn: InTurn,
    last: Mutex<Last>,
}

impl Default for Reader {
    fn default() -> Self {
        Self { in_turn: InTurn::new(READINGS, READINGS_OF_ONE), last: Mutex::default() }
    }
}

/// What was read last.
type Last = Option<(ExecutionId, Arc<Past>)>;

impl Reader {
    /// What an interpreter of this owner's that has ended has left.
    pub async fn read(
        &self,
        places: &Arc<Places>,
        (owner, id): (u32, ExecutionId),
    ) -> Result<Arc<Past>, ApiError> {
        if let Some(past) = self.known(id) {
            return Ok(past);
        }
        let turn = self.in_turn.turn(owner).await?;
        if let Some(past) = self.known(id) {
            return Ok(past); // whoever was before read the same
        }
        let places = places.clone();
        let read = spawn_blocking(move || {
            let past = Past::read(&places, id).map(Arc::new);
            drop(turn); // not before, whatever becomes of who asked
            past
        });
        let past = read.await.map_err(internal)?.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                ApiError::new(ErrorCode::NotFound, "the interpreter's cells are no longer kept")
            }
            _ => internal(error),
        })?;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((id, past.clone()));
        Ok(past)
    }

    /// Forgets what was read of one.
    pub fn forget(&self, id: ExecutionId) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        drop(last.take_if(|(known, _)| *known == id));
    }

    /// What was read last, if that is it.
    fn known(&self, id: ExecutionId) -> Option<Arc<Past>> {
        // Nothing between two changes of it panics, so a poisoned one is whole.
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|(known, _)| *known == id).map(|(_, past)| past.clone())
    }
}

impl Past {
    fn read(places: &Arc<Places>, id: ExecutionId) -> io::Result<Self> {
        let (_, found) = Record::open(places, id)?;
        let ended = |cell: &Arc<Cell>| {
            let mut cell = cell.clone();
            if cell.state != CellState::Done {
                // The disk was full when it was lost.
                cells::lost(Arc::make_mut(&mut cell), &OutputSummary::default());
            }
            cell
        };
        let (forgotten, last) = (found.forgotten(), found.last);
        Ok(Self { cells: found.all().map(ended).collect(), forgotten, last })
    }

    /// One of the cells.
    pub fn get(&self, number: u64) -> Option<Arc<Cell>> {
        self.cells.iter().find(|cell| cell.number == number).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn an_owner_whose_reading_takes_long_holds_up_no_other_one() {
        let state = tempfile::tempdir().unwrap();
        let places = Arc::new(Places::open(state.path()).unwrap());
        let (reader, id) = (Reader::default(), ExecutionId::from_bits(1));
        let long = reader.in_turn.turn(1).await.unwrap();
        let mut own = pin!(reader.read(&places, (1, id)));
        assert!(timeout(Duration::ZERO, &mut own).await.is_err());
        // There is nothing to read, which is told at once.
        let other = reader.read(&places, (2, id)).await.unwrap_err();
        assert_eq!(other.code, ErrorCode::NotFound);
        drop(long);
        assert_eq!(own.await.unwrap_err().code, ErrorCode::NotFound);
    }
}
