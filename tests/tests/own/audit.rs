//! The audit log of a real daemon: what is recorded, who sees it, and that no hand on the file goes
//! unnoticed.

#![allow(clippy::expect_used, reason = "a test fails by a panic, and so does what it stands on")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use supervisor_api::{AuditPage, AuditRecord, ErrorCode, LimitsRequest, Mode, SubmitRequest};
use supervisor_tests::{AGENT, Client, Settings, Told, World, argv, bash, program, until};

fn files(world: &World) -> Vec<PathBuf> {
    let entries = fs::read_dir(world.state().join("audit")).expect("a log").flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    found.retain(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
    found.sort();
    found
}

fn kinds(records: &[AuditRecord]) -> Vec<&'static str> {
    records.iter().map(|record| record.event.what.kind()).collect()
}

/// `supervisorctl` as root, on the files of this world or against its daemon.
fn ctl(world: &World, words: &[&str]) -> Told {
    let mut command = Command::new(program("supervisorctl"));
    command.args(words).env("SUPERVISORD_SOCKET", world.socket());
    Told::of(command)
}

fn verify(world: &World) -> Told {
    let state = world.state().display().to_string();
    ctl(world, &["audit", "verify", "--state", &state])
}

#[track_caller]
fn page(client: &Client, target: &str) -> AuditPage {
    let reply = client.call("GET", target, None).expect("an answer");
    assert_eq!(reply.status, 200, "{:?}", reply.problem());
    serde_json::from_slice(&reply.body).expect("a page")
}

#[test]
fn a_refusal_is_recorded_with_its_rule_and_its_remedy() {
    let world = World::with(Settings { mode: Mode::Strict, ..Settings::default() });
    let agent = world.agent(AGENT);
    let limits = LimitsRequest { memory_max: Some(1 << 50), ..LimitsRequest::default() };
    let error = agent.submit(&SubmitRequest { limits, ..argv(&["true"]) }).expect_err("too much");
    let found = page(&agent, "/v1/audit?kind=submission&verdict=deny").records;
    let [record] = found.as_slice() else { panic!("{found:?}") };
    let ruling = record.event.what.ruling().expect("a decision");
    assert_eq!(ruling.reason, error.code.name());
    assert!(ruling.rule.as_ref().is_some_and(|rule| rule.contains(".toml:")), "{ruling:?}");
    assert_eq!(ruling.remedy, error.hint);
    if let Err(error) = agent.submit(&argv(&["true"])) {
        assert_eq!(error.code, ErrorCode::ControlMissing);
        let found = page(&agent, "/v1/audit?kind=submission&verdict=deny").records;
        let ruling = found.last().and_then(|record| record.event.what.ruling());
        assert_eq!(ruling.map(|ruling| ruling.reason.as_str()), Some("control_missing"));
    }
}

#[test]
fn a_search_for_what_is_no_time_or_no_kind_is_refused_with_what_there_is() {
    let world = World::open();
    let agent = world.agent(AGENT);
    agent.run(&argv(&["true"]));
    for (query, allowed) in [
        ("since=yesterday", "2026-01-31T12:30:00Z"),
        ("until=2026-02-30", "2026-01-31"),
        ("since=1767225600", "offset"),
        ("kind=submissions", "submission, outcome"),
        ("kind=", "submission"),
    ] {
        let reply = agent.call("GET", &format!("/v1/audit?{query}"), None).expect("an answer");
        let problem = reply.problem();
        assert_eq!(problem.code, ErrorCode::InvalidArgument, "{query}");
        assert_eq!(problem.field.as_deref(), query.split('=').next(), "{query}");
        assert!(problem.hint.as_ref().is_some_and(|hint| hint.contains(allowed)), "{problem:?}");
    }
    let all = page(&agent, "/v1/audit?kind=submission").records;
    let [record] = all.as_slice() else { panic!("{all:?}") };
    // The same moment on a clock of another zone, and the day's beginning.
    let (day, time) = record.time.trim_end_matches('Z').split_once('T').expect("a time");
    for (query, found) in [
        (format!("since={day}T{time}%2B00:00"), 1),
        (format!("since={day}T{time}-00:01"), 0),
        (format!("until={day}T{time}Z"), 0),
        (format!("until={day}T{time}-00:01"), 1),
        (format!("since={day}"), 1),
        (format!("until={day}"), 0),
    ] {
        let records = page(&agent, &format!("/v1/audit?kind=submission&{query}")).records;
        assert_eq!(records.len(), found, "{query}");
    }
}

#[test]
fn a_killed_daemon_leaves_a_whole_log_and_the_next_goes_on_with_it() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    // Three starts may take longer than the time that one has if nobody asks for more.
    let limits = LimitsRequest { wall_time: Some(600_000), ..LimitsRequest::default() };
    let payload = bash("echo up; read -r _ || exec sleep 300");
    let id = agent.start(&SubmitRequest { limits, ..payload });
    agent.wait_for_words(id, "up");
    for _ in 0..3 {
        world.daemon().kill();
        world.start_daemon();
    }
    agent.cancel(id).expect("it is ours");
    let found = page(&agent, &format!("/v1/executions/{id}/decisions")).records;
    let expected = ["submission", "recovery", "recovery", "recovery", "cancellation", "outcome"];
    assert_eq!(kinds(&found), expected, "{found:?}");
    let told = verify(&world);
    assert_eq!(told.code, Some(0), "{told:?}");
}

#[test]
fn a_hand_on_the_file_is_found_by_the_record_it_touched() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    for _ in 0..3 {
        agent.run(&argv(&["true"]));
    }
    world.daemon().end();
    let told = verify(&world);
    assert_eq!((told.code, told.stdout.as_str()), (Some(0), ""), "{told:?}");
    let path = files(&world).remove(0);
    let whole = fs::read_to_string(&path).expect("text");
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let without = |number: usize| [&lines[..number], &lines[number + 1..]].concat().concat();
    // A slow start writes more of its own before the first submission.
    let first = 1 + lines.iter().position(|line| line.contains("\"true\"")).expect("recorded");
    let changed = format!("record {first} is not what was written");
    for (text, words) in [
        (whole.replacen("\"true\"", "\"trve\"", 1), changed.as_str()),
        (without(3), "record 4 is missing"),
        (lines[..lines.len() - 1].concat(), "at the end of the log: missing"),
        (
            [&[lines[0], lines[2], lines[1]], &lines[3..]].concat().concat(),
            "record 2 stands behind",
        ),
        ([&[lines[1], lines[0]], &lines[2..]].concat().concat(), "record 1 stands behind"),
        (format!("{whole}{}", lines[1]), "record 2 stands there a second time"),
    ] {
        fs::write(&path, &text).expect("written");
        let told = verify(&world);
        assert_eq!(told.code, Some(1), "{words}: {told:?}");
        assert!(told.stdout.contains(words), "{words}: {told:?}");
    }
    fs::write(&path, &whole).expect("written");
    world.start_daemon();
    let key = ctl(&world, &["audit", "key"]).stdout;
    let state = world.state().display().to_string();
    let told = ctl(&world, &["audit", "verify", "--json", "--state", &state, "--key", key.trim()]);
    assert_eq!(told.code, Some(0), "{told:?}");
    let told = ctl(&world, &["audit", "verify", "--state", &state, "--key", &"ab".repeat(32)]);
    assert!(told.code == Some(1) && told.stdout.contains("is not signed by the key"), "{told:?}");
}

#[test]
fn without_room_for_records_work_is_refused_and_how_much_is_recorded_later() {
    let world = World::with(Settings { state_bytes: Some(24 << 20), ..Settings::default() });
    let agent = world.agent(AGENT);
    agent.run(&argv(&["true"]));
    let ballast = world.state().join("ballast");
    let mut bytes = 32 << 20;
    while bytes >= 512 {
        // To the last block that there is.
        let mut file =
            fs::OpenOptions::new().create(true).append(true).open(&ballast).expect("open");
        if std::io::Write::write_all(&mut file, &vec![0; bytes]).is_err() {
            bytes /= 2;
        }
    }
    let error = until("work is refused", || agent.submit(&argv(&["true"])).err());
    assert_eq!(error.code, ErrorCode::StorageFull);
    fs::remove_file(&ballast).expect("removed");
    until("work is taken again", || agent.submit(&argv(&["true"])).ok());
    let told = verify(&world);
    assert_eq!(told.code, Some(0), "{told:?}");
}
