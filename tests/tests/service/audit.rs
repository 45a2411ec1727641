//! What is recorded, and who sees it.

#![allow(clippy::expect_used, reason = "a test fails by a panic, and so does what it stands on")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use supervisor_api::{
    ApprovalId, AuditPage, AuditRecord, ErrorCode, LimitsRequest, Outcome, SubmitRequest, What,
};
use supervisor_tests::{
    AGENT, Client, OTHER_AGENT, Told, World, argv, assert_described, bash, milliseconds, program,
    python, until,
};

fn files(world: &World) -> Vec<PathBuf> {
    let entries = fs::read_dir(world.state().join("audit")).expect("a log").flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    found.retain(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
    found.sort();
    found
}

fn records(world: &World) -> Vec<AuditRecord> {
    let texts = files(world).into_iter().map(|path| fs::read_to_string(path).expect("readable"));
    let text: String = texts.collect();
    text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
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

#[track_caller]
fn page(client: &Client, target: &str) -> AuditPage {
    let reply = client.call("GET", target, None).expect("an answer");
    assert_eq!(reply.status, 200, "{:?}", reply.problem());
    serde_json::from_slice(&reply.body).expect("a page")
}

#[test]
fn an_execution_is_in_the_log_from_its_submission_to_its_end() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let ended = agent.run(&argv(&["true"]));
    let mine: Vec<AuditRecord> = records(&world)
        .into_iter()
        .filter(|record| record.event.subject.execution == Some(ended.execution.id))
        .collect();
    assert_eq!(kinds(&mine), ["submission", "outcome"], "{mine:?}");
    assert_eq!(mine[0].event.subject.uid, Some(agent.uid()));
    let What::Outcome(end) = &mine[1].event.what else { panic!("{mine:?}") };
    assert_eq!(Some(&end.outcome), ended.execution.outcome.as_ref());
}

#[test]
fn why_names_the_limit_the_line_that_set_it_and_what_would_have_allowed_more() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let time = milliseconds(3000);
    let limits = LimitsRequest {
        wall_time: Some(time),
        output_bytes: Some(1000),
        ..LimitsRequest::default()
    };
    let shell = "head -c 5000 /dev/zero; exec sleep 300";
    let ended = agent.run(&SubmitRequest { limits, ..bash(shell) });
    let id = ended.execution.id;
    let found = page(&agent, &format!("/v1/executions/{id}/decisions")).records;
    assert_eq!(kinds(&found), ["submission", "limit", "limit", "outcome"], "{found:?}");
    let told = ctl(&world, &["why", &id.to_string()]);
    assert_eq!(told.code, Some(0), "{told:?}");
    let reached = format!("wall_time of {time} reached");
    for words in
        [reached.as_str(), "output_bytes of 1000: 4000", "default.toml:", "larger wall_time"]
    {
        assert!(told.stdout.contains(words), "{words}: {}", told.stdout);
    }
    let told = ctl(&world, &["why", "--json", &id.to_string()]);
    let value: Value = serde_json::from_str(&told.stdout).expect("JSON");
    assert_eq!(value["records"].as_array().map(Vec::len), Some(3), "{value}");
}

/// SY-02. The kernel tells a parent the signal and not the call.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_payload_that_the_filter_ends_has_a_record_with_the_line_that_names_the_profile() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let source = format!(
        "import ctypes, mmap, os, signal\n{}\nos.fork = lambda: 0\nexecute(GETPID_32)",
        include_str!("../payloads/machine_code.py")
    );
    let ended = agent.run(&python(&source));
    let id = ended.execution.id;
    ended.expect(&Outcome::Signaled { signal: 31, name: "SIGSYS".to_owned() });
    let found = page(&agent, &format!("/v1/executions/{id}/decisions")).records;
    assert_eq!(kinds(&found), ["submission", "syscall", "outcome"], "{found:?}");
    let told = ctl(&world, &["why", &id.to_string()]);
    for words in
        ["refused a system call", "syscalls.profile = \"default\"", "default.toml:", "64-bit"]
    {
        assert!(told.stdout.contains(words), "{words}: {}", told.stdout);
    }
    let found = page(&world.root(), "/v1/audit?kind=syscall&verdict=deny").records;
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn nobody_sees_what_is_recorded_about_others_but_administrators() {
    let world = World::open();
    let (agent, other) = (world.agent(AGENT), world.agent(OTHER_AGENT));
    let id = agent.run(&argv(&["true"])).execution.id;
    assert_eq!(page(&other, "/v1/audit").records, []);
    assert_eq!(page(&other, &format!("/v1/audit?execution={id}")).records, []);
    let reply =
        other.call("GET", &format!("/v1/audit?uid={}", agent.uid()), None).expect("an answer");
    assert_eq!(reply.problem().code, ErrorCode::PermissionDenied);
    let target = format!("/v1/executions/{id}/decisions");
    let reply = other.call("GET", &target, None).expect("an answer");
    assert_eq!(reply.problem().code, ErrorCode::NotFound);
    assert_eq!(page(&world.root(), &target).records.len(), 2);
    // What an administrator does to what is somebody else's is recorded for its owner to see.
    world.root().output(id, supervisor_tests::Selection::Both, 0).expect("root may");
    let target = format!("/v1/audit?execution={id}&kind=administration");
    let acts = until("it is recorded", || {
        let acts = page(&agent, &target).records;
        (!acts.is_empty()).then_some(acts)
    });
    let [act] = acts.as_slice() else { panic!("{acts:?}") };
    assert!(
        matches!(&act.event.what, What::Administration(act) if act.by == Some(0) && act.act == "output")
    );
}

#[test]
fn budgets_and_approvals_are_there_to_ask_for_and_nobodys_but_ones_own() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let get = |client: &Client, target: &str| client.call("GET", target, None).expect("an answer");
    let reply = get(&agent, "/v1/budgets");
    assert_described("budgets", reply.status, reply.field("content-type"), &reply.body);
    assert_eq!(get(&agent, "/v1/budgets?all=true").problem().code, ErrorCode::PermissionDenied);
    assert_eq!(get(&world.root(), "/v1/budgets?all=true").status, 200);
    let reply = get(&agent, "/v1/approvals");
    assert_described("approvals", reply.status, reply.field("content-type"), &reply.body);
    let target = format!("/v1/approvals/{}", ApprovalId::from_bits(1));
    assert_eq!(get(&agent, &target).problem().code, ErrorCode::NotFound);
    let body = br#"{"approve": true}"#.as_slice();
    let reply =
        world.root().call("POST", &format!("{target}/answer"), Some(body)).expect("an answer");
    assert_eq!(reply.problem().code, ErrorCode::NotFound);
    let mut events = agent.connect().expect("connected");
    events.request("GET", "/v1/approvals/events", None).expect("sent");
    assert_eq!(events.head().expect("an answer").status, 200);
}
