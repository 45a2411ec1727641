//! The supervisor's own processes killed at every moment, and a disk that is full: each execution has
//! one truthful end, and nothing is left behind.

#[path = "faults/full.rs"]
mod full;

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use supervisor_api::{
    ArtifactRequest, Execution, ExecutionId, LimitsRequest, Outcome, State, SubmitRequest,
};
use supervisor_tests::{
    AGENT, Selection, Settings, World, argv, attack, bash, is_enforced, python, until, until_true,
};

/// A payload that says these many numbers at this pace in seconds.
fn counter(most: u32, pace: &str) -> SubmitRequest {
    let args = vec![most.to_string(), pace.to_owned()];
    let limits = LimitsRequest { wall_time: Some(600_000), ..LimitsRequest::default() };
    SubmitRequest { args, limits, ..python(include_str!("payloads/counter.py")) }
}

fn count(most: u32) -> String {
    (0..most).map(|number| format!("{number}\n")).collect()
}

#[track_caller]
fn expect_lost(execution: &Execution) {
    assert!(matches!(execution.outcome, Some(Outcome::Lost { .. })), "{execution:?}");
}

/// FT-01, running. The payload never notices; a follower goes on where it was cut off.
#[test]
fn a_killed_daemon_loses_no_byte_of_a_running_execution() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let id = agent.start(&counter(u32::MAX, "0.005"));
    let mut text = Vec::new();
    let mut begun = None;
    for _ in 0..4 {
        let mut follow = agent.follow(id, Selection::Stdout, text.len() as u64).expect("followed");
        text.extend(follow.bytes().expect("some").expect("some"));
        begun.get_or_insert_with(Instant::now); // it ran before
        world.daemon().kill();
        while let Ok(Some(more)) = follow.bytes() {
            text.extend(more); // what was on its way
        }
        world.start_daemon();
    }
    let mut follow = agent.follow(id, Selection::Stdout, text.len() as u64).expect("followed");
    text.extend(follow.until_it_says("0\n").into_bytes());
    let ran = begun.expect("it has begun").elapsed();
    agent.cancel(id).expect("it is ours");
    text.extend(follow.to_the_end().expect("an end"));
    let ended = agent.ended(id);
    ended.expect(&Outcome::Cancelled);
    assert_eq!(String::from_utf8_lossy(&text), ended.stdout);
    let numbers = ended.stdout.lines().count() as u32;
    assert!(numbers > 20 && count(numbers) == ended.stdout, "{}", ended.stdout);
    let Execution { usage, started_at, .. } = &ended.execution;
    let wall = Duration::from_millis(usage.wall_ms + 20); // it is told in ticks of 10 ms
    assert!(started_at.is_some() && wall >= ran, "{usage:?} after {ran:?}");
    for control in ["landlock_files", "seccomp", "separate_uids"] {
        assert!(is_enforced(&ended.execution, control), "{control} is said not to hold any more");
    }
}

/// FT-01. Its wall time goes on, and so does its limit.
#[test]
fn limits_hold_over_the_daemons_death() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let limits = LimitsRequest { wall_time: Some(3000), ..LimitsRequest::default() };
    let begin = Instant::now();
    let id = agent.start(&SubmitRequest { limits, ..bash("echo up; exec sleep 300") });
    agent.wait_for_words(id, "up");
    let up = Instant::now();
    world.daemon().kill();
    until_true("its time is up", || up.elapsed() > Duration::from_secs(6));
    let lived = up.elapsed().as_millis() as u64; // a count that began anew would be half of it
    world.start_daemon();
    let execution = agent.finished(id);
    assert_eq!(execution.outcome, Some(Outcome::TimedOut));
    let took = begin.elapsed().as_millis() as u64 + 20; // ticks of 10 ms
    assert!((lived..=took).contains(&execution.usage.wall_ms), "{:?}", execution.usage);
}

/// FT-01. A payload at its share of the CPU is held back now and then where no controller does it; a
/// daemon that dies at such a moment must not leave it so, nor its successor make it pay again.
#[test]
fn a_busy_payload_goes_on_at_once_after_the_daemons_death() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let source = "
number = 0
while True:
    sum(range(200000))
    number += 1
    print(number, flush=True)
";
    let limits = LimitsRequest { cpu_max: Some(30), ..LimitsRequest::default() };
    let id = agent.start(&SubmitRequest { limits, ..attack(source) });
    for _ in 0..3 {
        let mut follow = agent.follow(id, Selection::Stdout, 0).expect("followed");
        follow.until_it_says("\n20\n");
        world.daemon().kill();
        world.start_daemon();
        let before = agent.output(id, Selection::Stdout, 0).expect("kept").len() as u64;
        let begin = Instant::now();
        let mut follow = agent.follow(id, Selection::Stdout, before).expect("followed");
        follow.bytes().expect("it goes on").expect("it goes on");
        assert!(begin.elapsed() < Duration::from_secs(30), "stood for {:?}", begin.elapsed());
    }
}

/// FT-01, at moments of every kind: just submitted, waiting, being launched, just ended. Each prints
/// its number once, or is said to be lost and printed nothing that is not its own.
#[test]
fn every_execution_has_one_truthful_end_whenever_the_daemon_dies() {
    let mut world = World::with(Settings { running: 4, ..Settings::default() });
    let agent = world.agent(AGENT);
    let mut submitted: HashMap<ExecutionId, usize> = HashMap::new();
    for round in 0..8 {
        let mut newest = None;
        for _ in 0..6 {
            let number = submitted.len();
            let id = agent.start(&bash(&format!("echo {number}; sleep 0.0{round}; echo {number}")));
            submitted.insert(id, number);
            newest = Some(id);
        }
        // Rounds differ in how far the newest has come.
        let id = newest.expect("submitted");
        let far_enough = |state| match round % 4 {
            0 => true,
            1 => state != State::Queued,
            2 => ![State::Queued, State::Launching].contains(&state),
            _ => state == State::Finished,
        };
        until_true("it has come so far", || far_enough(agent.status(id, 0).expect("ours").state));
        world.daemon().kill();
        world.start_daemon();
    }
    let mut ends = [0, 0];
    for (id, number) in submitted {
        let ended = agent.ended(id);
        let (line, both) = (format!("{number}\n"), format!("{number}\n{number}\n"));
        match &ended.execution.outcome {
            Some(Outcome::Exited { code: 0 }) => {
                assert_eq!(ended.stdout, both);
                ends[0] += 1;
            }
            Some(Outcome::Lost { reason }) => {
                assert!(["", &line, &both].contains(&ended.stdout.as_str()), "{ended:?}");
                assert!(!reason.contains("init was killed"), "{reason}: {}", ended.stdout);
                ends[1] += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(ends[0] > 0, "{ends:?}");
}

/// FT-01, collecting. What was about to be kept is kept, and the end is the payload's own: never a result
/// with half of its artifacts.
#[test]
fn artifacts_are_all_there_whenever_the_daemon_dies_over_them() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let script = "for i in $(seq 60); do head -c 1000000 /dev/zero >a$i; done; echo made";
    for _ in 0..3 {
        let artifacts = ArtifactRequest { globs: vec!["a*".to_owned()] };
        let id = agent.start(&SubmitRequest { artifacts, ..bash(script) });
        agent.wait_for_words(id, "made");
        let reached = [State::Collecting, State::Finished];
        until_true("it is collected", || {
            reached.contains(&agent.status(id, 0).expect("it is ours").state)
        });
        world.daemon().kill();
        world.start_daemon();
        let ended = agent.ended(id);
        assert_eq!(ended.stdout, "made\n");
        let list = agent.artifacts(id).expect("it has finished");
        ended.expect_exit(0); // init's report is still there for whoever comes next, or what was made of it
        assert_eq!((list.artifacts.len(), list.truncated), (60, false));
        let last = agent.artifact(id, "a60").expect("kept");
        assert_eq!(last.len(), 1_000_000);
    }
}

/// FT-01, finished. What was told stays told.
#[test]
fn a_result_that_was_told_is_still_there_after_a_crash() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let artifacts = ArtifactRequest { globs: vec!["a".to_owned()] };
    let mut told = Vec::new();
    for number in 0..5 {
        let script = format!("echo {number}; echo {number} >a; exit {number}");
        let request = SubmitRequest { artifacts: artifacts.clone(), ..bash(&script) };
        told.push(agent.run(&request).execution);
        world.daemon().kill();
        world.start_daemon();
        for (number, execution) in told.iter().enumerate() {
            let again = agent.status(execution.id, 0).expect("it is still known");
            assert_eq!(&again, execution);
            let word = format!("{number}\n").into_bytes();
            assert_eq!(agent.output(execution.id, Selection::Stdout, 0), Ok(word.clone()));
            assert_eq!(agent.artifact(execution.id, "a"), Ok(word));
        }
    }
}

/// A daemon that is asked to end leaves what runs to its successor, as an upgrade does.
#[test]
fn a_restart_in_order_disturbs_no_execution() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let id = agent.start(&counter(100, "0.01"));
    agent.wait_for_words(id, "\n5\n");
    world.daemon().end();
    world.start_daemon();
    let ended = agent.ended(id);
    ended.expect_exit(0);
    assert_eq!(ended.stdout, count(100));
}

/// FT-02. With the launcher dies every sandbox; the daemon says so and ends, for whoever starts both.
#[test]
fn a_killed_launcher_takes_every_sandbox_along_and_they_are_lost() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let id = agent.start(&bash("(sleep 300 &); echo up; sleep 300"));
    agent.wait_for_words(id, "up");
    let processes = world.processes_of(id);
    assert!(processes.len() >= 3);
    world.launcher().kill();
    until_true("the daemon has ended", || !world.daemon().runs());
    until_true("no process is left", || world.processes_of(id).is_empty());
    world.start_launcher();
    world.start_daemon();
    let ended = agent.ended(id);
    expect_lost(&ended.execution);
    assert_eq!(ended.stdout, "up\n");
    agent.run(&argv(&["true"])).expect_exit(0);
}

/// FT-02. Init's death is the end of its pid namespace.
#[test]
fn a_killed_init_takes_its_sandbox_along_and_it_is_lost() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let id = agent.start(&bash("(sleep 300 &); echo up; sleep 300"));
    agent.wait_for_words(id, "up");
    let init = world.processes_of(id)[0];
    kill(Pid::from_raw(i32::try_from(init).expect("a pid")), Signal::SIGKILL).expect("root may");
    let execution = until("it is over", || {
        Some(agent.status(id, 5).expect("ours")).filter(|each| each.state == State::Finished)
    });
    expect_lost(&execution);
    assert_eq!(world.processes_of(id), [0; 0]);
}

/// FT-02. What inits are copies of is no sandbox's concern: those that run go on, one launch fails, and
/// the next has a new one.
#[test]
fn a_killed_seed_costs_one_launch_at_the_most() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let id = agent.start(&bash("echo up; until [ -e stop ]; do sleep 0.05; done"));
    agent.wait_for_words(id, "up");
    let seed = world.seed();
    kill(Pid::from_raw(i32::try_from(seed).expect("a pid")), Signal::SIGKILL).expect("root may");
    let failed = agent.run(&argv(&["true"]));
    assert!(
        matches!(&failed.execution.outcome, Some(Outcome::SetupFailed { step, .. }) if step == "clone"),
        "{failed:?}"
    );
    agent.run(&argv(&["true"])).expect_exit(0);
    assert_ne!(world.seed(), seed);
    assert_eq!(agent.status(id, 0).expect("ours").state, State::Running);
    agent.cancel(id).expect("it is ours");
}

/// FT-01. The daemon hands standard input in as the payload takes it. If it dies with some of it left,
/// no result may be made of the rest.
#[test]
fn a_result_from_half_of_its_input_is_no_result() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let source = "
import sys, time
total = len(sys.stdin.buffer.read(65536))
print('up', flush=True)
while piece := sys.stdin.buffer.read(65536):
    total += len(piece)
    time.sleep(0.01)
print(total)
";
    let input = supervisor_api::Content(vec![b'x'; 10_000_000]);
    let id = agent.start(&SubmitRequest { stdin: Some(input), ..python(source) });
    agent.wait_for_words(id, "up");
    world.daemon().kill();
    world.start_daemon();
    let ended = agent.ended(id);
    match &ended.execution.outcome {
        Some(Outcome::Exited { code: 0 }) => assert_eq!(ended.stdout, "up\n10000000\n"),
        Some(Outcome::Lost { reason }) => assert!(reason.contains("input"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

/// What the host had not written when it lost its power: the record of a short program has its output.
#[test]
fn little_output_that_was_told_is_there_though_its_files_are_not() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let script = "echo one; sleep 0.2; echo two >&2; sleep 0.2; echo three";
    let ids = [(); 4].map(|()| agent.start(&bash(script)));
    let silent = agent.run(&bash("exit 3")).execution.id;
    let both = |id| agent.output(id, Selection::Both, 0).expect("ours");
    let before = ids.map(|id| {
        assert_eq!(agent.ended(id).stdout, "one\nthree\n");
        both(id)
    });
    assert!(before.iter().all(|lines| !lines.is_empty()), "{before:?}");
    world.daemon().kill();
    let place = |id: ExecutionId| world.state().join("executions").join(id.to_string());
    fs::remove_dir_all(place(ids[0])).expect("its files");
    fs::write(place(ids[1]).join("stdout"), "").expect("one that is empty");
    fs::write(place(ids[2]).join("stderr"), "\0\0\0\0").expect("one that holds nothing");
    fs::remove_file(place(ids[3]).join("index")).expect("one that is missing");
    world.start_daemon();
    for (id, lines) in ids.into_iter().zip(before) {
        assert_eq!(both(id), lines, "{id}");
        assert_eq!(agent.ended(id).stderr, "two\n");
    }
    assert_eq!(agent.ended(silent).stdout, "");
}
