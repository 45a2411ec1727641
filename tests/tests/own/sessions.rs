//! Sessions over the death of the daemon.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use supervisor_api::{ErrorCode, Session, SessionId, SubmitRequest};
use supervisor_tests::{AGENT, Client, OTHER_AGENT, World, bash};

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
