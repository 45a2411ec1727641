//! The interface of operations: every operation of the socket on the bus, as whom polkit lets it be done, and
//! what goes by descriptor.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use std::collections::BTreeMap;
use std::process::Output;

use supervisor_api::{ExecutionId, OPERATIONS, Outcome, SessionId};
use supervisor_tests::{AGENT, BUS_ADMIN, Bus, OTHER_AGENT, bash, on_bus};

/// Calls an operation with busctl.
fn operation(bus: &Bus, uid: u32, method: &str, arguments: &[&str]) -> Output {
    let target = [
        "--json=short",
        "--",
        "call",
        "org.supervisord.Supervisor1",
        "/org/supervisord/Supervisor1",
        "org.supervisord.Supervisor1.Operations",
        method,
    ];
    bus.busctl(uid, &[&target, arguments].concat())
}

/// The JSON that it answers.
#[track_caller]
fn done(bus: &Bus, uid: u32, method: &str, arguments: &[&str]) -> serde_json::Value {
    let output = operation(bus, uid, method, arguments);
    assert!(output.status.success(), "{method}: {}", String::from_utf8_lossy(&output.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    serde_json::from_str(answer["data"][0].as_str().expect("a text")).expect("JSON")
}

/// What it says when it is not done.
#[track_caller]
fn refused(bus: &Bus, uid: u32, method: &str, arguments: &[&str]) -> String {
    let output = operation(bus, uid, method, arguments);
    assert!(!output.status.success(), "{method} was done for {uid}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `list_root` as `ListRoot`.
fn camel(id: &str) -> String {
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    id.split('_').map(capital).collect()
}

#[test]
fn every_operation_of_the_socket_is_a_method_on_the_bus_and_can_be_called_as_described() {
    let bus = Bus::with_polkit();
    let world = on_bus(&bus);
    let said = bus.python(AGENT, include_str!("dbus/every_operation.py"), &[]);
    let said: BTreeMap<_, _> = said.lines().filter_map(|line| line.split_once(' ')).collect();
    let mut expected: Vec<_> = OPERATIONS.iter().map(|operation| camel(operation.id)).collect();
    expected.push("ByDescriptor".to_owned());
    expected.sort();
    assert_eq!(said.keys().collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
    let ours = "org.supervisord.Supervisor1.Error.";
    let authenticate = "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired";
    for (method, said) in said {
        let is_known = ["text", "pipe", authenticate].contains(&said)
            || said.strip_prefix(ours).is_some_and(|code| code != "Internal");
        assert!(is_known, "{method}: {said}");
    }
    // They are counted once, as the bus's.
    let metrics = world.root().call("GET", "/metrics", None).expect("an answer");
    let text = String::from_utf8(metrics.body).expect("text");
    let counted = text.lines().filter(|line| line.contains("operation=\"audit_key\""));
    let counted: Vec<_> = counted.collect();
    assert!(counted.iter().any(|line| line.contains("bus")), "{counted:?}");
    assert!(!counted.iter().any(|line| line.contains("socket")), "{counted:?}");
}

/// AP-09 and IS-01: one's own and nobody else's, and the same words for what is not there.
#[test]
fn what_is_others_is_not_there_but_for_whom_polkit_allows_it() {
    let bus = Bus::with_polkit();
    let world = on_bus(&bus);
    let agent = world.agent(AGENT);
    let session = done(&bus, AGENT, "CreateSession", &["s", "{}"])["id"].take();
    let session = session.as_str().expect("an id");
    let write = ["ssa{sv}v", session, "mine", "0", "s", "words"];
    assert_eq!(done(&bus, AGENT, "WriteFile", &write)["size"], 5);
    let request = format!(r#"{{"argv":["cat"],"stdin_open":true,"session":"{session}"}}"#);
    let execution = done(&bus, AGENT, "Submit", &["s", &request])["id"].take();
    let execution = execution.as_str().expect("an id");
    let (no_session, no_execution) =
        (SessionId::from_bits(77).to_string(), ExecutionId::from_bits(77).to_string());
    for (method, signature, rest) in [
        ("Session", "s", &[][..]),
        ("ListRoot", "sa{sv}", &["0"]),
        ("ReadFile", "ss", &["mine"]),
        ("StatFile", "ss", &["mine"]),
        ("WriteFile", "ssa{sv}v", &["mine", "0", "s", "theirs"]),
        ("RemoveFile", "ssa{sv}", &["mine", "0"]),
        ("DownloadArchive", "s", &[]),
        ("WatchFiles", "sa{sv}", &["0"]),
        ("CreateInterpreter", "ss", &[r#"{"language":"python"}"#]),
        ("CreateSnapshot", "ss", &["{}"]),
        ("PauseSession", "sa{sv}", &["0"]),
        ("CloseSession", "s", &[]),
        ("Status", "sa{sv}", &["0"]),
        ("Output", "sa{sv}", &["0"]),
        ("SendInput", "sa{sv}v", &["0", "s", "theirs"]),
        ("CloseInput", "sa{sv}", &["0"]),
        ("Pause", "sa{sv}", &["0"]),
        ("Cancel", "s", &[]),
        ("Receipt", "s", &[]),
        ("Decisions", "sa{sv}", &["0"]),
    ] {
        let operation = OPERATIONS.iter().find(|operation| camel(operation.id) == method);
        let of_session = operation.expect("there is one").path.starts_with("/v1/sessions");
        let (real, none) = match of_session {
            true => (session, no_session.as_str()),
            false => (execution, no_execution.as_str()),
        };
        let words = |id: &str| {
            let arguments = [&[signature, id], rest].concat();
            refused(&bus, OTHER_AGENT, method, &arguments).replace(id, "ID")
        };
        assert_eq!(words(real), words(none), "{method}");
        assert!(words(real).contains("there is no such"), "{method}: {}", words(real));
    }
    for method in ["List", "ListSessions", "Budgets"] {
        let words = refused(&bus, OTHER_AGENT, method, &["a{sv}", "1", "all", "b", "true"]);
        assert!(words.contains("authentic") || words.contains("polkit"), "{method}: {words}");
    }
    // Where nothing says whose, everybody gets what is its own.
    let seen = |uid| done(&bus, uid, "Top", &[])["executions"].as_array().map(Vec::len);
    assert_eq!((seen(OTHER_AGENT), seen(AGENT)), (Some(0), Some(1)));
    // Polkit's administrator does what those on the socket do, and it is as they have it in the log.
    assert_eq!(seen(BUS_ADMIN), Some(1));
    let write = ["ssa{sv}v", session, "theirs", "0", "s", "an administrator's"];
    assert_eq!(done(&bus, BUS_ADMIN, "WriteFile", &write)["size"], 18);
    let sent = done(&bus, BUS_ADMIN, "SendInput", &["sa{sv}v", execution, "0", "s", "words"]);
    assert_eq!(sent["offset"], 5);
    let ended = done(&bus, BUS_ADMIN, "Cancel", &["s", execution]);
    assert_eq!(ended["outcome"]["type"], "cancelled");
    assert_eq!(agent.finished(execution.parse().expect("an id")).outcome, Some(Outcome::Cancelled));
    done(&bus, BUS_ADMIN, "CloseSession", &["s", session]);
}

#[test]
fn files_input_cells_and_answers_of_any_size_go_over_the_bus() {
    let bus = Bus::open();
    let world = on_bus(&bus);
    assert_eq!(bus.python(AGENT, include_str!("dbus/operations.py"), &[]), "done\n");
    // As on the socket, and by nobody's leave where there is no polkit.
    let words = refused(&bus, 0, "Metrics", &[]);
    assert!(words.contains("polkit does not allow"), "{words}");
    world.agent(AGENT).run(&bash("true")).expect_exit(0);
}
