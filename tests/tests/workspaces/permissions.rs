//! Permissions that a program takes from its own files.

use supervisor_api::ErrorCode;
use supervisor_tests::{AGENT, World};

use super::{call, fork, open, sessions, snapshot, within};

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
    for (method, target, body) in [
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

/// What can be read though its owner may not, is as it was afterwards, and the copy is as it is.
#[test]
fn what_is_read_keeps_the_permissions_that_a_program_took_from_it() {
    let world = World::open();
    let client = world.agent(AGENT);
    let session = open(&client);
    let prepared = "mkdir -m 700 d d/in && echo a >shut && echo b >d/f && echo c >d/in/f && \
                    chmod 0 shut d/f d/in && chmod 300 d && stat -c %a . >/dev/null";
    client.run(&within(session, prepared)).expect_exit(0);
    let modes = |session| {
        let look =
            "stat -c '%a %n' shut d && chmod 700 d && stat -c '%a %n' d/f d/in && chmod 300 d";
        client.run(&within(session, look)).stdout
    };
    let as_they_were = "0 shut\n300 d\n0 d/f\n0 d/in\n";
    assert_eq!(modes(session), as_they_were);
    let of = format!("/v1/sessions/{session}");
    for (path, most) in [("/files/shut", 2), ("/tree", 0), ("/tree/d", 0), ("/archive", 0), ("", 0)]
    {
        let read = call(&client, "GET", &format!("{of}{path}"), None);
        assert_eq!(read.status, 200, "{path}: {}", String::from_utf8_lossy(&read.body));
        assert!(most == 0 || read.body.len() == most, "{path}");
        assert_eq!(modes(session), as_they_were, "{path}");
    }
    for copied in [fork(&client, session), snapshot(&client, session)] {
        assert_eq!(copied.status, 201);
        assert_eq!(modes(session), as_they_were);
    }
    let forked = fork(&client, session).json();
    let forked = forked["id"].as_str().expect("an id").parse().expect("an id");
    assert_eq!(modes(forked), as_they_were);
    for each in sessions(&client) {
        let closed = call(&client, "DELETE", &format!("/v1/sessions/{}", each.id), None);
        assert!(closed.status < 300, "{}", String::from_utf8_lossy(&closed.body));
    }
}
