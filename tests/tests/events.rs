//! What changes, as callers follow it on the socket; and what a flood of refusals leaves in the audit log.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout};

use serde_json::{Value, json};
use supervisor_api::{AuditRecord, SubmitRequest};
use supervisor_tests::{AGENT, Account, OTHER_AGENT, World, bash};

/// `supervisorctl events --json`, line by line.
struct Following {
    child: Child,
    lines: BufReader<ChildStdout>,
    _account: Account,
}

impl Following {
    fn by(world: &World, uid: u32) -> Self {
        let account = Account::new(uid);
        let socket = world.socket().display().to_string();
        let words = ["--socket", &socket, "--json", "events"];
        let mut child = account.supervisorctl(&words).spawn().expect("supervisorctl starts");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        let mut following = Self { child, lines, _account: account };
        let first = following.until(|event| event["event"] == "generation");
        assert_eq!(first["generation"], 1);
        following
    }

    fn until(&mut self, is_so: impl Fn(&Value) -> bool) -> Value {
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
    let world = World::open();
    let (mut own, mut all) = (Following::by(&world, AGENT), Following::by(&world, 0));
    let foreign = world.agent(OTHER_AGENT).run(&bash("exit 4")).execution.id.to_string();
    let id = world.agent(AGENT).run(&bash("exit 3")).execution.id.to_string();
    let ended = |id: &str| {
        let id = id.to_owned();
        move |event: &Value| event["execution"] == id && event["state"] == "finished"
    };
    let event = all.until(ended(&foreign));
    assert_eq!(event["outcome"], json!({"type": "exited", "code": 4}));
    assert_eq!(event["owner_uid"], OTHER_AGENT);
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
    world.root().call("POST", "/v1/reload", None).expect("an answer");
    assert_eq!(own.until(|event| event["event"] == "generation")["generation"], 2);
}

/// The log keeps what happened before, however often somebody is refused.
#[test]
fn a_flood_of_refused_submissions_is_answered_and_counted_and_does_not_fill_the_log() {
    let mut world = World::open();
    let refused = SubmitRequest { policy: Some("nosuch".to_owned()), ..bash("true") };
    for _ in 0..200 {
        assert!(world.agent(AGENT).submit(&refused).is_err());
    }
    assert!(world.agent(OTHER_AGENT).submit(&refused).is_err());
    world.daemon().end();
    world.start_daemon();
    let state = world.state();
    let mut files: Vec<_> = std::fs::read_dir(state.join("audit")).unwrap().flatten().collect();
    files.sort_by_key(|file| file.file_name());
    let logs = files.iter().filter(|file| file.path().extension().is_some_and(|it| it == "jsonl"));
    let text: String = logs.map(|file| std::fs::read_to_string(file.path()).unwrap()).collect();
    let records: Vec<AuditRecord> =
        text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect();
    let of = |uid: u32, kind: &str| {
        let mine = |record: &&AuditRecord| {
            record.event.subject.uid == Some(uid) && record.event.what.kind() == kind
        };
        records.iter().filter(mine).count()
    };
    // A minute may have begun in the middle of it.
    assert!((60..=120).contains(&of(AGENT, "submission")), "{}", of(AGENT, "submission"));
    let suppressed = records.iter().filter_map(|record| match &record.event.what {
        supervisor_api::What::Suppression(told) => Some(told.refused),
        _ => None,
    });
    let sum: u64 = suppressed.sum();
    assert_eq!(of(AGENT, "submission") as u64 + sum, 200, "each is recorded or counted");
    assert_eq!((of(OTHER_AGENT, "submission"), of(OTHER_AGENT, "suppression")), (1, 0));
}
