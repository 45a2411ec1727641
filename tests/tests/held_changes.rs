//! Changes that are held back: made on a copy of a session's workspace, and applied to it or discarded.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use std::sync::Barrier;
use std::{fs, thread};

use supervisor_api::{
    ChangeSet, ChangesMode, ChangesState, ErrorCode, Execution, ExecutionId, FileList,
    LimitsRequest, Session, SessionId, SessionList, SubmitRequest,
};
use supervisor_tests::{
    AGENT, Account, Client, OTHER_AGENT, Reply, Told, World, assert_described, bash, slowness,
    until, until_true,
};

/// What a held payload does in these tests, to `file`, `gone` and `new/file`.
const CHANGES: &str = "echo two > file; rm gone; mkdir new; echo new > new/file";

fn call(client: &Client, method: &str, target: &str, body: Option<&str>) -> Reply {
    client.call(method, target, body.map(str::as_bytes)).expect("the daemon answers")
}

fn sessions(client: &Client) -> Vec<Session> {
    let reply = call(client, "GET", "/v1/sessions", None);
    serde_json::from_slice::<SessionList>(&reply.body).expect("a list").sessions
}

/// A session with `file` and `gone` in it.
fn open(client: &Client) -> SessionId {
    let reply = call(client, "POST", "/v1/sessions", Some("{}"));
    assert_eq!(reply.status, 201, "{}", String::from_utf8_lossy(&reply.body));
    let id = serde_json::from_slice::<Session>(&reply.body).expect("a session").id;
    client.run(&within(id, "echo one > file; touch gone")).expect_exit(0);
    id
}

fn within(session: SessionId, payload: &str) -> SubmitRequest {
    // No source, which would be a file of the workspace as well.
    let argv = ["bash", "-c", payload].map(str::to_owned).to_vec();
    SubmitRequest { argv, session: Some(session), ..SubmitRequest::default() }
}

fn held(session: SessionId, payload: &str) -> SubmitRequest {
    SubmitRequest { changes: Some(ChangesMode::Hold), ..within(session, payload) }
}

fn run(client: &Client, request: &SubmitRequest) -> Execution {
    let ended = client.run(request);
    ended.expect_exit(0);
    ended.execution
}

#[track_caller]
fn set(operation: &str, reply: &Reply) -> ChangeSet {
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    assert_described(operation, reply.status, reply.field("content-type"), &reply.body);
    serde_json::from_slice(&reply.body).expect("changes")
}

#[track_caller]
fn changes(client: &Client, id: ExecutionId) -> ChangeSet {
    set("changes", &call(client, "GET", &format!("/v1/executions/{id}/changes"), None))
}

fn apply(client: &Client, id: ExecutionId) -> Reply {
    call(client, "POST", &format!("/v1/executions/{id}/changes/apply"), None)
}

fn discard(client: &Client, id: ExecutionId) -> Reply {
    call(client, "POST", &format!("/v1/executions/{id}/changes/discard"), None)
}

/// The session is as its payloads left it, or as the held ones did.
#[track_caller]
fn expect_session(client: &Client, id: SessionId, is_applied: bool) {
    let file = call(client, "GET", &format!("/v1/sessions/{id}/files/file"), None);
    assert_eq!(file.body, if is_applied { b"two\n" } else { b"one\n" });
    let tree = call(client, "GET", &format!("/v1/sessions/{id}/tree"), None);
    let tree: FileList = serde_json::from_slice(&tree.body).expect("a list");
    let names: Vec<&str> = tree.entries.iter().map(|entry| entry.path.as_str()).collect();
    let expected: &[&str] = if is_applied { &["file", "new"] } else { &["file", "gone"] };
    assert_eq!(names, expected, "nothing is left beside");
}

/// The copies go when nobody needs them any more.
fn expect_only(client: &Client, id: SessionId) {
    until_true("the copies are gone", || {
        sessions(client).iter().map(|session| session.id).eq([id])
    });
}

#[test]
fn what_is_held_back_is_seen_and_changes_nothing_until_it_is_applied() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let id = open(&agent);
    let execution = run(&agent, &held(id, CHANGES));
    assert_eq!(execution.session, id);
    let copy = execution.changes.and_then(|changes| changes.held_in).expect("a copy");
    expect_session(&agent, id, false);
    let seen = changes(&agent, execution.id);
    assert_eq!(seen.state, ChangesState::Held);
    assert_eq!((seen.summary.added, seen.summary.modified, seen.summary.deleted), (2, 1, 1));
    // The copy can be looked at, and stays as it is.
    let shown =
        sessions(&agent).into_iter().find(|session| session.id == copy).expect("it is ours");
    assert_eq!(shown.holds_changes_of, Some(execution.id));
    let file = format!("/v1/sessions/{copy}/files/file");
    assert_eq!(call(&agent, "GET", &file, None).body, b"two\n");
    assert_eq!(call(&agent, "PUT", &file, Some("x")).status, 409);
    let refused = agent.submit(&within(copy, "true")).expect_err("nothing else runs in it");
    assert_eq!(refused.code, ErrorCode::Conflict);
    // Nobody else's, and for who sees everything not to apply.
    assert_eq!(apply(&world.agent(OTHER_AGENT), execution.id).status, 404);
    assert_eq!(apply(&world.root(), execution.id).problem().code, ErrorCode::PermissionDenied);
    expect_session(&agent, id, false);
    assert_eq!(set("apply_changes", &apply(&agent, execution.id)).state, ChangesState::Applied);
    expect_session(&agent, id, true);
    expect_only(&agent, id);
    // Once more is no harm, and there is no way back.
    assert_eq!(set("apply_changes", &apply(&agent, execution.id)).state, ChangesState::Applied);
    assert_eq!(discard(&agent, execution.id).problem().code, ErrorCode::Conflict);
    assert_eq!(changes(&agent, execution.id).state, ChangesState::Applied);
    let acts = until("it is recorded", || {
        let noted = agent.audit(&format!("execution={}", execution.id)).expect("it is ours");
        let acts = serde_json::to_string(&noted.records).expect("JSON");
        acts.contains("apply_changes").then_some(acts)
    });
    assert_eq!(acts.matches("apply_changes").count(), 1, "{acts}");
}

#[test]
fn what_a_session_changed_meanwhile_is_in_the_way_by_name_and_nothing_is_applied() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let id = open(&agent);
    let execution = run(&agent, &held(id, CHANGES));
    let put = format!("/v1/sessions/{id}/files/file");
    assert_eq!(call(&agent, "PUT", &put, Some("three")).status, 200);
    let refused = apply(&agent, execution.id).problem();
    assert_eq!(refused.code, ErrorCode::Conflict);
    assert!(
        refused.detail.contains("file: it has changed in the session since"),
        "{}",
        refused.detail
    );
    assert!(!refused.detail.contains("gone"), "{}", refused.detail);
    // The same bytes as before are no conflict any more.
    assert_eq!(call(&agent, "PUT", &put, Some("one\n")).status, 200);
    // What runs in the session has to stand still.
    let running = agent.start(&within(id, "echo up; exec sleep 300"));
    agent.wait_for_words(running, "up");
    let refused = apply(&agent, execution.id).problem();
    assert_eq!(refused.code, ErrorCode::Conflict);
    assert!(refused.hint.is_some_and(|hint| hint.contains("pause")));
    agent.cancel(running).expect("it is ours");
    agent.finished(running);
    let other = run(&agent, &held(id, "echo other > file"));
    assert_eq!(set("discard_changes", &discard(&agent, other.id)).state, ChangesState::Discarded);
    assert_eq!(set("discard_changes", &discard(&agent, other.id)).state, ChangesState::Discarded);
    assert_eq!(apply(&agent, other.id).problem().code, ErrorCode::Conflict);
    expect_session(&agent, id, false);
    // By the command line.
    let user = Account::of(&world, AGENT);
    let mut command = user.supervisorctl(&["changes", &execution.id.to_string(), "--apply"]);
    command.env("SUPERVISORD_SOCKET", world.socket());
    let told = Told::of(command);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.stderr.contains("applied"), "{told:?}");
    expect_session(&agent, id, true);
}

#[test]
fn changes_are_held_back_from_a_session_only_and_go_with_it() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let refused = agent.submit(&SubmitRequest { changes: Some(ChangesMode::Hold), ..bash("true") });
    assert_eq!(refused.expect_err("there is no session").code, ErrorCode::InvalidArgument);
    let id = open(&agent);
    let execution = run(&agent, &held(id, CHANGES));
    let unheld = run(&agent, &within(id, "true"));
    assert_eq!(apply(&agent, unheld.id).problem().code, ErrorCode::Conflict);
    // One that runs on its copy is ended with the session.
    let running = agent.start(&held(id, "echo up; exec sleep 300"));
    agent.wait_for_words(running, "up");
    assert!(call(&agent, "DELETE", &format!("/v1/sessions/{id}"), None).status < 300);
    agent.finished(running);
    until_true("the copies are gone", || sessions(&agent).is_empty());
    assert_eq!(changes(&agent, execution.id).state, ChangesState::Gone);
    assert_eq!(apply(&agent, execution.id).problem().code, ErrorCode::Conflict);
}

#[test]
fn a_daemon_that_dies_while_it_applies_has_applied_all_or_nothing_when_it_is_back() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    for (point, is_applied) in [
        ("ChangesStaged:1", false),
        ("ApplyingNoted:1", true),
        ("ChangePlaced:1", true),
        ("ChangePlaced:3", true),
        ("ChangesCommitted:1", true),
        ("ChangesSettled:1", true),
    ] {
        let id = open(&agent);
        let execution = run(&agent, &held(id, CHANGES));
        world.daemon().end();
        assert!(world.start_doomed_daemon(point), "{point}");
        let target = format!("/v1/executions/{}/changes/apply", execution.id);
        assert!(agent.call("POST", &target, None).is_err(), "{point}: it dies in between");
        world.daemon().wait_for_kill(point);
        world.start_daemon();
        expect_session(&agent, id, is_applied);
        assert_eq!(set("apply_changes", &apply(&agent, execution.id)).state, ChangesState::Applied);
        expect_session(&agent, id, true);
        expect_only(&agent, id);
        assert!(call(&agent, "DELETE", &format!("/v1/sessions/{id}"), None).status < 300);
    }
    let left = fs::read_dir(world.state().join("writing")).expect("readable").count();
    assert_eq!(left, 0);
}

#[test]
fn changes_that_fit_into_a_session_once_are_applied_though_they_do_not_fit_twice() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let digests = "find . -type f ! -name digests -exec sha256sum {} +";
    for (session, payload) in [
        // 56 MiB, the largest file 8 MiB.
        (
            r#"{"workspace_bytes": 100663296}"#,
            "for n in 1 2 3 4 5 6 7; do head -c 8M /dev/urandom > $n; done",
        ),
        // 620 inodes.
        (
            r#"{"workspace_inodes": 1000}"#,
            "for d in $(seq 20); do mkdir -p d/$d; for f in $(seq 29); do echo $d $f > d/$d/$f; done; done",
        ),
    ] {
        let reply = call(&agent, "POST", "/v1/sessions", Some(session));
        assert_eq!(reply.status, 201, "{}", String::from_utf8_lossy(&reply.body));
        let id = serde_json::from_slice::<Session>(&reply.body).expect("a session").id;
        let execution = run(&agent, &held(id, &format!("{payload}; {digests} > digests")));
        let applied = set("apply_changes", &apply(&agent, execution.id));
        assert_eq!(applied.state, ChangesState::Applied);
        run(&agent, &within(id, "sha256sum -c --quiet digests && test ! -e .replacement-*"));
        assert!(call(&agent, "DELETE", &format!("/v1/sessions/{id}"), None).status < 300);
    }
}

/// FT-01. What is put in its place is there twice until what was staged of it goes, which a daemon that comes back does
/// not remember.
#[test]
fn a_daemon_that_dies_while_it_applies_to_a_full_workspace_goes_on_when_it_is_back() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let reply = call(&agent, "POST", "/v1/sessions", Some(r#"{"workspace_bytes": 67108864}"#));
    assert_eq!(reply.status, 201, "{}", String::from_utf8_lossy(&reply.body));
    let id = serde_json::from_slice::<Session>(&reply.body).expect("a session").id;
    let payload = "mkdir out; for n in 1 2 3 4; do head -c 4M /dev/urandom > out/$n; done; sha256sum out/? > digests";
    let execution = run(&agent, &held(id, payload));
    // Room for 16 MiB that are staged, for 4 that are put in their places, and for less than 4 besides.
    let fill = "head -c 64M /dev/zero > ballast; truncate -s -22M ballast; sync -f .; df .";
    agent.run(&within(id, fill)).expect_exit(0);
    world.daemon().end();
    assert!(world.start_doomed_daemon("ChangePlaced:3"));
    let target = format!("/v1/executions/{}/changes/apply", execution.id);
    assert!(agent.call("POST", &target, None).is_err(), "it dies in between");
    world.daemon().wait_for_kill("ChangePlaced:3");
    world.start_daemon();
    assert_eq!(changes(&agent, execution.id).state, ChangesState::Applied);
    let whole = "sha256sum -c --quiet digests && ! ls -A | grep replacement";
    agent.run(&within(id, whole)).expect_exit(0);
    expect_only(&agent, id);
}

#[test]
fn changes_at_names_that_are_no_paths_are_not_applied_in_part() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let id = open(&agent);
    run(&agent, &within(id, r"touch $'was\nthere'"));
    let unchanged = run(&agent, &held(id, CHANGES));
    let changed = run(&agent, &held(id, &format!(r"{CHANGES}; echo x > $'was\nthere'")));
    assert!(!changes(&agent, changed.id).summary.complete);
    let refused = apply(&agent, changed.id).problem();
    assert_eq!(refused.code, ErrorCode::TooLarge);
    assert!(refused.hint.is_some_and(|hint| hint.contains("from the copy")));
    let file = format!("/v1/sessions/{id}/files/file");
    assert_eq!(call(&agent, "GET", &file, None).body, b"one\n");
    assert_eq!(set("apply_changes", &apply(&agent, unchanged.id)).state, ChangesState::Applied);
    assert_eq!(call(&agent, "GET", &file, None).body, b"two\n");
}

#[test]
fn what_was_refused_leaves_nothing_of_a_copy() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let id = open(&agent);
    let start = Barrier::new(4);
    let all = thread::scope(|scope| {
        let submit = || {
            start.wait();
            agent.submit(&held(id, "true"))
        };
        let all = [(); 4].map(|()| scope.spawn(submit));
        all.map(|each| each.join().expect("it is answered"))
    });
    let (made, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
    for refused in refused {
        let refused = refused.expect_err("it is refused");
        assert!([ErrorCode::Conflict, ErrorCode::Busy].contains(&refused.code), "{refused:?}");
    }
    for made in &made {
        agent.finished(made.as_ref().expect("it is made").id);
    }
    until_true("each that was refused has no copy", || sessions(&agent).len() == 1 + made.len());
    until_true("nor anything else that is kept", || {
        let mut places = fs::read_dir(world.state().join("executions")).expect("readable");
        places.all(|place| {
            let name = place.expect("readable").file_name().into_string().expect("an id");
            call(&agent, "GET", &format!("/v1/executions/{name}"), None).status == 200
        })
    });
}

#[test]
fn nobody_enters_a_session_with_changes_in_it_by_half() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let id = open(&agent);
    let execution = run(&agent, &held(id, CHANGES));
    let copy = execution.changes.and_then(|changes| changes.held_in).expect("a copy");
    world.daemon().end();
    assert!(world.start_doomed_daemon("ChangePlaced:1"));
    let target = format!("/v1/executions/{}/changes/apply", execution.id);
    assert!(agent.call("POST", &target, None).is_err(), "it dies in between");
    world.daemon().wait_for_kill("ChangePlaced:1");
    // Without what is to be applied, the next one can't go on.
    let changes = world.state().join(format!("executions/{}/changes", execution.id));
    let aside = changes.with_file_name("aside");
    fs::rename(&changes, &aside).expect("it is there");
    world.start_daemon();
    let file = format!("/v1/sessions/{id}/files/file");
    for (method, target, body) in [
        ("GET", file.clone(), None),
        ("PUT", file, Some("x")),
        ("POST", format!("/v1/sessions/{id}/snapshots"), Some("{}")),
        ("DELETE", format!("/v1/sessions/{copy}"), None),
    ] {
        let refused = call(&agent, method, &target, body).problem();
        assert_eq!(refused.code, ErrorCode::Conflict, "{method} {target}");
        assert!(refused.detail.contains("by half"), "{}", refused.detail);
        assert!(refused.hint.is_some_and(|hint| hint.contains("apply them again")));
    }
    for request in [within(id, "true"), held(id, "true")] {
        let refused = agent.submit(&request).expect_err("nothing runs in it");
        assert_eq!(refused.code, ErrorCode::Conflict, "{}", refused.detail);
    }
    fs::rename(&aside, &changes).expect("it is there");
    assert_eq!(set("apply_changes", &apply(&agent, execution.id)).state, ChangesState::Applied);
    expect_session(&agent, id, true);
    expect_only(&agent, id);
    agent.run(&within(id, "true")).expect_exit(0);
}

#[test]
fn what_holds_changes_is_there_as_long_as_its_session() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let id = open(&agent);
    let extend = |id: SessionId, seconds: u64| {
        let body = format!(r#"{{"time_to_live": {seconds}}}"#);
        call(&agent, "POST", &format!("/v1/sessions/{id}/extend"), Some(&body))
    };
    let soon = 30 * u64::from(slowness()); // for three records on a slow disk
    assert_eq!(extend(id, soon).status, 200);
    // Both end soon, and the one is extended; the other is there after that time all the same.
    let limits = LimitsRequest { wall_time: Some((soon + 300) * 1000), ..LimitsRequest::default() };
    let script = format!("echo up; sleep {}; {CHANGES}", soon + 1);
    let running = agent.start(&SubmitRequest { limits, ..held(id, &script) });
    agent.wait_for_words(running, "up");
    assert_eq!(extend(id, 600).status, 200);
    agent.finished(running);
    let seen = changes(&agent, running);
    assert_eq!((seen.state, seen.summary.complete), (ChangesState::Held, true));
    let copy = seen.summary.held_in.expect("a copy");
    let ends = |id: SessionId| {
        sessions(&agent).into_iter().find(|each| each.id == id).expect("it is there").expires_at
    };
    assert_eq!(ends(copy), ends(id));
    let refused = extend(copy, 600).problem();
    assert_eq!(refused.code, ErrorCode::Conflict);
    assert!(refused.hint.is_some_and(|hint| hint.contains(&id.to_string())));
    assert_eq!(set("apply_changes", &apply(&agent, running)).state, ChangesState::Applied);
    expect_session(&agent, id, true);
    // It ends with it as well.
    run(&agent, &held(id, CHANGES));
    assert_eq!(extend(id, 1).status, 200);
    until_true("the session and the copy are gone", || sessions(&agent).is_empty());
}

#[test]
fn a_daemon_that_dies_before_somebody_was_told_leaves_no_copy_and_one_that_dies_later_no_change() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let id = open(&agent);
    for point in ["WorkspaceMade:1", "SessionRecorded:1", "SubmissionAccepted:1"] {
        world.daemon().end();
        assert!(world.start_doomed_daemon(point), "{point}");
        let body = serde_json::to_vec(&held(id, CHANGES)).expect("JSON");
        assert!(agent.call("POST", "/v1/executions", Some(&body)).is_err(), "{point}");
        world.daemon().wait_for_kill(point);
        world.start_daemon();
        expect_only(&agent, id);
        expect_session(&agent, id, false);
    }
    let running = agent.start(&held(id, &format!("echo up; sleep 1; {CHANGES}")));
    agent.wait_for_words(running, "up");
    world.daemon().kill();
    world.start_daemon();
    agent.finished(running);
    let seen = changes(&agent, running);
    assert_eq!((seen.state, seen.summary.complete), (ChangesState::Held, true));
    expect_session(&agent, id, false);
    assert_eq!(set("apply_changes", &apply(&agent, running)).state, ChangesState::Applied);
    expect_session(&agent, id, true);
}

/// FT-01. Its sandbox has the copy of which nobody was told.
#[test]
fn a_daemon_that_dies_before_somebody_was_told_comes_back_though_a_sandbox_has_the_copy() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let id = open(&agent);
    for (point, waits) in [
        ("TurnTaken:1", true),
        ("SandboxMade:1", true),
        ("SandboxMade:1", false),
        ("WorkspaceSeen:1", true),
        ("FilesWritten:1", true),
        ("PayloadStarted:1", true),
        ("UntoldRecorded:1", true),
    ] {
        world.daemon().end();
        assert!(world.start_doomed_daemon(point), "{point}");
        let request = SubmitRequest { wait: waits, ..held(id, "sleep 1; touch new") };
        let body = serde_json::to_vec(&request).expect("JSON");
        // One of which nobody waits for the end may be told of before.
        let answer = agent.call("POST", "/v1/executions", Some(&body));
        assert!(!waits || answer.is_err(), "{point}");
        world.daemon().wait_for_kill(point);
        world.start_daemon();
        for recorded in agent.list("limit=200").expect("it may").executions {
            let ended = agent.finished(recorded.id);
            let has_copy = ended.changes.and_then(|changes| changes.held_in).is_some();
            if has_copy && changes(&agent, ended.id).state == ChangesState::Held {
                discard(&agent, ended.id);
            }
        }
        expect_only(&agent, id);
        expect_session(&agent, id, false);
    }
    run(&agent, &held(id, CHANGES));
}
