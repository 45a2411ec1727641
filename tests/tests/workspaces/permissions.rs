//! Permissions that a program takes from its own files.

use supervisor_api::ErrorCode;
use supervisor_tests::{AGENT, World};

use super::{call, fork, made, open, snapshot, within};

#[test]
fn permissions_that_a_program_takes_away_are_named_and_nothing_is_done_by_half() {
    let world = World::open();
    let client = world.agent(AGENT);
    let session = open(&client);
    let prepared =
        "mkdir ro none && echo kept >ro/f && echo x >none/f && chmod 500 ro && chmod 0 none";
    client.run(&within(session, prepared)).expect_exit(0);
    let files = format!("/v1/sessions/{session}/files");
    let moving = format!("/v1/sessions/{session}/move");
    assert_eq!(call(&client, "PUT", &format!("{files}/y"), Some("new")).status, 200);
    for (method, target, body) in [
        ("POST", moving.clone(), Some(r#"{"from": "y", "to": "ro/y"}"#)),
        ("PUT", format!("{files}/ro/g"), Some("new")),
        ("DELETE", format!("{files}/ro/f"), None),
        ("GET", format!("{files}/none/f"), None),
        ("POST", moving, Some(r#"{"from": "ro/f", "to": "x"}"#)),
    ] {
        let refused = call(&client, method, &target, body);
        let words = String::from_utf8_lossy(&refused.body).into_owned();
        assert_eq!((refused.status, words.contains("chmod -R")), (409, true), "{method}: {words}");
    }
    assert_eq!(call(&client, "GET", &format!("{files}/x"), None).status, 404);
    assert_eq!(call(&client, "GET", &format!("{files}/y"), None).body, b"new");
    client.run(&within(session, "chmod -R u+rwX . && cat ro/f")).expect_exit(0);
    assert_eq!(call(&client, "GET", &format!("{files}/none/f"), None).body, b"x\n");
    // With a second name, which may be anywhere, a file's permissions are not given back to copy it.
    client.run(&within(session, "ln ro/f ro/two && chmod 0 ro/f")).expect_exit(0);
    for refused in [fork(&client, session), snapshot(&client, session)] {
        let problem = refused.problem();
        assert_eq!(problem.code, ErrorCode::Conflict, "{problem}");
        assert!(problem.detail.contains("permissions of ro/"), "{problem}");
        assert!(problem.hint.is_some_and(|hint| hint.contains("chmod -R")));
    }
    client.run(&within(session, "chmod -R u+rwX .")).expect_exit(0);
    assert_eq!(fork(&client, session).status, 201);
}

/// Nobody could start in it to give the permissions back.
#[test]
fn a_workspace_whose_root_a_program_has_shut_is_opened_up_for_whoever_comes_next() {
    let world = World::open();
    let client = world.agent(AGENT);
    let session = open(&client);
    let of = format!("/v1/sessions/{session}");
    for mode in ["0", "077", "500"] {
        let shut = || {
            let payload = format!("echo kept >f && chmod {mode} .");
            client.run(&within(session, &payload)).expect_exit(0);
        };
        shut();
        let next = client.run(&within(session, "find . -maxdepth 0 -perm -700 && cat f"));
        assert_eq!(next.stdout, ".\nkept\n", "{mode}: {next:?}");
        for path in ["/files/f", "/tree", "/archive"] {
            shut();
            let read = call(&client, "GET", &format!("{of}{path}"), None);
            assert_eq!(read.status, 200, "{mode} {path}: {read:?}");
        }
        shut();
        assert_eq!(call(&client, "PUT", &format!("{of}/files/g"), Some("new")).status, 200);
        shut();
        let copy = made("create_session", &fork(&client, session)).id;
        assert!(call(&client, "DELETE", &format!("/v1/sessions/{copy}"), None).status < 300);
    }
}
