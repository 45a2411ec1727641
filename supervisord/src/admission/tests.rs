use std::collections::{HashMap, VecDeque};

use super::*;

const BOUNDS: Bounds = Bounds {
    running: 3,
    running_per_uid: 2,
    waiting_per_uid: 4,
    waiting: 6,
    memory_per_uid: 0,
    workspace_bytes_per_uid: 0,
    kept_per_uid: 2,
    submission_bytes: 0,
    submission_bytes_per_uid: 0,
};

const NOTHING: Need = Need { memory: 0, workspace: 0, submission: 0 };

fn memory(memory: u64) -> Need {
    Need { memory, ..NOTHING }
}

fn turn(line: &mut InLine) -> Option<Turn> {
    let turn = line.turn.as_mut()?.try_recv().ok();
    line.turn.take_if(|_| turn.is_some());
    turn
}

fn id(number: u128) -> ExecutionId {
    ExecutionId::from_bits(number)
}

impl Admission {
    /// An execution comes and is ready.
    fn line_up(
        self: &Arc<Self>,
        uid: u32,
        id: ExecutionId,
        need: Need,
    ) -> Result<InLine, ApiError> {
        Ok(self.expect(uid, need)?.line_up(id))
    }
}

/// One that needs nothing does.
fn line_up(admission: &Arc<Admission>, uid: u32) -> Result<InLine, ApiError> {
    admission.line_up(uid, id(0), NOTHING)
}

#[test]
fn half_of_what_runs_may_be_paused_of_one_and_of_all() {
    let bounds = Bounds { running: 6, running_per_uid: 4, ..BOUNDS };
    let admission = Admission::new(bounds);
    let code = |uid| admission.pause(uid).err().map(|error| (error.code, error.detail));
    let ours: Vec<_> = (0..2).map(|_| admission.pause(1).unwrap()).collect();
    let (refused, said) = code(1).expect("it has had its own");
    assert_eq!(refused, ErrorCode::Busy);
    assert!(said.contains("2 executions of uid 1 are paused"), "{said}");
    let theirs = admission.pause(2).unwrap();
    let (refused, said) = code(2).expect("all have had theirs");
    assert_eq!(refused, ErrorCode::Busy);
    assert!(said.contains("3 executions are paused"), "{said}");
    let found = admission.already_paused(3); // by an earlier daemon
    drop(ours);
    assert_eq!(code(1), None);
    drop((theirs, found));
    assert!(admission.lock().callers.is_empty());
    assert_eq!(admission.lock().paused, 0);
    admission.bound(Bounds { running: 1, running_per_uid: 1, ..BOUNDS });
    let only = admission.pause(1).unwrap();
    assert!(code(1).is_some());
    drop(only);
}

#[test]
fn a_caller_cannot_take_more_places_than_its_own() {
    let admission = Admission::new(BOUNDS);
    let mut lines: Vec<_> = (0..3).map(|_| line_up(&admission, 1).unwrap()).collect();
    let turns: Vec<_> = lines.iter_mut().map(turn).collect();
    assert_eq!(turns.iter().flatten().count(), 2);
    assert!(turn(&mut line_up(&admission, 2).unwrap()).is_some());
    drop(turns);
    assert!(turn(&mut lines[2]).is_some());
}

#[test]
fn callers_take_turns_however_long_their_lines_are() {
    let admission = Admission::new(Bounds { running: 1, ..BOUNDS });
    let first = turn(&mut line_up(&admission, 1).unwrap());
    let mut ones: Vec<_> = (0..3).map(|_| line_up(&admission, 1).unwrap()).collect();
    let mut two = line_up(&admission, 2).unwrap();
    drop(first);
    let one = turn(&mut ones[0]);
    assert!(one.is_some() && turn(&mut two).is_none());
    drop(one);
    assert!(turn(&mut two).is_some());
}

#[test]
fn a_line_that_is_full_refuses_with_busy() {
    let admission = Admission::new(BOUNDS);
    let _lines: Vec<_> = (0..6).map(|_| line_up(&admission, 1).unwrap()).collect();
    assert_eq!(line_up(&admission, 1).err().map(|error| error.code), Some(ErrorCode::Busy));
}

#[test]
fn a_caller_that_went_away_does_not_keep_its_place() {
    let admission = Admission::new(Bounds { running: 1, ..BOUNDS });
    let first = turn(&mut line_up(&admission, 1).unwrap());
    drop(line_up(&admission, 1).unwrap());
    let mut third = line_up(&admission, 1).unwrap();
    drop(first);
    assert!(turn(&mut third).is_some());
    assert_eq!(admission.lock().running, 0);
}

#[test]
fn what_is_cancelled_in_line_leaves_room_for_others_at_once() {
    let bounds = Bounds { running: 1, running_per_uid: 1, waiting: 4, ..BOUNDS };
    let admission = Admission::new(bounds);
    let first = turn(&mut line_up(&admission, 1).unwrap());
    let cancelled: Vec<_> = (0..4).map(|_| line_up(&admission, 1).unwrap()).collect();
    assert!(line_up(&admission, 2).is_err(), "four wait");
    drop(cancelled);
    assert_eq!((admission.load(), admission.waiting_of(1)), ((1, 0), 0));
    let mut ones: Vec<_> = (0..2).map(|n| admission.line_up(1, id(n), NOTHING).unwrap()).collect();
    let mut other = line_up(&admission, 2).unwrap();
    assert_eq!(
        admission.position(1, id(1)),
        Some(3),
        "in line once, whatever was cancelled before"
    );
    drop(first);
    let one = turn(&mut ones[0]);
    assert!(one.is_some());
    drop(one);
    assert!(turn(&mut other).is_some());
}

#[test]
fn whoever_stands_behind_one_that_needed_too_much_is_next_when_that_is_cancelled() {
    let admission = Admission::new(Bounds { memory_per_uid: 100, ..BOUNDS });
    let first = turn(&mut admission.line_up(1, id(1), memory(60)).unwrap());
    let large = admission.line_up(1, id(2), memory(50)).unwrap();
    let mut small = admission.line_up(1, id(3), memory(10)).unwrap();
    assert!(turn(&mut small).is_none());
    drop(large);
    assert!(turn(&mut small).is_some());
    drop(first);
    assert!(admission.lock().callers.is_empty());
}

#[test]
fn what_is_to_come_has_its_place_in_line_and_takes_no_turn_before_it_is_ready() {
    let bounds = Bounds { running: 1, waiting_per_uid: 2, submission_bytes: 100, ..BOUNDS };
    let admission = Admission::new(bounds);
    let bytes = |submission| Need { submission, ..NOTHING };
    let coming = admission.expect(1, bytes(60)).unwrap();
    assert_eq!(admission.load(), (0, 0));
    let other = turn(&mut admission.line_up(1, id(1), NOTHING).unwrap());
    assert!(other.is_some(), "it doesn't keep its own from their turns either");
    let waits = admission.line_up(1, id(2), NOTHING).unwrap();
    assert!(line_up(&admission, 1).is_err() && admission.expect(1, NOTHING).is_err(), "two wait");
    assert!(admission.expect(2, bytes(41)).is_err(), "its submission counts");
    let mut ready = coming.line_up(id(3));
    assert!(turn(&mut ready).is_none());
    assert_eq!((admission.load(), admission.position(1, id(3))), ((1, 2), Some(2)));
    drop((other, waits));
    assert!(turn(&mut ready).is_some());
    drop((ready, admission.expect(1, bytes(100)).unwrap()));
    let turns = admission.lock();
    assert!(turns.callers.is_empty() && turns.coming == 0 && turns.submissions == 0);
}

#[test]
fn submissions_that_wait_and_run_have_a_bound_in_bytes() {
    let bounds =
        Bounds { submission_bytes_per_uid: 100, submission_bytes: 150, running: 1, ..BOUNDS };
    let admission = Admission::new(bounds);
    let bytes = |submission| Need { submission, ..NOTHING };
    let refused = admission.line_up(1, id(1), bytes(101)).err().unwrap();
    assert_eq!((refused.code, refused.field.as_deref()), (ErrorCode::PolicyDenied, Some("files")));
    let mut first = admission.line_up(1, id(1), bytes(60)).unwrap();
    let running = turn(&mut first);
    assert!(running.is_some());
    let busy = |uid, submission| {
        let refused = admission.line_up(uid, id(2), bytes(submission)).err();
        refused.is_some_and(|refused| refused.code == ErrorCode::Busy && refused.hint.is_some())
    };
    assert!(busy(1, 41), "what runs counts");
    let waits = admission.line_up(1, id(2), bytes(40)).unwrap();
    assert!(busy(1, 1) && busy(2, 51), "what waits counts, of everybody");
    drop(waits);
    let other = admission.line_up(2, id(3), bytes(90)).unwrap();
    let again = admission.expect_again(1, bytes(90)).unwrap().line_up(id(4)); // it was accepted before
    drop((running, other, again));
    let turns = admission.lock();
    assert!(turns.callers.is_empty() && turns.submissions == 0 && turns.waiting == 0);
}

#[test]
fn a_uid_at_its_memory_waits_and_others_do_not() {
    let admission = Admission::new(Bounds { memory_per_uid: 100, ..BOUNDS });
    let first = turn(&mut admission.line_up(1, id(1), memory(60)).unwrap());
    assert!(first.is_some());
    let mut large = admission.line_up(1, id(2), memory(50)).unwrap();
    let mut small = admission.line_up(1, id(3), memory(10)).unwrap();
    assert!(turn(&mut large).is_none() && turn(&mut small).is_none(), "nobody overtakes");
    assert!(turn(&mut admission.line_up(2, id(4), memory(100)).unwrap()).is_some());
    drop(first);
    let large = turn(&mut large);
    assert!(large.is_some() && turn(&mut small).is_some());
}

#[test]
fn what_can_never_have_a_turn_is_refused_with_what_can() {
    let bounds = Bounds { memory_per_uid: 100, workspace_bytes_per_uid: 7, ..BOUNDS };
    let admission = Admission::new(bounds);
    let refused = admission.line_up(1, id(1), memory(101)).err().unwrap();
    assert_eq!(refused.code, ErrorCode::PolicyDenied);
    assert_eq!(refused.field.as_deref(), Some("limits.memory_max"));
    assert!(refused.hint.is_some_and(|hint| hint.contains("100 at the most")));
    let refused = admission.keep(1, 8).err().unwrap();
    assert_eq!(refused.field.as_deref(), Some("limits.workspace_bytes"));
    assert!(admission.lock().callers.is_empty());
}

#[test]
fn kept_workspaces_count_with_those_of_what_runs() {
    let admission = Admission::new(Bounds { workspace_bytes_per_uid: 100, ..BOUNDS });
    let kept = admission.keep(1, 80).unwrap();
    assert!(admission.keep(1, 30).is_err_and(|error| error.code == ErrorCode::Busy));
    let need = Need { workspace: 30, ..NOTHING };
    let mut waiting = admission.line_up(1, id(1), need).unwrap();
    assert!(turn(&mut waiting).is_none());
    let other = admission.keep(2, 100).unwrap();
    drop(kept);
    let turn = turn(&mut waiting);
    assert!(turn.is_some());
    drop((turn, other));
    assert!(admission.lock().callers.is_empty());
}

#[test]
fn so_many_workspaces_are_kept_for_a_uid_and_no_more() {
    let admission = Admission::new(BOUNDS);
    let kept: Vec<_> = (0..2).map(|_| admission.keep(1, 1).unwrap()).collect();
    let refused = admission.keep(1, 1).err().unwrap();
    assert_eq!(refused.code, ErrorCode::Busy);
    assert!(refused.hint.is_some());
    let over = admission.already_kept(1, 1); // those of before the bound was lowered
    drop(kept);
    assert!(admission.keep(1, 1).is_ok());
    drop(over);
    assert!(admission.lock().callers.is_empty());
}

/// The abusive one has everything in line that it may; the other two come one by one.
#[test]
fn an_abusive_uid_keeps_two_others_waiting_for_one_turn_at_the_most() {
    let bounds =
        Bounds { running: 2, running_per_uid: 2, waiting_per_uid: 50, waiting: 100, ..BOUNDS };
    let admission = Admission::new(bounds);
    let mut lines = VecDeque::new();
    while let Ok(line) = admission.line_up(1, id(lines.len() as u128), NOTHING) {
        lines.push_back((1, line));
    }
    assert_eq!(lines.len(), 52, "two run, fifty wait");
    let mut running: VecDeque<_> = VecDeque::new();
    let mut started = HashMap::new();
    for round in 0..10 {
        for uid in [2, 3] {
            let number = id(1000 * u128::from(uid) + round);
            lines.push_back((uid, admission.line_up(uid, number, NOTHING).unwrap()));
            assert!(admission.position(uid, number).unwrap() <= 3, "ours, theirs, the abuser's");
        }
        for _ in 0..3 {
            lines.retain_mut(|(uid, line)| match turn(line) {
                Some(turn) => {
                    *started.entry(*uid).or_insert(0) += 1;
                    running.push_back(turn);
                    false
                }
                None => true,
            });
            assert!(running.len() <= 2);
            drop(running.pop_front()); // one ends
        }
    }
    assert!(started[&2] >= 9 && started[&3] >= 9, "{started:?}");
    assert!(admission.position(1, id(51)).unwrap() >= 30);
    assert_eq!(admission.position(1, id(0)), None, "it has had its turn");
}

#[test]
fn a_position_counts_the_turns_of_others() {
    let admission =
        Admission::new(Bounds { running: 1, waiting_per_uid: 10, waiting: 30, ..BOUNDS });
    let first = turn(&mut line_up(&admission, 9).unwrap());
    let ones: Vec<_> = (0..3).map(|n| admission.line_up(1, id(10 + n), NOTHING).unwrap()).collect();
    let twos: Vec<_> = (0..2).map(|n| admission.line_up(2, id(20 + n), NOTHING).unwrap()).collect();
    let place = |uid, number| admission.position(uid, id(number)).unwrap();
    assert_eq!(
        [place(1, 10), place(2, 20), place(1, 11), place(2, 21), place(1, 12)],
        [1, 2, 3, 4, 5]
    );
    drop(first);
    drop((ones, twos));
}

#[test]
fn wider_bounds_let_those_in_who_wait() {
    let admission = Admission::new(Bounds { running: 1, ..BOUNDS });
    let _first = turn(&mut line_up(&admission, 1).unwrap());
    let mut second = line_up(&admission, 1).unwrap();
    assert!(turn(&mut second).is_none());
    admission.bound(BOUNDS);
    assert!(turn(&mut second).is_some());
}
