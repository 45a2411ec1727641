//! What changes, as callers follow it on the socket.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout};

use serde_json::{Value, json};
use supervisor_api::SubmitRequest;
use supervisor_tests::{AGENT, Account, OTHER_AGENT, World, bash, descriptors};

/// `supervisorctl events --json`, line by line.
struct Following {
    child: Child,
    lines: BufReader<ChildStdout>,
    _account: Account,
}

impl Following {
    fn by(world: &World, uid: u32) -> Self {
        let account = if uid == 0 { Account::new(0) } else { Account::of(world, uid) };
        let socket = world.socket().display().to_string();
        let words = ["--socket", &socket, "--json", "events"];
        let mut child = account.supervisorctl(&words).spawn().expect("supervisorctl starts");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        let mut following = Self { child, lines, _account: account };
        let first = following.until(|event| event["event"] == "generation");
        assert!(first["generation"].as_u64() >= Some(1));
        following
    }

    fn until(&mut self, mut is_so: impl FnMut(&Value) -> bool) -> Value {
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).expect("text") > 0, "the stream has ended");
            let event: Value = serde_json::from_str(&line).expect("JSON");
            if is_so(&event) {
                return event;
            }
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.child.kill().ok(); // it may have ended by itself
        self.child.wait().ok();
    }
}

#[test]
fn whoever_follows_hears_of_its_own_and_an_administrator_of_everything() {
    let world = World::alone();
    let (mut own, mut all) = (Following::by(&world, AGENT), Following::by(&world, 0));
    let foreign = world.agent(OTHER_AGENT).run(&bash("exit 4")).execution.id.to_string();
    let id = world.agent(AGENT).run(&bash("exit 3")).execution.id.to_string();
    let ended = |id: &str| {
        let id = id.to_owned();
        move |event: &Value| event["execution"] == id && event["state"] == "finished"
    };
    let event = all.until(ended(&foreign));
    assert_eq!(event["outcome"], json!({"type": "exited", "code": 4}));
    assert_eq!(event["owner_uid"], world.agent(OTHER_AGENT).uid());
    // The other's end was told long before this one to whoever may hear of it.
    let event = own.until(|event| {
        assert_ne!(event["execution"], foreign.as_str(), "it hears of somebody else's");
        ended(&id)(event)
    });
    assert_eq!(event["outcome"], json!({"type": "exited", "code": 3}));

    let agent = world.agent(AGENT);
    let made = agent.call("POST", "/v1/sessions", Some(b"{}")).expect("an answer").json();
    let session = made["id"].as_str().expect("an id");
    let of_it = |state: &'static str| {
        let session = session.to_owned();
        move |event: &Value| event["session"] == session && event["state"] == state
    };
    own.until(of_it("open"));
    // Who comes later is told how it stands.
    Following::by(&world, AGENT).until(of_it("open"));
    agent.call("DELETE", &format!("/v1/sessions/{session}"), None).expect("an answer");
    own.until(of_it("closed"));
    all.until(of_it("closed"));
    let reloaded = world.root().call("POST", "/v1/reload", None).expect("an answer").json();
    let heard = own.until(|event| event["event"] == "generation");
    assert_eq!(heard["generation"], reloaded["generation"], "{reloaded}");
}

/// A tenth of its life before, and in time for `session extend`.
#[test]
fn the_end_of_a_session_is_announced_before_it_comes_and_can_be_moved() {
    let world = World::alone();
    let mut following = Following::by(&world, AGENT);
    let agent = world.agent(AGENT);
    let made = agent.call("POST", "/v1/sessions", Some(b"{\"time_to_live\":40}"));
    let made = made.expect("an answer").json();
    let session = made["id"].as_str().expect("an id").to_owned();
    let mut told = Vec::new();
    following.until(|event| {
        if event["session"] == session.as_str() {
            told.extend(event["state"].as_str().map(str::to_owned));
        }
        told.iter().any(|state| state == "expiring")
    });
    assert!(!told.iter().any(|state| state == "closing"), "{told:?}");
    let target = format!("/v1/sessions/{session}/extend");
    let moved = agent.call("POST", &target, Some(b"{\"time_to_live\":600}")).expect("an answer");
    assert_eq!(moved.status, 200);
    following.until(|event| event["session"] == session.as_str() && event["state"] == "open");
    let closed = agent.call("DELETE", &format!("/v1/sessions/{session}"), None);
    assert!(closed.expect("an answer").status < 300);
}

/// What ends while a follower reads nothing is held by nobody: not its output's files, and not its session.
#[test]
fn a_follower_that_reads_nothing_holds_nothing_of_what_ends() {
    let world = World::alone();
    let mut all = world.root().connect().expect("connected");
    all.request("GET", "/v1/events", None).expect("sent");
    all.head().expect("a head, and nothing is read any more");
    let agent = world.agent(AGENT);
    let made = agent.call("POST", "/v1/sessions", Some(b"{}")).expect("an answer").json();
    let session = made["id"].as_str().expect("an id").to_owned();
    let request = || SubmitRequest { session: session.parse().ok(), ..bash("true") };
    agent.run(&request()).expect_exit(0);
    let before = descriptors(world.daemon_pid()).len();
    // A hundred fill the socket and the queue. Their records go: others look for theirs among the latest.
    for _ in 0..130 {
        let ended = agent.run(&request());
        ended.expect_exit(0);
        let record = format!("/v1/executions/{}", ended.execution.id);
        assert!(agent.call("DELETE", &record, None).expect("an answer").status < 300);
    }
    let after = descriptors(world.daemon_pid()).len();
    assert!(after < before + 40, "{before} before, {after} after");
    let target = format!("/v1/sessions/{session}");
    let closed = agent.call("DELETE", &target, None).expect("an answer");
    assert!(closed.status < 300, "{closed:?}");
    assert_eq!(agent.call("GET", &target, None).expect("an answer").status, 404);
}
