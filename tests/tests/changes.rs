//! What an execution changed in its workspace is told, with what about it deserves a look.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use sha2::{Digest as _, Sha256};
use supervisor_api::{
    ChangeKind, ChangeSet, ChangesMode, ErrorCode, Execution, ExecutionId, Hazard, PathChange,
    Session, SessionId, SubmitRequest,
};
use supervisor_tests::{
    AGENT, Account, Client, OTHER_AGENT, Reply, Told, World, assert_described, bash,
};

fn call(client: &Client, method: &str, target: &str, body: Option<&str>) -> Reply {
    client.call(method, target, body.map(str::as_bytes)).expect("the daemon answers")
}

fn open(client: &Client) -> SessionId {
    let reply = call(client, "POST", "/v1/sessions", Some("{}"));
    assert_eq!(reply.status, 201, "{}", String::from_utf8_lossy(&reply.body));
    serde_json::from_slice::<Session>(&reply.body).expect("a session").id
}

fn recorded(session: Option<SessionId>, payload: &str) -> SubmitRequest {
    SubmitRequest { session, changes: Some(ChangesMode::Record), ..bash(payload) }
}

#[track_caller]
fn changes(client: &Client, id: ExecutionId) -> ChangeSet {
    let reply = call(client, "GET", &format!("/v1/executions/{id}/changes"), None);
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    assert_described("changes", reply.status, reply.field("content-type"), &reply.body);
    serde_json::from_slice(&reply.body).expect("changes")
}

fn run(client: &Client, request: &SubmitRequest) -> Execution {
    let ended = client.run(request);
    ended.expect_exit(0);
    ended.execution
}

fn at<'s>(set: &'s ChangeSet, path: &str) -> &'s PathChange {
    let found = set.changes.iter().find(|each| each.path == path);
    assert!(found.is_some(), "no {path} in {:?}", set.changes);
    found.expect("it is some")
}

/// What supervisorctl says to the agent.
fn told(world: &World, words: &[&str]) -> Told {
    let user = Account::of(world, AGENT);
    let mut command = user.supervisorctl(words);
    command.env("SUPERVISORD_SOCKET", world.socket());
    Told::of(command)
}

fn digest(words: &str) -> Option<String> {
    Some(Sha256::digest(words).iter().map(|byte| format!("{byte:02x}")).collect())
}

#[test]
fn what_an_execution_added_changed_and_removed_is_told_with_its_hazards() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let id = open(&agent);
    let before = "mkdir -p src .git/hooks; echo one > src/a; echo gone > src/b; echo x > kept; \
                  touch Cargo.lock";
    let unasked = run(&agent, &SubmitRequest { session: Some(id), ..bash(before) });
    let reply = call(&agent, "GET", &format!("/v1/executions/{}/changes", unasked.id), None);
    assert_eq!(reply.problem().code, ErrorCode::NotFound);
    let payload = "echo two > src/a; rm src/b; printf '#!/bin/sh' > .git/hooks/pre-commit; \
                   chmod 4755 .git/hooks/pre-commit; ln -s /etc/passwd out; ln -s kept in; \
                   echo alias > .bashrc; mkdir -p .github/workflows .ssh; \
                   touch .github/workflows/ci.yml .ssh/authorized_keys; echo v > Cargo.lock; \
                   mkfifo fifo; touch kept; cp /usr/bin/true tool; ln kept second";
    let execution = run(&agent, &recorded(Some(id), payload));
    let set = changes(&agent, execution.id);
    assert_eq!((set.execution, set.session), (execution.id, id));
    assert_eq!(execution.changes, Some(set.summary), "the record says so too");
    assert!(set.summary.complete && set.unnamed == 0);
    let changed = at(&set, "src/a");
    assert_eq!(changed.change, ChangeKind::Modified);
    assert_eq!(changed.before.as_ref().and_then(|facts| facts.sha256.clone()), digest("one\n"));
    assert_eq!(changed.after.as_ref().and_then(|facts| facts.sha256.clone()), digest("two\n"));
    assert_eq!(at(&set, "src/b").change, ChangeKind::Deleted);
    for (path, hazards) in [
        (".git/hooks/pre-commit", [Hazard::Executable, Hazard::SetId, Hazard::GitHook].as_slice()),
        ("out", &[Hazard::SymbolicLink, Hazard::LinkLeadsOut]),
        ("in", &[Hazard::SymbolicLink]),
        (".bashrc", &[Hazard::ShellStartUp]),
        (".github/workflows/ci.yml", &[Hazard::Ci]),
        (".ssh/authorized_keys", &[Hazard::Ssh]),
        ("Cargo.lock", &[Hazard::LockFile]),
        ("fifo", &[Hazard::SpecialFile]),
        ("tool", &[Hazard::Executable]),
        ("second", &[Hazard::HardLink]),
    ] {
        assert_eq!(at(&set, path).hazards, hazards, "{path}");
    }
    assert!(set.changes.iter().all(|each| each.path != "kept"), "a touch changes nothing");
    let count = set.changes.len() as u64;
    assert_eq!(set.summary.added + set.summary.modified + set.summary.deleted, count);
    // The same by the command line.
    let shown = told(&world, &["changes", &execution.id.to_string()]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.stdout.contains(".git/hooks/pre-commit"), "{shown:?}");
    assert!(shown.stdout.contains("git_hook"), "{shown:?}");
    // Nobody else's.
    let stranger = world.agent(OTHER_AGENT);
    let reply = call(&stranger, "GET", &format!("/v1/executions/{}/changes", execution.id), None);
    assert_eq!(reply.problem().code, ErrorCode::NotFound);
}

#[test]
fn names_that_are_no_paths_are_counted_and_a_workspace_of_its_own_is_told_too() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let payload = "touch $'a\\nb' $'\\xff' $'\\e[31m' fine";
    let set = changes(&agent, run(&agent, &recorded(None, payload)).id);
    assert_eq!(set.unnamed, 3);
    let told: Vec<&str> = set.changes.iter().map(|each| each.path.as_str()).collect();
    assert_eq!(told, ["fine", "main.sh"]);
}

#[test]
fn a_daemon_that_comes_after_one_that_was_killed_tells_what_was_changed_before_and_after() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let id = open(&agent);
    run(&agent, &SubmitRequest { session: Some(id), ..bash("echo one > file; touch gone") });
    let payload = "rm gone; echo up; while [ ! -e go ]; do sleep 0.05; done; echo two > file";
    let running = agent.start(&recorded(Some(id), payload));
    agent.wait_for_words(running, "up");
    world.daemon().kill();
    world.start_daemon();
    let put = call(&agent, "PUT", &format!("/v1/sessions/{id}/files/go"), Some("go"));
    assert_eq!(put.status, 200);
    agent.finished(running);
    let set = changes(&agent, running);
    assert_eq!(at(&set, "gone").change, ChangeKind::Deleted);
    assert_eq!(at(&set, "file").change, ChangeKind::Modified);
    assert_eq!(at(&set, "go").change, ChangeKind::Added);
}

/// Whatever the names and however fast they change: the look ends, and the next execution is served.
#[test]
fn a_look_at_a_workspace_that_a_payload_turns_over_comes_to_its_end() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let id = open(&agent);
    let payload = "mkdir -p a/b/c d; echo up; trap exit TERM; while :; do mv a/b d/b; ln -s / a/b; rm a/b; \
                   mv d/b a/b; mkdir a/x; touch a/x/y; mv a/x a/b/x; rm -r a/b/x; done";
    let busy = agent.start(&SubmitRequest { session: Some(id), ..bash(payload) });
    agent.wait_for_words(busy, "up");
    for _ in 0..5 {
        let execution = run(&agent, &recorded(Some(id), "echo mine > mine"));
        let set = changes(&agent, execution.id);
        assert!(set.changes.iter().all(|each| !each.path.contains("etc/")), "{:?}", set.changes);
    }
    agent.cancel(busy).expect("it is ours");
    agent.finished(busy);
}
