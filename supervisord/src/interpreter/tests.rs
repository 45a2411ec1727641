use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use serde_json::json;
use supervisor_api::{
    Cell, CellOutcome, CellResult, CellResultKind, CellState, ErrorCode, Execution, ExecutionId,
    Language, Limit, Outcome, OutputSummary, RunCell,
};
use tempfile::TempDir;
use tokio::time::timeout;

use super::set::Found;
use super::*;
use crate::places::Places;

/// A state directory with interpreters.
struct Fixture {
    state: TempDir,
    places: Arc<Places>,
    set: InterpreterSet,
}

impl Fixture {
    fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let places = Arc::new(Places::open(state.path()).unwrap());
        Self { state, places, set: InterpreterSet::default() }
    }

    fn lay_out(&self, id: u128, owner: u32) -> Arc<Interpreter> {
        let kept = Kept { language: Language::Python, idle_timeout: 1, end: None, cells: None };
        lay_out(&self.places, &self.set, &execution(id, owner), kept).unwrap()
    }

    /// As a daemon that comes back finds it.
    async fn reopened(&self, id: u128) -> Arc<Interpreter> {
        let execution = execution(id, 1000);
        let reopened = Interpreter::reopen(&self.places, &self.set, &execution).await;
        reopened.unwrap().expect("an interpreter")
    }

    fn file(&self, id: u128) -> PathBuf {
        self.state.path().join(format!("executions/{}/cells", ExecutionId::from_bits(id)))
    }
}

fn execution(id: u128, owner: u32) -> Execution {
    let limits: serde_json::Map<_, _> =
        Limit::ALL.iter().map(|limit| (limit.name().to_owned(), json!(1000))).collect();
    serde_json::from_value(json!({
        "id": ExecutionId::from_bits(id),
        "session": supervisor_api::SessionId::from_bits(1),
        "owner_uid": owner,
        "state": "running",
        "argv": ["python3"],
        "language": "python",
        "policy": {"name": "default", "digest": "cd".repeat(32)},
        "limits": limits,
        "created_at": "2026-01-01T00:00:00Z",
        "usage": supervisor_api::Usage::default(),
        "output": OutputSummary::default(),
        "artifact_count": 0,
        "artifacts_truncated": false,
        "controls": [],
    }))
    .expect("an execution")
}

fn asked(source: &str) -> RunCell {
    let (wall_time, output_bytes) = (None, None);
    RunCell { source: source.to_owned(), wall_time, output_bytes, wait: false }
}

fn cell(interpreter: &Interpreter, number: u64) -> Option<Arc<Cell>> {
    match interpreter.cell(number) {
        Found::Here(cell) => cell,
        Found::Past => panic!("it has not ended"),
    }
}

async fn run(interpreter: &Arc<Interpreter>, number: u64) {
    let mut begun = (*cell(interpreter, number).expect("it waits")).clone();
    begun.state = CellState::Running;
    interpreter.begin(begun, 7).await;
    interpreter.change(number, 0, |cell| cell.state = CellState::Done).await;
}

#[tokio::test]
async fn a_daemon_that_comes_back_finds_every_change_but_one_that_was_cut_off() {
    let fixture = Fixture::new();
    let before = fixture.lay_out(1, 1000);
    for source in ["one", "two"] {
        before.accept(asked(source)).await.unwrap();
    }
    run(&before, 1).await;
    let whole = fs::read(fixture.file(1)).unwrap();
    fs::write(fixture.file(1), &whole[..whole.len() - 1]).unwrap();
    let cut = fixture.reopened(1).await;
    assert_eq!(cut.next().map(|cell| (cell.number, cell.state)), Some((1, CellState::Running)));
    assert_eq!(cut.rested_before(), 7);
    fs::write(fixture.file(1), &whole).unwrap();
    let after = fixture.reopened(1).await;
    assert_eq!(after.next().map(|cell| cell.number), Some(2));
    assert_eq!(after.accept(asked("three")).await, Ok(3));
}

#[tokio::test]
async fn what_is_kept_has_bounds_in_number_and_in_bytes() {
    let fixture = Fixture::new();
    let interpreter = fixture.lay_out(1, 1000);
    for number in 1..=300 {
        assert_eq!(interpreter.accept(asked("x")).await, Ok(number));
        run(&interpreter, number).await;
    }
    let (kept, forgotten) = interpreter.cells().expect("it has not ended");
    assert_eq!((kept.len(), forgotten), (100, 200));
    // Results without anything in them take memory as well.
    let empty = || CellResult { kind: CellResultKind::Value, data: Default::default() };
    for number in 301..=400 {
        interpreter.accept(asked("x")).await.unwrap();
        let results = vec![empty(); 1000];
        interpreter.change(number, 0, move |cell| cell.results = results).await;
        run(&interpreter, number).await;
    }
    let (kept, _) = interpreter.cells().expect("it has not ended");
    let bytes: usize = kept.iter().map(|cell| size_of_val(&*cell.results)).sum();
    assert!(bytes <= 8 << 20 && kept.iter().map(|cell| weight::of(cell)).sum::<usize>() >= bytes);
    for _ in 0..64 {
        interpreter.accept(asked("waits")).await.unwrap();
    }
    assert_eq!(interpreter.accept(asked("one more")).await.unwrap_err().code, ErrorCode::Busy);
}

#[tokio::test]
async fn a_file_holds_no_more_than_twice_what_is_kept_and_all_of_that() {
    let fixture = Fixture::new();
    let interpreter = fixture.lay_out(1, 1000);
    let large = "x".repeat(1 << 20);
    for number in 1..=5 {
        assert_eq!(interpreter.accept(asked(&large)).await, Ok(number));
    }
    for number in 1..=20 {
        run(&interpreter, number).await;
        assert_eq!(interpreter.accept(asked(&large)).await, Ok(number + 5));
        // Six wait and up to seven are kept; what comes between two looks is three lines.
        let length = fs::metadata(fixture.file(1)).unwrap().len();
        assert!(length <= 2 * (14 << 20) + (3 << 20), "{length}");
    }
    let after = fixture.reopened(1).await;
    let numbers = |interpreter: &Interpreter| {
        let (cells, forgotten) = interpreter.cells().expect("it has not ended");
        (cells.iter().map(|cell| (cell.number, cell.state)).collect::<Vec<_>>(), forgotten)
    };
    assert_eq!(numbers(&after), numbers(&interpreter));
    assert_eq!(after.accept(asked("x")).await, Ok(26));
}

#[tokio::test]
async fn cells_that_wait_take_so_many_bytes_of_an_interpreter_and_of_its_owner() {
    let fixture = Fixture::new();
    let large = "\u{1}".repeat(1 << 20); // six bytes each in the file
    let all: Vec<_> = (1..=11).map(|id| fixture.lay_out(id, 1000)).collect();
    for interpreter in all.iter().take(10) {
        interpreter.accept(asked(&large)).await.unwrap();
        let refused = interpreter.accept(asked(&large)).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Busy);
        assert!(refused.detail.contains("of 8388608 bytes"), "{refused}");
    }
    let refused = all[10].accept(asked(&large)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Busy);
    assert!(refused.detail.contains("your interpreters"), "{refused}");
    assert_eq!(fixture.lay_out(12, 1001).accept(asked(&large)).await, Ok(1));
    // What is found by a daemon that comes back counts, and what has ended does not.
    drop(all);
    let found = fixture.reopened(1).await;
    let full = fixture.lay_out(13, 1000);
    full.accept(asked(&large)).await.unwrap();
    assert_eq!(found.accept(asked(&large)).await.unwrap_err().code, ErrorCode::Busy);
    run(&found, 1).await;
    assert_eq!(found.accept(asked(&large)).await, Ok(2));
}

#[tokio::test]
async fn a_cell_that_was_accepted_is_asked_for_though_nobody_waits_for_the_answer() {
    let interpreter = Fixture::new().lay_out(1, 1000);
    let large = "x".repeat(1 << 20); // it is written away from this thread
    let mut accepted = Box::pin(interpreter.accept(asked(&large)));
    let once = std::future::poll_fn(|context| Poll::Ready(accepted.as_mut().poll(context))).await;
    assert!(once.is_pending());
    drop(accepted);
    timeout(Duration::from_secs(60), interpreter.asked.notified()).await.expect("it is asked for");
    assert_eq!(interpreter.next().map(|cell| cell.number), Some(1));
}

#[tokio::test]
async fn an_owner_whose_cells_take_long_holds_up_no_other_one() {
    let fixture = Fixture::new();
    let (own, other) = (fixture.lay_out(1, 1000), fixture.lay_out(2, 1001));
    let long = [own.work.turn(1000).await.unwrap(), own.work.turn(1000).await.unwrap()];
    let large = "x".repeat(weight::LARGE + 1);
    let waits = own.accept(asked(&large));
    tokio::pin!(waits);
    assert!(timeout(Duration::from_millis(50), &mut waits).await.is_err(), "two of one owner");
    assert_eq!(own.accept(asked("little")).await, Ok(1));
    assert_eq!(other.accept(asked(&large)).await, Ok(1));
    drop(long);
    assert_eq!(waits.await, Ok(2));
}

#[tokio::test]
async fn what_waited_at_the_end_is_written_once_and_read_when_somebody_asks() {
    let fixture = Fixture::new();
    let interpreter = fixture.lay_out(1, 1000);
    let text = "x".repeat(100 << 10);
    for number in 1..=64 {
        assert_eq!(interpreter.accept(asked(&text)).await, Ok(number));
    }
    let before = fs::metadata(fixture.file(1)).unwrap().len();
    interpreter.end(&Outcome::Cancelled, &OutputSummary::default()).await;
    let written = fs::metadata(fixture.file(1)).unwrap().len() - before;
    assert!(written < before + 64 * 100, "{written} after {before}");
    assert!(interpreter.cells().is_none() && matches!(interpreter.cell(1), Found::Past));
    let shown = interpreter.show();
    assert_eq!((shown.cells, shown.waiting), (64, 0));
    let past =
        fixture.set.past.read(&fixture.places, (interpreter.owner, interpreter.id)).await.unwrap();
    assert_eq!((past.cells.len(), past.forgotten, past.last), (64, 0, 64));
    assert!(past.cells.iter().all(|cell| cell.outcome == Some(CellOutcome::Lost)));
    assert_eq!(past.get(64).map(|cell| cell.source.len()), Some(text.len()));
    let refused = interpreter.accept(asked("x")).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Conflict);
    // One that is looked at later is told from what was noted, without its cells.
    let execution = execution(1, 1000);
    let later =
        Interpreter::ended_as(&fixture.places, &fixture.set, &execution, &Outcome::Cancelled);
    assert_eq!(later.unwrap().expect("an interpreter").show(), shown);
    // What could not be written as lost is lost nevertheless.
    let file = fs::read(fixture.file(1)).unwrap();
    fs::write(fixture.file(1), &file[..before as usize]).unwrap();
    let other = past::Reader::default();
    let past = other.read(&fixture.places, (interpreter.owner, interpreter.id)).await.unwrap();
    assert!(past.cells.iter().all(|cell| cell.outcome == Some(CellOutcome::Lost)));
}
