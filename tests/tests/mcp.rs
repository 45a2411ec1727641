//! The server of the Model Context Protocol: driven by two clients that others wrote, and line by line.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command};

use serde_json::{Value, json};
use supervisor_api::Outcome;
use supervisor_tests::{
    AGENT, Account, OTHER_AGENT, Settings, Told, World, argv, node_packages, program,
    python_packages, until, until_true,
};

/// Under which a program may ask for what it is refused.
const ASKS: &str = include_str!("mcp/asks.toml");

fn world() -> World {
    let policies = [
        ("default", include_str!("../../policies/default.toml")),
        ("floor", include_str!("../../policies/floor.toml")),
        ("asks", ASKS),
    ];
    let policies = policies.map(|(name, text)| (format!("{name}.toml"), text.to_owned()));
    World::with(Settings { policies: policies.to_vec(), ..Settings::default() })
}

#[track_caller]
fn succeeds(mut command: Command) {
    let output = command.output().expect("it starts");
    let words = String::from_utf8_lossy(&output.stderr);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}\n{said}\n{words}", output.status);
}

#[test]
fn the_python_sdk_uses_all_of_it_in_both_revisions() {
    let packages = python_packages(env!("CARGO_TARGET_TMPDIR"), include_str!("mcp/python.txt"));
    for mode in ["auto", "legacy"] {
        let world = world();
        let mut python = Command::new("/usr/bin/python3");
        python.args(["-c", include_str!("mcp/client.py")]).arg(program("supervisorctl"));
        python.arg(world.socket()).arg(mode).env("PYTHONPATH", &packages);
        succeeds(python);
    }
}

#[test]
fn the_typescript_sdk_uses_it_in_both_revisions() {
    let packages = node_packages(env!("CARGO_TARGET_TMPDIR"), include_str!("mcp/package.json"));
    let script = packages.join("client.mjs");
    std::fs::write(&script, include_str!("mcp/client.mjs")).expect("a file");
    for revision in ["2026-07-28", "2025-11-25"] {
        let world = world();
        let mut node = Command::new("node");
        node.arg(&script).arg(program("supervisorctl")).arg(world.socket()).arg(revision);
        succeeds(node);
        // Its last request was given up, and it went right after that.
        let root = world.root();
        until_true("nothing of it runs", || {
            root.list("state=running").expect("a list").executions.is_empty()
        });
    }
}

/// A server that is spoken to line by line.
struct Spoken {
    child: Child,
    input: Option<ChildStdin>,
    lines: BufReader<ChildStdout>,
    id: u64,
}

impl Spoken {
    fn start(world: &World, account: &Account) -> Self {
        let socket = world.socket().display().to_string();
        let mut command = account.supervisorctl(&["--socket", &socket, "mcp"]);
        let mut child = command.stdin(std::process::Stdio::piped()).spawn().expect("it starts");
        let (input, output) = (child.stdin.take(), child.stdout.take().expect("a pipe"));
        Self { child, input, lines: BufReader::new(output), id: 0 }
    }

    fn write(&mut self, line: &str) {
        let input = self.input.as_mut().expect("it is open");
        writeln!(input, "{line}").expect("it reads");
        input.flush().expect("it reads");
    }

    fn send(&mut self, method: &str, mut parameters: Value) -> u64 {
        self.id += 1;
        let capabilities = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
        parameters["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": capabilities,
        });
        let request =
            json!({"jsonrpc": "2.0", "id": self.id, "method": method, "params": parameters});
        self.write(&request.to_string());
        self.id
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn ask(&mut self, method: &str, parameters: Value) -> Value {
        let id = self.send(method, parameters);
        loop {
            let answer = self.read();
            if answer["id"] == id {
                return answer;
            }
        }
    }

    fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({"name": tool, "arguments": arguments}))["result"].take()
    }

    fn end(mut self) {
        drop(self.input.take());
        let status = self.child.wait().expect("a child");
        assert!(status.success(), "{status}");
    }
}

#[test]
fn what_takes_long_is_handed_out_and_asked_for_again_also_in_another_process() {
    let world = world();
    let account = Account::of(&world, AGENT);
    let mut first = Spoken::start(&world, &account);
    let long = json!({"argv": ["sh", "-c", "read line; echo $line; sleep 8"], "stdin": "word\n"});
    let handed = first.call("run", long);
    assert_eq!((&handed["resultType"], &handed["status"]), (&json!("task"), &json!("working")));
    let id = handed["taskId"].as_str().expect("an id").to_owned();
    let other = first.call("run", json!({"argv": ["sleep", "600"]}));
    let other = other["taskId"].as_str().expect("an id").to_owned();
    first.end();
    let mut second = Spoken::start(&world, &account);
    let done = until("it is done", || {
        let task = second.ask("tasks/get", json!({"taskId": id}));
        (task["result"]["status"] == "completed").then_some(task)
    });
    let result = &done["result"]["result"];
    assert_eq!(result["structuredContent"]["stdout"]["text"], "word\n", "{done}");
    let cancelled = second.ask("tasks/cancel", json!({"taskId": other}));
    assert!(cancelled["error"].is_null(), "{cancelled}");
    let task = second.ask("tasks/get", json!({"taskId": other}));
    assert_eq!(task["result"]["status"], "cancelled", "{task}");
    let unknown = second.ask("tasks/get", json!({"taskId": "ex-1"}));
    assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
    second.end();
}

#[test]
fn a_client_has_the_rights_of_whoever_started_it() {
    let world = world();
    let theirs = world.agent(OTHER_AGENT).run(&argv(&["echo", "secret"])).execution.id;
    let mut spoken = Spoken::start(&world, &Account::of(&world, AGENT));
    for (tool, arguments) in [
        ("status", json!({"execution": theirs})),
        ("read_output", json!({"execution": theirs, "stream": "stdout"})),
        ("why", json!({"execution": theirs})),
        ("cancel", json!({"execution": theirs})),
    ] {
        let answer = spoken.call(tool, arguments);
        assert_eq!(answer["isError"], true, "{tool}: {answer}");
        assert!(answer.to_string().contains("not_found"), "{tool}: {answer}");
    }
    let uri = format!("supervisord://executions/{theirs}/stdout");
    let answer = spoken.ask("resources/read", json!({"uri": uri}));
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    spoken.end();
}

#[test]
fn a_client_that_goes_takes_with_it_what_it_waited_for() {
    let world = world();
    let agent = world.agent(AGENT);
    let mut spoken = Spoken::start(&world, &Account::of(&world, AGENT));
    spoken.send("tools/call", json!({"name": "run", "arguments": {"argv": ["sleep", "600"]}}));
    let id = until("it runs", || {
        let list = agent.list("state=running").expect("a list");
        list.executions.first().map(|execution| execution.id)
    });
    spoken.end();
    assert_eq!(agent.finished(id).outcome, Some(Outcome::Cancelled));
}

#[test]
fn lines_that_are_no_requests_end_nothing() {
    let world = world();
    let mut spoken = Spoken::start(&world, &Account::of(&world, AGENT));
    for no_json in ["{", &"x".repeat(17 << 20), "\u{1}"] {
        spoken.write(no_json);
        let answer = spoken.read();
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&Value::Null, &json!(-32700)));
    }
    spoken.write("[1, 2]");
    let answer = spoken.call("run", json!({"argv": ["echo", "still here"]}));
    assert_eq!(answer["structuredContent"]["stdout"]["text"], "still here\n", "{answer}");
    let answer = spoken.ask("no/such/method", json!({}));
    assert_eq!(answer["error"]["code"], -32601, "{answer}");
    spoken.end();
}

#[test]
fn it_says_so_where_there_is_no_daemon() {
    let user = Account::new(AGENT);
    let mut command = user.supervisorctl(&["--socket", "/nowhere/api.sock", "mcp"]);
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "run", "arguments": {"argv": ["true"]}, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
    }}});
    user.write("request", &format!("{request}\n"));
    command.stdin(std::fs::File::open(user.path("request")).expect("it is there"));
    let told = Told::of(command);
    assert!(told.stdout.contains("start supervisord"), "{told:?}");
    assert!(told.stdout.contains("unreachable"), "{told:?}");
}
