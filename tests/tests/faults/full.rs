//! A disk that is full under the state: what can't be recorded is refused, and what was told stays.

use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use supervisor_api::{ErrorCode, LimitsRequest, Outcome, State, SubmitRequest};
use supervisor_tests::{AGENT, Selection, Settings, World, argv, bash, until, until_true};

/// FT-04. A file system of its own with the state on it, filled up by somebody else.
#[test]
fn a_full_state_directory_refuses_new_work_and_keeps_what_it_has() {
    let world = World::with(Settings { state_bytes: Some(48 << 20), ..Settings::default() });
    let agent = world.agent(AGENT);
    let before = agent.run(&bash("echo before"));
    let running = agent.start(&bash("echo running; until [ -e stop ]; do sleep 0.05; done"));
    agent.wait_for_words(running, "running");
    let ballast = world.state().join("ballast");
    let filled = fs::write(&ballast, vec![0; 64 << 20]);
    assert!(filled.is_err(), "the file system is larger than it should be");
    let refused = agent.submit(&argv(&["true"])).expect_err("there is no room to record it");
    assert_eq!(refused.code, ErrorCode::StorageFull, "{refused}");
    assert_eq!(agent.status(before.execution.id, 0).as_ref(), Ok(&before.execution));
    assert_eq!(agent.output(running, Selection::Stdout, 0), Ok(b"running\n".to_vec()));
    let begin = Instant::now();
    fs::remove_file(&ballast).expect("removed");
    let again = until("there is room again", || agent.submit(&argv(&["true"])).ok());
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert_eq!(agent.finished(again.id).outcome, Some(Outcome::Exited { code: 0 }));
    let cancelled = agent.cancel(running).expect("it is ours");
    assert_eq!(cancelled.outcome, Some(Outcome::Cancelled));
    let page = agent.list("limit=200").expect("it may");
    let ids: Vec<_> = page.executions.iter().map(|each| each.id).collect();
    assert_eq!(ids, [again.id, running, before.execution.id], "no half of a refused submission");
}

/// FT-04. What is refused is not in force: a session whose extension can't be recorded ends as it would have.
#[test]
fn an_extension_that_is_not_recorded_is_not_in_force() {
    let world = World::with(Settings { state_bytes: Some(48 << 20), ..Settings::default() });
    let agent = world.agent(AGENT);
    let call = |method, target: &str, body: &str| {
        agent.call(method, target, Some(body.as_bytes())).expect("an answer")
    };
    let session = call("POST", "/v1/sessions", r#"{"time_to_live": 3600}"#).json();
    let target = format!("/v1/sessions/{}", session["id"].as_str().expect("an id"));
    let expires =
        || agent.call("GET", &target, None).expect("an answer").json()["expires_at"].clone();
    let before = expires();
    let ballast = world.state().join("ballast");
    assert!(fs::write(&ballast, vec![0; 64 << 20]).is_err(), "the file system is too large");
    let extend = format!("{target}/extend");
    let refused = call("POST", &extend, r#"{"time_to_live": 86400}"#);
    assert_eq!(refused.problem().code, ErrorCode::StorageFull);
    assert_eq!(expires(), before);
    fs::remove_file(&ballast).expect("removed");
    let extended = call("POST", &extend, r#"{"time_to_live": 86400}"#).json();
    assert_eq!(extended["expires_at"], expires());
    assert_ne!(expires(), before);
}

/// FT-04. Neither what runs and has said nothing nor what waits keeps a daemon from coming back to a full disk.
#[test]
fn a_daemon_comes_back_to_a_full_state_directory_with_what_runs_and_what_waits() {
    let settings = Settings { state_bytes: Some(48 << 20), running: 1, ..Settings::default() };
    let mut world = World::with(settings);
    let agent = world.agent(AGENT);
    let silent = agent.start(&bash("exec sleep 600"));
    until_true("it runs", || agent.status(silent, 0).expect("ours").state == State::Running);
    let waiting = agent.start(&bash("echo its turn"));
    let ballast = world.state().join("ballast");
    let filled = fs::write(&ballast, vec![0; 64 << 20]);
    assert!(filled.is_err(), "the file system is larger than it should be");
    world.daemon().kill();
    world.start_daemon();
    assert_eq!(agent.status(silent, 0).expect("ours").state, State::Running);
    assert_eq!(agent.status(waiting, 0).expect("ours").state, State::Queued);
    fs::remove_file(&ballast).expect("removed");
    agent.cancel(silent).expect("it is ours");
    let ended = agent.ended(waiting);
    ended.expect_exit(0);
    assert_eq!(ended.stdout, "its turn\n");
}

/// FT-04. What is closed in order leaves room for what is made again when it is opened.
#[test]
fn a_daemon_that_was_stopped_in_order_comes_back_to_a_state_directory_that_has_become_full() {
    let has_bytes = Settings { state_bytes: Some(48 << 20), ..Settings::default() };
    let has_inodes = Settings { state_disk: Some(48 << 20), ..Settings::default() };
    for settings in [has_bytes, has_inodes] {
        let by_inodes = settings.state_disk.is_some();
        let mut world = World::with(settings);
        let agent = world.agent(AGENT);
        let before = agent.run(&bash("echo before"));
        world.daemon().end();
        let ballast = world.state().join("ballast");
        if by_inodes {
            fs::create_dir(&ballast).expect("made");
            let made = |number: u32| fs::File::create(ballast.join(number.to_string()));
            let full = (0..1_000_000).find_map(|number| made(number).err());
            assert_eq!(full.map(|error| error.kind()), Some(ErrorKind::StorageFull));
        } else {
            assert!(fs::write(&ballast, vec![0; 64 << 20]).is_err(), "it is too large");
        }
        world.start_daemon();
        assert_eq!(agent.status(before.execution.id, 0).as_ref(), Ok(&before.execution));
        match fs::metadata(&ballast).expect("there").is_dir() {
            true => fs::remove_dir_all(&ballast).expect("removed"),
            false => fs::remove_file(&ballast).expect("removed"),
        }
        let again = until("there is room again", || agent.submit(&argv(&["true"])).ok());
        assert_eq!(agent.finished(again.id).outcome, Some(Outcome::Exited { code: 0 }));
    }
}

/// FT-04. Room there is, and no file can be made: what an execution needs files for is refused or told by its name,
/// what was told stays, and a daemon that is killed comes back.
#[test]
fn a_state_directory_without_inodes_loses_nothing_that_was_told() {
    let settings = Settings { state_disk: Some(48 << 20), ..Settings::default() };
    let mut world = World::with(settings);
    let agent = world.agent(AGENT);
    let before = agent.run(&bash("echo before; head -c 100000 /dev/zero"));
    let limits = LimitsRequest { wall_time: Some(600_000), ..LimitsRequest::default() };
    let script = "echo up; until [ -e stop ]; do sleep 0.05; done";
    let running = agent.start(&SubmitRequest { limits, ..bash(script) });
    agent.wait_for_words(running, "up");
    let call = |method, target: &str, body: &str| {
        agent.call(method, target, Some(body.as_bytes())).expect("an answer")
    };
    let session = call("POST", "/v1/sessions", "{}").json();
    let session = format!("/v1/sessions/{}", session["id"].as_str().expect("an id"));
    let ballast = world.state().join("ballast");
    fs::create_dir(&ballast).expect("made");
    let full =
        (0..1_000_000).find_map(|number| fs::File::create(ballast.join(number.to_string())).err());
    assert_eq!(full.map(|error| error.kind()), Some(ErrorKind::StorageFull));
    for (method, rest, body) in [
        ("PUT", "/files/new", "text"),
        ("POST", "/move", r#"{"from": "one", "to": "other"}"#),
        ("POST", "/interpreters", r#"{"language": "python"}"#),
    ] {
        let refused = call(method, &format!("{session}{rest}"), body);
        assert_eq!(refused.problem().code, ErrorCode::StorageFull, "{method} {rest}");
    }
    for _ in 0..2 {
        match agent.submit(&bash("echo it runs; head -c 100000 /dev/zero")) {
            Err(refused) => assert_eq!(refused.code, ErrorCode::StorageFull, "{refused}"),
            Ok(submitted) => {
                let ended = agent.ended(submitted.id);
                match &ended.execution.outcome {
                    Some(Outcome::Exited { code: 0 }) if ended.stdout.len() == 100_008 => {}
                    Some(Outcome::Exited { code: 0 }) => {
                        let marker =
                            "\n[supervisord: 100008 bytes cut, no space left to keep them]\n";
                        assert_eq!(ended.stdout, marker);
                    }
                    Some(Outcome::Lost { .. } | Outcome::SetupFailed { .. }) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(agent.status(before.execution.id, 0).as_ref(), Ok(&before.execution));
        assert_eq!(agent.status(running, 0).expect("it is ours").state, State::Running);
        world.daemon().kill();
        world.start_daemon();
    }
    fs::remove_dir_all(&ballast).expect("removed");
    until_true("there is room again", || {
        let ended = agent.submit(&bash("echo it runs")).map(|submitted| agent.ended(submitted.id));
        ended.is_ok_and(|ended| ended.stdout == "it runs\n")
    });
    let kept = agent.output(before.execution.id, Selection::Stdout, 0).expect("it is kept");
    assert_eq!(kept.len(), 100_007);
    let cancelled = agent.cancel(running).expect("it is ours");
    assert_eq!(cancelled.outcome, Some(Outcome::Cancelled));
}

/// FT-04. A session goes with its workspace. That its record can't be removed yet is nobody's to wait for, and no
/// later daemon takes it for a session.
#[test]
fn a_session_that_is_closed_on_a_full_disk_is_gone() {
    let settings = Settings { state_bytes: Some(48 << 20), ..Settings::default() };
    let mut world = World::with(settings);
    let agent = world.agent(AGENT);
    let session = agent.call("POST", "/v1/sessions", Some(b"{}")).expect("an answer").json();
    let session = format!("/v1/sessions/{}", session["id"].as_str().expect("an id"));
    let ballast = world.state().join("ballast");
    assert!(fs::write(&ballast, vec![0; 64 << 20]).is_err(), "the file system is too large");
    let closed = agent.call("DELETE", &session, None).expect("an answer");
    assert_eq!(closed.status, 200, "{}", String::from_utf8_lossy(&closed.body));
    assert!(world.kept_workspaces().is_empty());
    let is_gone = || {
        for method in ["GET", "DELETE"] {
            let gone = agent.call(method, &session, None).expect("an answer");
            assert_eq!(gone.problem().code, ErrorCode::NotFound, "{method}");
        }
        let all = agent.call("GET", "/v1/sessions", None).expect("an answer").json();
        assert_eq!(all["sessions"].as_array().map(Vec::len), Some(0), "{all}");
    };
    is_gone();
    world.daemon().kill();
    world.start_daemon();
    is_gone();
    fs::remove_file(&ballast).expect("removed");
    until_true("there is room again", || {
        agent.call("POST", "/v1/sessions", Some(b"{}")).is_ok_and(|made| made.status == 201)
    });
}
