//! The interpreters there are.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use supervisor_api::{
    ApiError, Cell, CellOutput, CellState, ErrorCode, Execution, ExecutionId, InterpreterEnd,
    InterpreterState, Language, Limit, Limits, Outcome, RunCell, SessionId,
};
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;

use super::cells::Cells;
use super::past;
use super::record::Record;
use crate::clock;
use crate::in_turn::InTurn;
use crate::places::Places;
use crate::pool::Pool;
use crate::supervisor::{internal, storage};

/// Interpreters of a session at once. Each is an execution besides, and counts as such.
pub const MAX_LIVE: usize = 8;

/// Of those that have ended, how many of a session are remembered in lists.
const MAX_ENDED: usize = 16;

/// Bytes of a cell's text.
const MAX_SOURCE: usize = 1 << 20;

/// Bytes of the cells that have not ended, in all interpreters of one uid, and of all.
const OPEN_OF_ONE: u64 = 64 << 20;
const OPEN: u64 = 512 << 20;

/// Lines that are read and cells that are written at once where they are large, away from the thread that serves
/// everybody: each of 8 MiB at the most, which takes a tenth of a second.
const AT_WORK: usize = 4;

/// Of one owner: the others wait for two of each other owner at the most.
const AT_WORK_OF_ONE: usize = 2;

/// Milliseconds that a cell may take where its caller doesn't say.
const WALL_TIME: u64 = 60_000;

/// Seconds without a cell after which an interpreter is ended, where nobody said how many: half an hour.
pub const IDLE_TIMEOUT: u64 = 1800;

/// What is kept of an interpreter besides its execution's record.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Kept {
    /// Its language.
    pub language: Language,
    /// Seconds without a cell after which it is ended.
    pub idle_timeout: u64,
    /// Why it ended.
    #[serde(default)]
    pub end: Option<InterpreterEnd>,
    /// How many cells it was given, once it has ended.
    #[serde(default)]
    pub cells: Option<u64>,
}

/// One interpreter.
#[derive(Debug)]
pub struct Interpreter {
    /// Its execution.
    pub id: ExecutionId,
    /// Its session.
    pub session: SessionId,
    /// What it was made with.
    pub kept: Kept,
    /// When it was made.
    pub created_at: String,
    /// Whose it is.
    pub(super) owner: u32,
    /// Its execution's limits.
    limits: Limits,
    /// Whether it was there before this daemon.
    pub taken_over: bool,
    pub(super) places: Arc<Places>,
    /// What the cells of all may take.
    pub(super) waiting: Arc<Pool>,
    /// Who does what takes long.
    pub(super) work: Arc<InTurn>,
    /// Taken before the state, by whoever changes cells.
    pub(super) record: Mutex<Record>,
    pub(super) state: Mutex<Inside>,
    /// A cell came, or an interrupt.
    pub asked: Notify,
    /// Rises with everything that somebody may wait for.
    changed: watch::Sender<u64>,
    /// Why it is to end.
    pub ends: watch::Sender<Option<InterpreterEnd>>,
}

/// What is seen of it.
#[derive(Debug, Default)]
pub(super) struct Inside {
    /// None once it has ended.
    pub cells: Cells,
    /// The cell that somebody wants interrupted.
    interrupt: Option<u64>,
    /// How it ended.
    pub ended: Option<(InterpreterEnd, Outcome)>,
}

/// A cell as it is looked for.
#[derive(Debug)]
pub enum Found {
    /// It is kept, or it is not.
    Here(Option<Arc<Cell>>),
    /// Its interpreter has ended: it is in the file.
    Past,
}

impl Interpreter {
    pub(super) fn new(
        execution: &Execution,
        kept: Kept,
        places: &Arc<Places>,
        among: &InterpreterSet,
    ) -> Self {
        Self {
            id: execution.id,
            session: execution.session,
            kept,
            created_at: execution.created_at.clone(),
            owner: execution.owner_uid,
            limits: execution.limits,
            taken_over: false,
            places: places.clone(),
            waiting: among.open.clone(),
            work: among.work.clone(),
            record: Mutex::new(Record::closed(places, execution.id)),
            state: Mutex::default(),
            asked: Notify::new(),
            changed: watch::Sender::new(0),
            ends: watch::Sender::new(None),
        }
    }

    /// The cell that a request asks for, if it may be one.
    pub(super) fn check(&self, request: RunCell) -> Result<Cell, ApiError> {
        let RunCell { source, wall_time, output_bytes, .. } = request;
        if source.len() > MAX_SOURCE || source.contains('\0') {
            let problem = format!("a cell is at most {MAX_SOURCE} bytes of text without NUL");
            return Err(ApiError::invalid("source", problem));
        }
        let bounded = |limit: Limit, asked: Option<u64>, default: u64| {
            let most = self.limits.get(limit);
            match asked {
                None => Ok(default.min(most)),
                Some(asked) if (1..=most).contains(&asked) => Ok(asked),
                Some(_) => {
                    let problem = format!("a cell's is from 1 to its interpreter's {most}");
                    Err(ApiError::invalid(limit.name(), problem))
                }
            }
        };
        Ok(Cell {
            number: 0,
            state: CellState::Waiting,
            outcome: None,
            source,
            wall_time: bounded(Limit::WallTime, wall_time, WALL_TIME)?,
            output_bytes: bounded(Limit::OutputBytes, output_bytes, u64::MAX)?,
            results: Vec::new(),
            results_dropped: 0,
            error: None,
            exit_status: None,
            stdout: CellOutput::default(),
            stderr: CellOutput::default(),
            created_at: clock::now(),
            started_at: None,
            took_us: None,
        })
    }

    /// Asks for the cell that runs to be interrupted.
    pub fn interrupt(&self) -> Result<(), ApiError> {
        let mut inside = self.locked();
        if let Some((end, outcome)) = &inside.ended {
            return Err(gone(*end, outcome));
        }
        let Some(number) = inside.cells.next().map(|cell| cell.number) else {
            return Err(ApiError::new(ErrorCode::Conflict, "no cell runs"));
        };
        inside.interrupt = Some(number);
        drop(inside);
        self.asked.notify_one();
        Ok(())
    }

    /// Whether somebody wants this cell interrupted; tells it once.
    pub fn take_interrupt(&self, number: u64) -> bool {
        self.locked().interrupt.take_if(|wanted| *wanted == number).is_some()
    }

    /// The first cell that has not ended.
    pub fn next(&self) -> Option<Arc<Cell>> {
        self.locked().cells.next().cloned()
    }

    /// For how many milliseconds the execution had been paused when the last cell's turn came.
    pub fn rested_before(&self) -> u64 {
        self.locked().cells.rested
    }

    /// Whether it has ended.
    pub fn is_ended(&self) -> bool {
        self.locked().ended.is_some()
    }

    /// What callers see of it.
    pub fn show(&self) -> supervisor_api::Interpreter {
        let inside = self.locked();
        let state = match (&inside.ended, inside.cells.next()) {
            (Some(_), _) => InterpreterState::Ended,
            (None, Some(_)) => InterpreterState::Busy,
            (None, None) => InterpreterState::Idle,
        };
        supervisor_api::Interpreter {
            id: self.id,
            session: self.session,
            language: self.kept.language,
            state,
            end: inside.ended.as_ref().map(|(end, _)| *end),
            outcome: inside.ended.as_ref().map(|(_, outcome)| outcome.clone()),
            idle_timeout: self.kept.idle_timeout,
            cells: inside.cells.last,
            waiting: inside.cells.waiting() as u64,
            created_at: self.created_at.clone(),
        }
    }

    /// The cells that are kept, and how many were before them; nothing once it has ended.
    pub fn cells(&self) -> Option<(Vec<Arc<Cell>>, u64)> {
        let inside = self.locked();
        let cells = &inside.cells;
        inside.ended.is_none().then(|| (cells.all().cloned().collect(), cells.forgotten()))
    }

    /// One cell.
    pub fn cell(&self, number: u64) -> Found {
        let inside = self.locked();
        match inside.ended {
            Some(_) => Found::Past,
            None => Found::Here(inside.cells.get(number).cloned()),
        }
    }

    /// Returns once a cell has ended, with it, or is no longer kept.
    pub async fn ended(&self, number: u64) -> Found {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            match self.cell(number) {
                Found::Here(Some(cell)) if cell.state != CellState::Done => {}
                other => return other,
            }
            if changed.changed().await.is_err() {
                return self.cell(number);
            }
        }
    }

    /// Does what takes long away from the thread that serves everybody, when it is its owner's turn; whatever becomes of
    /// who asked for it.
    ///
    /// # Errors
    /// Only while the daemon ends.
    pub(super) async fn away<T: Send + 'static>(
        &self,
        act: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let (work, owner) = (self.work.clone(), self.owner);
        let done = tokio::spawn(async move {
            let _turn = work.turn(owner).await?;
            spawn_blocking(act).await.map_err(internal)
        });
        done.await.map_err(internal)?
    }

    pub(super) fn tell(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(super) fn locked(&self) -> MutexGuard<'_, Inside> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is said of an interpreter that has ended, with all that it knew.
pub(super) fn gone(end: InterpreterEnd, outcome: &Outcome) -> ApiError {
    let why = match end {
        InterpreterEnd::Closed => "it was closed",
        InterpreterEnd::Idle => "no cell came for too long",
        InterpreterEnd::CellTimedOut => "a cell did not stop when its time was up",
        InterpreterEnd::CellOutput => "a cell did not stop when it had written too much",
        InterpreterEnd::ChannelBroken => "it said what is no word of an interpreter",
        InterpreterEnd::Process => outcome.name(),
    };
    let problem = format!("the interpreter has ended ({why}), and its variables with it");
    ApiError::new(ErrorCode::Conflict, problem)
        .with_hint("start another one; files are still there")
}

/// All of them.
#[derive(Debug)]
pub struct InterpreterSet {
    by_id: Mutex<HashMap<ExecutionId, Arc<Interpreter>>>,
    /// What the cells of all that have not ended may take.
    open: Arc<Pool>,
    /// What takes long of all of them.
    work: Arc<InTurn>,
    /// The cells of those that have ended.
    pub past: past::Reader,
}

impl Default for InterpreterSet {
    fn default() -> Self {
        let open = Pool::new(OPEN, OPEN_OF_ONE, 0);
        let work = Arc::new(InTurn::new(AT_WORK, AT_WORK_OF_ONE));
        Self { by_id: Mutex::default(), open, work, past: past::Reader::default() }
    }
}

impl InterpreterSet {
    /// Adds one, if its session may have one more.
    pub fn add(&self, interpreter: Arc<Interpreter>) -> Result<(), ApiError> {
        let mut all = self.locked();
        let session = interpreter.session;
        let of_it = all.values().filter(|each| each.session == session);
        let (mut ended, live): (Vec<_>, Vec<_>) = of_it.cloned().partition(|each| each.is_ended());
        if live.len() >= MAX_LIVE {
            let problem = format!("the session has {MAX_LIVE} interpreters, which is the most");
            return Err(ApiError::new(ErrorCode::Busy, problem).with_hint("close one"));
        }
        ended.sort_by(|one, other| one.created_at.cmp(&other.created_at));
        let too_many = (ended.len() + 1).saturating_sub(MAX_ENDED);
        for oldest in ended.iter().take(too_many) {
            all.remove(&oldest.id);
        }
        all.insert(interpreter.id, interpreter);
        Ok(())
    }

    /// Forgets one that never ran, or whose record is gone, and what was read of its cells.
    pub fn remove(&self, id: ExecutionId) {
        self.locked().remove(&id);
        self.past.forget(id);
    }

    /// Forgets those of a session that is gone.
    pub fn forget(&self, session: SessionId) {
        self.locked().retain(|_, each| each.session != session);
    }

    /// Finds one.
    pub fn get(&self, id: ExecutionId) -> Option<Arc<Interpreter>> {
        self.locked().get(&id).cloned()
    }

    /// Those of a session, oldest first.
    pub fn of(&self, session: SessionId) -> Vec<Arc<Interpreter>> {
        let all = self.locked();
        let mut found: Vec<_> =
            all.values().filter(|each| each.session == session).cloned().collect();
        found.sort_by(|one, other| {
            one.created_at.cmp(&other.created_at).then(one.id.bits().cmp(&other.id.bits()))
        });
        found
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<ExecutionId, Arc<Interpreter>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the files of a new interpreter.
pub fn lay_out(
    places: &Arc<Places>,
    among: &InterpreterSet,
    execution: &Execution,
    kept: Kept,
) -> Result<Arc<Interpreter>, ApiError> {
    let made = || -> io::Result<Arc<Interpreter>> {
        places.make(execution.id, &[])?;
        places.keep_interpreter(execution.id, &serde_json::to_vec(&kept)?)?;
        // There is no cell yet to be read.
        Ok(Arc::new(Interpreter::new(execution, kept, places, among).with_cells()?))
    };
    made().map_err(storage)
}
