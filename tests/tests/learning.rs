//! A policy from what a program wanted: a run in quarantine, what is learnt from its record, a run under
//! that, and what another policy would have said to both.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use supervisor_api::{Outcome, SubmitRequest};
use supervisor_tests::{AGENT, Ended, Upstream, World, bash, program};

/// What the program asks for, and how it is answered; without the variables of the proxy too.
const PAYLOAD: &str = "
code() { echo \"$1 $(curl -sS -o /dev/null -w '%{http_code}' \"${@:2}\")\"; }
code first https://api.example.com/v1/items/17
code second https://api.example.com/v1/items/18?full=yes
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY
code list https://api.example.com/v1/items
code made -X POST -d name=new https://api.example.com/v1/items
code other http://other.example.com/free
";

fn world(upstream: &Upstream) -> World {
    let quarantine = include_str!("../../policies/quarantine.toml");
    World::with(upstream.settings(&[("quarantine", quarantine)]))
}

fn run(world: &World, policy: &str) -> Ended {
    let request = SubmitRequest { policy: Some(policy.to_owned()), ..bash(PAYLOAD) };
    let ended = world.agent(AGENT).run(&request);
    ended.expect(&Outcome::Exited { code: 0 });
    ended
}

/// `supervisorctl policy WORD …` with the record of this world.
fn policy(world: &World, words: &[&str]) -> Output {
    let mut logs: Vec<PathBuf> = fs::read_dir(world.state().join("audit"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    logs.retain(|path| path.extension().is_some_and(|kind| kind == "jsonl"));
    logs.sort();
    let mut command = Command::new(program("supervisorctl"));
    let output = command.arg("policy").args(words).args(logs).output().unwrap();
    print!("{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// A policy in a file, held against the record, with the floor and the parents that it has here.
fn replayed(world: &World, file: &Path, more: &[&str]) -> (Option<i32>, Value) {
    let directory = world.path().join("policies");
    let (file, directory) = (file.to_str().unwrap(), directory.to_str().unwrap());
    let words = [&["replay", file, "--json", "--directory", directory], more].concat();
    let output = policy(world, &words);
    (output.status.code(), serde_json::from_slice(&output.stdout).expect("JSON"))
}

#[test]
fn what_is_learnt_in_quarantine_lets_the_same_program_through_and_no_more() {
    let mut upstream = Upstream::open(&["127.0.0.2 api.example.com other.example.com"]);
    let source = include_str!("hostile_traffic/upstream.py");
    upstream.serve("/usr/bin/python3", source, &["leaf.pem", "leaf.key", "none"]);
    let world = world(&upstream);
    let tried = run(&world, "quarantine");
    let refused = "first 403\nsecond 403\nlist 403\nmade 403\nother 403\n";
    assert_eq!(tried.stdout, refused, "{}", tried.stderr);
    let arrived = || fs::read_to_string(upstream.place("requests")).unwrap();
    assert_eq!(arrived(), "", "something has left the quarantine");

    let execution = tried.execution.id.to_string();
    let learnt = policy(&world, &["learn", "default", "--execution", &execution]);
    assert!(learnt.status.success());
    let learnt = String::from_utf8(learnt.stdout).unwrap();
    println!("{learnt}");
    // With its evidence; what differs in nothing but a number is one pattern.
    for expected in [
        "#   GET /v1/items/17 (1)",
        "hosts = [\"api.example.com\"]\nprotocols = [\"https\"]\nports = [443]\n\
         methods = [\"GET\"]\npaths = [\"/v1/items/*\"]\nmax_body = 0\n",
        "methods = [\"GET\", \"POST\"]\npaths = [\"/v1/items\"]\nmax_body = 8\n",
        "hosts = [\"other.example.com\"]\nprotocols = [\"http\"]\nports = [80]\n",
    ] {
        assert!(learnt.contains(expected), "{expected}");
    }
    assert_eq!(learnt.matches("[[egress]]").count(), 3);

    // The server is on loopback here, which a person has to name.
    let named = learnt.replace("ports = [443]", "ports = [443]\naddresses = [\"127.0.0.2/32\"]");
    let place = world.path().join("policies/learnt.toml");
    fs::write(&place, &named).unwrap();
    let reload = world.root().call("POST", "/v1/reload", None).expect("an answer");
    assert_eq!(reload.status, 200, "{}", String::from_utf8_lossy(&reload.body));
    let allowed = run(&world, "learnt");
    // Nothing listens on port 80 of an address that isn't named.
    let answered = "first 200\nsecond 200\nlist 200\nmade 200\nother 403\n";
    assert_eq!(allowed.stdout, answered, "{}", allowed.stderr);
    assert_eq!(arrived().lines().count(), 4, "{}", arrived());

    // What the policy of now says to what was recorded under it is no news.
    let (status, same) = replayed(&world, &place, &["--under", "learnt"]);
    assert_eq!((status, &same["changes"]), (Some(0), &Value::Array(Vec::new())), "{same}");
    assert!(same["replayed"].as_u64().unwrap() > 4, "{same}");
    // One without the rule for changes, and with a rule that nobody needs.
    let candidate = upstream.place("learnt.toml");
    let text = named.replace("methods = [\"GET\", \"POST\"]", "methods = [\"GET\"]");
    let (text, _) = text.split_once("[[expect]]").unwrap();
    let text = format!("{text}\n[[egress]]\nname = \"idle\"\nhosts = [\"idle.example.com\"]\n");
    fs::write(&candidate, text).unwrap();
    let (status, changed) = replayed(&world, &candidate, &["--under", "learnt"]);
    let changes = changed["changes"].as_array().unwrap();
    assert_eq!((status, changes.len()), (Some(1), 1), "{changed}");
    let change = changes[0].to_string();
    let session = allowed.execution.session.to_string();
    for expected in ["POST https://api.example.com/v1/items", &session, "\"deny\"", "\"allow\""] {
        assert!(change.contains(expected), "{expected}: {change}");
    }
    assert!(changed["unused_rules"].to_string().contains("idle"), "{changed}");
    // Over both runs it is also news what the quarantine refused.
    let (status, both) = replayed(&world, &candidate, &[]);
    assert_eq!(status, Some(1));
    assert!(both["changes"].as_array().unwrap().len() > 3, "{both}");
}
