//! The cells of interpreters that have ended: they are in their files, and are read when somebody asks.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// Owners whose last reading is remembered: with what is kept of its cells, that is 32 MiB.
const REMEMBERED: usize = 4;

/// Reads files away from the thread that serves everybody, and remembers the last of each owner: who asks for the cells
/// one by one costs one reading, whatever others read meanwhile.
#[derive(Debug)]
pub struct Reader {
    in_turn: InTurn,
    /// The latest first, one of each owner.
    last: Mutex<Vec<Last>>,
}

impl Default for Reader {
    fn default() -> Self {
        Self { in_turn: InTurn::new(READINGS, READINGS_OF_ONE), last: Mutex::default() }
    }
}

/// What an owner's last reading was of, and what it gave.
type Last = (u32, ExecutionId, Arc<Past>);

impl Reader {
    /// What an interpreter of this owner's that has ended has left.
    pub async fn read(
        &self,
        places: &Arc<Places>,
        (owner, id): (u32, ExecutionId),
    ) -> Result<Arc<Past>, ApiError> {
        if let Some(past) = self.known(owner, id) {
            return Ok(past);
        }
        let turn = self.in_turn.turn(owner).await?;
        if let Some(past) = self.known(owner, id) {
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
        self.remember((owner, id, past.clone()));
        Ok(past)
    }

    /// Forgets what was read of one.
    pub fn forget(&self, id: ExecutionId) {
        self.locked().retain(|(_, known, _)| *known != id);
    }

    /// What this owner read last, if that is it.
    fn known(&self, owner: u32, id: ExecutionId) -> Option<Arc<Past>> {
        let last = self.locked();
        let it = last.iter().find(|(theirs, known, _)| (*theirs, *known) == (owner, id));
        it.map(|(_, _, past)| past.clone())
    }

    fn remember(&self, read: Last) {
        let mut last = self.locked();
        last.retain(|(theirs, _, _)| *theirs != read.0);
        last.insert(0, read);
        last.truncate(REMEMBERED);
    }

    /// Nothing between two changes of it panics, so a poisoned one is whole.
    fn locked(&self) -> MutexGuard<'_, Vec<Last>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
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
    #[test]
    fn what_one_owner_has_read_is_remembered_whatever_others_read() {
        let reader = Reader::default();
        let id = ExecutionId::from_bits;
        let past = || Arc::new(Past { cells: Vec::new(), forgotten: 0, last: 0 });
        for number in 1..100 {
            reader.remember((1, id(number), past()));
            reader.remember((2, id(1), past()));
        }
        assert!(reader.known(2, id(1)).is_some() && reader.known(1, id(99)).is_some());
        assert!(reader.known(1, id(98)).is_none() && reader.known(3, id(1)).is_none());
        for owner in 3..3 + REMEMBERED as u32 {
            reader.remember((owner, id(1), past()));
        }
        assert!(reader.known(1, id(99)).is_none());
        assert_eq!(reader.locked().len(), REMEMBERED);
    }
}
