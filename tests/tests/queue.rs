//! FT-01, waiting: what waits for its turn has it under the next daemon, in its order and once, with all that it
//! was submitted with; what can't be started any more ends and says why.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use std::fs;

use serde_json::{Value, json};
use supervisor_api::{
    ArtifactRequest, Cell, CellOutcome, Content, ErrorCode, ExecutionId, InputFile, Interpreter,
    LimitsRequest, Outcome, Session, SessionId, State, SubmitRequest, What,
};
use supervisor_tests::{AGENT, Client, Settings, World, bash, python, until_true};

fn one_at_a_time() -> Settings {
    Settings { running: 1, ..Settings::default() }
}

fn ask<T: serde::de::DeserializeOwned>(agent: &Client, target: &str, body: &Value) -> T {
    let reply = agent.call("POST", target, Some(body.to_string().as_bytes())).expect("an answer");
    assert!(reply.status < 300, "{:?}", reply.problem());
    serde_json::from_slice(&reply.body).expect("as described")
}

fn open_session(agent: &Client) -> SessionId {
    ask::<Session>(agent, "/v1/sessions", &json!({})).id
}

fn read(agent: &Client, session: SessionId, file: &str) -> String {
    let target = format!("/v1/sessions/{session}/files/{file}");
    let reply = agent.call("GET", &target, None).expect("an answer");
    String::from_utf8(reply.body).expect("text")
}

/// One that runs until it is ended, so that others wait.
fn occupy(agent: &Client) -> ExecutionId {
    let limits = LimitsRequest { wall_time: Some(600_000), ..LimitsRequest::default() };
    let id = agent.start(&SubmitRequest { limits, ..bash("echo up; exec sleep 600") });
    agent.wait_for_words(id, "up");
    id
}

/// FT-01. Over a kill and an orderly end, one after the other.
#[test]
fn what_waits_has_its_turn_under_the_next_daemon_with_all_it_was_given() {
    let mut world = World::with(one_at_a_time());
    let agent = world.agent(AGENT);
    let session = open_session(&agent);
    let first = occupy(&agent);
    let numbered = |number: u32| {
        let file = InputFile {
            path: format!("word{number}"),
            content: Content(format!("word {number}\n").into_bytes()),
            executable: false,
        };
        agent.start(&SubmitRequest {
            session: Some(session),
            stdin: Some(Content(vec![b'x'; 150_000])),
            files: vec![file],
            env: serde_json::from_value(json!({"NUMBER": number.to_string()})).unwrap(),
            cwd: Some("sub".to_owned()),
            limits: LimitsRequest { open_files: Some(99), ..LimitsRequest::default() },
            artifacts: ArtifactRequest { globs: vec![format!("kept{number}")] },
            labels: serde_json::from_value(json!({"number": number.to_string()})).unwrap(),
            ..bash(
                "cd ..; echo $NUMBER >>order; cat word$NUMBER; wc -c; ulimit -n; \
                 echo made >kept$NUMBER; exit $NUMBER",
            )
        })
    };
    let target = format!("/v1/sessions/{session}/directories");
    ask::<Value>(&agent, &target, &json!({"path": "sub"}));
    let waiting: Vec<ExecutionId> = (1..=3).map(numbered).collect();
    let target = format!("/v1/sessions/{session}/interpreters");
    let interpreter: Interpreter = ask(&agent, &target, &json!({"language": "python"}));
    let cells = format!("{target}/{}/cells", interpreter.id);
    let cell: Cell = ask(&agent, &cells, &json!({"source": "6 * 7"}));
    let apart = agent.start(&python("import sys; print('apart', sys.argv)"));
    let open =
        agent.start(&SubmitRequest { stdin_open: true, ..bash("read word; echo got $word") });
    world.daemon().kill();
    world.start_daemon();
    let late = agent.start(&bash("echo late"));
    world.daemon().end();
    world.start_daemon();

    for (place, id) in waiting.iter().enumerate() {
        let execution = agent.status(*id, 0).expect("it is known");
        assert_eq!(
            (execution.state, execution.queue_position),
            (State::Queued, Some(place as u64 + 1))
        );
    }
    agent.cancel(first).expect("it is ours");
    for (number, id) in (1..).zip(&waiting) {
        let ended = agent.ended(*id);
        ended.expect_exit(number);
        assert_eq!(ended.stdout, format!("word {number}\n150000\n99\n"));
        assert_eq!(ended.execution.labels.0["number"], number.to_string());
        assert_eq!(agent.kept(*id), [format!("kept{number}")]);
    }
    assert_eq!(read(&agent, session, "order"), "1\n2\n3\n");
    let reply = agent.call("GET", &format!("{cells}/{}?wait=60", cell.number), None);
    let cell: Cell = serde_json::from_slice(&reply.expect("an answer").body).expect("a cell");
    assert_eq!(cell.outcome, Some(CellOutcome::Ok), "{cell:?}");
    assert!(serde_json::to_string(&cell.results).unwrap().contains("42"), "{cell:?}");
    let reply = agent.call("DELETE", &format!("{target}/{}", interpreter.id), None);
    assert!(reply.expect("an answer").status < 300);
    assert_eq!(agent.ended(apart).stdout, "apart ['/workspace/main.py']\n");
    until_true("it takes input", || agent.input(open).is_ok());
    agent.send(open, 0, b"word\n").expect("taken");
    assert_eq!(agent.ended(open).stdout, "got word\n");
    assert_eq!(agent.ended(late).stdout, "late\n");
    let audit =
        world.root().audit(&format!("kind=recovery&execution={}", waiting[0])).expect("root may");
    let acts = audit.records.into_iter().filter_map(|record| match record.event.what {
        What::Recovery(recovery) => Some((recovery.act, recovery.cause)),
        _ => None,
    });
    let again = ("queued_again".to_owned(), None);
    assert_eq!(acts.collect::<Vec<_>>(), [again.clone(), again]);
}

/// FT-01. At every step from its place in line to its end, and while it is put in line again.
#[test]
fn what_waited_runs_once_and_in_its_order_whenever_the_daemon_dies() {
    let mut world = World::with(one_at_a_time());
    let agent = world.agent(AGENT);
    let session = open_session(&agent);
    let points = [
        "ExecutionQueuedAgain:1",
        "ExecutionQueuedAgain:2",
        "TurnTaken:1",
        "SandboxMade:1",
        "FilesWritten:1",
        "BeginRecorded:1",
        "PayloadStarted:1",
        "BeginRecorded:2",
        "EndKept:2",
        "EndWritten:2",
        "EndRecorded:2",
        "EndForgotten:2",
    ];
    let mut order = String::new();
    for point in points {
        let first = occupy(&agent);
        let waiting = [1, 2].map(|number| {
            order += &format!("{point} {number}\n");
            let script = format!("echo {point} {number} >>order; echo {number}");
            agent.start(&SubmitRequest { session: Some(session), ..bash(&script) })
        });
        world.daemon().kill();
        if world.start_doomed_daemon(point) {
            // It may be dead before it answers.
            drop(agent.call("POST", &format!("/v1/executions/{first}/cancel"), None));
        }
        world.daemon().wait_for_kill(point);
        world.start_daemon();
        agent.cancel(first).expect("it is ours");
        for (number, id) in (1..).zip(waiting) {
            let ended = agent.ended(id);
            assert_eq!(ended.stdout, format!("{number}\n"), "{point}: {ended:?}");
            ended.expect_exit(0);
        }
        assert_eq!(read(&agent, session, "order"), order, "{point}");
    }
}

/// FT-01, FT-02. What runs is lost with the launcher; what waits is not.
#[test]
fn what_waits_outlives_the_launcher() {
    let mut world = World::with(one_at_a_time());
    let agent = world.agent(AGENT);
    let first = occupy(&agent);
    let waiting = agent.start(&bash("echo its turn"));
    world.launcher().kill();
    until_true("the daemon has ended", || !world.daemon().runs());
    world.start_launcher();
    world.start_doomed_daemon("ExecutionWrittenOff:1");
    if world.daemon().runs() {
        world.daemon().end(); // the daemon before it had said already that the first is lost
    }
    world.start_daemon();
    assert!(matches!(agent.finished(first).outcome, Some(Outcome::Lost { .. })));
    let ended = agent.ended(waiting);
    ended.expect_exit(0);
    assert_eq!(ended.stdout, "its turn\n");
}

/// The daemon has what waits in memory, so one uid may hand in so many bytes and no more; over a restart as well.
#[test]
fn what_waits_of_one_uid_is_bounded_in_bytes_and_what_is_cancelled_makes_room() {
    const MIB: usize = 1 << 20;
    let tables = format!("submission_bytes_per_uid = {}\n", 3 * MIB);
    let mut world = World::with(Settings { tables, ..one_at_a_time() });
    let (agent, other) = (world.agent(AGENT), world.agent(AGENT + 1));
    let first = occupy(&agent);
    let given = |bytes: usize| {
        let content = Content(vec![b'x'; bytes]);
        let file = InputFile { path: "words".to_owned(), content, executable: false };
        SubmitRequest { files: vec![file], ..bash("wc -c <words") }
    };
    let refused = agent.submit(&given(4 * MIB)).expect_err("more than all of one uid may have");
    assert_eq!((refused.code, refused.field.as_deref()), (ErrorCode::PolicyDenied, Some("files")));
    let waiting = [(); 2].map(|()| agent.start(&given(MIB + 1)));
    let refused = agent.submit(&given(MIB)).expect_err("there is no room");
    assert_eq!(refused.code, ErrorCode::Busy);
    assert!(refused.detail.contains("submitted with 2"), "{refused:?}");
    assert!(refused.hint.is_some_and(|hint| hint.contains("session")));
    let others = other.start(&given(2 * MIB));
    agent.cancel(waiting[0]).expect("it is ours");
    let third = agent.start(&given(MIB));
    world.daemon().kill();
    world.start_daemon();
    assert_eq!(agent.submit(&given(MIB)).expect_err("there is no room").code, ErrorCode::Busy);
    agent.cancel(first).expect("it is ours");
    for (id, bytes) in [(waiting[1], MIB + 1), (third, MIB)] {
        assert_eq!(agent.ended(id).stdout, format!("{bytes}\n"));
    }
    assert_eq!(other.ended(others).stdout, format!("{}\n", 2 * MIB));
    until_true("what has ended is forgotten", || agent.submit(&given(2 * MIB)).is_ok());
}

/// FT-01. A policy that is gone or allows less, and one that is as it was.
#[test]
fn what_waited_and_can_not_be_started_any_more_ends_with_the_reason() {
    let text = |memory: &str| {
        format!(
            "name = \"own\"\ndescription = \"small\"\nextends = \"default\"\n[limits]\n\
             memory_max = \"16 MiB\"\ntmp_bytes = \"1 MiB\"\nworkspace_bytes = \"1 MiB\"\n\
             [limits.max]\nmemory_max = \"{memory}\"\n"
        )
    };
    let default = include_str!("../../policies/default.toml").to_owned();
    let policies = vec![
        ("default.toml".to_owned(), default),
        ("own.toml".to_owned(), text("64 MiB")),
        ("gone.toml".to_owned(), text("64 MiB").replace("\"own\"", "\"gone\"")),
    ];
    let mut world = World::with(Settings { policies, ..one_at_a_time() });
    let agent = world.agent(AGENT);
    let first = occupy(&agent);
    let under = |policy: &str, memory: Option<u64>| {
        let limits = LimitsRequest { memory_max: memory, ..LimitsRequest::default() };
        let policy = Some(policy.to_owned());
        agent.start(&SubmitRequest { policy, limits, ..bash("echo it runs") })
    };
    let gone = under("gone", None);
    let large = under("own", Some(48 << 20));
    let small = under("own", Some(16 << 20));
    world.daemon().kill();
    fs::remove_file(world.path().join("policies/gone.toml")).expect("there");
    fs::write(world.path().join("policies/own.toml"), text("32 MiB")).expect("written");
    // It dies when the first of them is written off.
    world.start_doomed_daemon("ExecutionWrittenOff:1");
    world.daemon().wait_for_kill("ExecutionWrittenOff");
    world.start_daemon();
    for (id, word) in [(gone, "no policy of this name"), (large, "memory_max")] {
        match agent.finished(id).outcome {
            Some(Outcome::SetupFailed { step, reason }) => {
                assert_eq!(step, "queue_again");
                assert!(reason.contains(word), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
    let digest = agent.status(small, 0).expect("it waits").policy.digest;
    agent.cancel(first).expect("it is ours");
    let ended = agent.ended(small);
    assert_eq!(ended.stdout, "it runs\n");
    assert_eq!(ended.execution.policy.digest, digest);
}

/// FT-01. Nothing of it had run, so nothing of it is lost: it runs once, under the next daemon, with all it was given.
#[test]
fn what_was_being_started_when_the_daemon_died_is_started_anew() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let session = open_session(&agent);
    let mut order = String::new();
    for (point, input) in
        [("FilesWritten:1", Some("input\n")), ("PayloadStarted:1", None), ("FilesWritten:1", None)]
    {
        world.daemon().end();
        assert!(world.start_doomed_daemon(point));
        let request = SubmitRequest {
            session: Some(session),
            stdin: input.map(|text| Content(text.as_bytes().to_vec())),
            ..bash(&format!("echo {point} >>order; cat; echo ran"))
        };
        let body = serde_json::to_vec(&request).expect("JSON");
        drop(agent.call("POST", "/v1/executions", Some(&body))); // it may be dead before it answers
        world.daemon().wait_for_kill(point);
        world.start_daemon();
        let newest = agent.list("limit=1").expect("it may").executions[0].id;
        let ended = agent.ended(newest);
        ended.expect_exit(0);
        assert_eq!(ended.stdout, format!("{}ran\n", input.unwrap_or_default()), "{point}");
        order += &format!("{point}\n");
        assert_eq!(read(&agent, session, "order"), order);
    }
}
