//! Executions that are paused: nothing of them runs, their time stands still, and nothing is lost by it.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use std::fs;
use std::time::{Duration, Instant};

use supervisor_api::{
    ApiError, Cell, CellOutcome, CellState, ErrorCode, Execution, ExecutionId, ExecutionList,
    Interpreter, LimitsRequest, Outcome, Session, State, SubmitRequest,
};
use supervisor_tests::{
    AGENT, Client, OTHER_AGENT, Selection, Settings, World, assert_described, attack, bash,
    is_enforced, milliseconds, python, until, until_true,
};

/// Says numbers at this pace in seconds, for ever.
fn counter(pace: &str) -> SubmitRequest {
    let args = vec![u32::MAX.to_string(), pace.to_owned()];
    SubmitRequest { args, ..python(include_str!("payloads/counter.py")) }
}

fn ask(client: &Client, id: ExecutionId, act: &str) -> Result<Execution, ApiError> {
    let target = format!("/v1/executions/{id}/{act}");
    let reply = client.call("POST", &target, None).expect("the daemon answers");
    if reply.status >= 400 {
        return Err(reply.problem());
    }
    let operation = act.split('?').next().expect("a word");
    assert_described(operation, reply.status, reply.field("content-type"), &reply.body);
    Ok(serde_json::from_slice(&reply.body).expect("an execution"))
}

fn said(client: &Client, id: ExecutionId) -> usize {
    client.output(id, Selection::Stdout, 0).expect("it is ours").len()
}

/// Waits until nothing comes for a moment.
#[track_caller]
fn comes_to_rest(client: &Client, id: ExecutionId) {
    let mut before = said(client, id);
    until("what was on its way is there", || {
        std::thread::sleep(Duration::from_millis(50));
        let now = said(client, id);
        (std::mem::replace(&mut before, now) == now).then_some(())
    });
}

/// Whether nothing comes for a while of what would come at any moment if it ran.
fn stands_still(client: &Client, id: ExecutionId) -> bool {
    comes_to_rest(client, id);
    let before = said(client, id);
    std::thread::sleep(Duration::from_millis(400)); // the time in which nothing may happen
    said(client, id) == before
}

#[track_caller]
fn goes_on(client: &Client, id: ExecutionId) {
    let before = said(client, id);
    until_true("it goes on", || said(client, id) > before);
}

#[test]
fn a_paused_execution_stands_still_and_so_does_its_wall_time() {
    let world = World::open();
    let agent = world.agent(AGENT);
    // Long enough to be paused within it on a slow host.
    let wall_time = milliseconds(8000);
    let limits = LimitsRequest { wall_time: Some(wall_time), ..LimitsRequest::default() };
    let begun = Instant::now();
    let id = agent.start(&SubmitRequest { limits, ..counter("0.01") });
    agent.wait_for_words(id, "0\n");
    let paused = ask(&agent, id, "pause").expect("it runs");
    assert_eq!((paused.state, paused.paused_at.is_some()), (State::Paused, true));
    assert!(paused.usage.wall_ms < wall_time, "{:?}", paused.usage);
    assert!(stands_still(&agent, id));
    assert_eq!(ask(&agent, id, "pause").expect("it is so already").state, State::Paused);
    let listed = agent.list("state=paused").expect("a page").executions;
    assert_eq!(listed.iter().map(|each| each.id).collect::<Vec<_>>(), [id]);
    // Longer than all that it has.
    let longer = wall_time + 200;
    std::thread::sleep(Duration::from_millis(longer));
    assert_eq!(agent.status(id, 0).expect("ours").state, State::Paused);
    let going = ask(&agent, id, "resume").expect("it is paused");
    assert_eq!((going.state, going.paused_at), (State::Running, None));
    goes_on(&agent, id);
    assert_eq!(ask(&agent, id, "resume").expect("it goes on already").state, State::Running);
    let ended = agent.finished(id);
    assert_eq!(ended.outcome, Some(Outcome::TimedOut));
    // However late it was ended: both fit into what has passed, so that no moment is in the two of them.
    let (usage, passed) = (ended.usage, begun.elapsed());
    assert!(usage.wall_ms >= wall_time && usage.paused_ms >= longer, "{usage:?}");
    let together = Duration::from_millis(usage.wall_ms + usage.paused_ms);
    assert!(together <= passed, "{usage:?} in {passed:?}");
    let error = ask(&agent, id, "pause").expect_err("it has ended");
    assert_eq!(error.code, ErrorCode::Conflict);
}

#[test]
fn what_was_paused_stays_so_over_the_daemons_death_and_loses_no_byte() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let id = agent.start(&counter("0.005"));
    agent.wait_for_words(id, "5\n");
    let before = ask(&agent, id, "pause").expect("it runs").usage.wall_ms;
    for _ in 0..2 {
        world.daemon().kill();
        world.start_daemon();
        assert_eq!(agent.status(id, 0).expect("ours").state, State::Paused);
        assert!(stands_still(&agent, id));
    }
    ask(&agent, id, "resume").expect("it is paused");
    goes_on(&agent, id);
    world.daemon().kill();
    world.start_daemon();
    assert_eq!(agent.status(id, 0).expect("ours").state, State::Running);
    goes_on(&agent, id);
    agent.cancel(id).expect("ours");
    let ended = agent.ended(id);
    let usage = ended.execution.usage;
    // The two looks above took a second at least; none of it is counted as time that it ran.
    assert!(usage.paused_ms >= 800 && usage.wall_ms >= before, "{usage:?}");
    let numbers = ended.stdout.lines().count();
    let all: String = (0..numbers).map(|number| format!("{number}\n")).collect();
    assert_eq!(ended.stdout, all);
}

#[test]
fn what_is_paused_can_be_ended() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let id = agent.start(&counter("0.01"));
    agent.wait_for_words(id, "1\n");
    ask(&agent, id, "pause").expect("it runs");
    let ended = agent.cancel(id).expect("ours");
    assert_eq!((ended.state, ended.outcome), (State::Finished, Some(Outcome::Cancelled)));
}

/// More than its share of a processor, in percent, and a line for every bit of it.
fn busy(share: u64) -> SubmitRequest {
    let source = "
number = 0
while True:
    sum(range(50000))
    number += 1
    print(number, flush=True)
";
    let limits = LimitsRequest { cpu_max: Some(share), ..LimitsRequest::default() };
    SubmitRequest { limits, ..attack(source) }
}

/// Where no controller holds the share of the CPU, the daemon freezes and thaws the payload itself.
#[test]
fn holding_back_a_busy_payload_does_not_wake_it_from_its_pause() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let id = agent.start(&busy(30));
    agent.wait_for_words(id, "\n20\n");
    for _ in 0..5 {
        ask(&agent, id, "pause").expect("it runs");
        assert!(stands_still(&agent, id));
        ask(&agent, id, "resume").expect("it is paused");
        goes_on(&agent, id);
    }
    agent.cancel(id).expect("ours");
}

/// Nothing can give its memory back where no controller counts it, and a payload that is just being held back when that
/// is found is not left so.
#[test]
fn a_pause_that_is_refused_leaves_a_busy_payload_running() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let id = agent.start(&busy(5));
    agent.wait_for_words(id, "\n20\n");
    for _ in 0..5 {
        comes_to_rest(&agent, id); // it is being held back
        match ask(&agent, id, "pause?reclaim=true") {
            Ok(_) => drop(ask(&agent, id, "resume").expect("it is paused")),
            Err(refused) => assert_eq!(refused.code, ErrorCode::ControlMissing, "{refused}"),
        }
        goes_on(&agent, id);
    }
    agent.cancel(id).expect("ours");
}

#[test]
fn memory_is_given_back_or_the_refusal_says_what_is_missing() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let payload = "head -c 16M /dev/zero > file; cat file > /dev/null; echo up; exec sleep 300";
    let id = agent.start(&bash(payload));
    agent.wait_for_words(id, "up");
    let doctor = agent.doctor();
    let by_kernel = doctor.controls.iter().any(|line| {
        line.control == "memory_max" && line.status == supervisor_api::ControlStatus::Enforced
    });
    match ask(&agent, id, "pause?reclaim=true") {
        Ok(paused) => {
            assert!(by_kernel, "who gave it back?");
            assert_eq!(paused.state, State::Paused);
            assert!(paused.usage.memory_reclaimed.is_some(), "{:?}", paused.usage);
        }
        Err(error) => {
            assert!(!by_kernel, "{error}");
            assert_eq!(
                (error.code, error.field.as_deref()),
                (ErrorCode::ControlMissing, Some("reclaim"))
            );
            assert_eq!(agent.status(id, 0).expect("ours").state, State::Running, "all or nothing");
        }
    }
    let ended = agent.cancel(id).expect("ours");
    assert!(is_enforced(&ended, "seccomp"));
}

#[test]
fn all_of_a_session_is_paused_at_once_and_by_its_owner_only() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let reply = agent.call("POST", "/v1/sessions", Some(b"{}")).expect("an answer");
    let session = serde_json::from_slice::<Session>(&reply.body).expect("a session").id;
    let within = || SubmitRequest { session: Some(session), ..counter("0.01") };
    let ids = [agent.start(&within()), agent.start(&within())];
    let other = agent.start(&counter("0.01"));
    for id in ids.iter().chain([&other]) {
        agent.wait_for_words(*id, "1\n");
    }
    let of_all = |client: &Client, act: &str| {
        let target = format!("/v1/sessions/{session}/{act}");
        client.call("POST", &target, None).expect("the daemon answers")
    };
    let stranger = world.agent(OTHER_AGENT);
    assert_eq!(of_all(&stranger, "pause").status, 404);
    assert_eq!(ask(&stranger, other, "pause").expect_err("not theirs").code, ErrorCode::NotFound);
    for (act, state) in [("pause", State::Paused), ("resume", State::Running)] {
        let reply = of_all(&agent, act);
        let operation = format!("{act}_session");
        assert_described(&operation, reply.status, reply.field("content-type"), &reply.body);
        let list: ExecutionList = serde_json::from_slice(&reply.body).expect("a list");
        assert_eq!(list.executions.len(), 2);
        for id in ids {
            assert_eq!(agent.status(id, 0).expect("ours").state, state);
        }
        assert_eq!(agent.status(other, 0).expect("ours").state, State::Running);
    }
    for id in ids {
        goes_on(&agent, id);
    }
    ask(&world.root(), other, "pause").expect("root may");
    until_true("it is recorded", || {
        let query = format!("execution={other}&kind=administration");
        format!("{:?}", agent.audit(&query).expect("a page")).contains("pause")
    });
}

#[test]
fn what_waits_for_its_turn_is_not_paused() {
    let world = World::with(supervisor_tests::Settings {
        running: 1,
        ..supervisor_tests::Settings::default()
    });
    let agent = world.agent(AGENT);
    let first = agent.start(&counter("0.01"));
    agent.wait_for_words(first, "1\n");
    let waits = agent.start(&counter("0.01"));
    assert_eq!(ask(&agent, waits, "pause").expect_err("it waits").code, ErrorCode::Conflict);
    ask(&agent, first, "pause").expect("it runs");
    assert_eq!(agent.status(waits, 0).expect("ours").state, State::Queued, "the place is kept");
}

#[test]
fn half_of_the_places_may_be_paused_and_the_other_half_runs() {
    let settings = Settings { running: 4, running_per_uid: 4, ..Settings::default() };
    let mut world = World::with(settings);
    let (agent, other) = (world.agent(AGENT), world.agent(OTHER_AGENT));
    let limits = LimitsRequest { wall_time: Some(600_000), ..LimitsRequest::default() };
    let sleeper = SubmitRequest { limits, ..bash("echo up; exec sleep 1000") };
    let ids = [(); 3].map(|()| agent.start(&sleeper));
    let theirs = other.start(&sleeper);
    ids.iter().for_each(|id| drop(agent.wait_for_words(*id, "up\n")));
    other.wait_for_words(theirs, "up\n");
    for id in [ids[0], ids[1], ids[0]] {
        ask(&agent, id, "pause").expect("it runs");
    }
    for _ in 0..2 {
        for (client, id) in [(&agent, ids[2]), (&other, theirs)] {
            let refused = ask(client, id, "pause").expect_err("half of them are");
            assert_eq!(refused.code, ErrorCode::Busy, "{refused}");
            assert!(refused.detail.contains("executions") && refused.hint.is_some(), "{refused}");
            assert_eq!(client.status(id, 0).expect("it is theirs").state, State::Running);
        }
        world.daemon().kill();
        world.start_daemon();
    }
    ask(&agent, ids[0], "resume").expect("it is paused");
    ask(&other, theirs, "pause").expect("one more may be");
    agent.cancel(ids[1]).expect("it is ours");
    ask(&agent, ids[2], "pause").expect("one more may be");
    other.run(&bash("echo there is a place")).expect_exit(0);
}

/// Posts and gives what comes back.
fn post<T: serde::de::DeserializeOwned>(client: &Client, target: &str, body: &str) -> T {
    let reply = client.call("POST", target, Some(body.as_bytes())).expect("the daemon answers");
    assert!(reply.status < 300, "{target}: {:?}", reply.problem());
    serde_json::from_slice(&reply.body).expect("as described")
}

/// Lets time pass, of which the daemon knows nothing.
fn pass(client: &Client, seconds: u64) {
    client.run(&bash(&format!("sleep {seconds}"))).expect_exit(0);
}

#[test]
fn the_time_of_an_interpreter_and_of_its_cells_stands_still_while_it_is_paused() {
    let mut world = World::with(supervisor_tests::Settings::default());
    let agent = world.agent(AGENT);
    let session = post::<Session>(&agent, "/v1/sessions", "{}").id;
    let all = format!("/v1/sessions/{session}/interpreters");
    let body = r#"{"language": "python", "idle_timeout": 6}"#;
    let id = post::<Interpreter>(&agent, &all, body).id;
    let cells = format!("{all}/{id}/cells");
    let run = |source: &str| {
        let body = serde_json::json!({"source": source, "wall_time": 5000}).to_string();
        post::<Cell>(&agent, &cells, &body).number
    };
    let cell = |number: u64, wait: u64| {
        let reply = agent.call("GET", &format!("{cells}/{number}?wait={wait}"), None);
        let cell: Cell = serde_json::from_slice(&reply.expect("an answer").body).expect("a cell");
        cell
    };
    assert_eq!(cell(run("x = 1"), 60).outcome, Some(CellOutcome::Ok));
    until_true("it is recorded", || ask(&agent, id, "pause").is_ok());
    pass(&agent, 8);
    ask(&agent, id, "resume").expect("it is paused");
    let slow = run("import time; time.sleep(2); x");
    until_true("its turn has come", || cell(slow, 0).state == CellState::Running);
    ask(&agent, id, "pause").expect("it runs");
    pass(&agent, 7);
    world.daemon().kill();
    world.start_daemon();
    assert_eq!(agent.status(id, 0).expect("ours").state, State::Paused);
    assert_eq!(cell(slow, 0).state, CellState::Running);
    ask(&agent, id, "resume").expect("it is paused");
    let slow = cell(slow, 60);
    assert_eq!(slow.outcome, Some(CellOutcome::Ok), "{slow:?}");
    assert!(slow.took_us.is_some_and(|took| took < 5_000_000), "{slow:?}");
}

/// FT-04. It goes on by itself after a day; where that can't be recorded it stays as it is until it can.
#[test]
fn what_is_paused_outlives_a_full_disk_though_its_time_to_go_on_has_come() {
    let settings = Settings { state_bytes: Some(48 << 20), has_clock: true, ..Settings::default() };
    let mut world = World::with(settings);
    let agent = world.agent(AGENT);
    let id = agent.start(&counter("0.01"));
    agent.wait_for_words(id, "5\n");
    ask(&agent, id, "pause").expect("it runs");
    world.daemon().kill();
    world.turn_clock(25 * 3600);
    let ballast = world.state().join("ballast");
    assert!(fs::write(&ballast, vec![0; 64 << 20]).is_err(), "the file system is too large");
    world.start_daemon();
    until_true("it is tried", || world.daemon().words().contains("it can't go on yet"));
    assert_eq!(agent.status(id, 0).expect("ours").state, State::Paused);
    assert!(stands_still(&agent, id));
    fs::remove_file(&ballast).expect("removed");
    goes_on(&agent, id);
    assert_eq!(agent.status(id, 0).expect("ours").state, State::Running);
    agent.cancel(id).expect("ours");
}
