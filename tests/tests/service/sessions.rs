//! Sessions: a workspace that stays between executions, with files that callers put in and take out.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use std::time::{Duration, Instant};

use supervisor_api::{ErrorCode, Session, SessionId, SubmitRequest};
use supervisor_tests::{AGENT, Client, OTHER_AGENT, World, bash, slowness, until_true};

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
fn what_one_execution_leaves_the_next_finds_and_nothing_of_it_outlives_the_session() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let id = open(&agent);
    let file = format!("/v1/sessions/{id}/files/data/in.txt");
    let made = status(
        &agent,
        "POST",
        &format!("/v1/sessions/{id}/directories"),
        Some(b"{\"path\":\"data\"}"),
    );
    assert!(made.0 < 300, "{made:?}");
    let put = status(&agent, "PUT", &file, Some(b"forty-two"));
    assert!(put.0 < 300, "{put:?}");
    agent.run(&within(id, "tr a-z A-Z < data/in.txt > data/out.txt; echo first")).expect_exit(0);
    let second = agent.run(&within(id, "cat data/out.txt"));
    second.expect_exit(0);
    assert_eq!(second.stdout, "FORTY-TWO");
    let out = format!("/v1/sessions/{id}/files/data/out.txt");
    assert_eq!(status(&agent, "GET", &out, None), (200, "FORTY-TWO".to_owned()));
    let closed = status(&agent, "DELETE", &format!("/v1/sessions/{id}"), None);
    assert!(closed.0 < 300, "{closed:?}");
    let error = agent.submit(&within(id, "true")).expect_err("it is gone");
    assert_eq!(error.code, ErrorCode::NotFound);
}

#[test]
fn links_in_a_workspace_lead_nowhere_and_paths_stay_inside() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let id = open(&agent);
    agent.run(&within(id, "ln -s /etc/passwd link; ln -s / root; mkfifo pipe")).expect_exit(0);
    for path in
        ["link", "root/etc/passwd", "pipe", "%2e%2e/escape", "a%00b", "..%2f..%2fetc/passwd"]
    {
        let (got, body) = status(&agent, "GET", &format!("/v1/sessions/{id}/files/{path}"), None);
        assert!((400..500).contains(&got), "{path}: {got} {body}");
        assert!(!body.contains("root:"), "{path}: {body}");
        if path != "pipe" && path != "link" {
            let put = status(&agent, "PUT", &format!("/v1/sessions/{id}/files/{path}"), Some(b"x"));
            assert!((400..500).contains(&put.0), "{path}: {put:?}");
        }
    }
    assert!(status(&agent, "DELETE", &format!("/v1/sessions/{id}"), None).0 < 300);
}

#[test]
fn a_caller_that_dawdles_over_an_archive_holds_up_neither_the_end_of_its_session_nor_others() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let [unread, trickled, third] = [(); 3].map(|()| open(&agent));
    agent.run(&within(unread, "head -c 16M /dev/zero > big")).expect_exit(0);
    let archive = |id: SessionId| format!("/v1/sessions/{id}/archive");
    let mut reader = agent.connect().expect("a connection");
    reader.request("GET", &archive(unread), None).expect("sent");
    let begun = reader.head().expect("a head");
    assert_eq!(begun.status, 200);
    let mut writer = agent.connect().expect("a connection");
    let head = format!(
        "PUT {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n",
        archive(trickled)
    );
    writer.send(head.as_bytes()).expect("sent");
    writer.send(b"not much").expect("sent");
    // Which is under way once there is no place for another one.
    until_true("an archive is unpacked", || {
        status(&agent, "GET", &archive(trickled), None).0 == 429
    });
    assert_eq!(status(&agent, "GET", &archive(third), None).0, 429, "two of one uid's");
    let other = world.agent(OTHER_AGENT);
    assert_eq!(status(&other, "GET", &archive(open(&other)), None).0, 200);
    let begin = Instant::now();
    for id in [unread, trickled] {
        let closed = status(&agent, "DELETE", &format!("/v1/sessions/{id}"), None);
        assert!(closed.0 < 300, "{closed:?}");
    }
    assert!(begin.elapsed() < Duration::from_secs(100) * slowness(), "{:?}", begin.elapsed());
    let cut = loop {
        match reader.piece(&begun) {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert!(cut.is_err(), "an archive that was cut looks whole");
    writer.send(b"more").expect("sent");
    assert_eq!(writer.reply().expect("an answer").problem().code, ErrorCode::Conflict);
    assert_eq!(status(&agent, "GET", &archive(third), None).0, 200);
}
