//! What does not end when it is killed, or does not go on: a process that the kernel holds, a thread that waits for a
//! disk.
//!
//! Whoever traces a process holds it as the kernel does: an init that was killed ends after all that was in its
//! sandbox, and what is traced has ended when its tracer has looked.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use supervisor_api::{
    ChangesMode, ExecutionId, Outcome, Recovery, SessionId, State, SubmitRequest, Top, What,
};
use supervisor_tests::{
    AGENT, Bus, Client, OTHER_AGENT, Settings, World, argv, bash, children, is_sandbox_id, on_bus,
    owner_uid, python, until, until_true,
};

/// A process that does not end before it is let go. It is its thread's to let it go, which traces it.
struct Held(Pid);

impl Held {
    fn process(pid: u32) -> Self {
        let pid = Pid::from_raw(i32::try_from(pid).expect("a pid"));
        ptrace::seize(pid, Options::empty()).expect("root may trace it");
        Self(pid)
    }

    /// Stands still until it is let go.
    fn thread(pid: u32, name: &str) -> Self {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten();
        let is_it = |task: &fs::DirEntry| {
            fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name)
        };
        let task = tasks.into_iter().find(is_it).expect("it has such a thread").file_name();
        let task = task.to_str().and_then(|task| task.parse().ok()).expect("a pid");
        let held = Self::process(task);
        ptrace::interrupt(held.0).expect("it is traced");
        waitpid(held.0, Some(WaitPidFlag::__WALL)).expect("it stands still");
        held
    }

    fn go_on(self) {
        ptrace::detach(self.0, None).expect("it stood still");
    }

    /// Has it end, which was killed.
    fn end(self) {
        waitpid(self.0, Some(WaitPidFlag::__WALL)).expect("it was killed");
    }
}

/// The inits of this supervisor's sandboxes.
fn inits(world: &World) -> Vec<u32> {
    let mut inits = children(world.launcher_pid());
    inits.retain(|pid| owner_uid(*pid).is_some_and(is_sandbox_id));
    inits
}

/// An init, with a process of its sandbox.
fn sandbox(world: &World) -> (u32, u32) {
    until("a sandbox has a process", || {
        let init = *inits(world).first()?;
        Some((init, *children(init).first()?))
    })
}

fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// What the last start made of what it found.
fn recoveries(client: &Client) -> Vec<Recovery> {
    let records = client.audit("kind=recovery").expect("root may").records;
    let recovery = |what| if let What::Recovery(recovery) = what { Some(recovery) } else { None };
    records.into_iter().filter_map(|record| recovery(record.event.what)).collect()
}

/// FT-01. It is told and tried again, and nobody else waits for it.
#[test]
fn a_daemon_comes_back_though_what_was_parked_does_not_end() {
    let mut world = World::with(Settings { tables: "[warm]\n".to_owned(), ..Settings::default() });
    let agent = world.agent(AGENT);
    for _ in 0..2 {
        agent.run(&python("print(1)")).expect_exit(0);
    }
    until_true("what is there is parked", || {
        let reply = agent.call("GET", "/v1/top", None).expect("an answer");
        let parked = serde_json::from_slice::<Top>(&reply.body).expect("what runs").parked;
        parked > 0 && inits(&world).len() as u64 == parked
    });
    world.daemon().kill();
    let (init, interpreter) = sandbox(&world);
    let held = Held::process(interpreter);
    world.start_daemon();
    let root = world.root();
    let told = until("the recovery is recorded", || {
        let told = recoveries(&root);
        (!told.is_empty()).then_some(told)
    });
    let is_told = |it: &Recovery| {
        let cause = it.cause.as_deref().unwrap_or_default();
        it.act == "destroyed" && cause.contains("parked") && cause.contains("does not end")
    };
    assert_eq!(told.iter().filter(|it| is_told(it)).count(), 1, "{told:?}");
    agent.run(&argv(&["true"])).expect_exit(0);
    assert!(exists(init), "it was held");
    held.end();
    until_true("it has ended", || !exists(init));
}

/// What is parked for one is nobody else's concern: others close their sessions, more is parked, and the daemon stops.
#[test]
fn a_parked_sandbox_that_does_not_end_holds_up_its_own_session_only() {
    let mut world = World::with(Settings { tables: "[warm]\n".to_owned(), ..Settings::default() });
    let agents = [world.agent(AGENT), world.agent(OTHER_AGENT)];
    let open = |agent: &Client| -> SessionId {
        let made = agent.call("POST", "/v1/sessions", Some(b"{}")).expect("an answer").json();
        serde_json::from_value(made["id"].clone()).expect("an id")
    };
    let [stuck, other] = [0, 1].map(|number| open(&agents[number]));
    let park = |agent: &Client, session| {
        for _ in 0..2 {
            let session = Some(session);
            agent.run(&SubmitRequest { session, ..python("print(1)") }).expect_exit(0);
        }
        until_true("one is parked", || {
            let reply = agent.call("GET", "/v1/top", None).expect("an answer");
            serde_json::from_slice::<Top>(&reply.body).expect("what runs").parked > 0
        });
    };
    park(&agents[0], stuck);
    let (init, interpreter) = sandbox(&world);
    let held = Held::process(interpreter);
    let mut closing = agents[0].connect().expect("a connection");
    closing.request("DELETE", &format!("/v1/sessions/{stuck}"), None).expect("sent");
    until_true("nothing is parked for it", || {
        let reply = agents[0].call("GET", "/v1/top", None).expect("an answer");
        serde_json::from_slice::<Top>(&reply.body).expect("what runs").parked == 0
    });
    park(&agents[1], other);
    let closed = agents[1].call("DELETE", &format!("/v1/sessions/{other}"), None);
    assert_eq!(closed.expect("an answer").status, 200);
    let begin = Instant::now();
    world.daemon().end();
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert!(exists(init), "it was held");
    held.end();
    world.start_daemon();
    until_true("it has ended", || !exists(init));
}

/// A daemon comes back to what had not started, whose sandbox does not end before its process is let go.
fn come_back_to_what_is_stuck(world: &mut World, payload: &str) -> (ExecutionId, u32, Held) {
    let agent = world.agent(AGENT);
    world.daemon().end();
    assert!(world.start_doomed_daemon("FilesWritten:1"));
    let body = serde_json::to_vec(&bash(payload)).expect("JSON");
    drop(agent.call("POST", "/v1/executions", Some(&body))); // it may be dead before it answers
    world.daemon().wait_for_kill("FilesWritten:1");
    let (init, stub) = sandbox(world);
    let held = Held::process(stub);
    world.start_daemon();
    let known = agent.list("limit=1").expect("it may").executions.remove(0);
    assert_eq!(known.state, State::Queued);
    (known.id, init, held)
}

/// FT-01. Its id is that of a sandbox that is there, so it can't be started anew.
#[test]
fn what_had_not_started_and_does_not_end_is_told_by_its_name_and_holds_up_nobody() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let (id, init, held) = come_back_to_what_is_stuck(&mut world, "echo it runs");
    agent.run(&argv(&["true"])).expect_exit(0);
    assert_eq!(agent.status(id, 0).expect("it is ours").state, State::Queued, "it may yet run");
    let ended = agent.ended(id);
    let Some(Outcome::Lost { reason }) = &ended.execution.outcome else { panic!("{ended:?}") };
    assert!(reason.contains("had not started") && reason.contains("does not end"), "{reason}");
    assert_eq!(ended.stdout, "");
    let told = recoveries(&world.root());
    let told: Vec<_> = told.iter().map(|it| (it.act.as_str(), it.cause.as_deref())).collect();
    assert_eq!(told, [("written_off", Some(&**reason))]);
    assert!(exists(init), "it was held");
    held.end();
    until_true("it has ended", || !exists(init));
}

/// FT-01. The copy that it has can't go before it, of which nobody was told either; nobody else waits for that.
#[test]
fn a_daemon_comes_back_though_a_sandbox_that_does_not_end_has_a_workspace_nobody_was_told_of() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let made = agent.call("POST", "/v1/sessions", Some(b"{}")).expect("an answer").json();
    let session: SessionId = serde_json::from_value(made["id"].clone()).expect("an id");
    let kept = world.kept_workspaces().len();
    world.daemon().end();
    assert!(world.start_doomed_daemon("FilesWritten:1"));
    let (wait, changes) = (true, Some(ChangesMode::Hold));
    let request =
        SubmitRequest { session: Some(session), changes, wait, ..argv(&["sleep", "600"]) };
    let body = serde_json::to_vec(&request).expect("JSON");
    assert!(
        agent.call("POST", "/v1/executions", Some(&body)).is_err(),
        "it dies before it answers"
    );
    world.daemon().wait_for_kill("FilesWritten:1");
    assert_eq!(world.kept_workspaces().len(), kept + 1, "it had its copy");
    let (init, stub) = sandbox(&world);
    let held = Held::process(stub);
    world.start_daemon();
    let sessions = agent.call("GET", "/v1/sessions", None).expect("an answer").json();
    assert_eq!(sessions["sessions"].as_array().map(Vec::len), Some(1), "{sessions}");
    let is_told = |it: &Recovery| {
        it.act == "put_off"
            && it.cause.as_deref().is_some_and(|cause| cause.contains("tried again"))
    };
    until_true("it is recorded", || recoveries(&world.root()).iter().any(is_told));
    agent.run(&SubmitRequest { session: Some(session), ..argv(&["true"]) }).expect_exit(0);
    assert!(exists(init), "it was held");
    held.end();
    until_true("both have gone", || !exists(init) && world.kept_workspaces().len() == kept);
}

/// FT-01. Gigabytes of memory and a slow disk keep a process for a while that was killed.
#[test]
fn what_had_not_started_runs_once_what_was_made_for_it_has_ended_though_that_takes_long() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let (id, init, held) = come_back_to_what_is_stuck(&mut world, "echo it runs");
    assert!(exists(init), "it was held");
    held.end();
    let ended = agent.ended(id);
    ended.expect_exit(0);
    assert_eq!(ended.stdout, "it runs\n");
    let told = recoveries(&world.root());
    assert_eq!(told.iter().map(|it| it.act.as_str()).collect::<Vec<_>>(), ["queued_again"]);
    // Nor does one wait that is cancelled.
    let (id, _, held) = come_back_to_what_is_stuck(&mut world, "echo it runs");
    agent.cancel(id).expect("it is ours");
    assert_eq!(agent.ended(id).execution.outcome, Some(Outcome::Cancelled));
    held.end();
}

/// AU-01. What is recorded is started by the next daemon if it had not begun, so the audit log has it first.
#[test]
fn what_is_recorded_is_in_the_audit_log_before_however_long_that_takes() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    world.daemon().end();
    assert!(world.start_doomed_daemon("UntoldRecorded:1"));
    let writer = Held::thread(world.daemon_pid(), "audit-writer");
    let mut connection = agent.connect().expect("a connection");
    let request = SubmitRequest { wait: true, ..bash("exec sleep 600") };
    let body = serde_json::to_vec(&request).expect("JSON");
    connection.request("POST", "/v1/executions", Some(&body)).expect("sent");
    sleep(Duration::from_millis(400)); // the time in which it would be recorded, four times
    writer.go_on();
    world.daemon().wait_for_kill("UntoldRecorded:1");
    world.start_daemon();
    let id = agent.list("limit=1").expect("it may").executions.first().expect("it is recorded").id;
    let told = world.root().audit(&format!("execution={id}&kind=submission")).expect("root may");
    assert_eq!(told.records.len(), 1, "{told:?}");
    agent.cancel(id).expect("it is ours");
}

/// What was begun for a caller of the bus is done though the bus goes, as it is for one of the socket.
#[test]
fn a_session_that_is_being_closed_goes_though_the_bus_goes_meanwhile() {
    let mut bus = Bus::open();
    let mut world = on_bus(&bus);
    let agent = world.agent(AGENT);
    let made = bus.call(AGENT, "CreateSession", &["a{sv}", "0"]);
    let id = made[0].as_str().expect("an id").to_owned();
    let session = Some(id.parse().expect("an id"));
    let running = agent.start(&SubmitRequest { session, ..bash("echo up; exec sleep 600") });
    agent.wait_for_words(running, "up");
    let writer = Held::thread(world.daemon_pid(), "audit-writer"); // and no end is recorded
    let name = "org.supervisord.Supervisor1";
    let mut close = bus.command(AGENT, "busctl");
    close.arg(format!("--address={}", bus.address()));
    let manager = format!("{name}.Manager");
    close.args(["call", name, "/org/supervisord/Supervisor1", &manager, "CloseSession", "s", &id]);
    let mut close = close.spawn().expect("busctl is installed");
    let target = format!("/v1/sessions/{id}");
    let state = || agent.call("GET", &target, None).expect("an answer").json()["state"].clone();
    until_true("it is being closed", || state() == "closing");
    bus.stop();
    until_true("the daemon has seen it", || world.daemon().words().contains("not on the bus"));
    writer.go_on();
    until_true("it is gone", || agent.call("GET", &target, None).expect("an answer").status == 404);
    close.wait().expect("a child");
}
