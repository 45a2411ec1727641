//! How long finished executions are kept, and that nothing of what is gone holds the disk.

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
    ArtifactRequest, AuditEvent, ChangesMode, ErrorCode, ExecutionId, Outcome, Session, State,
    SubmitRequest, What,
};
use supervisor_tests::{
    AGENT, Client, OTHER_AGENT, Selection, Settings, World, argv, bash, descriptors, until,
    until_true,
};

const MIB: u64 = 1 << 20;

fn world(kept_bytes_per_uid: u64) -> World {
    let tables = format!("kept_bytes_per_uid = {kept_bytes_per_uid}\n");
    World::with(Settings { tables, ..Settings::default() })
}

/// Has an execution leave an artifact of this size.
fn leave(agent: &Client, mib: u64) -> ExecutionId {
    let request = SubmitRequest {
        artifacts: ArtifactRequest { globs: vec!["kept".to_owned()] },
        ..bash(&format!("head -c {} /dev/urandom >kept", mib * MIB))
    };
    let ended = agent.run(&request);
    ended.expect_exit(0);
    let kept = ended.execution.kept_bytes.expect("it keeps more than a little");
    assert!((mib * MIB..(mib + 1) * MIB).contains(&kept), "{kept}");
    ended.execution.id
}

fn is_there(agent: &Client, id: ExecutionId) -> bool {
    match agent.status(id, 0) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.code, ErrorCode::NotFound, "{error}");
            false
        }
    }
}

fn remove(agent: &Client, id: ExecutionId) -> Result<(), ErrorCode> {
    let reply = agent.call("DELETE", &format!("/v1/executions/{id}"), None).expect("an answer");
    if reply.status == 200 { Ok(()) } else { Err(reply.problem().code) }
}

fn open(client: &Client) -> Session {
    let made = client.call("POST", "/v1/sessions", Some(b"{}")).expect("an answer");
    serde_json::from_slice(&made.body).expect("a session")
}

/// Whether the daemon holds a file of executions that has no name any more.
fn holds_what_is_gone(world: &World) -> bool {
    let gone = |name: &String| name.ends_with("(deleted)") && name.contains("/executions/");
    descriptors(world.daemon_pid()).iter().any(gone)
}

/// RS-32. The bound is of each owner, and of what ended first.
#[test]
fn what_an_owner_keeps_is_bounded_in_bytes_and_what_ended_first_goes() {
    let mut world = world(10 * MIB);
    let (agent, other) = (world.agent(AGENT), world.agent(OTHER_AGENT));
    let theirs = [leave(&other, 4), leave(&other, 4)];
    let little = agent.run(&bash("echo little")).execution;
    assert_eq!(little.kept_bytes, None);
    let slow = agent.start(&SubmitRequest {
        artifacts: ArtifactRequest { globs: vec!["kept".to_owned()] },
        stdin_open: true,
        ..bash(&format!("read; head -c {} /dev/urandom >kept", 4 * MIB))
    });
    let [first, second, third] = [(); 3].map(|()| leave(&agent, 4));
    until_true("what ended first is gone", || !is_there(&agent, first));
    until_true("its files are, too", || {
        !world.state().join(format!("executions/{first}")).exists()
    });
    let root = world.root();
    let told = until("it is recorded", || {
        let told = root.audit(&format!("execution={first}&kind=retirement")).expect("it may");
        (!told.records.is_empty()).then_some(told)
    });
    let told: Vec<_> = told.records.iter().map(|record| &record.event).collect();
    let [AuditEvent { what: What::Retirement(retired), subject }] = told[..] else {
        panic!("one record says why it is gone: {told:?}");
    };
    assert_eq!(retired.executions, [first]);
    assert_eq!((retired.of.as_str(), retired.most), ("kept_bytes", 10 * MIB));
    assert_eq!(subject.uid, Some(AGENT));
    assert!(is_there(&agent, second) && is_there(&agent, third));

    // It was submitted before all of them, and ends after.
    agent.close_input(slow).expect("it is ours");
    assert_eq!(agent.finished(slow).outcome, Some(Outcome::Exited { code: 0 }));
    until_true("what ended first is gone", || !is_there(&agent, second));
    assert!(is_there(&agent, slow) && is_there(&agent, third));

    // What is larger than all that may be kept stays until something ends after it.
    let large = leave(&agent, 12);
    until_true("all else is gone", || !is_there(&agent, slow) && !is_there(&agent, third));
    assert_eq!(agent.artifact(large, "kept").expect("it is there").len() as u64, 12 * MIB);
    assert!(is_there(&agent, little.id) && theirs.iter().all(|id| is_there(&other, *id)));

    world.daemon().end();
    world.start_daemon();
    leave(&agent, 1);
    until_true("it is counted over a restart", || !is_there(&agent, large));
}

/// RS-32. Cells are kept in a file, which counts whatever the interpreter wrote, and goes with its execution.
#[test]
fn the_cells_of_an_interpreter_count_and_go_with_its_execution() {
    let world = world(8 * MIB);
    let agent = world.agent(AGENT);
    let session = open(&agent);
    let all = format!("/v1/sessions/{}/interpreters", session.id);
    let call = |method, target: &str, body: &Value| {
        agent.call(method, target, Some(body.to_string().as_bytes())).expect("an answer")
    };
    let silent = || {
        let made = call("POST", &all, &json!({"language": "bash"}));
        assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
        let id: ExecutionId = serde_json::from_value(made.json()["id"].clone()).expect("an id");
        let source = format!("#{}", "x".repeat(MIB as usize - 1));
        let cell = json!({"source": source, "wait": true});
        assert_eq!(call("POST", &format!("{all}/{id}/cells"), &cell).status, 201);
        assert_eq!(agent.call("DELETE", &format!("{all}/{id}"), None).expect("closed").status, 200);
        let ended = agent.finished(id);
        assert_eq!(ended.output.stdout.kept + ended.output.stderr.kept, 0);
        // Each change of the cell is a line with its text.
        let kept = ended.kept_bytes.expect("it keeps cells");
        assert!((3 * MIB..5 * MIB).contains(&kept), "{kept}");
        id
    };
    let first = silent();
    let cells = format!("{all}/{first}/cells");
    assert_eq!(agent.call("GET", &cells, None).expect("kept").status, 200);
    assert_eq!(remove(&agent, first), Ok(()));
    for gone in [cells, format!("{all}/{first}"), format!("{all}/{first}/cells/1")] {
        assert_eq!(agent.call("GET", &gone, None).expect("an answer").status, 404, "{gone}");
    }
    let oldest = silent();
    let others = [silent(), silent()];
    until_true("what ended first is gone", || !is_there(&agent, oldest));
    assert!(others.iter().all(|id| is_there(&agent, *id)));
}

/// RS-32. What nobody needs any more does not stay uncounted.
#[test]
fn the_globs_of_a_submission_are_gone_when_it_has_ended() {
    let world = world(0);
    let agent = world.agent(AGENT);
    for wait in [false, true] {
        let globs = vec!["nothing-*".to_owned()];
        let request = SubmitRequest { wait, artifacts: ArtifactRequest { globs }, ..bash("true") };
        let id = agent.run(&request).execution.id;
        let globs = world.state().join(format!("executions/{id}/globs"));
        until_true("they are gone", || !globs.exists());
    }
}

/// RS-32. Its owner and administrators remove one, and nobody else sees that it is there.
#[test]
fn an_execution_that_has_finished_is_removed_by_its_owner_and_by_administrators() {
    let world = world(0);
    let (agent, other, root) = (world.agent(AGENT), world.agent(OTHER_AGENT), world.root());
    let running = agent.start(&bash("echo up; exec sleep 600"));
    agent.wait_for_words(running, "up");
    assert_eq!(remove(&agent, running), Err(ErrorCode::Conflict));
    agent.cancel(running).expect("it is ours");

    let [mine, also_mine] = [(); 2].map(|()| leave(&agent, 1));
    assert_eq!(remove(&other, mine), Err(ErrorCode::NotFound));
    assert_eq!(remove(&agent, mine), Ok(()));
    assert_eq!(remove(&root, also_mine), Ok(()));
    for id in [mine, also_mine] {
        assert!(!is_there(&agent, id) && !is_there(&root, id));
        assert_eq!(remove(&agent, id), Err(ErrorCode::NotFound));
        assert!(agent.artifact(id, "kept").is_err());
        assert!(agent.output(id, Selection::Stdout, 0).is_err());
        assert!(!world.state().join(format!("executions/{id}")).exists());
    }
    let listed = agent.list("limit=200").expect("it may").executions;
    assert_eq!(listed.iter().map(|each| each.id).collect::<Vec<_>>(), [running]);
    for (id, by) in [(mine, AGENT), (also_mine, root.uid())] {
        until_true("it is recorded", || {
            let query = format!("execution={id}&kind=administration");
            let page = root.audit(&query).expect("root may");
            let mut acts = page.records.iter().map(|each| json!(each));
            acts.any(|it| it["act"] == "remove" && it["by"] == by)
        });
    }
}

/// RS-32. Changes that are held back stay until somebody has decided about them.
#[test]
fn an_execution_whose_changes_are_held_back_is_not_removed() {
    let world = world(0);
    let agent = world.agent(AGENT);
    let session = open(&agent);
    let held = agent.run(&SubmitRequest {
        session: Some(session.id),
        changes: Some(ChangesMode::Hold),
        ..bash("echo new >file")
    });
    let id = held.execution.id;
    assert_eq!(remove(&agent, id), Err(ErrorCode::Conflict));
    let discard = format!("/v1/executions/{id}/changes/discard");
    assert_eq!(agent.call("POST", &discard, None).expect("an answer").status, 200);
    assert_eq!(remove(&agent, id), Ok(()));
}

/// RS-32. They stay though much is kept, of which they are the oldest, and go as soon as it is decided about them.
#[test]
fn an_execution_whose_changes_are_held_back_is_not_retired() {
    let world = world(10 * MIB);
    let agent = world.agent(AGENT);
    let session = open(&agent);
    let held = agent.run(&SubmitRequest {
        session: Some(session.id),
        changes: Some(ChangesMode::Hold),
        artifacts: ArtifactRequest { globs: vec!["kept".to_owned()] },
        ..bash(&format!("head -c {} /dev/urandom >kept", 4 * MIB))
    });
    held.expect_exit(0);
    let id = held.execution.id;
    assert!(held.execution.kept_bytes >= Some(4 * MIB), "{:?}", held.execution.kept_bytes);
    let [second, third] = [(); 2].map(|()| leave(&agent, 4));
    until_true("the next one goes", || !is_there(&agent, second));
    assert!(is_there(&agent, id) && is_there(&agent, third));
    let discard = format!("/v1/executions/{id}/changes/discard");
    assert_eq!(agent.call("POST", &discard, None).expect("an answer").status, 200);
    let fourth = leave(&agent, 4);
    until_true("it is the oldest", || !is_there(&agent, id));
    assert!(is_there(&agent, third) && is_there(&agent, fourth));
}

/// RS-32. A reader that takes its time gets less, and the disk is free at once.
#[test]
fn what_is_removed_is_not_held_by_those_who_read_it() {
    let world = world(0);
    let agent = world.agent(AGENT);
    let id = agent.run(&SubmitRequest {
        artifacts: ArtifactRequest { globs: vec!["kept".to_owned()] },
        ..bash(&format!("head -c {} /dev/urandom | tee kept", 8 * MIB))
    });
    let id = id.execution.id;
    let targets = ["artifacts/kept", "output?stream=stdout", "output"];
    let readers = targets.map(|target| {
        let mut reader = agent.connect().expect("it may");
        reader.request("GET", &format!("/v1/executions/{id}/{target}"), None).expect("it is sent");
        assert_eq!(reader.head().expect("it begins").status, 200);
        reader
    });
    assert_eq!(remove(&agent, id), Ok(()));
    until_true("nothing of it is held", || !holds_what_is_gone(&world));
    for mut reader in readers {
        assert!((reader.rest().len() as u64) < 8 * MIB, "it has broken off");
    }
}

/// RS-32. The same for a file of a session, whose disk counts against nobody when the session is gone.
#[test]
fn a_session_that_is_closed_is_not_held_by_those_who_read_its_files() {
    let world = world(0);
    let agent = world.agent(AGENT);
    let session = open(&agent);
    let fill = format!("head -c {} /dev/urandom >large", 8 * MIB);
    agent.run(&SubmitRequest { session: Some(session.id), ..bash(&fill) }).expect_exit(0);
    let mut reader = agent.connect().expect("it may");
    let target = format!("/v1/sessions/{}/files/large", session.id);
    reader.request("GET", &target, None).expect("it is sent");
    assert_eq!(reader.head().expect("it begins").status, 200);
    let closed = agent.call("DELETE", &format!("/v1/sessions/{}", session.id), None);
    assert_eq!(closed.expect("an answer").status, 200);
    let open = descriptors(world.daemon_pid());
    assert!(!open.iter().any(|name| name.contains("/large")), "{open:?}");
    assert!((reader.rest().len() as u64) < 8 * MIB, "it has broken off");
}

/// RS-32. An owner has a quarter of a small disk at the most, and on a full one room is made by removing what has
/// finished.
#[test]
fn a_full_disk_is_emptied_through_the_interface() {
    let settings = Settings { state_bytes: Some(48 << 20), ..Settings::default() };
    let world = World::with(settings);
    let agent = world.agent(AGENT);
    let [first, id] = [(); 2].map(|()| leave(&agent, 8));
    until_true("a quarter of the disk is an owner's", || !is_there(&agent, first));
    let ballast = world.state().join("ballast");
    assert!(fs::write(&ballast, vec![0; 64 << 20]).is_err(), "the file system is too large");
    let refused = agent.submit(&argv(&["true"])).expect_err("there is no room to record it");
    assert_eq!(refused.code, ErrorCode::StorageFull, "{refused}");
    assert_eq!(remove(&agent, id), Ok(()));
    let again = agent.run(&argv(&["true"])).execution;
    assert_eq!((again.state, again.outcome), (State::Finished, Some(Outcome::Exited { code: 0 })));
}
