//! What goes to a payload while it runs, and what comes from it meanwhile.

#![allow(clippy::expect_used, reason = "a test fails by a panic, and so does what it stands on")]

use std::time::{Duration, Instant};

use supervisor_api::{Content, ErrorCode, ExecutionId, State, SubmitRequest};
use supervisor_tests::{
    AGENT, Client, OTHER_AGENT, Selection, World, argv, bash, python, resident_bytes, until,
    until_true,
};

/// The same with standard input that stays open.
fn open(request: SubmitRequest) -> SubmitRequest {
    SubmitRequest { stdin_open: true, ..request }
}

#[track_caller]
fn wait_until_it_runs(agent: &Client, id: ExecutionId) {
    until_true("it runs", || agent.status(id, 0).expect("ours").state == State::Running);
}

#[test]
fn what_is_sent_in_pieces_is_read_as_it_comes() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let first = Some(Content(b"given\n".to_vec()));
    let id = agent.start(&SubmitRequest { stdin: first, ..open(argv(&["cat"])) });
    let mut follow = agent.follow(id, Selection::Stdout, 0).expect("it can be followed");
    assert_eq!(follow.until_it_says("given\n"), "given\n");
    assert_eq!(agent.send(id, 6, "one\n").expect("taken").offset, 10);
    assert_eq!(follow.until_it_says("one\n"), "one\n");
    assert_eq!(agent.send(id, 10, "two\n").expect("taken").offset, 14);
    assert_eq!(follow.until_it_says("two\n"), "two\n");
    assert!(agent.status(id, 0).expect("ours").stdin_open);
    assert!(!agent.close_input(id).expect("ours").open);
    let ended = agent.ended(id);
    ended.expect_exit(0);
    assert_eq!(ended.stdout, "given\none\ntwo\n");
    let over = agent.send(id, 14, "three").expect_err("it has ended");
    assert_eq!(over.code, ErrorCode::Conflict, "{over}");
}

#[test]
fn a_repeated_send_adds_nothing_and_a_gap_is_refused() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let id = agent.start(&open(argv(&["cat"])));
    for _ in 0..3 {
        assert_eq!(agent.send(id, 0, "once ").expect("taken").offset, 5);
    }
    assert_eq!(agent.send(id, 3, "e only").expect("taken").offset, 9);
    let gap = agent.send(id, 10, "?").expect_err("a byte is missing");
    assert_eq!((gap.code, gap.field.as_deref()), (ErrorCode::Conflict, Some("offset")));
    let stranger = world.agent(OTHER_AGENT).send(id, 9, "x").expect_err("not theirs");
    assert_eq!(stranger.code, ErrorCode::NotFound);
    agent.close_input(id).expect("ours");
    assert_eq!(agent.ended(id).stdout, "once only");
    let given = agent.start(&argv(&["cat"]));
    assert_eq!(agent.send(given, 0, "x").expect_err("it was given").code, ErrorCode::Conflict);
}

/// The daemon dies between two sends, in the middle of what the payload has yet to read, and before the end.
#[test]
fn every_byte_that_was_taken_arrives_once_over_the_daemons_death() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let script = "read line; echo begun; cat; echo complete";
    let id = agent.start(&open(bash(script)));
    wait_until_it_runs(&agent, id);
    let sent: Vec<u8> = (0..20_000).flat_map(|n| format!("{n:07}\n").into_bytes()).collect();
    let mut offset = 0;
    for round in 0..4 {
        let piece = &sent[offset as usize..][..sent.len() / 4];
        let taken = agent.send(id, offset, piece).expect("taken");
        assert_eq!(taken.offset, offset + piece.len() as u64);
        world.daemon().kill();
        world.start_daemon();
        assert_eq!(agent.input(id).expect("ours").offset, taken.offset, "round {round}");
        assert_eq!(agent.send(id, offset, piece).expect("taken").offset, taken.offset);
        offset = taken.offset;
    }
    agent.close_input(id).expect("ours");
    world.daemon().kill();
    world.start_daemon();
    let ended = agent.ended(id);
    ended.expect_exit(0);
    let sent = String::from_utf8(sent).expect("digits");
    let (_first, rest) = sent.split_once('\n').expect("lines");
    assert!(ended.stdout == format!("begun\n{rest}complete\n"), "{}", ended.stdout.len());
}

/// It costs what may wait for it, its own sender waits and is told how much was taken, and nobody else
/// notices.
#[test]
fn a_payload_that_reads_nothing_costs_little_and_stalls_nobody() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let deaf = agent.start(&open(bash("echo up; exec sleep 300")));
    agent.wait_for_words(deaf, "up");
    let before = resident_bytes(world.daemon().pid());
    let flood = vec![b'x'; 1 << 20];
    // A disk that stands still for a moment lets others be late, and who is held up is so each time.
    let taken = until("others are served while the sender waits", || {
        std::thread::scope(|threads| {
            let flooding = threads.spawn(|| {
                let begun = Instant::now();
                let taken = agent.send(deaf, 0, &flood).expect("some of it");
                assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
                taken
            });
            for number in 0..3 {
                let words = format!("line {number}\n");
                let id = agent.start(&open(argv(&["head", "-n1"])));
                agent.send(id, 0, &words).expect("taken");
                assert_eq!(agent.ended(id).stdout, words);
            }
            let waits = !flooding.is_finished();
            let taken = flooding.join().expect("an answer");
            waits.then_some(taken)
        })
    });
    assert!(taken.offset < 1 << 19 && taken.open, "{taken:?}");
    let grown = resident_bytes(world.daemon().pid()).saturating_sub(before);
    assert!(grown < 16 << 20, "the daemon grew by {grown} bytes");
    agent.cancel(deaf).expect("ours");
}

#[test]
fn a_payload_that_closes_its_input_has_the_next_sender_told() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let id = agent.start(&open(bash("exec <&-; echo closed; exec sleep 300")));
    agent.wait_for_words(id, "closed");
    let mut offset = 0;
    until_true("the sender is told", || match agent.send(id, offset, "x") {
        Ok(taken) => {
            offset = taken.offset;
            false
        }
        Err(error) => error.code == ErrorCode::Conflict,
    });
    agent.cancel(id).expect("ours");
}

/// Two who follow from different offsets see every byte, and one who stopped reading stalls neither the
/// payload nor the other.
#[test]
fn several_readers_see_everything_at_their_own_pace() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let source = "
import sys
for line in sys.stdin:
    print(line.strip() * 1000, flush=True)
";
    let id = agent.start(&open(python(source)));
    let mut idle = agent.follow(id, Selection::Stdout, 0).expect("followed");
    let mut offset = 0;
    let mut expected = String::new();
    for number in 0..200 {
        let line = format!("{number:05}\n");
        offset = agent.send(id, offset, &line).expect("taken").offset;
        expected.push_str(&line.trim().repeat(1000));
        expected.push('\n');
    }
    let mut late = agent.follow(id, Selection::Stdout, 5001).expect("followed");
    agent.close_input(id).expect("ours");
    let ended = agent.ended(id);
    ended.expect_exit(0);
    assert!(ended.stdout == expected);
    assert!(late.to_the_end().expect("an end") == expected.as_bytes()[5001..]);
    assert!(idle.to_the_end().expect("an end") == expected.as_bytes());
}
