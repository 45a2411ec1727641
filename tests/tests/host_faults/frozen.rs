//! A disk that stands still, as a backup of a virtual machine has it for a moment and a failing one for long: who has to
//! do with it waits, and nobody else.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use supervisor_api::{Session, SubmitRequest};
use supervisor_tests::{
    AGENT, Client, OTHER_AGENT, Settings, Told, World, argv, bash, until, until_true,
};

/// Bytes of the disk of the state and all workspaces.
const DISK: u64 = 900 << 20;

/// A file that no socket's buffers hold.
const LARGE: usize = 24 << 20;

/// Calls of one uid at once: more than the daemon has threads for blocking work, and fewer than it may have connections.
const CALLS: usize = 60;

/// Bytes of an upload that breaks off.
const FIRST: usize = 1000;

/// What one uid may have waiting to be closed before its files are opened no more (`src/elsewhere.rs`).
const IN_LINE: usize = 64;

/// The daemon's threads that close, and those for calls about files: the runtime's, of whose name the kernel keeps this.
const CLOSING: &str = "closing";
const WORKING: &str = "tokio-rt-worker";

/// A file system that stands still until this is dropped.
struct Frozen(File);

impl Frozen {
    fn at(directory: &Path) -> Self {
        let opened = File::open(directory).expect("it is there");
        let device = |path: &Path| fs::metadata(path).expect("it is there").dev();
        let theirs = [device(Path::new("/")), device(&std::env::temp_dir())];
        assert!(!theirs.contains(&opened.metadata().expect("it is open").dev()), "the host's own");
        let frozen = Self(opened);
        frozen.have("--freeze");
        frozen
    }

    #[track_caller]
    fn have(&self, what: &str) {
        let mut command = Command::new("fsfreeze");
        let place = format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd());
        command.args([what, &place]);
        let told = Told::of(command);
        assert_eq!(told.code, Some(0), "fsfreeze of util-linux is needed by this test: {told:?}");
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.have("--unfreeze");
    }
}

fn world() -> World {
    World::with(Settings { shared_disk: Some(DISK), ..Settings::default() })
}

/// A session of which the daemon has the workspace open, and where.
fn open(world: &World, client: &Client) -> (String, PathBuf) {
    let before = workspaces(world);
    let made = client.call("POST", "/v1/sessions", Some(b"{\"workspace_bytes\":67108864}"));
    let made = made.expect("an answer");
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
    let session: Session = serde_json::from_slice(&made.body).expect("a session");
    let session = format!("/v1/sessions/{}", session.id);
    assert_eq!(
        client.call("GET", &format!("{session}/tree"), None).expect("an answer").status,
        200
    );
    let place = until("the daemon has it open", || {
        workspaces(world)
            .into_iter()
            .find(|(device, _)| before.iter().all(|(old, _)| old != device))
    });
    (session, place.1)
}

/// The workspaces that the daemon has open, each a file system of its own, by their devices.
fn workspaces(world: &World) -> BTreeSet<(u64, PathBuf)> {
    let shared = fs::metadata(world.state()).expect("it is there").dev();
    let entries = fs::read_dir(format!("/proc/{}/fd", world.daemon_pid())).expect("it runs");
    let places = entries.flatten().filter_map(|entry| {
        let found = fs::metadata(entry.path()).ok().filter(fs::Metadata::is_dir)?;
        let is_loop = nix::sys::stat::major(found.dev()) == 7; // admin-guide/devices.txt
        (is_loop && found.dev() != shared).then(|| (found.dev(), entry.path()))
    });
    places.collect()
}

/// Threads of the daemon of such a name that wait for a disk (proc_pid_stat(5), `D`). For a moment others do that write
/// to disks of their own.
fn waiting(world: &World, name: &str) -> usize {
    let tasks = fs::read_dir(format!("/proc/{}/task", world.daemon_pid())).expect("it runs");
    let waits = |stat: String| {
        let (before, after) = stat.rsplit_once(") ").expect("proc_pid_stat(5)");
        after.starts_with('D') && before.rsplit_once('(').is_some_and(|(_, theirs)| theirs == name)
    };
    tasks
        .flatten()
        .filter(|task| fs::read_to_string(task.path().join("stat")).is_ok_and(waits))
        .count()
}

/// Somebody who has nothing to do with that disk finds everything as ever.
#[track_caller]
fn expect_served(other: &Client, session: &str) {
    let file = format!("{session}/files/mine");
    for (method, body) in [("PUT", Some(&b"mine"[..])), ("GET", None), ("DELETE", None)] {
        let reply = other.call(method, &file, body).expect("an answer");
        assert!(reply.status < 300, "{method}: {reply:?}");
    }
    other.run(&argv(&["true"])).expect_exit(0);
}

#[track_caller]
fn expect_closed(client: &Client, session: &str) {
    let reply = client.call("DELETE", session, None).expect("an answer");
    assert!(reply.status < 300, "{}", String::from_utf8_lossy(&reply.body));
}

/// FT-33. Whoever closes a removed file last takes it apart, and who breaks an upload off has what came of it removed.
#[test]
fn what_is_closed_on_a_disk_that_stands_still_keeps_nobody_else_waiting() {
    let world = world();
    let (agent, other) = (world.agent(AGENT), world.agent(OTHER_AGENT));
    let (session, place) = open(&world, &agent);
    let (others, _) = open(&world, &other);
    let file = format!("{session}/files/large");
    let put = agent.call("PUT", &file, Some(&vec![b'x'; LARGE])).expect("an answer");
    assert_eq!(put.status, 200, "{}", String::from_utf8_lossy(&put.body));
    let small = format!("{session}/files/small");
    assert_eq!(agent.call("PUT", &small, Some(b"small")).expect("an answer").status, 200);
    let mut reader = agent.connect().expect("a connection");
    reader.request("GET", &file, None).expect("sent");
    assert_eq!(reader.head().expect("an answer").status, 200);
    let gone = agent.call("DELETE", &file, None).expect("an answer");
    assert_eq!(gone.status, 200, "{}", String::from_utf8_lossy(&gone.body));
    let [one, two] = ["one", "two"].map(|name| {
        let mut writer = agent.connect().expect("a connection");
        let target = format!("{session}/files/{name}");
        let head = format!("PUT {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
        writer.send(head.as_bytes()).and_then(|()| writer.send(&[b'y'; FIRST])).expect("sent");
        writer
    });
    let unfinished = || -> Vec<u64> {
        let entries = fs::read_dir(&place).expect("it is open").flatten();
        let begun = entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(".replacement-"));
        begun.filter_map(|entry| Some(entry.metadata().ok()?.len())).collect()
    };
    // Or a thread for calls about files would be the one that waits for the disk with them.
    until_true("their first pieces are written", || unfinished() == [FIRST as u64; 2]);
    let frozen = Frozen::at(&place);
    drop(reader); // some kernels put off what others have the thread wait for
    drop(one);
    until_true("an upload is being taken back", || waiting(&world, CLOSING) >= 1);
    expect_served(&other, &others);
    drop(two);
    until_true("two threads wait for that disk", || waiting(&world, CLOSING) == 2);
    expect_served(&other, &others);
    // What it reads from now on stays open, and has an end.
    let read = || agent.call("GET", &small, None).expect("an answer").status;
    let mut opened = 0;
    until_true("too much of it stays open", || match read() {
        200 => {
            opened += 1;
            false
        }
        status => status == 429,
    });
    assert!(opened >= IN_LINE - 1, "{opened}"); // the reader's file may be in line too
    expect_served(&other, &others);
    drop(frozen);
    until_true("nothing of it is left", || unfinished().is_empty());
    until_true("its files are read again", || read() == 200);
    expect_closed(&agent, &session);
    expect_closed(&other, &others);
}

/// FT-33. A file system that is being closed for good keeps whoever mounts it once more waiting, which would be the
/// launcher, and with it everybody.
#[test]
fn a_sessions_workspace_stays_open_between_its_programs_and_holds_up_no_launch() {
    let world = world();
    let (agent, other) = (world.agent(AGENT), world.agent(OTHER_AGENT));
    let made = agent.call("POST", "/v1/sessions", Some(b"{\"workspace_bytes\":67108864}"));
    let session: Session = serde_json::from_slice(&made.expect("an answer").body).expect("one");
    let inside = |script: &str| SubmitRequest {
        session: Some(session.id),
        ..argv(&["sh", "-c", script]) // nothing is written for it
    };
    agent.run(&inside("head -c 20000000 /dev/urandom >file")).expect_exit(0);
    let mut opened = workspaces(&world);
    let (_, place) = opened.pop_first().expect("the daemon has it open");
    let frozen = Frozen::at(&place);
    let ended = agent.run(&inside("wc -c <file"));
    assert_eq!(ended.stdout, "20000000\n");
    other.run(&argv(&["true"])).expect_exit(0);
    drop(frozen);
    expect_closed(&agent, &format!("/v1/sessions/{}", session.id));
    until_true("it is closed with its session", || workspaces(&world).is_empty());
}

/// FT-33. Threads for what waits for disks are few, and one uid's calls wait for each other.
#[test]
fn a_session_whose_disk_stands_still_keeps_no_other_from_its_files() {
    let world = world();
    let (agent, other) = (world.agent(AGENT), world.agent(OTHER_AGENT));
    let (session, place) = open(&world, &agent);
    let (others, _) = open(&world, &other);
    let shut = SubmitRequest {
        session: session.rsplit('/').next().and_then(|id| id.parse().ok()),
        ..bash("chmod 0 .")
    };
    agent.run(&shut).expect_exit(0);
    let frozen = Frozen::at(&place);
    let statuses: Vec<u16> = thread::scope(|scope| {
        let (agent, session) = (&agent, &session);
        let puts: Vec<_> = (0..CALLS)
            .map(|number| {
                let file = format!("{session}/files/{number}");
                scope.spawn(move || agent.call("PUT", &file, Some(b"a few bytes")))
            })
            .collect();
        until_true("two of its calls wait for the disk", || waiting(&world, WORKING) == 2);
        expect_served(&other, &others);
        until_true("and no more of them do", || waiting(&world, WORKING) == 2);
        drop(frozen);
        puts.into_iter()
            .map(|put| put.join().expect("no panic").expect("an answer").status)
            .collect()
    });
    assert_eq!(statuses, [200; CALLS]);
    expect_closed(&agent, &session);
    expect_closed(&other, &others);
}

/// FT-33. Whatever leaves something in the state waits for its disk, each on a thread for that; what is there is told.
#[test]
fn a_state_whose_disk_stands_still_keeps_nobody_from_what_is_there() {
    let world = World::with(Settings { state_disk: Some(96 << 20), ..Settings::default() });
    let (agent, other) = (world.agent(AGENT), world.agent(OTHER_AGENT));
    let open = |client: &Client| {
        let made = client.call("POST", "/v1/sessions", Some(b"{}")).expect("an answer");
        let session: Session = serde_json::from_slice(&made.body).expect("a session");
        let session = format!("/v1/sessions/{}", session.id);
        let put = client.call("PUT", &format!("{session}/files/mine"), Some(b"mine"));
        assert_eq!(put.expect("an answer").status, 200);
        session
    };
    let (session, others) = (open(&agent), open(&other));
    let known = other.run(&argv(&["true"])).execution.id;
    let move_it = format!("{session}/move");
    let file = format!("{session}/files/more");
    let interpreters = format!("{session}/interpreters");
    let asked: [(&str, &str, &[u8]); 5] = [
        ("PUT", &file, b"more"),
        ("POST", &move_it, b"{\"from\":\"mine\",\"to\":\"moved\"}"),
        ("POST", "/v1/executions", b"{\"argv\":[\"cat\"],\"stdin\":\"aGVsbG8=\"}"),
        ("POST", "/v1/executions", b"{\"argv\":[\"true\"],\"artifacts\":{\"globs\":[\"*\"]}}"),
        ("POST", &interpreters, b"{\"language\":\"bash\"}"),
    ];
    let frozen = Frozen::at(&world.state());
    thread::scope(|scope| {
        let agent = &agent;
        let waits = asked.map(|(method, target, body)| {
            scope.spawn(move || agent.call(method, target, Some(body)).expect("an answer"))
        });
        // The first that changes files, behind which the other waits, and two of one uid of which something is kept.
        until_true("they wait for the disk", || waiting(&world, WORKING) >= 3);
        for there in [
            "/v1/sessions".to_owned(),
            format!("{others}/files/mine"),
            format!("{others}/tree"),
            format!("/v1/executions/{known}"),
        ] {
            let reply = other.call("GET", &there, None).expect("an answer");
            assert_eq!(reply.status, 200, "{there}: {}", String::from_utf8_lossy(&reply.body));
        }
        drop(frozen);
        for (waits, (method, target, _)) in waits.into_iter().zip(asked) {
            let reply = waits.join().expect("no panic");
            assert!(
                reply.status < 300,
                "{method} {target}: {}",
                String::from_utf8_lossy(&reply.body)
            );
        }
    });
    expect_closed(&agent, &session);
    expect_closed(&other, &others);
}
