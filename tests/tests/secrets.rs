//! Where secrets are, once every kind of credential was used: in the daemon's store and nowhere else. Looked
//! for in all that a sandbox can read, in all that the supervisor writes, and in the memory of its processes.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use supervisor_api::{ArtifactRequest, Outcome, SubmitRequest};
use supervisor_tests::{
    AGENT, Client, DAEMON, Selection, Settings, Upstream, World, python, until_true,
};

/// What must not be found, by what it is. Who looks for one doesn't find another.
const SECRETS: [(&str, &str); 12] = [
    ("header", "sk-header-4c1f9e02b7d35a68"),
    ("query", "sk-query-e8a02d7b41c96f35"),
    ("basic", "sk-basic-19d4c7f0a3b8e652"),
    ("client secret", "sk-client-f27a5d81c09b3e64"),
    ("client token", "tk-client-80b6e3f91a7c2d54"),
    ("first refresh", "rt-first-5e9c13a7d02f8b46"),
    ("next refresh", "rt-next-b3d8f4620e1a9c75"),
    ("refresh token", "tk-refresh-2a6f0c9d8e41b753"),
    ("aws", "sk-aws-d19e7b30f5c2a864AAAAAAAAAAAAAAAAA"),
    ("aws session", "st-aws-6c0e5f82b9d14a37"),
    ("broker", "tk-broker-97f3b1d05e8c2a46"),
    ("canary", "sk-canary-a05d8c2e7f914b36"),
];

fn secret(name: &str) -> &'static str {
    SECRETS.iter().find(|(each, _)| *each == name).map(|(_, value)| *value).expect("one of them")
}

fn upstream() -> Upstream {
    let mut upstream = Upstream::open(&["127.0.0.2 api.example.com login.example.com"]);
    for (name, value) in SECRETS {
        let text = match name {
            "aws" => format!(
                "{{\"access_key_id\": \"AKIDEXAMPLE\", \"secret_access_key\": {value:?}, \
                 \"session_token\": {:?}}}",
                secret("aws session")
            ),
            _ => value.to_owned(),
        };
        place(&upstream, name, &text);
    }
    let all: BTreeMap<_, _> = SECRETS.into_iter().collect();
    fs::write(upstream.place("secrets.json"), serde_json::to_vec(&all).unwrap()).unwrap();
    upstream.serve("/usr/bin/python3", include_str!("secrets/upstream.py"), &[]);
    upstream
}

fn place(upstream: &Upstream, name: &str, text: &str) {
    let path = upstream.place(name);
    fs::write(&path, text).unwrap();
    chown(&path, Some(DAEMON), Some(DAEMON)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
}

fn world(upstream: &Upstream) -> World {
    let file = |name: &str| format!("{{ file = {:?} }}", upstream.place(name));
    let api = |name: &str, kind: &str, more: &str| {
        format!(
            "[[credential]]\nname = {name:?}\nkind = {kind:?}\nhosts = [\"api.example.com\"]\n{more}\n"
        )
    };
    let source = |name: &str| format!("source = {}", file(name));
    let oauth = |more: &str| {
        format!("token_url = \"https://login.example.com/token\"\nclient_id = \"app\"\n{more}")
    };
    let tables = [
        api("header", "static", &source("header")),
        api("query", "static", &source("query")),
        api("basic", "static", &source("basic")),
        api("client", "oauth2", &oauth(&format!("client_secret = {}", file("client secret")))),
        api("refresh", "oauth2", &oauth(&format!("refresh_token = {}", file("first refresh")))),
        api("aws", "aws", &source("aws")),
        api("broker", "broker", &format!("socket = {:?}", upstream.place("broker.sock"))),
        format!("[[credential]]\nname = \"canary\"\nkind = \"canary\"\n{}\n", source("canary")),
    ];
    World::with(Settings {
        keys: "token_endpoint_networks = [\"127.0.0.2/32\"]\n".to_owned(),
        tables: tables.concat(),
        ..upstream.settings(&[("all", include_str!("secrets/policy.toml"))])
    })
}

fn under_all(request: SubmitRequest) -> SubmitRequest {
    SubmitRequest { policy: Some("all".to_owned()), ..request }
}

/// A secret as it stands, and as it is written where bytes are.
fn spellings(value: &str) -> Vec<String> {
    let hexadecimal: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    // The middle, whatever stands before it: whole groups of three bytes at each place.
    let middle = (0..3).map(|skip| STANDARD.encode(&value.as_bytes()[skip..skip + 18]));
    middle.chain([value.to_owned(), hexadecimal.to_uppercase(), hexadecimal]).collect()
}

#[track_caller]
fn expect_none(place: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for (name, value) in SECRETS {
        for spelling in spellings(value) {
            assert!(!text.contains(&spelling), "{place} has the secret {name:?} as {spelling}");
        }
    }
}

/// All files beneath a directory, however they are named.
fn expect_none_beneath(directory: &Path) -> usize {
    let mut looked_at = 0;
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        expect_none("a file's name", path.as_os_str().as_encoded_bytes());
        if kind.is_dir() {
            looked_at += expect_none_beneath(&path);
        } else if kind.is_file() {
            match fs::read(&path) {
                Ok(bytes) => expect_none(&path.display().to_string(), &bytes),
                // What was kept of an execution's way out goes behind its end.
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{}", path.display()),
            }
            looked_at += 1;
        }
    }
    looked_at
}

/// How often each word stands in a process's memory.
fn in_memory(pid: u32, words: &[String]) -> BTreeMap<String, u64> {
    let mut looking = Command::new("/usr/bin/python3")
        .args(["-c", include_str!("secrets/memory.py"), &pid.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test reads memory with python3");
    let mut words_to = looking.stdin.take().unwrap();
    words_to.write_all(&serde_json::to_vec(words).unwrap()).unwrap();
    drop(words_to);
    let told = looking.wait_with_output().unwrap();
    serde_json::from_slice(&told.stdout).expect("counts")
}

/// CR-01, CR-09. A process's memory is a harder test than its core, which is empty.
#[test]
fn a_secret_is_in_the_daemon_s_store_and_nowhere_else_however_it_was_used() {
    let upstream = upstream();
    let world = world(&upstream);
    let agent = world.agent(AGENT);
    let artifacts = ArtifactRequest { globs: vec!["seen".to_owned()] };
    let source = include_str!("secrets/payload.py");
    let ended = agent.run(&under_all(SubmitRequest { artifacts, ..python(source) }));
    let output = format!("{}{}", ended.stdout, ended.stderr);
    ended.expect(&Outcome::Exited { code: 0 });
    for kind in ["header", "query", "basic", "client", "refresh", "aws", "broker"] {
        assert!(ended.stdout.contains(&format!("{kind} True\n")), "{kind}: {output}");
        assert!(ended.stdout.contains(&format!("echo {kind} True\n")), "{kind}: {output}");
    }
    let seen = agent.artifact(ended.execution.id, "seen").expect("it was kept");
    assert!(seen.len() > 1 << 20, "it has looked at {} bytes", seen.len());
    expect_none("the sandbox", &seen);
    expect_none("the output", output.as_bytes());

    let read = |path: String| fs::read(path).unwrap();
    let (daemon, launcher) = (world.daemon_pid(), world.launcher_pid());
    for pid in [daemon, launcher] {
        for name in ["environ", "cmdline"] {
            expect_none(name, &read(format!("/proc/{pid}/{name}")));
        }
    }
    assert!(expect_none_beneath(world.path()) > 10, "state, audit, output, logs");
    // Nothing is left of what every process that can be looked at in the launcher's tree had.
    let all: Vec<String> = SECRETS.iter().flat_map(|(_, value)| spellings(value)).collect();
    for (word, count) in in_memory(launcher, &all) {
        assert_eq!(count, 0, "the launcher has {word}");
    }
    let held = in_memory(daemon, &all);
    println!("{held:?}");
    for (name, value) in SECRETS {
        // Once, in the store; what is only watched for or was only passed on isn't there at all.
        let most = u64::from(name != "first refresh") + u64::from(name == "canary");
        assert!(held[value] <= most, "{name} stands {} times in memory", held[value]);
        for spelling in spellings(value).iter().filter(|spelling| *spelling != value) {
            assert_eq!(held[spelling], 0, "{name} as {spelling}");
        }
    }
    // What is revoked is forgotten, and what was rotated away too.
    let newer = "sk-newer-73b0d9e4f1a8c625";
    fs::remove_file(upstream.place("header")).unwrap();
    place(&upstream, "header", newer);
    expect_ok(&world.root(), "/v1/credentials/header/rotate");
    expect_ok(&world.root(), "/v1/credentials/query/revoke");
    let words = ["header", "query"].map(|name| secret(name).to_owned());
    until_true("old values are forgotten", || {
        in_memory(daemon, &words).values().all(|count| *count == 0)
    });
}

#[track_caller]
fn expect_ok(client: &Client, target: &str) {
    let reply = client.call("POST", target, None).expect("an answer");
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
}

/// A program that has the credential, over a connection that it keeps, until it is revoked.
#[test]
fn a_credential_that_is_revoked_or_rotated_is_so_from_the_next_request_on() {
    let upstream = upstream();
    let world = world(&upstream);
    let agent = world.agent(AGENT);
    let source = "
import http.client, os, sys
there = http.client.HTTPSConnection('api.example.com')
for line in sys.stdin:
    there.request('GET', '/header', headers={'X-Key': os.environ['API_KEY']})
    answer = there.getresponse()
    body = answer.read().decode()
    print('answer', answer.status, 'credential_revoked' in body, body.splitlines()[0], flush=True)
";
    let request = SubmitRequest { stdin_open: true, ..under_all(python(source)) };
    let id = agent.start(&request);
    let mut said = 0;
    let mut next = || {
        let from = agent.output(id, Selection::Stdout, 0).expect("kept").len() as u64;
        said = agent.send(id, said, b"go\n").expect("it reads").offset;
        let mut follow = agent.follow(id, Selection::Stdout, from).expect("followed");
        follow.until_it_says("answer")
    };
    assert!(next().contains("200 False header True"));
    expect_ok(&world.root(), "/v1/credentials/header/revoke");
    assert!(next().contains("403 True"));
    // A revoked one stays so over a reload, and comes back when it is rotated.
    expect_ok(&world.root(), "/v1/reload");
    assert!(next().contains("403 True"));
    expect_ok(&world.root(), "/v1/credentials/header/rotate");
    assert!(next().contains("200 False header True"));
    fs::remove_file(upstream.place("header")).unwrap();
    place(&upstream, "header", "sk-newer-73b0d9e4f1a8c625");
    expect_ok(&world.root(), "/v1/credentials/header/rotate");
    assert!(next().contains("200 False header False"), "another value went out");
    agent.close_input(id).expect("it reads");
    agent.ended(id).expect(&Outcome::Exited { code: 0 });
}
