//! The front end on the system bus, on a bus with the distribution's rules and ours: driven by busctl and
//! by a client library that shares no code with the daemon's, with polkit's real authority.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use supervisor_api::{ExecutionId, Outcome, State};
use supervisor_tests::{
    AGENT, BUS_ADMIN, Bus, OTHER_AGENT, STRANGER, bash, on_bus, resident_bytes, until, until_true,
};

/// The manager's name and path.
const MANAGER: [&str; 2] = ["org.supervisord.Supervisor1", "/org/supervisord/Supervisor1"];

/// What there is to call, by the description that is installed, with arguments of the right types.
const METHODS: [(&str, &[&str]); 32] = [
    ("Submit", &["asa{sv}", "1", "true", "0"]),
    ("SubmitJson", &["s", r#"{"argv":["true"]}"#]),
    ("Status", &["s", "x"]),
    ("StatusJson", &["su", "x", "0"]),
    ("List", &["a{sv}", "0"]),
    ("ListJson", &["a{sv}", "0"]),
    ("Cancel", &["s", "x"]),
    ("Pause", &["sb", "x", "false"]),
    ("Resume", &["s", "x"]),
    ("Output", &["sstb", "x", "both", "0", "false"]),
    ("Artifacts", &["s", "x"]),
    ("Artifact", &["ss", "x", "y"]),
    ("Doctor", &[]),
    ("Policies", &[]),
    ("Policy", &["s", "default"]),
    ("CreateSession", &["a{sv}", "0"]),
    ("Sessions", &["b", "false"]),
    ("Session", &["s", "x"]),
    ("ExtendSession", &["st", "x", "60"]),
    ("CloseSession", &["s", "x"]),
    ("Credentials", &[]),
    ("RotateCredential", &["s", "x"]),
    ("RevokeCredential", &["s", "x"]),
    ("Budgets", &["b", "false"]),
    ("ResetBudget", &["s", "x"]),
    ("Approvals", &["b", "false"]),
    ("Approval", &["s", "x"]),
    ("Approve", &["su", "x", "1"]),
    ("Deny", &["s", "x"]),
    ("Reload", &[]),
    ("Subscribe", &["b", "false"]),
    ("Unsubscribe", &[]),
];

fn path_of(id: &str) -> String {
    format!("/org/supervisord/Supervisor1/execution/{}", id.replace('-', "_"))
}

fn first(answer: &Value) -> &str {
    answer[0].as_str().expect("a string")
}

#[test]
fn a_payload_is_submitted_with_busctl_and_its_end_is_seen_there() {
    let bus = Bus::open();
    let world = on_bus(&bus);
    let answer = bus.call(
        AGENT,
        "Submit",
        &[
            "asa{sv}",
            "3",
            "sh",
            "-c",
            "cat; cat in",
            "3",
            "stdin",
            "s",
            "hello ",
            "labels",
            "a{ss}",
            "1",
            "k",
            "v",
            "files",
            "a(sayb)",
            "1",
            "in",
            "3",
            "98",
            "117",
            "115",
            "false",
        ],
    );
    let id = first(&answer).to_owned();
    assert_eq!(answer[1], path_of(&id));
    let agent = world.agent(AGENT);
    let ended = agent.ended(id.parse::<ExecutionId>().expect("an id"));
    ended.expect_exit(0);
    assert_eq!((ended.stdout.as_str(), ended.execution.owner_uid), ("hello bus", AGENT));
    let status = bus.call(AGENT, "Status", &["s", &id]);
    assert_eq!(status[0]["State"]["data"], "finished");
    assert_eq!(status[0]["Outcome"]["data"], "exited");
    assert_eq!(status[0]["OutcomeDetails"]["data"]["code"]["data"], 0);
    assert_eq!(status[0]["Labels"]["data"], json!({"k": "v"}));
    let list = bus.call(AGENT, "List", &["a{sv}", "1", "limit", "u", "5"]);
    assert_eq!(list[0][0][0], id.as_str());
    let text = bus.call(AGENT, "StatusJson", &["su", &id, "1"]);
    let execution: supervisor_api::Execution = serde_json::from_str(first(&text)).expect("JSON");
    assert_eq!(execution, ended.execution);
    let property = ["--json=short", "get-property", MANAGER[0], &path_of(&id)];
    let interface = "org.supervisord.Supervisor1.Execution";
    let output = bus.busctl(AGENT, &[&property[..], &[interface, "OwnerUid"]].concat());
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), r#"{"type":"u","data":2001}"#);
}

#[test]
fn everything_that_the_installed_description_names_is_there_and_nothing_else() {
    let bus = Bus::open();
    let world = on_bus(&bus);
    let id = world.agent(AGENT).run(&bash("true")).execution.id.to_string();
    let session = bus.call(AGENT, "CreateSession", &["a{sv}", "0"])[1].take();
    for (object, interface, file) in [
        (
            MANAGER[1].to_owned(),
            "Manager",
            include_str!("../../systemd/dbus/org.supervisord.Supervisor1.Manager.xml"),
        ),
        (
            path_of(&id),
            "Execution",
            include_str!("../../systemd/dbus/org.supervisord.Supervisor1.Execution.xml"),
        ),
        (
            session.as_str().expect("a path").to_owned(),
            "Session",
            include_str!("../../systemd/dbus/org.supervisord.Supervisor1.Session.xml"),
        ),
    ] {
        let output = bus.busctl(AGENT, &["introspect", "--xml-interface", MANAGER[0], &object]);
        let served = String::from_utf8(output.stdout).expect("XML");
        let start = file.find(" <interface").expect("an interface");
        let installed = file[start..].strip_suffix("</node>\n").expect("the end of the file");
        assert!(served.contains(installed), "{interface} is served as\n{served}");
        // The library of the bus's own tools finds it well-formed too.
        let output = bus.busctl(AGENT, &["introspect", MANAGER[0], &object]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let file = include_str!("../../systemd/dbus/org.supervisord.Supervisor1.Manager.xml");
    assert_eq!(file.matches("<method name=").count(), METHODS.len());
    for (method, arguments) in METHODS {
        assert!(file.contains(&format!("<method name=\"{method}\"")), "{method}");
        let output = bus.try_call(AGENT, method, arguments);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        let refused = words.contains("there is no such") || words.contains("polkit");
        assert!(output.status.success() || refused, "{method}: {words}");
        let wrong = bus.refusal(AGENT, method, &["t", "1"]);
        assert!(
            wrong.contains("Invalid arguments") || wrong.contains("ignature"),
            "{method}: {wrong}"
        );
    }
    let words = bus.refusal(AGENT, "Reboot", &[]);
    assert!(words.contains("no such method"), "{words}");
    let root = world.root();
    for execution in root.list("all=true").expect("root may").executions {
        root.finished(execution.id);
    }
}

/// AP-09 and IS-01: one's own and nobody else's, and the same words for what is not there.
#[test]
fn an_agent_sees_and_ends_its_own_executions_only() {
    let bus = Bus::with_polkit();
    let world = on_bus(&bus);
    let agent = world.agent(AGENT);
    let id = agent.start(&bash("echo mine; exec sleep 300")).to_string();
    agent.wait_for_words(id.parse().unwrap(), "mine");
    let unknown = ExecutionId::from_bits(77).to_string();
    for (method, rest) in [
        ("Status", &["s"][..]),
        ("StatusJson", &["su"]),
        ("Cancel", &["s"]),
        ("Pause", &["sb"]),
        ("Resume", &["s"]),
        ("Output", &["sstb"]),
        ("Artifacts", &["s"]),
        ("Artifact", &["ss"]),
    ] {
        let values: &[&str] = match method {
            "StatusJson" => &["0"],
            "Pause" => &["false"],
            "Output" => &["both", "0", "false"],
            "Artifact" => &["x"],
            _ => &[],
        };
        let words = |id: &str| {
            bus.refusal(OTHER_AGENT, method, &[rest, &[id], values].concat()).replace(id, "ID")
        };
        assert_eq!(words(&id), words(&unknown), "{method}");
        assert!(words(&id).contains("there is no such execution"), "{method}: {}", words(&id));
    }
    let read = [
        "get-property",
        MANAGER[0],
        &path_of(&id),
        "org.supervisord.Supervisor1.Execution",
        "Argv",
    ];
    assert!(!bus.busctl(OTHER_AGENT, &read).status.success());
    let tree = bus.busctl(OTHER_AGENT, &["tree", "--list", MANAGER[0]]);
    assert!(!String::from_utf8_lossy(&tree.stdout).contains("ex_"), "{tree:?}");
    let tree = bus.busctl(AGENT, &["tree", "--list", MANAGER[0]]);
    assert!(String::from_utf8_lossy(&tree.stdout).contains(&path_of(&id)), "{tree:?}");
    assert_eq!(bus.call(OTHER_AGENT, "List", &["a{sv}", "0"]), json!([[], ""]));
    let all = ["a{sv}", "1", "all", "b", "true"];
    let words = bus.refusal(OTHER_AGENT, "List", &all);
    assert!(words.contains("authentic") || words.contains("polkit"), "{words}");
    let words = bus.refusal(OTHER_AGENT, "Subscribe", &["b", "true"]);
    assert!(words.contains("authentic") || words.contains("polkit"), "{words}");
    assert_eq!(agent.status(id.parse().unwrap(), 0).unwrap().state, State::Running);
    let paused = bus.call(AGENT, "Pause", &["sb", &id, "false"]);
    assert_eq!(paused[0]["State"]["data"], "paused");
    assert_eq!(bus.call(AGENT, "Resume", &["s", &id])[0]["State"]["data"], "running");
    bus.call(AGENT, "Cancel", &["s", &id]);
    assert_eq!(agent.finished(id.parse().unwrap()).outcome, Some(Outcome::Cancelled));
}

#[test]
fn polkit_makes_an_administrator_who_sees_and_ends_what_is_others() {
    let bus = Bus::with_polkit();
    let world = on_bus(&bus);
    let agent = world.agent(AGENT);
    let id = agent.start(&bash("echo mine; exec sleep 300")).to_string();
    agent.wait_for_words(id.parse().unwrap(), "mine");
    let status = bus.call(BUS_ADMIN, "Status", &["s", &id]);
    assert_eq!(status[0]["OwnerUid"]["data"], AGENT);
    let all = bus.call(BUS_ADMIN, "List", &["a{sv}", "1", "all", "b", "true"]);
    assert_eq!(all[0][0][0], id.as_str());
    let ended = bus.call(BUS_ADMIN, "Cancel", &["s", &id]);
    assert_eq!(ended[0]["Outcome"]["data"], "cancelled");
    let reloaded = bus.call(BUS_ADMIN, "Reload", &[]);
    assert_eq!((&reloaded[0], &reloaded[1]), (&json!(2), &json!("best-effort")));
    let words = bus.refusal(AGENT, "Reload", &[]);
    assert!(words.contains("authentic") || words.contains("polkit"), "{words}");
    // What it may do on the socket is not polkit's.
    let admin = world.agent(BUS_ADMIN);
    assert!(admin.status(id.parse().unwrap(), 0).is_err());
}

#[test]
fn without_polkit_nobody_is_an_administrator() {
    let bus = Bus::open();
    let world = on_bus(&bus);
    let agent = world.agent(AGENT);
    let id = agent.start(&bash("exec sleep 300")).to_string();
    for uid in [0, BUS_ADMIN] {
        assert!(bus.refusal(uid, "Cancel", &["s", &id]).contains("there is no such execution"));
        let words = bus.refusal(uid, "List", &["a{sv}", "1", "all", "b", "true"]);
        assert!(words.contains("polkit does not allow"), "{words}");
    }
    agent.cancel(id.parse().unwrap()).expect("it is ours");
}

#[test]
fn whoever_is_not_in_the_users_group_does_not_reach_the_supervisor() {
    let bus = Bus::open();
    let world = on_bus(&bus);
    let call = ["call", MANAGER[0], MANAGER[1], "org.supervisord.Supervisor1.Manager", "Doctor"];
    let mut command = bus.command(STRANGER, "busctl");
    let output = command.arg(format!("--address={}", bus.address())).args(call).output().unwrap();
    assert!(!output.status.success());
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("denied") || words.contains("rejected"), "{words}");
    // The name is the daemon's alone.
    let bus_call =
        ["call", "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus"];
    let name = ["RequestName", "su", "org.supervisord.Supervisor1.Other", "0"];
    assert!(!bus.busctl(AGENT, &[&bus_call[..], &name].concat()).status.success());
    drop(world);
}

#[test]
fn no_property_can_be_set() {
    let bus = Bus::open();
    let world = on_bus(&bus);
    let interface = "org.supervisord.Supervisor1.Manager";
    for name in ["Mode", "LogLevel"] {
        let set = ["set-property", MANAGER[0], MANAGER[1], interface, name, "s", "best-effort"];
        let output = bus.busctl(0, &set);
        assert!(!output.status.success(), "{name}");
    }
    let get = ["get-property", MANAGER[0], MANAGER[1], interface, "Mode"];
    assert_eq!(
        String::from_utf8_lossy(&bus.busctl(AGENT, &get).stdout).trim(),
        r#"s "best-effort""#
    );
    drop(world);
}

/// By jeepney: descriptors for output and artifacts, signals, the object manager, errors.
#[test]
fn an_independent_client_reads_pipes_artifacts_signals_and_objects() {
    let bus = Bus::with_polkit();
    let world = on_bus(&bus);
    let said = bus.python(AGENT, include_str!("dbus/client.py"), &[]);
    assert_eq!(said, "done\n");
    drop(world);
}

#[test]
fn signals_reach_the_owner_and_who_may_see_everybody_and_nobody_else() {
    let bus = Bus::with_polkit();
    let world = on_bus(&bus);
    let listen = |uid: u32, all: &str| {
        let mut command = bus.command(uid, "/usr/bin/python3");
        let mut child = command
            .args(["-c", include_str!("dbus/listener.py"), all])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a listener starts");
        let mut output = std::io::BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        std::io::BufRead::read_line(&mut output, &mut line).expect("it is subscribed");
        assert_eq!(line, "listening\n");
        (child, output)
    };
    let mut listeners =
        [listen(AGENT, ""), listen(OTHER_AGENT, ""), listen(BUS_ADMIN, "all"), listen(AGENT, "no")];
    let id = world.agent(AGENT).run(&bash("exit 3")).execution.id.to_string();
    let mine = world.agent(OTHER_AGENT).run(&bash("exit 4")).execution.id.to_string();
    let heard: Vec<String> = listeners
        .iter_mut()
        .map(|(child, output)| {
            drop(child.stdin.take()); // the end of its input ends it, after what has come
            let mut text = String::new();
            std::io::Read::read_to_string(output, &mut text).expect("text");
            assert!(child.wait().expect("a child").success());
            text
        })
        .collect();
    let hears = |place: usize, id: &str| heard[place].contains(&format!("Finished {id}"));
    assert!(hears(0, &id) && !heard[0].contains(&mine), "{}", heard[0]);
    assert!(hears(1, &mine) && !heard[1].contains(&id), "{}", heard[1]);
    assert!(hears(2, &id) && hears(2, &mine), "{}", heard[2]);
    assert_eq!(heard[3], "", "it did not ask for signals");
}

#[test]
fn a_bus_that_goes_and_comes_back_finds_the_supervisor_again() {
    let mut bus = Bus::open();
    let world = on_bus(&bus);
    bus.stop();
    world.agent(AGENT).run(&bash("true")).expect_exit(0);
    bus.start();
    bus.wait_for_supervisor();
    bus.call(AGENT, "Doctor", &[]);
}

#[test]
fn hostile_calls_are_refused_and_bounded() {
    let bus = Bus::open();
    let mut world = on_bus(&bus);
    let before = resident_bytes(world.daemon_pid());
    let said = bus.python(AGENT, include_str!("dbus/hostile.py"), &[]);
    assert_eq!(said, "done\n");
    assert!(world.daemon().runs());
    let grown = resident_bytes(world.daemon_pid()).saturating_sub(before);
    assert!(grown < 96 << 20, "it holds {grown} bytes more");
    bus.call(OTHER_AGENT, "Doctor", &[]);
}

#[test]
fn a_caller_that_leaves_with_calls_and_pipes_open_leaves_nothing_behind() {
    let bus = Bus::open();
    let world = on_bus(&bus);
    let agent = world.agent(AGENT);
    let id = agent.start(&bash("echo up; exec sleep 300"));
    agent.wait_for_words(id, "up");
    let mut command: Command = bus.command(AGENT, "/usr/bin/python3");
    let mut child = command
        .args(["-c", include_str!("dbus/leaver.py"), &id.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a client starts");
    let mut line = String::new();
    let mut output = std::io::BufReader::new(child.stdout.take().expect("piped"));
    std::io::BufRead::read_line(&mut output, &mut line).expect("it has pipes");
    assert_eq!(line, "holding\n");
    child.kill().expect("it runs");
    child.wait().expect("a child");
    // Another connection of the same user gets all the pipes that there are for one.
    until("the pipes are given back", || {
        let said = bus.python(AGENT, include_str!("dbus/leaver.py"), &[&id.to_string(), "leave"]);
        (said == "holding\n").then_some(())
    });
    agent.cancel(id).expect("it is ours");
    until_true("it has finished", || agent.status(id, 1).expect("known").state == State::Finished);
}
