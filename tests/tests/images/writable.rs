//! Roots that can be written: what a session changes of its image stays the session's own.

use serde_json::json;
use supervisor_api::{ChangesMode, ErrorCode, Outcome, Session, SessionId, SubmitRequest};
use supervisor_tests::{AGENT, Client, Settings, World, argv};

use super::Store;

/// Bytes of a session's disk.
const DISK: u64 = 24 << 20;

/// A supervisor with a policy whose root can be written.
fn world() -> World {
    let default = include_str!("../../../policies/default.toml");
    let floor = include_str!("../../../policies/floor.toml");
    let open = format!(
        "name = \"open\"\nextends = \"default\"\n[limits]\nworkspace_bytes = {DISK}\n\
         [filesystem]\nimage = \"box:1\"\nimages = [\"box:2\", \"default\"]\nroot = \"writable\"\n"
    );
    let files = [("default.toml", default), ("floor.toml", floor), ("open.toml", &open)];
    let policies = files.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec();
    World::with(Settings { policies, ..Settings::default() })
}

fn session(client: &Client) -> SessionId {
    let request = json!({"policy": "open"}).to_string();
    let reply = client.call("POST", "/v1/sessions", Some(request.as_bytes())).expect("an answer");
    assert!(reply.status < 400, "{:?}", reply.problem());
    serde_json::from_slice::<Session>(&reply.body).expect("a session").id
}

fn inside(session: Option<SessionId>, script: &str) -> SubmitRequest {
    SubmitRequest { policy: Some("open".to_owned()), session, ..argv(&["sh", "-c", script]) }
}

#[test]
fn what_a_session_changes_of_its_image_is_there_next_time_and_nobody_elses() {
    let world = world();
    let store = Store::of(&world);
    let image = store.import("owners.tar", &["--name", "box:1"]);
    store.import("docker.tar", &["--name", "box:2"]);
    let agent = world.agent(AGENT);
    let own = session(&agent);
    // On a disk of its own, what that takes for itself is nobody's use.
    let told = agent.call("GET", &format!("/v1/sessions/{own}"), None).expect("an answer");
    let used = serde_json::from_slice::<Session>(&told.body).expect("a session").usage;
    let used = used.expect("it is counted");
    assert!(used.workspace_bytes < 1 << 20 && used.workspace_inodes < 8, "{used:?}");
    let change = "set -e
        echo changed >/opt/tool; mkdir -p /opt/lib/python; echo new >/opt/lib/python/module
        busybox rm /opt/gone; busybox mv /bin/id /opt/lib/id; busybox chmod 700 /opt/lib
        echo 127.0.0.1 example >>/etc/hosts; busybox cp /bin/busybox /bin/busybox-too";
    let ended = agent.run(&inside(Some(own), change));
    assert_eq!(ended.stderr, "");
    ended.expect_exit(0);
    assert!(ended.execution.image.as_ref().is_some_and(|image| image.writable));

    // A copy to hold changes back in would be of the workspace alone.
    let held = SubmitRequest { changes: Some(ChangesMode::Hold), ..inside(Some(own), "true") };
    let refused = agent.submit(&held).expect_err("it is refused");
    assert_eq!(
        (refused.code, refused.field.as_deref()),
        (ErrorCode::InvalidArgument, Some("changes"))
    );
    assert!(refused.detail.contains("lets its root be written"), "{refused}");

    let look = "cat /opt/tool /opt/lib/python/module; ls /opt; ls -A /workspace
        /bin/busybox-too id -u; /opt/lib/id -u; ls /bin/id 2>/dev/null";
    let listed = "changed\nnew\nlib\nshared\ntheirs\ntool\n1000\n1000\n";
    assert_eq!(agent.run(&inside(Some(own), look)).stdout, listed);
    // Through the daemon there is the workspace and nothing else.
    let files = agent.call("GET", &format!("/v1/sessions/{own}/tree"), None).expect("an answer");
    let text = String::from_utf8_lossy(&files.body).into_owned();
    assert!(files.status < 400 && !text.contains("module") && !text.contains("upper"), "{text}");

    let fresh = "cat /opt/tool; ls /opt";
    let untouched = "#!/bin/sh\necho a tool of the image\ngone\nshared\ntheirs\ntool\n";
    for session in [Some(session(&agent)), None] {
        assert_eq!(agent.run(&inside(session, fresh)).stdout, untouched);
    }
    // What is written of one image is not laid over another.
    let other = SubmitRequest { image: Some("box:2".to_owned()), ..inside(Some(own), "ls /opt") };
    assert_eq!(agent.run(&other).stdout, "tool\n");
    let verified = store.image(&["verify"]).expect("as it was imported");
    assert!(verified["verified"].to_string().contains(image["id"].as_str().unwrap()));
}

#[test]
fn a_root_that_can_be_written_has_the_limit_of_the_workspace_and_the_walls_of_every_sandbox() {
    let world = world();
    let store = Store::of(&world);
    store.import("owners.tar", &["--name", "box:1"]);
    let agent = world.agent(AGENT);
    let own = session(&agent);
    // Half of the disk here and half there: together it is full.
    let fill =
        "dd=\"busybox dd if=/dev/zero bs=1M\"; $dd of=/opt/one count=16 2>/dev/null && echo one
        $dd of=/workspace/two count=16 2>&1 | busybox grep -o 'No space left on device'";
    let ended = agent.run(&inside(Some(own), fill));
    assert_eq!(ended.stdout, "one\nNo space left on device\n", "{}", ended.stderr);
    let ended =
        agent.run(&inside(Some(own), "busybox rm /opt/one && echo x >/opt/one && echo room"));
    assert_eq!(ended.stdout, "room\n", "{}", ended.stderr);

    let walls = "echo x >/new; echo x >/opt/theirs; echo x >/opt/shared/x; echo x >/proc/version; echo x >/dev/new
        busybox mknod /opt/device c 1 3; busybox rm -r /proc /workspace /tmp; busybox mount -t tmpfs x /opt
        busybox setfattr -n user.overlay.opaque -v y /opt; echo x >/run/x
        cat /opt/theirs; ls /opt/shared; ls -A / | cat; busybox chmod 4755 /bin/busybox; /bin/busybox id -u";
    let ended = agent.run(&inside(Some(own), walls));
    let seen = "another's\nbin\ndev\netc\nopt\nproc\nrun\nsys\ntmp\nvar\nworkspace\n1000\n";
    assert_eq!(ended.stdout, seen, "{}", ended.stderr);

    let host = SubmitRequest { image: Some("default".to_owned()), ..inside(None, "true") };
    let refusal = agent.submit(&host).unwrap_err();
    assert_eq!((refusal.code, refusal.field.as_deref()), (ErrorCode::PolicyDenied, Some("image")));
    assert_eq!(refusal.hint.as_deref(), Some("choose box:2 or box:1"));
}

#[test]
fn one_execution_at_a_time_writes_the_root_of_a_session() {
    let world = world();
    let store = Store::of(&world);
    store.import("docker.tar", &["--name", "box:1"]);
    let agent = world.agent(AGENT);
    let own = session(&agent);
    let id = agent.start(&inside(Some(own), "echo begun; sleep 600"));
    agent.wait_for_words(id, "begun");
    let second = agent.run(&inside(Some(own), "true"));
    let Some(Outcome::SetupFailed { step, reason }) = &second.execution.outcome else {
        panic!("{:?}", second.execution.outcome);
    };
    assert!(step == "prepare_root" && reason.contains("has to end first"), "{step}: {reason}");
    agent.run(&inside(None, "echo x >/opt/tool")).expect_exit(0); // a session of its own
    agent.cancel(id).unwrap();
    agent.finished(id);
    agent.run(&inside(Some(own), "echo x >/opt/tool")).expect_exit(0);
}
