//! The cells of interpreters that have ended: they are in their files, and are read when somebody asks.

use std::io;
use std::sync::Arc;

use supervisor_api::{ApiError, Cell, CellState, ErrorCode, ExecutionId, OutputSummary};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::cells;
use super::record::Record;
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

/// Reads one file at a time, away from the thread that serves everybody, and remembers the last: who asks for
/// the cells one by one costs one reading.
#[derive(Debug, Default)]
pub struct Reader(Arc<Mutex<Last>>);

/// What was read last.
type Last = Option<(ExecutionId, Arc<Past>)>;

impl Reader {
    /// What an interpreter that has ended has left.
    pub async fn read(&self, places: &Arc<Places>, id: ExecutionId) -> Result<Arc<Past>, ApiError> {
        let mut slot = self.0.clone().lock_owned().await;
        if let Some((known, past)) = &*slot
            && *known == id
        {
            return Ok(past.clone());
        }
        *slot = None; // not two of them in memory
        let places = places.clone();
        let read = spawn_blocking(move || {
            let past = Arc::new(Past::read(&places, id)?);
            *slot = Some((id, past.clone()));
            Ok(past)
        });
        read.await.map_err(internal)?.map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => {
                ApiError::new(ErrorCode::NotFound, "the interpreter's cells are no longer kept")
            }
            _ => internal(error),
        })
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
