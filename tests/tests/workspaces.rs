//! Workspaces as a whole: followed while payloads change them, kept as they are, copied into new sessions.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

#[path = "workspaces/permissions.rs"]
mod permissions;

use std::thread;
use std::time::Duration;

use supervisor_api::{
    CopyReport, ErrorCode, FileChange, FileChangeKind, FileList, Interpreter, Session, SessionId,
    SessionList, State, SubmitRequest, What,
};
use supervisor_tests::{
    AGENT, Client, Connection, OTHER_AGENT, Reply, World, assert_described, bash, python,
    until_true,
};

fn call(client: &Client, method: &str, target: &str, body: Option<&str>) -> Reply {
    client.call(method, target, body.map(str::as_bytes)).expect("the daemon answers")
}

/// Makes a session, a snapshot or a fork.
#[track_caller]
fn made(operation: &str, reply: &Reply) -> Session {
    assert_eq!(reply.status, 201, "{}", String::from_utf8_lossy(&reply.body));
    assert_described(operation, reply.status, reply.field("content-type"), &reply.body);
    serde_json::from_slice(&reply.body).expect("a session")
}

fn open(client: &Client) -> SessionId {
    made("create_session", &call(client, "POST", "/v1/sessions", Some("{}"))).id
}

fn fork(client: &Client, from: SessionId) -> Reply {
    call(client, "POST", "/v1/sessions", Some(&format!("{{\"from\":\"{from}\"}}")))
}

fn snapshot(client: &Client, of: SessionId) -> Reply {
    call(client, "POST", &format!("/v1/sessions/{of}/snapshots"), Some("{}"))
}

fn within(session: SessionId, payload: &str) -> SubmitRequest {
    SubmitRequest { session: Some(session), ..bash(payload) }
}

fn sessions(client: &Client) -> Vec<Session> {
    let reply = call(client, "GET", "/v1/sessions", None);
    serde_json::from_slice::<SessionList>(&reply.body).expect("a list").sessions
}

/// The changes in a workspace as they come.
struct Watch {
    connection: Connection,
    head: Reply,
    unread: Vec<u8>,
}

impl Watch {
    fn of(client: &Client, session: SessionId, since: Option<u64>) -> Self {
        let since = since.map(|since| format!("?since={since}")).unwrap_or_default();
        let mut connection = client.connect().expect("a connection");
        connection.request("GET", &format!("/v1/sessions/{session}/watch{since}"), None).unwrap();
        let head = connection.head().expect("an answer");
        assert_eq!(head.status, 200, "{head:?}");
        Self { connection, head, unread: Vec::new() }
    }

    fn next(&mut self) -> Option<FileChange> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("a change"));
            }
            let piece = self.connection.piece(&self.head).expect("the answer goes on");
            self.unread.extend(piece?);
        }
    }

    /// All up to this one.
    #[track_caller]
    fn until(&mut self, kind: FileChangeKind, path: &str) -> Vec<FileChange> {
        let mut seen = Vec::new();
        loop {
            let next = self.next();
            assert!(next.is_some(), "no {kind:?} {path}: {seen:?}");
            let change = next.expect("it is some");
            let is_it = change.kind == kind && change.path == path;
            seen.push(change);
            if is_it {
                return seen;
            }
        }
    }
}

#[test]
fn whoever_watches_hears_what_a_payload_changes_and_goes_on_where_it_was() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let id = open(&agent);
    agent.run(&within(id, "mkdir old; echo x > old/file")).expect_exit(0);
    let mut watch = Watch::of(&agent, id, None);
    let begun = watch.next().expect("a beginning");
    assert_eq!(begun.kind, FileChangeKind::Watching);
    agent.run(&within(id, "mkdir -p a/b; echo 1 > a/b/new")).expect_exit(0);
    let mut seen = watch.until(FileChangeKind::Created, "a/b/new"); // so its directory is watched by now
    let payload = "mv old a/b/moved; echo 2 >> a/b/moved/file; ln -s /etc/passwd link; rm a/b/new; \
                   touch end";
    agent.run(&within(id, payload)).expect_exit(0);
    seen.extend(watch.until(FileChangeKind::Created, "end"));
    let told = |kind, path: &str| seen.iter().any(|each| each.kind == kind && each.path == path);
    for (kind, path) in [
        (FileChangeKind::Created, "a"),
        (FileChangeKind::Created, "a/b"),
        (FileChangeKind::Moved, "old"),
        (FileChangeKind::Modified, "a/b/moved/file"),
        (FileChangeKind::Created, "link"),
        (FileChangeKind::Removed, "a/b/new"),
    ] {
        assert!(told(kind, path), "{kind:?} {path}: {seen:?}");
    }
    let moved = seen.iter().find(|each| each.path == "old").expect("it was moved");
    assert_eq!(moved.to.as_deref(), Some("a/b/moved"));
    let mut numbers = seen.iter().map(|each| each.sequence);
    assert!(numbers.all(|number| number > begun.sequence));
    // What happens while nobody is connected is told to who comes back, once.
    drop(watch);
    let last = seen.last().expect("some").sequence;
    let file = format!("/v1/sessions/{id}/files/put");
    assert_eq!(call(&agent, "PUT", &file, Some("bytes")).status, 200);
    let mut back = Watch::of(&agent, id, Some(last));
    let mut after = Vec::new();
    while after.last().is_none_or(|each: &FileChange| each.to.as_deref() != Some("put")) {
        after.push(back.next().expect("it goes on"));
    }
    assert!(after.iter().all(|each| each.sequence > last), "{after:?}");
    // A number of long ago is told what it missed.
    let mut late = Watch::of(&agent, id, Some(1));
    assert_eq!(late.next().expect("a word").kind, FileChangeKind::Lost);
    // The session's end is theirs.
    assert!(call(&agent, "DELETE", &format!("/v1/sessions/{id}"), None).status < 300);
    while back.next().is_some() {}
    let stranger = world.agent(OTHER_AGENT);
    let reply = call(&stranger, "GET", &format!("/v1/sessions/{id}/watch"), None);
    assert_eq!(reply.problem().code, ErrorCode::NotFound);
}

/// More than is kept for a slow reader, in directories that come and go.
#[test]
fn a_storm_of_changes_is_told_as_lost_and_holds_nobody_up() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let id = open(&agent);
    let mut watch = Watch::of(&agent, id, None);
    watch.next().expect("a beginning");
    let payload = "for i in $(seq 300); do mkdir -p d/$i/e; for j in $(seq 20); do \
                   : > d/$i/f$j; done; mv d/$i d/m$i; done; rm -r d; touch end";
    agent.run(&within(id, payload)).expect_exit(0);
    watch.until(FileChangeKind::Created, "end");
    agent.run(&within(id, "mkdir again; : > again/file; touch last")).expect_exit(0);
    let seen = watch.until(FileChangeKind::Created, "last");
    assert!(seen.iter().any(|each| each.path == "again/file"), "{seen:?}");
}

/// Whoever finds it among the sessions while it is copied sees all of it or nothing.
#[test]
fn what_a_fork_holds_is_refused_until_it_is_whole() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let id = open(&agent);
    let large = vec![b'x'; 24 << 20];
    let put = agent.call("PUT", &format!("/v1/sessions/{id}/files/large"), Some(&large));
    assert_eq!(put.expect("an answer").status, 200);
    thread::scope(|scope| {
        let forked = scope.spawn(|| made("create_session", &fork(&agent, id)).id);
        let mut found = None;
        until_true("it is whole", || {
            let others = || sessions(&agent).into_iter().map(|session| session.id);
            found = found.or_else(|| others().find(|other| *other != id));
            let Some(other) = found else { return false };
            let described = call(&agent, "GET", &format!("/v1/sessions/{other}"), None);
            assert_eq!(described.status, 200, "{described:?}");
            let reply = call(&agent, "GET", &format!("/v1/sessions/{other}/files/large"), None);
            if reply.status == 409 {
                return false;
            }
            assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
            assert!(reply.body == large, "{} bytes", reply.body.len());
            true
        });
        assert_eq!(found, Some(forked.join().expect("no panic")));
    });
}

#[test]
fn a_fork_begins_as_its_origin_was_and_neither_changes_the_other() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let id = open(&agent);
    let payload = "mkdir -p d/e; echo one > d/e/file; chmod 755 d/e/file; ln -s file d/e/link; \
                   mkfifo d/fifo; truncate -s 30M d/sparse; echo end >> d/sparse";
    agent.run(&within(id, payload)).expect_exit(0);
    let kept = made("create_snapshot", &snapshot(&agent, id));
    assert_eq!(kept.snapshot_of, Some(id));
    let bytes = 4 + (30 << 20) + 4 + payload.len() as u64; // main.sh is there as well
    let expected = CopyReport { files: 3, directories: 2, links: 1, bytes, left_out: 1 };
    assert_eq!(kept.copied, Some(expected));
    agent.run(&within(id, "echo two > d/e/file; rm d/sparse")).expect_exit(0);
    let forked = made("create_session", &fork(&agent, kept.id));
    assert_eq!(forked.snapshot_of, None);
    let look =
        "cat d/e/file d/e/link; tail -c 4 d/sparse; stat -c '%a %u' d/e/file; du -k d/sparse";
    let found = agent.run(&within(forked.id, look));
    found.expect_exit(0);
    let lines: Vec<&str> = found.stdout.lines().collect();
    assert_eq!(lines.get(..4), Some(["one", "one", "end", "755 1000"].as_slice()), "{lines:?}");
    let blocks = lines.get(4).and_then(|line| line.split('\t').next()?.parse::<u64>().ok());
    assert!(blocks.is_some_and(|kilobytes| kilobytes < 1024), "holes stay holes: {lines:?}");
    agent.run(&within(forked.id, "echo three > d/e/file")).expect_exit(0);
    let again = made("create_session", &fork(&agent, id));
    for (session, words) in [(id, "two"), (forked.id, "three"), (again.id, "two")] {
        assert_eq!(agent.run(&within(session, "cat d/e/file")).stdout.trim(), words);
    }
    // A snapshot stays as it is, also when its origin is gone.
    let error = agent.submit(&within(kept.id, "true")).expect_err("nothing runs in it");
    assert_eq!(error.code, ErrorCode::Conflict);
    let file = format!("/v1/sessions/{}/files/d/e/file", kept.id);
    assert_eq!(call(&agent, "PUT", &file, Some("x")).status, 409);
    assert_eq!(call(&agent, "DELETE", &file, None).status, 409);
    let listed = call(&agent, "GET", &format!("/v1/sessions/{id}/snapshots"), None);
    assert_described("list_snapshots", 200, listed.field("content-type"), &listed.body);
    let listed: SessionList = serde_json::from_slice(&listed.body).expect("a list");
    assert_eq!(listed.sessions.iter().map(|each| each.id).collect::<Vec<_>>(), [kept.id]);
    assert!(call(&agent, "DELETE", &format!("/v1/sessions/{id}"), None).status < 300);
    assert_eq!(call(&agent, "GET", &file, None).body, b"one\n");
    assert!(call(&agent, "DELETE", &format!("/v1/sessions/{}", kept.id), None).status < 300);
    assert_eq!(sessions(&agent).len(), 2);
}

#[test]
fn what_runs_in_a_session_is_paused_before_its_workspace_is_copied() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let id = open(&agent);
    let running = agent.start(&within(id, "echo up > file; echo up; exec sleep 300"));
    agent.wait_for_words(running, "up");
    let refused = snapshot(&agent, id).problem();
    assert_eq!(refused.code, ErrorCode::Conflict);
    assert!(refused.hint.is_some_and(|hint| hint.contains("pause")));
    assert_eq!(call(&agent, "POST", &format!("/v1/sessions/{id}/pause"), None).status, 200);
    let kept = made("create_snapshot", &snapshot(&agent, id));
    let file = format!("/v1/sessions/{}/files/file", kept.id);
    assert_eq!(call(&agent, "GET", &file, None).body, b"up\n");
    assert_eq!(call(&agent, "POST", &format!("/v1/sessions/{id}/resume"), None).status, 200);
    assert_eq!(agent.status(running, 0).expect("ours").state, State::Running);
    // Nobody else's: not to see, and for who sees everything not to copy.
    let stranger = world.agent(OTHER_AGENT);
    assert_eq!(fork(&stranger, id).problem().code, ErrorCode::NotFound);
    assert_eq!(snapshot(&stranger, id).problem().code, ErrorCode::NotFound);
    assert_eq!(fork(&world.root(), id).problem().code, ErrorCode::PermissionDenied);
}

#[test]
fn half_a_copy_is_never_a_session() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let id = open(&agent);
    let payload =
        "for i in $(seq 40); do mkdir $i; for j in $(seq 50); do echo $j > $i/$j; done; done";
    agent.run(&within(id, payload)).expect_exit(0);
    for delay in [0, 30, 60, 120, 250] {
        let asking = agent.clone();
        let asked = thread::spawn(move || {
            let target = "/v1/sessions";
            let body = format!("{{\"from\":\"{id}\"}}");
            drop(asking.call("POST", target, Some(body.as_bytes()))); // it may have no answer
        });
        thread::sleep(Duration::from_millis(delay)); // a moment of the copy, another one each time
        world.daemon().kill();
        asked.join().expect("it comes to an end");
        world.start_daemon();
        for session in sessions(&agent) {
            let of_all = "find . -mindepth 2 -type f | wc -l";
            assert_eq!(agent.run(&within(session.id, of_all)).stdout.trim(), "2000", "{delay}");
            if session.id != id {
                let closed = call(&agent, "DELETE", &format!("/v1/sessions/{}", session.id), None);
                assert!(closed.status < 300);
            }
        }
        assert_eq!(sessions(&agent).len(), 1);
    }
}

#[test]
fn a_directory_of_many_is_listed_by_pages() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let id = open(&agent);
    agent
        .run(&within(id, "mkdir d; cd d; seq -f 'file %03g' 25 | xargs -d '\\n' touch"))
        .expect_exit(0);
    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let target = format!("/v1/sessions/{id}/tree/d?limit=10{after}");
        let reply = call(&agent, "GET", &target, None);
        assert_described("list_directory", 200, reply.field("content-type"), &reply.body);
        let page: FileList = serde_json::from_slice(&reply.body).expect("a list");
        names.extend(page.entries.into_iter().map(|entry| entry.path));
        let Some(next) = page.next else { break };
        after = format!("&after={}", next.replace(' ', "%20"));
    }
    let all: Vec<String> = (1..=25).map(|number| format!("d/file {number:03}")).collect();
    assert_eq!(names, all);
}

#[test]
fn what_was_half_written_when_the_daemon_was_killed_is_gone_when_the_next_one_serves() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let id = open(&agent);
    agent.run(&within(id, "echo mine > .replacement-mine")).expect_exit(0);
    world.daemon().end();
    assert!(world.start_doomed_daemon("UploadWritten:1"));
    let file = format!("/v1/sessions/{id}/files/d/e/file");
    assert!(agent.call("PUT", &file, Some(b"half")).is_err(), "it dies in between");
    world.daemon().wait_for_kill("UploadWritten");
    let half = "find . -name '.replacement-*' | sort";
    world.start_daemon();
    let left = agent.run(&within(id, half));
    assert_eq!(left.stdout.trim(), "./.replacement-mine", "{left:?}");
    assert_eq!(call(&agent, "PUT", &file, Some("whole")).status, 200);
    assert_eq!(call(&agent, "GET", &file, None).body, b"whole");
    let noted = std::fs::read_dir(world.state().join("writing")).expect("readable").count();
    assert_eq!(noted, 0, "nothing is being written");
}

#[test]
fn an_archive_that_would_not_be_whole_is_refused_with_the_names_of_what_is_in_the_way() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let id = open(&agent);
    let payload = "mkdir d; touch $'d/two\\nlines' $'\\xff' fine; echo x > a; ln a b; chmod 0 a";
    agent.run(&within(id, payload)).expect_exit(0);
    let target = format!("/v1/sessions/{id}/archive");
    let refused = call(&agent, "GET", &target, None).problem();
    assert_eq!(refused.code, ErrorCode::Conflict);
    for words in ["two\\nlines", "not UTF-8", "\"a\"", "\"b\""] {
        assert!(refused.detail.contains(words), "{words}: {}", refused.detail);
    }
    let payload = "mv d/two* d/two; rm $'\\xff' b";
    agent.run(&within(id, payload)).expect_exit(0);
    let archive = call(&agent, "GET", &target, None);
    assert_eq!(archive.status, 200);
    assert!(archive.body.windows(5).any(|bytes| bytes == b"d/two"));
}

#[test]
fn files_and_links_move_to_other_directories_and_directories_stay_in_theirs() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let session = open(&agent);
    let payload = "mkdir -p a/deep b; echo kept >a/deep/file; chmod 750 a/deep/file; ln -s file a/deep/link; \
                   echo other >b/taken";
    agent.run(&within(session, payload)).expect_exit(0);
    let moves = |from: &str, to: &str, replace: bool| {
        let body = format!(r#"{{"from":"{from}","to":"{to}","replace":{replace}}}"#);
        call(&agent, "POST", &format!("/v1/sessions/{session}/move"), Some(&body))
    };
    assert_eq!(moves("a/deep/file", "b/taken", false).problem().code.name(), "conflict");
    assert_eq!(moves("a/deep/file", "b/new/file", false).status, 200);
    assert_eq!(moves("a/deep/link", "b/link", false).status, 200);
    assert_eq!(moves("b/new/file", "b/taken", true).status, 200);
    let refused = moves("a/deep", "b/deep", false).problem();
    assert!(refused.detail.contains("only those go to another directory"), "{refused:?}");
    assert_eq!(moves("a/deep", "a/shallow", false).status, 200);
    // For a stranger's move nothing is noted either: there is nowhere to, and that is not what it hears of.
    let (noted, away) = (world.state().join("writing"), world.state().join("writing.away"));
    std::fs::rename(&noted, &away).expect("renamed");
    let (target, body) = (format!("/v1/sessions/{session}/move"), r#"{"from":"a","to":"b"}"#);
    let foreign = call(&world.agent(OTHER_AGENT), "POST", &target, Some(body)).problem();
    std::fs::rename(&away, &noted).expect("renamed back");
    assert_eq!(foreign.code, ErrorCode::NotFound);
    let look = "cat b/taken; stat -c %a b/taken; readlink b/link; find . -mindepth 1 ! -name main.sh | sort";
    let found = agent.run(&within(session, look));
    let all = "kept\n750\nfile\n./a\n./a/shallow\n./b\n./b/link\n./b/new\n./b/taken\n";
    assert_eq!(found.stdout, all, "{found:?}");
}

/// It gets there as a copy, for which a full workspace has no room.
#[test]
fn a_file_that_has_no_room_in_another_directory_stays_where_it_is() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let reply = call(&agent, "POST", "/v1/sessions", Some(r#"{"workspace_bytes":8388608}"#));
    let session = made("create_session", &reply).id;
    agent.run(&within(session, "mkdir b; head -c 5M /dev/zero >large")).expect_exit(0);
    let move_it = format!("/v1/sessions/{session}/move");
    let refused = call(&agent, "POST", &move_it, Some(r#"{"from":"large","to":"b/large"}"#));
    let problem = refused.problem();
    assert_eq!(problem.code, ErrorCode::StorageFull, "{problem}");
    assert!(problem.detail.contains("b/large does not fit"), "{problem}");
    let found = agent.run(&within(session, "ls -A b; stat -c %s large"));
    assert_eq!(found.stdout, "5242880\n", "{found:?}");
}

/// Programs that run in one session at a time, and their tracebacks, don't find each other's source.
#[test]
fn each_of_several_programs_in_a_session_runs_its_own_source() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let session = open(&agent);
    call(&agent, "PUT", &format!("/v1/sessions/{session}/files/beside.py"), Some("value = 40\n"));
    let begin = |source: &str, language: fn(&str) -> SubmitRequest| {
        let request =
            SubmitRequest { session: Some(session), stdin_open: true, ..language(source) };
        let id = agent.start(&request);
        agent.wait_for_words(id, "up");
        id
    };
    let source = |number: u32| {
        format!(
            "import beside, sys, traceback\nprint('up', flush=True)\nsys.stdin.read()\ntry:\n    \
             raise ValueError(beside.value + {number})\nexcept ValueError:\n    print(__file__)\n    \
             traceback.print_exc(file=sys.stdout)\n"
        )
    };
    let mut programs: Vec<_> = (1..=3).map(|number| begin(&source(number), python)).collect();
    let scripts: Vec<_> =
        (1..=2).map(|number| begin(&format!("echo up; cat; echo {number} $0"), bash)).collect();
    let end = |id| {
        agent.close_input(id).expect("it is open");
        let ended = agent.ended(id);
        ended.expect_exit(0);
        ended.stdout
    };
    let expect_own = |id, number: u32, name: &str| {
        let stdout = end(id);
        let file = format!("/workspace/{name}");
        assert!(stdout.starts_with(&format!("up\n{file}\n")), "{stdout}");
        assert!(stdout.contains(&format!("File \"{file}\", line 5")), "{stdout}");
        assert!(
            stdout.contains(&format!("    raise ValueError(beside.value + {number})\n")),
            "{stdout}"
        );
        assert!(stdout.ends_with(&format!("ValueError: {}\n", 40 + number)), "{stdout}");
    };
    expect_own(programs.remove(1), 2, "main~2.py");
    programs.push(begin(&source(4), python)); // the name is free again
    for (id, (number, name)) in
        programs.into_iter().zip([(1, "main.py"), (3, "main~3.py"), (4, "main~2.py")])
    {
        expect_own(id, number, name);
    }
    for (id, (number, name)) in scripts.into_iter().zip([(1, "main.sh"), (2, "main~2.sh")]) {
        assert_eq!(end(id), format!("up\n{number} /workspace/{name}\n"));
    }
    let alone = begin(&source(5), python);
    expect_own(alone, 5, "main.py");
}

/// Root sees everybody's files, and whoever reads the log sees that it has looked.
#[test]
fn what_an_administrator_does_in_somebody_else_s_session_is_recorded_once_for_each_kind() {
    let world = World::open();
    let (agent, root) = (world.agent(AGENT), world.root());
    let session = open(&agent);
    let files = format!("/v1/sessions/{session}/files/name");
    let target = format!("/v1/sessions/{session}/interpreters");
    let reply = call(&agent, "POST", &target, Some(r#"{"language":"bash"}"#));
    let interpreter: Interpreter = serde_json::from_slice(&reply.body).expect("an interpreter");
    for client in [&agent, &agent, &root, &root] {
        assert_eq!(call(client, "PUT", &files, Some("text")).status, 200);
        assert_eq!(call(client, "GET", &files, None).body, b"text");
        assert_eq!(call(client, "GET", &format!("{target}/{}", interpreter.id), None).status, 200);
    }
    let query = format!("kind=administration&session={session}");
    let acts = || -> Vec<_> {
        let records = root.audit(&query).expect("root may").records;
        let done = records.into_iter().filter_map(|record| match record.event.what {
            What::Administration(done) => Some((done.act, done.by)),
            _ => None,
        });
        done.collect()
    };
    let expected = ["change_files", "files", "interpreter"].map(|act| (act.to_owned(), Some(0)));
    until_true("what root did is in the log", || acts().len() >= expected.len());
    assert_eq!(acts(), expected);
}
