//! The disk of the workspaces, where an error has turned it read-only: what is on it is there, and is not told as gone.

use supervisor_api::{ErrorCode, Outcome, Session, SessionId, SessionList, SubmitRequest};
use supervisor_tests::{AGENT, Client, Settings, World, argv};

use super::Disk;

/// Bytes of the disk: an eighth of it stays free, and the sessions have the rest.
const DISK: u64 = 400 << 20;

fn open(client: &Client) -> SessionId {
    let made = client.call("POST", "/v1/sessions", Some(b"{\"workspace_bytes\":8388608}"));
    let made = made.expect("an answer");
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
    serde_json::from_slice::<Session>(&made.body).expect("a session").id
}

/// What can't be done says so with what to do, of a session that nobody had looked at as well. Its record stays, so nobody
/// takes its workspace for one that is gone.
#[test]
fn a_disk_of_workspaces_that_turns_read_only_is_told_and_no_workspace_counts_as_missing() {
    let world = World::with(Settings { workspaces_disk: Some(DISK), ..Settings::default() });
    let agent = world.agent(AGENT);
    let session = open(&agent);
    let (device, place) = (world.workspaces_device(), world.path().join("workspaces"));
    Disk { device, place }.fail();
    let target = format!("/v1/sessions/{session}");
    for (method, target, body) in [
        ("POST", "/v1/sessions".to_owned(), Some(&b"{\"workspace_bytes\":8388608}"[..])),
        ("GET", format!("{target}/tree"), None),
        ("PUT", format!("{target}/files/new"), Some(&b"text"[..])),
        ("DELETE", target.clone(), None),
    ] {
        let refused = agent.call(method, &target, body).expect("an answer").problem();
        assert_eq!(refused.code, ErrorCode::Unavailable, "{method} {target}: {refused}");
        assert!(refused.detail.contains("can't be written"), "{method} {target}: {refused}");
        let hint = refused.hint.unwrap_or_default();
        assert!(hint.contains("mounted read-only"), "{method} {target}: {hint}");
    }
    let ran = agent.run(&SubmitRequest { session: Some(session), ..argv(&["true"]) }).execution;
    let Some(Outcome::SetupFailed { step, reason }) = &ran.outcome else { panic!("{ran:?}") };
    assert!(step == "find_workspace" && reason.contains("can't be written"), "{step}: {reason}");
    let listed = agent.call("GET", "/v1/sessions", None).expect("an answer");
    let listed: SessionList = serde_json::from_slice(&listed.body).expect("a list");
    assert_eq!(listed.sessions.first().map(|listed| listed.id), Some(session));
    assert_eq!(world.kept_workspaces().len(), 1, "it is there");
}
