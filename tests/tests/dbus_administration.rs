//! What administrators and people do over the bus: sessions of others, credentials, budgets, questions,
//! what is in force. With polkit's real authority, and with real traffic where it needs some.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::{Child, ChildStdout, Stdio};
use std::thread;

use serde_json::Value;
use supervisor_api::SubmitRequest;
use supervisor_tests::{
    AGENT, BUS_ADMIN, Bus, DAEMON, OTHER_AGENT, Settings, World, bash, until_true,
};

/// A server that says `hello` to every request.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                match stream.read(&mut byte) {
                    Ok(1) => head.push(byte[0]),
                    _ => break,
                }
            }
            let answer =
                b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n";
            stream.write_all(answer).ok(); // the payload may be gone
        }
    });
    address
}

/// A supervisor on a bus, with one credential, a budget for users, and a policy that lets `/free` out and
/// has `/asked` asked.
fn world(bus: &Bus, server: SocketAddr, secrets: &tempfile::TempDir) -> World {
    let floor = include_str!("../../policies/floor.toml");
    let floor = floor.replace("openable = [", "openable = [\n    \"loopback\",");
    let rule = |name: &str, more: &str| {
        format!(
            "[[egress]]\nname = {name:?}\nhosts = [\"127.0.0.2\"]\naddresses = [\"127.0.0.2/32\"]\n\
             protocols = [\"http\"]\nports = [{}]\nmethods = [\"GET\"]\n{more}\n",
            server.port()
        )
    };
    let api = format!(
        "name = \"asks\"\ndescription = \"Some of it is asked\"\nextends = \"default\"\n{}{}",
        rule("free", "paths = [\"/free\"]"),
        rule("asked", "paths = [\"/asked/*\"]\nverdict = \"ask\"")
            + &rule("briefly", "paths = [\"/brief\"]\nverdict = \"ask\"\nask_timeout = \"1 s\""),
    );
    let secret = secrets.path().join("key");
    fs::set_permissions(secrets.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(&secret, "sk-on-the-bus-0123456789").unwrap();
    chown(&secret, Some(DAEMON), Some(DAEMON)).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o400)).unwrap();
    let policy = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let world = World::with(Settings {
        dbus: bus.address(),
        policies: vec![
            policy("default.toml", include_str!("../../policies/default.toml")),
            policy("floor.toml", &floor),
            policy("asks.toml", &api),
        ],
        tables: format!(
            "[[uid_budget]]\nrequests = 3\n[[credential]]\nname = \"forge\"\nkind = \"static\"\n\
             hosts = [\"api.example.com\"]\nsource = {{ file = {secret:?} }}\n"
        ),
        ..Settings::default()
    });
    bus.wait_for_supervisor();
    world
}

/// A payload that fetches these paths, one after the other, and says what came of each.
fn fetching(server: SocketAddr, paths: &[&str]) -> SubmitRequest {
    let fetch =
        |path: &&str| format!("curl -s -w '{path} %{{http_code}}\\n' http://{server}{path}\n");
    let script: String = paths.iter().map(fetch).collect();
    SubmitRequest { policy: Some("asks".to_owned()), ..bash(&script) }
}

/// Signals as they come.
struct Signals {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Signals {
    fn of(bus: &Bus, uid: u32, whose: &str) -> Self {
        let mut command = bus.command(uid, "/usr/bin/python3");
        let mut child = command
            .args(["-c", include_str!("dbus/watcher.py"), whose])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a listener starts");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        let mut signals = Self { child, lines };
        assert_eq!(signals.line(), "listening\n");
        signals
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.lines.read_line(&mut line).expect("text") > 0, "the listener has ended");
        line
    }

    /// Waits for one that is so; its body.
    fn until(&mut self, member: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        loop {
            let mut signal: Value = serde_json::from_str(&self.line()).expect("JSON");
            if signal[0] == member && is_so(&signal[2]) {
                return signal[2].take();
            }
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.child.kill().ok(); // it may have ended by itself
        self.child.wait().ok();
    }
}

/// Waits until the audit log has all of these words in what matches a query: what has happened is
/// written a moment later.
fn recorded(world: &World, query: &str, words: &[&str]) {
    until_true("the log has it", || {
        let records = world.root().audit(query).expect("root may").records;
        let text = serde_json::to_string(&records).unwrap();
        words.iter().all(|word| text.contains(word))
    });
}

fn refused_by_polkit(words: &str) {
    assert!(words.contains("authentic") || words.contains("polkit"), "{words}");
}

#[test]
fn a_session_lives_on_the_bus_from_its_making_to_its_end() {
    let bus = Bus::with_polkit();
    let world = supervisor_tests::on_bus(&bus);
    assert_eq!(bus.python(AGENT, include_str!("dbus/sessions.py"), &[]), "done\n");
    drop(world);
}

#[test]
fn a_session_is_its_owner_s_and_an_administrator_s_by_polkit() {
    let bus = Bus::with_polkit();
    let world = supervisor_tests::on_bus(&bus);
    let mut admin = Signals::of(&bus, BUS_ADMIN, "all");
    let made = bus.call(AGENT, "CreateSession", &["a{sv}", "0"]);
    let (id, path) = (made[0].as_str().unwrap(), made[1].as_str().unwrap());
    admin.until("SessionChanged", |body| body[0] == id && body[2] == "open");
    let unknown = "se-aaaaaaaaaaaaaaaaaaaaaaaaaa";
    for (method, signature, rest) in
        [("Session", "s", &[][..]), ("ExtendSession", "st", &["60"]), ("CloseSession", "s", &[])]
    {
        let words = |id: &str| {
            let arguments = [&[signature, id], rest].concat();
            bus.refusal(OTHER_AGENT, method, &arguments).replace(id, "ID")
        };
        assert_eq!(words(id), words(unknown), "{method}");
        assert!(words(id).contains("no such session"), "{method}: {}", words(id));
    }
    assert_eq!(bus.call(OTHER_AGENT, "Sessions", &["b", "false"])[0], Value::Array(vec![]));
    refused_by_polkit(&bus.refusal(OTHER_AGENT, "Sessions", &["b", "true"]));
    let tree = bus.busctl(OTHER_AGENT, &["tree", "--list", "org.supervisord.Supervisor1"]);
    assert!(!String::from_utf8_lossy(&tree.stdout).contains("/se_"), "{tree:?}");
    let tree = bus.busctl(AGENT, &["tree", "--list", "org.supervisord.Supervisor1"]);
    assert!(String::from_utf8_lossy(&tree.stdout).contains(path), "{tree:?}");

    let all = bus.call(BUS_ADMIN, "Sessions", &["b", "true"]);
    assert_eq!(all[0][0]["Id"]["data"], id);
    assert_eq!(bus.call(BUS_ADMIN, "Session", &["s", id])[0]["OwnerUid"]["data"], AGENT);
    bus.call(BUS_ADMIN, "CloseSession", &["s", id]);
    admin.until("SessionChanged", |body| body[0] == id && body[2] == "closed");
    recorded(&world, "kind=administration", &["close_session", id]);
}

#[test]
fn credentials_are_administrators_and_no_call_tells_a_value() {
    let (bus, secrets) = (Bus::with_polkit(), tempfile::tempdir().unwrap());
    let world = world(&bus, upstream(), &secrets);
    let list = bus.call(BUS_ADMIN, "Credentials", &[]);
    assert_eq!(list[0][0]["Name"]["data"], "forge");
    assert_eq!(list[0][0]["State"]["data"], "ready");
    assert!(!list.to_string().contains("sk-on-the-bus"), "{list}");
    let mut told = Signals::of(&bus, BUS_ADMIN, "all");
    let mut events = world.root().connect().expect("connected");
    events.request("GET", "/v1/events", None).expect("sent");
    let head = events.head().expect("an answer");
    // On the socket, an administrator is told how it is first, and then every change.
    let mut both = |state: &str, is_first: bool| {
        let (mut heard, words) = (String::new(), format!("\"state\":\"{state}\""));
        while !(heard.contains("\"forge\"") && heard.contains(&words)) {
            let piece = events.piece(&head).expect("readable").expect("it goes on");
            heard += std::str::from_utf8(&piece).expect("JSON");
        }
        if !is_first {
            told.until("CredentialChanged", |body| body[0] == "forge" && body[1] == state);
        }
    };
    both("ready", true);
    let revoked = bus.call(BUS_ADMIN, "RevokeCredential", &["s", "forge"]);
    assert_eq!(revoked[0]["State"]["data"], "revoked");
    both("revoked", false);
    let rotated = bus.call(BUS_ADMIN, "RotateCredential", &["s", "forge"]);
    assert_eq!(rotated[0]["State"]["data"], "ready");
    both("ready", false);
    assert!(bus.refusal(BUS_ADMIN, "RotateCredential", &["s", "x"]).contains("no credential"));
    for (method, arguments) in [
        ("Credentials", &[][..]),
        ("RotateCredential", &["s", "forge"]),
        ("RevokeCredential", &["s", "forge"]),
    ] {
        refused_by_polkit(&bus.refusal(AGENT, method, arguments));
    }
    // Both acts are in the audit log, with who did them, and found by the credential's name.
    let by = format!("\"by\":{BUS_ADMIN}");
    let acts = ["\"act\":\"revoke\"", "\"act\":\"rotate\"", &by];
    recorded(&world, "credential=forge", &acts);
    assert_eq!(world.root().audit("credential=other").unwrap().records, []);
}

#[test]
fn a_user_s_budget_holds_over_all_it_runs_until_an_administrator_resets_it() {
    let (bus, server) = (Bus::with_polkit(), upstream());
    let secrets = tempfile::tempdir().unwrap();
    let world = world(&bus, server, &secrets);
    let agent = world.agent(AGENT);
    let first = agent.run(&fetching(server, &["/free", "/free"]));
    assert_eq!(first.stdout.matches("/free 200").count(), 2, "{}", first.stdout);
    let second = agent.run(&fetching(server, &["/free", "/free"]));
    assert_eq!(second.stdout.matches("/free 200").count(), 1, "{}", second.stdout);
    let account = format!("uid:{AGENT}");
    let words = format!("the budget of {account} has 0 of 3 requests left");
    assert!(second.stdout.contains(&words), "{}", second.stdout);
    assert!(second.stdout.contains("supervisord's configuration"), "{}", second.stdout);
    // Another user has its own.
    let other = world.agent(OTHER_AGENT).run(&fetching(server, &["/free"]));
    assert!(other.stdout.contains("/free 200"), "{}", other.stdout);

    let own = bus.call(AGENT, "Budgets", &["b", "false"]);
    assert_eq!(own[0][0]["Account"]["data"], account.as_str());
    assert_eq!(own[0][0]["Meters"]["data"][0], serde_json::json!(["requests", 3, 3, 0]));
    assert_eq!(own[0].as_array().unwrap().len(), 1, "{own}");
    refused_by_polkit(&bus.refusal(AGENT, "Budgets", &["b", "true"]));
    refused_by_polkit(&bus.refusal(AGENT, "ResetBudget", &["s", &account]));
    let all = bus.call(BUS_ADMIN, "Budgets", &["b", "true"]);
    assert_eq!(all[0].as_array().unwrap().len(), 2, "{all}");
    let reset = bus.call(BUS_ADMIN, "ResetBudget", &["s", &account]);
    assert_eq!(reset[0]["Meters"]["data"][0], serde_json::json!(["requests", 3, 0, 3]));
    assert!(bus.refusal(BUS_ADMIN, "ResetBudget", &["s", "uid:1"]).contains("nothing was charged"));
    let third = agent.run(&fetching(server, &["/free"]));
    assert!(third.stdout.contains("/free 200"), "{}", third.stdout);
    recorded(&world, "kind=administration", &["reset_budget", &account]);
}

#[test]
fn a_waiting_question_is_told_and_answered_on_the_bus() {
    let (bus, server) = (Bus::with_polkit(), upstream());
    let secrets = tempfile::tempdir().unwrap();
    let world = world(&bus, server, &secrets);
    let agent = world.agent(AGENT);
    let mut own = Signals::of(&bus, AGENT, "own");
    let mut other = Signals::of(&bus, OTHER_AGENT, "own");
    let mut admin = Signals::of(&bus, BUS_ADMIN, "all");
    let execution = agent.start(&fetching(server, &["/asked/one", "/asked/two"]));
    let waiting = |body: &Value| body[1] == "waiting";
    let told = admin.until("ApprovalChanged", waiting);
    assert_eq!(own.until("ApprovalChanged", waiting), told);
    let id = told[0].as_str().unwrap();
    assert_eq!(told[3], AGENT);
    assert_eq!(told[4], format!("GET http://{server}/asked/one"));

    // What runs shows what it does outside.
    let top = agent.call("GET", "/v1/top", None).expect("an answer").json();
    let egress = &top["executions"][0]["egress"];
    assert_eq!((&egress["connections"], &egress["bytes_in"]), (&1.into(), &0.into()), "{top}");

    // Its own user sees it and can't answer; another sees nothing of it.
    let shown = bus.call(AGENT, "Approval", &["s", id]);
    assert_eq!(shown[0]["Path"]["data"], "/asked/one");
    assert_eq!(shown[0]["State"]["data"], "waiting");
    // Its own is nobody's to answer, whatever polkit says; somebody else's is polkit's to say.
    for (method, arguments) in [("Approve", &["su", id, "1"][..]), ("Deny", &["s", id])] {
        assert!(bus.refusal(AGENT, method, arguments).contains("its own question"));
        refused_by_polkit(&bus.refusal(OTHER_AGENT, method, arguments));
    }
    assert!(bus.refusal(OTHER_AGENT, "Approval", &["s", id]).contains("no such approval"));
    assert_eq!(bus.call(OTHER_AGENT, "Approvals", &["b", "false"])[0], Value::Array(vec![]));
    refused_by_polkit(&bus.refusal(OTHER_AGENT, "Approvals", &["b", "true"]));

    let all = bus.call(BUS_ADMIN, "Approvals", &["b", "true"]);
    assert_eq!(all[0][0]["Id"]["data"], id);
    assert!(bus.refusal(BUS_ADMIN, "Approve", &["su", id, "0"]).contains("1 to 1000"));
    let answered = bus.call(BUS_ADMIN, "Approve", &["su", id, "2"]);
    assert_eq!(answered[0]["State"]["data"], "approved");
    assert_eq!(answered[0]["AnsweredBy"]["data"], BUS_ADMIN);
    own.until("ApprovalChanged", |body| body[0] == id && body[1] == "approved");
    let second = admin.until("ApprovalChanged", waiting);
    assert_eq!(second[4], format!("GET http://{server}/asked/two"));
    bus.call(BUS_ADMIN, "Deny", &["s", second[0].as_str().unwrap()]);
    let ended = agent.ended(execution);
    assert!(ended.stdout.contains("/asked/one 200"), "{}", ended.stdout);
    assert!(ended.stdout.contains("/asked/two 403"), "{}", ended.stdout);
    // Whatever was sent to the other user has come before the answer to what it does now.
    let made = bus.call(OTHER_AGENT, "CreateSession", &["a{sv}", "0"]);
    let first = other.line();
    assert!(first.contains("InterfacesAdded"), "it heard {first}");
    bus.call(OTHER_AGENT, "CloseSession", &["s", made[0].as_str().unwrap()]);
}

#[test]
fn nobody_answers_its_own_question_whatever_polkit_allows_it() {
    let (bus, server) = (Bus::with_polkit(), upstream());
    let secrets = tempfile::tempdir().unwrap();
    let world = world(&bus, server, &secrets);
    let asker = world.agent(BUS_ADMIN);
    let mut own = Signals::of(&bus, BUS_ADMIN, "own");
    let execution = asker.start(&fetching(server, &["/asked/one"]));
    let told = own.until("ApprovalChanged", |body| body[1] == "waiting");
    let id = told[0].as_str().unwrap();
    let name = "org.supervisord.Supervisor1";
    let operations = ["call", name, "/org/supervisord/Supervisor1", &format!("{name}.Operations")];
    let refused = |words: &str| assert!(words.contains("its own question"), "{words}");
    refused(&bus.refusal(BUS_ADMIN, "Approve", &["su", id, "1"]));
    refused(&bus.refusal(BUS_ADMIN, "Deny", &["s", id]));
    let answer = ["Answer", "ss", id, r#"{"approve":true}"#];
    let output = bus.busctl(BUS_ADMIN, &[&operations[..], &answer].concat());
    refused(&String::from_utf8_lossy(&output.stderr));
    let shown = bus.call(BUS_ADMIN, "Approval", &["s", id]);
    assert_eq!(shown[0]["State"]["data"], "waiting");
    asker.cancel(execution).expect("it is its own");
}

#[test]
fn a_rule_says_how_long_a_person_has_and_the_end_of_it_is_told() {
    let (bus, server) = (Bus::with_polkit(), upstream());
    let secrets = tempfile::tempdir().unwrap();
    let world = world(&bus, server, &secrets);
    let mut own = Signals::of(&bus, AGENT, "own");
    let ended = world.agent(AGENT).run(&fetching(server, &["/brief", "/free"]));
    assert!(ended.stdout.contains("approval_expired"), "{}", ended.stdout);
    assert!(ended.stdout.contains("/free 200"), "{}", ended.stdout);
    own.until("ApprovalChanged", |body| body[1] == "expired");
    let metrics = world.root().call("GET", "/metrics", None).expect("an answer");
    let text = String::from_utf8(metrics.body).expect("text");
    for line in [
        "supervisord_egress_requests_total{verdict=\"allow\"} 1",
        "supervisord_egress_requests_total{verdict=\"deny\"} 1",
        "supervisord_egress_connections 0",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains("supervisord_egress_bytes_total{direction=\"in\"} 0"), "{text}");
}

#[test]
fn what_is_in_force_can_be_read_and_a_reload_is_told() {
    let bus = Bus::with_polkit();
    let world = supervisor_tests::on_bus(&bus);
    let mut signals = Signals::of(&bus, AGENT, "own");
    let policy = bus.call(AGENT, "Policy", &["s", "default"]);
    assert_eq!(policy[0], 1);
    let listed = bus.call(AGENT, "Policies", &[]);
    let lines = listed[0].as_array().unwrap();
    let line = lines.iter().find(|line| line[0] == "default").unwrap();
    assert_eq!((&policy[1], &policy[2]), (&line[1], &line[2]));
    assert!(policy[3].as_str().unwrap().contains("default.toml:"), "{policy}");
    assert!(bus.refusal(AGENT, "Policy", &["s", "nosuch"]).contains("no policy of this name"));
    bus.call(BUS_ADMIN, "Reload", &[]);
    let changed = signals.until("PropertiesChanged", |body| body[1]["Generation"][1] == 2);
    assert_eq!(changed[0], "org.supervisord.Supervisor1.Manager");
    assert_eq!(bus.call(AGENT, "Policy", &["s", "default"])[0], 2);
    recorded(&world, "kind=administration", &["generation 2"]);
}
