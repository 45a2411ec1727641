//! A host that runs out of something, breaks a file, or turns its clock: a clear state, refused work by its
//! name, nothing lost that was told, and no hand needed afterwards.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by a panic, and so does what it stands on"
)]

#[path = "host_faults/agreement.rs"]
mod agreement;
#[path = "host_faults/clock.rs"]
mod clock;
#[path = "host_faults/copies.rs"]
mod copies;
#[path = "host_faults/frozen.rs"]
mod frozen;
#[path = "host_faults/kept.rs"]
mod kept;
#[path = "host_faults/owners.rs"]
mod owners;
#[path = "host_faults/room.rs"]
mod room;
#[path = "host_faults/second.rs"]
mod second;
#[path = "host_faults/silent.rs"]
mod silent;
#[path = "host_faults/stuck.rs"]
mod stuck;
#[path = "host_faults/unwritable.rs"]
mod unwritable;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use supervisor_api::{
    AuditRecord, Content, ErrorCode, Execution, ExecutionId, LimitsRequest, Outcome, Session,
    State, SubmitRequest,
};
use supervisor_tests::{
    AGENT, Client, Ended, Selection, Settings, Told, World, argv, bash, program, until, until_true,
};

/// Sets a limit of a process that runs already, as its own account, which may.
#[track_caller]
fn limit(pid: u32, what: &str, most: &str) {
    let account = fs::metadata(format!("/proc/{pid}")).expect("it runs");
    let mut prlimit = Command::new("prlimit");
    prlimit.uid(account.uid()).gid(account.gid());
    prlimit.args(["--pid", &pid.to_string(), &format!("--{what}={most}:")]);
    let told = Told::of(prlimit);
    assert_eq!(told.code, Some(0), "prlimit of util-linux is needed by this test: {told:?}");
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count()
}

/// One that says something and then waits until it may end.
fn waiting(client: &Client) -> supervisor_api::ExecutionId {
    let limits = LimitsRequest { wall_time: Some(600_000), ..LimitsRequest::default() };
    let script = "echo up; until [ -e stop ]; do sleep 0.05; done";
    let id = client.start(&SubmitRequest { limits, ..bash(script) });
    client.wait_for_words(id, "up");
    id
}

fn audit_is_whole(world: &World) {
    let mut verify = Command::new(program("supervisorctl"));
    verify.args(["audit", "verify", "--state"]).arg(world.state());
    let verified = Told::of(verify);
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

/// FT-03. Steps need descriptors, so with one more each time one after the other fails.
#[test]
fn a_launcher_without_descriptors_fails_a_launch_by_its_step_and_keeps_nothing_of_it() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    agent.run(&argv(&["true"])).expect_exit(0);
    let running = waiting(&agent);
    let pid = world.launcher().pid();
    let mut steps = Vec::new();
    let first = descriptors(pid);
    for most in first..first + 60 {
        limit(pid, "nofile", &most.to_string());
        let ended = agent.run(&argv(&["echo", "it runs"]));
        match &ended.execution.outcome {
            Some(Outcome::SetupFailed { step, reason }) => {
                assert!(ended.stdout.is_empty(), "{ended:?}");
                assert!(reason.contains("EMFILE") || reason.contains("ENFILE"), "{step}: {reason}");
                steps.push(step.clone());
            }
            Some(Outcome::Exited { code: 0 }) => break,
            other => panic!("with {most} descriptors: {other:?}"),
        }
    }
    limit(pid, "nofile", "4096");
    eprintln!("failed at {steps:?}");
    assert!(!steps.is_empty(), "no launch has failed");
    agent.run(&argv(&["true"])).expect_exit(0);
    assert_eq!(agent.status(running, 0).expect("it is ours").state, State::Running);
    agent.cancel(running).expect("it is ours");
}

/// What cannot be done is refused or fails by its name; what runs goes on.
#[test]
fn a_daemon_without_descriptors_refuses_and_goes_on_when_it_has_some_again() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    agent.run(&argv(&["true"])).expect_exit(0);
    let running = waiting(&agent);
    let mut connection = agent.connect().expect("a connection");
    let request = SubmitRequest { wait: true, ..bash("echo it runs; echo 1 >a") };
    let body = serde_json::to_vec(&request).expect("JSON");
    let pid = world.daemon().pid();
    connection.request("GET", "/v1/doctor", None).expect("sent");
    connection.reply().expect("an answer"); // it is accepted by now
    let first = descriptors(pid);
    let mut seen = Vec::new();
    for most in first..first + 80 {
        limit(pid, "nofile", &most.to_string());
        connection.request("POST", "/v1/executions", Some(&body)).expect("sent");
        let reply = connection.reply().expect("an answer");
        if reply.status >= 400 {
            seen.push(reply.problem().code.name().to_owned());
            if reply.field("connection") == Some("close") {
                connection = agent.connect().expect("a connection");
            }
            continue;
        }
        let execution: Execution = serde_json::from_slice(&reply.body).expect("one");
        match execution.outcome {
            Some(Outcome::Exited { code: 0 }) => break,
            Some(Outcome::SetupFailed { step, .. }) => seen.push(step),
            other => panic!("with {most} descriptors: {other:?}"),
        }
    }
    limit(pid, "nofile", "4096");
    eprintln!("refused as {seen:?}");
    assert!(world.daemon().runs() && seen.iter().any(|code| code == "busy"));
    let refused = world.root().audit("kind=submission").expect("root may").records;
    assert!(serde_json::to_string(&refused).expect("JSON").contains("busy"));
    agent.run(&argv(&["true"])).expect_exit(0);
    assert_eq!(agent.output(running, Selection::Stdout, 0), Ok(b"up\n".to_vec()));
    agent.cancel(running).expect("it is ours");
    audit_is_whole(&world);
}

/// FT-10. An allocation that fails ends the daemon, which is as if it were killed.
#[test]
fn a_daemon_without_memory_ends_or_refuses_and_what_was_told_holds() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let told = agent.run(&bash("echo told; exit 3"));
    let running = waiting(&agent);
    let pid = world.daemon().pid();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let data = status.lines().find_map(|line| line.strip_prefix("VmData:")).expect("a field");
    let kilobytes: u64 = data.trim().trim_end_matches(" kB").parse().expect("a number");
    limit(pid, "data", &(kilobytes * 1024 + (8 << 20)).to_string());
    let input = Content(vec![b'x'; 8_000_000]);
    let body = serde_json::to_vec(&SubmitRequest { stdin: Some(input), ..bash("cat >/dev/null") });
    let body = body.expect("JSON");
    // Either answer will do; no answer is a daemon that is gone.
    for _ in 0..4 {
        drop(agent.call("POST", "/v1/executions", Some(&body)));
    }
    // One that ends is still there for a moment, with its socket closed.
    if agent.call("GET", &format!("/v1/executions/{running}"), None).is_ok() {
        limit(pid, "data", "unlimited");
    } else {
        until_true("it has ended", || !world.daemon().runs());
        world.start_daemon();
    }
    assert_eq!(agent.status(told.execution.id, 0).as_ref(), Ok(&told.execution));
    assert_eq!(agent.status(running, 0).expect("it is ours").state, State::Running);
    agent.run(&argv(&["true"])).expect_exit(0);
    agent.cancel(running).expect("it is ours");
    audit_is_whole(&world);
}

/// The file system of the state or of the workspaces, which an error turned read-only, as Debian mounts its own.
struct Disk {
    device: PathBuf,
    place: PathBuf,
}

impl Disk {
    /// What the kernel does after an error is asked for here.
    fn fail(&self) {
        let name = self.device.file_name().expect("a name").to_owned();
        let trigger = Path::new("/sys/fs/ext4").join(name).join("trigger_fs_error");
        fs::write(&trigger, "a test").expect("ext4 has this file (Linux 3.7)");
        until_true("it is read-only", || fs::write(self.place.join("probe"), "").is_err());
    }
}

/// What can't be written is refused by its name; what was told can be read, what runs can be ended, though its end can't be
/// told yet; mounted anew, all goes on.
#[test]
fn a_state_that_turns_read_only_refuses_new_work_and_can_be_read() {
    let mut world = World::with(Settings { state_disk: Some(96 << 20), ..Settings::default() });
    let agent = world.agent(AGENT);
    let told = agent.run(&bash("echo told; exit 3"));
    let session = agent.call("POST", "/v1/sessions", Some(b"{}")).expect("an answer");
    let session = serde_json::from_slice::<Session>(&session.body).expect("a session").id;
    let running = SubmitRequest { session: Some(session), ..bash("echo up; exec sleep 1000") };
    let running = agent.start(&running);
    agent.wait_for_words(running, "up");
    let disk = Disk { device: world.state_device(), place: world.state() };
    disk.fail();
    for _ in 0..3 {
        let refused = agent.submit(&argv(&["true"])).expect_err("it can't be recorded");
        assert_eq!(refused.code, ErrorCode::Unavailable, "{refused}");
    }
    let session = format!("/v1/sessions/{session}");
    for (method, target, body) in [
        ("POST", "/v1/sessions".to_owned(), Some(&b"{}"[..])),
        ("PUT", format!("{session}/files/new"), Some(&b"text"[..])),
        ("POST", format!("/v1/executions/{running}/cancel"), None),
        ("DELETE", session, None),
    ] {
        let refused = agent.call(method, &target, body).expect("an answer").problem();
        assert_eq!(refused.code, ErrorCode::Unavailable, "{method} {target}: {refused}");
    }
    until_true("it is ended", || world.processes_of(running).is_empty());
    let doctor = agent.call("GET", "/v1/doctor", None).expect("an answer").json();
    assert_eq!(doctor["healthy"], false);
    let controls = doctor["controls"].as_array().expect("a list");
    assert!(controls.iter().any(|line| line["control"] == "records"), "{doctor}");
    assert_eq!(agent.status(told.execution.id, 0).as_ref(), Ok(&told.execution));
    assert_eq!(agent.output(told.execution.id, Selection::Stdout, 0), Ok(b"told\n".to_vec()));
    world.daemon().kill();
    world.mend_state();
    assert_eq!(agent.status(told.execution.id, 0).as_ref(), Ok(&told.execution));
    assert_eq!(agent.finished(running).state, State::Finished);
    agent.run(&argv(&["true"])).expect_exit(0);
    audit_is_whole(&world);
}

/// What happens to the bytes of a file.
type Damage = fn(&mut Vec<u8>);

/// Ways in which a file is not what it was.
const DAMAGES: [(&str, Damage); 3] = [
    ("cut in half", |bytes| bytes.truncate(bytes.len() / 2)),
    ("empty", Vec::clear),
    ("other in the middle", |bytes| {
        let middle = bytes.len() / 2;
        bytes.iter_mut().skip(middle).take(64).for_each(|byte| *byte ^= 0x55);
    }),
];

/// FT-06. What is damaged of one execution is that one's end, and what is no execution's is in nobody's way.
#[test]
fn a_damaged_execution_is_lost_and_the_daemon_starts_for_all_others() {
    let mut world = World::with(Settings { running: 2, ..Settings::default() });
    let agent = world.agent(AGENT);
    let [damaged, whole] = [(); 2].map(|()| {
        let id = agent.start(&bash("echo begun; sleep 1000"));
        agent.wait_for_words(id, "begun");
        id
    });
    let queued = agent.start(&bash("echo it runs"));
    world.daemon().kill();
    let places = world.state().join("executions");
    let said = places.join(damaged.to_string()).join("stdout");
    fs::remove_file(&said).expect("it has said something");
    fs::create_dir(&said).expect("made");
    fs::create_dir_all(places.join(queued.to_string()).join("stdout")).expect("made");
    let stray = places.join(ExecutionId::from_bits(7).to_string());
    fs::write(&stray, "of nobody").expect("written");
    world.start_daemon();
    for damaged in [damaged, queued] {
        let lost = agent.finished(damaged).outcome;
        let Some(Outcome::Lost { reason }) = lost else { panic!("{lost:?}") };
        assert!(reason.contains("damaged") && reason.contains("stdout"), "{reason}");
    }
    assert_eq!(agent.status(whole, 0).expect("a status").state, State::Running);
    agent.cancel(whole).expect("cancelled");
    assert_eq!(agent.finished(whole).outcome, Some(Outcome::Cancelled));
    fs::remove_file(&stray).expect("nobody else has removed it");
    audit_is_whole(&world);
}

/// FT-06. Each file in turn: a daemon that starts has all that was told, one that doesn't names the file.
#[test]
fn a_damaged_file_of_the_state_is_refused_by_its_name_or_made_good() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let told = agent.run(&bash("echo told; exit 3"));
    world.daemon().end();
    let mut files = Vec::new();
    for directory in [world.state(), world.state().join("audit")] {
        let entries = fs::read_dir(directory).expect("readable").flatten();
        files.extend(entries.map(|entry| entry.path()).filter(|path| path.is_file()));
    }
    let is_spare = |path: &Path| path.to_str().is_some_and(|path| path.contains("/spare-"));
    files.retain(|path| !is_spare(path)); // they hold nothing but their room
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let whole = fs::read(&file).expect("readable");
        for (how, damage) in DAMAGES {
            let mut bytes = whole.clone();
            damage(&mut bytes);
            if bytes == whole {
                continue;
            }
            fs::write(&file, &bytes).expect("written");
            let before = world.daemon().words().len();
            let name = file.file_name().expect("a name").to_string_lossy().into_owned();
            if world.start_daemon_if_it_can() {
                // Elsewhere in the middle may be a page's unused bytes.
                let is_short =
                    fs::metadata(&file).is_ok_and(|found| found.len() < whole.len() as u64);
                assert!(!name.ends_with(".db") || !is_short, "{name} {how}: nobody was told");
                assert_eq!(
                    agent.status(told.execution.id, 0).as_ref(),
                    Ok(&told.execution),
                    "{name} {how}"
                );
                audit_is_whole(&world);
                eprintln!("{name} {how}: made good");
                world.daemon().end();
                continue;
            }
            let words = world.daemon().words();
            let said = words.get(before..).unwrap_or_default();
            // The log's own files are the log.
            let directory = file.parent().and_then(Path::file_name).expect("a name");
            let is_log = directory == "audit" && said.contains("the audit log");
            assert!(is_log || said.contains(&*name), "{name} {how}: {said:?}");
            eprintln!("{name} {how}: {said}");
            fs::write(&file, &whole).expect("written");
        }
    }
    world.start_daemon();
    assert_eq!(agent.status(told.execution.id, 0).as_ref(), Ok(&told.execution));
}

/// FT-08. Days forward and back: only what is measured in monotonic time ends.
#[test]
fn a_clock_that_jumps_ends_nothing_early_and_keeps_nothing_late() {
    let mut world = World::with(Settings { has_clock: true, ..Settings::default() });
    let agent = world.agent(AGENT);
    let reply = agent.call("POST", "/v1/sessions", Some(b"{\"time_to_live\":600}")).expect("one");
    let session: Session = serde_json::from_slice(&reply.body).expect("a session");
    let begin = Instant::now();
    let limits = LimitsRequest { wall_time: Some(4000), ..LimitsRequest::default() };
    let timed = agent.start(&SubmitRequest { limits, ..bash("echo up; exec sleep 60") });
    agent.wait_for_words(timed, "up");
    let running = waiting(&agent);
    for seconds in [200_000, -200_000, 3_000_000, 0] {
        world.turn_clock(seconds);
        agent.run(&argv(&["true"])).expect_exit(0);
        let target = format!("/v1/sessions/{}", session.id);
        let reply = agent.call("GET", &target, None).expect("an answer");
        assert_eq!(reply.status, 200, "the session is gone with the clock at {seconds}");
        if seconds > 0 {
            let inside = SubmitRequest { session: Some(session.id), ..bash("echo kept >>file") };
            agent.run(&inside).expect_exit(0);
        }
    }
    world.turn_clock(-200_000);
    world.daemon().kill();
    world.start_daemon(); // which goes by the start of the sandbox, not by the clock
    let execution = agent.finished(timed);
    assert_eq!(execution.outcome, Some(Outcome::TimedOut));
    let took = begin.elapsed().as_millis() as u64 + 20; // ticks of 10 ms
    assert!((4000..=took).contains(&execution.usage.wall_ms), "{:?}", execution.usage);
    assert_eq!(agent.status(running, 0).expect("it is ours").state, State::Running);
    agent.cancel(running).expect("it is ours");
    let closed = agent.call("DELETE", &format!("/v1/sessions/{}", session.id), None);
    assert!(closed.expect("an answer").status < 300);
    audit_is_whole(&world);
}

/// AU-04. Text that a caller chose is text in the log, whatever is in it.
#[test]
fn hostile_names_stay_inside_one_record() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let forged = "x\n{\"seq\":1,\"kind\":\"outcome\"}\r\n\u{1b}[2J\u{0}\u{7f}";
    let words = [forged.replace('\u{0}', ""), "A".repeat(100_000)];
    for word in &words {
        let ended: Ended = agent.run(&argv(&[word]));
        assert!(matches!(ended.execution.outcome, Some(Outcome::SetupFailed { .. })), "{ended:?}");
        let refused =
            agent.submit(&SubmitRequest { policy: Some(word.clone()), ..argv(&["true"]) });
        refused.expect_err("there is no such policy");
    }
    until("it is written", || {
        let directory = fs::read_dir(world.state().join("audit")).ok()?.flatten();
        let texts = directory
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "jsonl"))
            .map(|path| fs::read_to_string(path).expect("text"));
        let text: String = texts.collect();
        let records: Vec<AuditRecord> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("every line is one record"))
            .collect();
        let plain = text.chars().all(|each| each == '\n' || !each.is_control());
        assert!(plain, "a record holds control characters");
        assert!(
            text.lines().all(|line| line.len() < 64 << 10),
            "a record is longer than its bound"
        );
        let outcomes = records.iter().filter(|each| each.event.what.kind() == "outcome");
        (outcomes.count() == words.len()).then_some(())
    });
    audit_is_whole(&world);
}

/// FT-01. What is to be cleaned up there stays noted, and the next start does it.
#[test]
fn a_workspace_that_is_not_to_be_had_keeps_no_daemon_from_coming_back() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let open = || {
        let made = agent.call("POST", "/v1/sessions", Some(b"{}")).expect("an answer");
        serde_json::from_slice::<Session>(&made.body).expect("a session").id
    };
    let (id, other) = (open(), open());
    let list = |session| SubmitRequest { session: Some(session), ..argv(&["ls", "-A"]) };
    world.daemon().end();
    assert!(world.start_doomed_daemon("UploadWritten:1"));
    let file = format!("/v1/sessions/{id}/files/file");
    assert!(agent.call("PUT", &file, Some(b"half")).is_err(), "it dies in between");
    world.daemon().wait_for_kill("UploadWritten");
    let name = format!("{:032x}-", id.bits());
    let is_its = |path: &PathBuf| {
        path.file_name().is_some_and(|found| found.to_string_lossy().starts_with(&name))
    };
    let place = world.kept_workspaces().into_iter().find(is_its).expect("it is kept");
    let away = world.path().join("away");
    fs::rename(&place, &away).expect("renamed");
    world.start_daemon();
    agent.run(&list(other)).expect_exit(0);
    let told = world.root().audit("kind=recovery").expect("root may").records;
    let told = serde_json::to_string(&told).expect("JSON");
    assert!(told.contains("put_off") && told.contains("the next start tries again"), "{told}");
    fs::rename(&away, &place).expect("renamed back");
    // What else is written there meanwhile changes nothing about it.
    assert_eq!(agent.call("PUT", &file, Some(b"whole")).expect("an answer").status, 200);
    world.daemon().end();
    world.start_daemon();
    let left = agent.run(&list(id));
    assert_eq!(left.stdout.trim(), "file", "{left:?}");
    let noted = fs::read_dir(world.state().join("writing")).expect("readable").count();
    assert_eq!(noted, 0, "nothing is being written");
}
