//! Sessions over the death of the daemon.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use supervisor_api::{ErrorCode, Session, SessionId, SubmitRequest};
use supervisor_tests::{AGENT, Account, Client, OTHER_AGENT, Settings, Told, World, bash};

fn open(client: &Client) -> SessionId {
    let reply = client.call("POST", "/v1/sessions", Some(b"{}")).expect("an answer");
    assert!(reply.status < 300, "{}", String::from_utf8_lossy(&reply.body));
    serde_json::from_slice::<Session>(&reply.body).expect("a session").id
}

fn status(client: &Client, method: &str, target: &str, body: Option<&[u8]>) -> (u16, String) {
    let reply = client.call(method, target, body).expect("an answer");
    (reply.status, String::from_utf8_lossy(&reply.body).into_owned())
}

fn within(session: SessionId, payload: &str) -> SubmitRequest {
    SubmitRequest { session: Some(session), ..bash(payload) }
}

#[test]
fn a_session_is_its_owner_s_and_outlives_the_daemon() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let id = open(&agent);
    agent.run(&within(id, "echo kept > file")).expect_exit(0);
    let stranger = world.agent(OTHER_AGENT);
    let target = format!("/v1/sessions/{id}");
    assert_eq!(status(&stranger, "GET", &target, None).0, 404);
    assert_eq!(status(&stranger, "GET", &format!("{target}/files/file"), None).0, 404);
    assert_eq!(
        stranger.submit(&within(id, "true")).expect_err("not theirs").code,
        ErrorCode::NotFound
    );
    let refused = world.root().submit(&within(id, "true")).expect_err("not root's to run in");
    assert_eq!(refused.code, ErrorCode::PermissionDenied);
    assert!(refused.hint.is_some());
    world.daemon().kill();
    world.start_daemon();
    let found = agent.run(&within(id, "cat file"));
    assert_eq!(found.stdout, "kept\n", "{}", found.stderr);
    assert!(status(&agent, "DELETE", &target, None).0 < 300);
}

/// A session from the command line, from its beginning to the end that is announced before it comes.
#[test]
fn sessions_are_marked_bounded_moved_and_announced_before_they_end() {
    let tables = "sessions_per_uid = 2\n".to_owned();
    let world = World::with(Settings { tables, ..Settings::default() });
    let user = Account::of(&world, AGENT);
    let command = |words: &[&str]| {
        let mut command = user.supervisorctl(words);
        command.env("SUPERVISORD_SOCKET", world.socket());
        command
    };
    let told = |words: &str| Told::of(command(&words.split(' ').collect::<Vec<_>>()));
    let mut events = command(&["events", "--json"]);
    let mut events = events.stdout(Stdio::piped()).spawn().expect("it starts");
    let words = BufReader::new(events.stdout.take().expect("it is piped"));

    let made = told("session create --json --time-to-live 2h --label job=night --label run=7");
    let made = made.json();
    let id = made["id"].as_str().expect("an id").to_owned();
    let labels = serde_json::json!({"job": "night", "run": "7"});
    assert_eq!((&made["labels"], &made["state"]), (&labels, &"open".into()), "{made}");
    let second = told("session create");
    assert_eq!(second.code, Some(0), "{second:?}");
    let third = told("session create");
    assert!(third.stderr.contains("which is the most"), "{third:?}");
    assert_ne!(third.code, Some(0));
    let refused = status(&world.agent(user.uid()), "POST", "/v1/sessions", Some(b"{}"));
    assert!(refused.0 >= 400 && refused.1.contains("busy"), "{refused:?}");
    let list = told("session list --json").json();
    assert_eq!(list["sessions"].as_array().map(Vec::len), Some(2), "{list}");
    let shown = told(&format!("session show --json {id}")).json();
    assert_eq!((&shown["labels"], &shown["expires_at"]), (&labels, &made["expires_at"]), "{shown}");

    let extended = told(&format!("session extend --json --time-to-live 20s {id}")).json();
    assert_ne!(extended["expires_at"], made["expires_at"], "{extended}");
    let mut seen = Vec::new();
    for line in words.lines() {
        let event: serde_json::Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        let of_it = [&event, &event["session"]].into_iter().find(|each| each["session"] == id);
        let state = of_it.and_then(|each| each["state"].as_str().map(str::to_owned));
        if let Some(state) = state.filter(|state| seen.last() != Some(state)) {
            seen.push(state);
        }
        if seen.last().is_some_and(|last| last == "closed") {
            break;
        }
    }
    let announced = seen.iter().position(|state| state == "expiring");
    let closed = seen.iter().position(|state| state == "closed");
    assert!(announced.is_some() && announced < closed, "{seen:?}");
    let gone = told(&format!("session show {id}"));
    assert_ne!(gone.code, Some(0), "{gone:?}");
    assert_eq!(told("session create").code, Some(0), "there is room again");
    events.kill().expect("it runs");
    events.wait().expect("it was killed");
}
