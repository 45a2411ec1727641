//! The endpoint for E2B's clients: driven by both SDKs, unchanged, and by requests that none of them makes.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use supervisor_tests::{AGENT, Account, Settings, World, node_packages, python_packages};

/// The policy of a template of its own.
const HELD: &str = "name = \"held\"\nextends = \"default\"\n";

/// What works and what doesn't, for people.
const MATRIX: &str = include_str!("../../supervisorctl/e2b.md");

fn world() -> World {
    let policies = [
        ("default", include_str!("../../policies/default.toml")),
        ("floor", include_str!("../../policies/floor.toml")),
        ("held", HELD),
    ];
    let policies = policies.map(|(name, text)| (format!("{name}.toml"), text.to_owned()));
    World::with(Settings { policies: policies.to_vec(), ..Settings::default() })
}

/// An endpoint that runs as an ordinary account.
struct Endpoint {
    child: Child,
    told: Value,
}

impl Endpoint {
    #[track_caller]
    fn start(world: &World, account: &Account, more: &[&str]) -> Self {
        let socket = world.socket().display().to_string();
        let mut words = vec!["--socket", &socket, "--json", "e2b", "--template", "strict=held"];
        words.extend(["--listen", "127.0.0.1:0"]);
        words.extend(more);
        let mut command = account.supervisorctl(&words);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        let said = BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line);
        said.expect("a line");
        let told = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        Self { child, told }
    }

    fn url(&self) -> &str {
        self.told["api_url"].as_str().expect("an address")
    }

    fn key(&self) -> &str {
        self.told["api_key"].as_str().unwrap_or("a-key-that-stays-for-ever")
    }

    /// A client that finds it.
    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("E2B_API_URL", self.url()).env("E2B_SANDBOX_URL", self.url());
        command.env("E2B_API_KEY", self.key());
        command
    }

    /// What is answered to one request: the status, and all that comes.
    #[track_caller]
    fn ask(&self, head: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(self.url().strip_prefix("http://").unwrap()).unwrap();
        let head = format!("{head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).unwrap();
        // What is refused before all of it has come is answered all the same.
        let _sent = stream.write_all(body).is_ok();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("{answer}")), answer)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("a child");
    }
}

#[track_caller]
fn expect_no_sessions(world: &World, account: &Account) {
    let socket = world.socket().display().to_string();
    let list = account.run(&["--socket", &socket, "-q", "session", "list"]);
    assert_eq!(list.stdout, "", "every sandbox was killed: {list:?}");
}

/// The rows that a client has seen.
#[track_caller]
fn rows(mut command: Command) -> BTreeMap<String, String> {
    let output = command.output().expect("it starts");
    let words = String::from_utf8_lossy(&output.stderr);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}\n{said}\n{words}", output.status);
    serde_json::from_str(said.lines().last().unwrap_or_default()).expect("rows")
}

/// The rows of the matrix, with what it says of each client.
fn matrix() -> BTreeMap<String, (String, String)> {
    let rows = MATRIX.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| ")?.split(" | ").map(str::trim).collect();
        let [name, python, javascript, ..] = cells.as_slice() else { return None };
        (["yes", "no"].contains(python))
            .then(|| ((*name).to_owned(), ((*python).to_owned(), (*javascript).to_owned())))
    });
    rows.collect()
}

#[test]
fn the_python_sdk_does_what_the_matrix_says() {
    let packages = python_packages(env!("CARGO_TARGET_TMPDIR"), include_str!("e2b/python.txt"));
    let world = world();
    let account = Account::of(&world, AGENT);
    let endpoint = Endpoint::start(&world, &account, &[]);
    let mut python = endpoint.client("/usr/bin/python3");
    python.args(["-c", include_str!("e2b/client.py")]).env("PYTHONPATH", packages);
    let seen = rows(python);
    let said: BTreeMap<_, _> =
        matrix().into_iter().map(|(name, (python, _))| (name, python)).collect();
    assert_eq!(seen, said, "what was seen, and what the matrix says");
    expect_no_sessions(&world, &account);
}

#[test]
fn the_javascript_sdk_does_what_the_matrix_says() {
    let packages = node_packages(env!("CARGO_TARGET_TMPDIR"), include_str!("e2b/package.json"));
    let script = packages.join("client.mjs");
    std::fs::write(&script, include_str!("e2b/client.mjs")).expect("a file");
    let world = world();
    let account = Account::of(&world, AGENT);
    let endpoint = Endpoint::start(&world, &account, &[]);
    let mut node = endpoint.client("node");
    node.arg(&script);
    let seen = rows(node);
    for (name, (_, javascript)) in matrix() {
        let tried = seen.get(&name).map_or("not tried", String::as_str);
        assert_eq!(tried, javascript, "{name}");
    }
}

#[test]
fn nobody_gets_in_without_the_key_the_token_and_the_name_of_loopback() {
    let world = world();
    let account = Account::of(&world, AGENT);
    let endpoint = Endpoint::start(&world, &account, &[]);
    let host = endpoint.url().strip_prefix("http://").unwrap().to_owned();
    let key = endpoint.key().to_owned();
    let list =
        |fields: &str| endpoint.ask(&format!("GET /v2/sandboxes HTTP/1.1\r\n{fields}"), b"").0;
    assert_eq!(list(&format!("Host: {host}\r\nX-API-Key: {key}")), 200);
    for (fields, expected) in [
        (format!("Host: {host}"), 401),
        (format!("Host: {host}\r\nX-API-Key: {key}0"), 401),
        (format!("Host: {host}\r\nX-API-Key: "), 401),
        (format!("Host: rebound.example.com\r\nX-API-Key: {key}"), 403),
        (format!("Host: 127.0.0.1:1\r\nX-API-Key: {key}"), 403),
        (format!("Host: {host}\r\nX-API-Key: {key}\r\nOrigin: http://{host}"), 403),
    ] {
        assert_eq!(list(&fields), expected, "{fields}");
    }
    let make = |template: &str| {
        let head = format!("POST /v2/sandboxes HTTP/1.1\r\nHost: {host}\r\nX-API-Key: {key}");
        let body = format!("{{\"templateID\": \"{template}\"}}");
        let (status, answer) = endpoint.ask(&head, body.as_bytes());
        assert_eq!(status, 201, "{answer}");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str::<Value>(body).expect("JSON")
    };
    let (one, other) = (make("base"), make("base"));
    let id = one["sandboxID"].as_str().unwrap();
    let health = |id: &str, token: &str| {
        let head = format!(
            "GET /health HTTP/1.1\r\nHost: {host}\r\nE2b-Sandbox-Id: {id}\r\nX-Access-Token: {token}"
        );
        endpoint.ask(&head, b"").0
    };
    assert_eq!(health(id, one["envdAccessToken"].as_str().unwrap()), 204);
    assert_eq!(health(id, other["envdAccessToken"].as_str().unwrap()), 401, "it is the other's");
    assert_eq!(health(id, &key), 401, "the key is no token");
    // A session that is none of its sandboxes is not there, whatever is shown.
    let session = account.run(&[
        "--socket",
        &world.socket().display().to_string(),
        "-q",
        "session",
        "create",
    ]);
    let session = session.stdout.trim().to_owned();
    let head = format!("DELETE /sandboxes/{session} HTTP/1.1\r\nHost: {host}\r\nX-API-Key: {key}");
    assert_eq!(endpoint.ask(&head, b"").0, 404);
}

#[test]
fn what_is_too_large_or_of_another_kind_is_refused_and_ends_nothing() {
    let world = world();
    let account = Account::of(&world, AGENT);
    let endpoint = Endpoint::start(&world, &account, &[]);
    let host = endpoint.url().strip_prefix("http://").unwrap().to_owned();
    let key = format!("X-API-Key: {}", endpoint.key());
    let make = format!("POST /v2/sandboxes HTTP/1.1\r\nHost: {host}\r\n{key}");
    let (_, answer) = endpoint.ask(&make, br#"{"templateID": "base"}"#);
    let made: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let (id, token) =
        (made["sandboxID"].as_str().unwrap(), made["envdAccessToken"].as_str().unwrap());
    let inside = format!("Host: {host}\r\nE2b-Sandbox-Id: {id}\r\nX-Access-Token: {token}");
    let large = vec![b' '; 5 << 20];
    for (head, body, expected, words) in [
        (make.clone(), &large[..], 413, "at the most"),
        (make.clone(), b"[", 400, "not what is expected"),
        (make.clone(), br#"{"templateID": "base", "timeout": 0}"#, 400, "a session lives"),
        (make.clone(), br#"{"templateID": "base", "network": {"denyOut": ["0.0.0.0/0"]}}"#, 501, "policy"),
        (make.clone(), br#"{"templateID": "base", "somethingNew": 1}"#, 501, "somethingNew"),
        (format!("GET /templates HTTP/1.1\r\nHost: {host}\r\n{key}"), b"", 501, "templates are"),
        (format!("PATCH /sandboxes/{id} HTTP/1.1\r\nHost: {host}\r\n{key}"), b"", 501, "not among"),
        (
            format!("POST /process.Process/List HTTP/1.1\r\n{inside}\r\nContent-Type: application/proto"),
            b"",
            415,
            "send application/json",
        ),
        (
            format!("POST /process.Process/Start HTTP/1.1\r\n{inside}\r\nContent-Type: application/connect+proto"),
            b"",
            415,
            "send application/connect+json",
        ),
        (
            format!("POST /process.Process/Nothing HTTP/1.1\r\n{inside}\r\nContent-Type: application/json"),
            b"{}",
            501,
            "unimplemented",
        ),
        (
            format!("POST /process.Process/Start HTTP/1.1\r\n{inside}\r\nContent-Type: application/connect+json"),
            b"\x00\xff\xff\xff\xff{}",
            200,
            "resource_exhausted",
        ),
        (
            format!("POST /files?path=../a HTTP/1.1\r\n{inside}\r\nContent-Type: application/octet-stream"),
            b"x",
            400,
            "not in /workspace",
        ),
        (
            format!("POST /files HTTP/1.1\r\n{inside}\r\nContent-Type: multipart/form-data; boundary=b"),
            b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"/etc/passwd\"\r\n\r\nx\r\n--b--\r\n",
            400,
            "not in /workspace",
        ),
        (
            format!(
                "POST /files?path=a HTTP/1.1\r\n{inside}\r\nContent-Type: application/octet-stream\r\n\
                 Content-Encoding: gzip"
            ),
            b"this is no gzip",
            400,
            "no gzip",
        ),
    ] {
        let (status, answer) = endpoint.ask(&head, body);
        assert_eq!(status, expected, "{head}\n{answer}");
        assert!(answer.contains(words), "{head}\n{answer}");
    }
    let (status, answer) = endpoint.ask(&format!("GET /health HTTP/1.1\r\n{inside}"), b"");
    assert_eq!(status, 204, "{answer}");
}

#[test]
fn a_refusal_leaves_the_connection_to_the_next_request_though_its_body_comes_late() {
    let world = world();
    let account = Account::of(&world, AGENT);
    let endpoint = Endpoint::start(&world, &account, &[]);
    let host = endpoint.url().strip_prefix("http://").unwrap().to_owned();
    let mut stream = BufReader::new(TcpStream::connect(&host).unwrap());
    stream.get_ref().set_nodelay(true).unwrap();
    // Refused by its head alone, and the end of its body is another packet: the connection has to outlive all of them.
    for _ in 0..50 {
        let head =
            format!("POST /files HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n");
        stream.get_mut().write_all(format!("{head}2\r\n{{}}\r\n").as_bytes()).unwrap();
        stream.get_mut().write_all(b"0\r\n\r\n").unwrap();
        let (head, mut body) = (head_of(&mut stream), Vec::new());
        assert!(head.starts_with("HTTP/1.1 400 ") && !head.contains("connection: close"), "{head}");
        let length = head.split_once("content-length: ").and_then(|(_, rest)| rest.lines().next());
        let length: u64 = length.and_then(|length| length.parse().ok()).expect("its length");
        stream.by_ref().take(length).read_to_end(&mut body).unwrap();
    }
}

/// The head of an answer.
#[track_caller]
fn head_of(stream: &mut impl BufRead) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(stream.read_line(&mut head).unwrap(), 0, "the connection ended: {head:?}");
    }
    head
}

#[test]
fn an_endpoint_that_comes_back_with_its_key_has_its_sandboxes_commands_and_variables() {
    let packages = python_packages(env!("CARGO_TARGET_TMPDIR"), include_str!("e2b/python.txt"));
    let mut world = world();
    let account = Account::of(&world, AGENT);
    let mut shell =
        account.command("/bin/sh", &["-c", "umask 077; echo a-key-that-stays-for-ever > key"]);
    assert!(shell.status().expect("it starts").success());
    let path = account.path("key").display().to_string();
    let story = |part: &str, endpoint: &Endpoint| {
        let mut python = endpoint.client("/usr/bin/python3");
        python.args(["-c", include_str!("e2b/restart.py"), part]).env("PYTHONPATH", &packages);
        rows(python)
    };
    let endpoint = Endpoint::start(&world, &account, &["--key-file", &path]);
    assert!(endpoint.told["api_key"].is_null(), "what stands in a file is not printed");
    story("before", &endpoint);
    drop(endpoint);
    // The daemon as well.
    world.daemon().kill();
    world.start_daemon();
    let endpoint = Endpoint::start(&world, &account, &["--key-file", &path]);
    story("after", &endpoint);
    drop(endpoint);
    expect_no_sessions(&world, &account);
}

#[test]
fn it_listens_on_loopback_only() {
    let world = world();
    let account = Account::of(&world, AGENT);
    let socket = world.socket().display().to_string();
    let told = account.run(&["--socket", &socket, "e2b", "--listen", "0.0.0.0:0"]);
    assert!(told.stderr.contains("not a loopback address"), "{told:?}");
}
