//! `supervisorctl report`: the page about an execution whose words and names are hostile, and about a session.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use std::process::Command;

use serde_json::json;
use supervisor_api::{ArtifactRequest, Session, SubmitRequest};
use supervisor_tests::{AGENT, Account, Settings, World, argv, python, until_true};

const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>";

/// A picture of one red dot, and one that is a script in an SVG's clothes. It computes until its input ends.
const PAYLOAD: &str = r#"
import base64, subprocess, sys
print('</pre><script>alert(3)</script>\x1b[2J')
png = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=='
open('dot.png', 'wb').write(base64.b64decode(png))
open('a.svg', 'w').write('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(4)</script></svg>')
open('"><b onclick=x>.txt', 'w').write('text')
subprocess.run(['curl', '-s', 'http://denied.example.com/path'])
import threading
ended = threading.Thread(target=sys.stdin.read)
ended.start()
while ended.is_alive():
    sum(range(100_000))
"#;

/// Under which a program may ask for what it is refused.
const ASKS: &str = r#"
name = "asks"
extends = "default"

[[egress]]
name = "one-host"
hosts = ["allowed.example.com"]
protocols = ["http"]
ports = [80]
"#;

fn world() -> World {
    let policies = [
        ("default", include_str!("../../policies/default.toml")),
        ("floor", include_str!("../../policies/floor.toml")),
        ("asks", ASKS),
    ];
    let policies = policies.map(|(name, text)| (format!("{name}.toml"), text.to_owned()));
    World::with(Settings { policies: policies.to_vec(), ..Settings::default() })
}

#[test]
fn the_page_about_a_hostile_execution_shows_all_of_it_and_obeys_none_of_it() {
    let world = world();
    let request = SubmitRequest {
        artifacts: ArtifactRequest { globs: vec!["*".to_owned()] },
        policy: Some("asks".to_owned()),
        args: vec![HOSTILE.to_owned()],
        stdin_open: true,
        ..python(PAYLOAD)
    };
    let agent = world.agent(AGENT);
    let id = agent.start(&request);
    until_true("there is something over time to show", || {
        agent.samples(id).expect("it is ours").samples.len() > 4
    });
    agent.close_input(id).expect("it is ours");
    agent.ended(id).expect_exit(0);
    let id = id.to_string();
    let user = Account::of(&world, AGENT);
    let socket = world.socket().display().to_string();
    let told = user.run(&["--socket", &socket, "--json", "report", &id]);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert_eq!(told.json()["report"], format!("report-{id}.html"));
    let page = user.read(&format!("report-{id}.html"));
    for word in ["<script", "<b ", "onerror=\"", "\x1b"] {
        assert!(!page.contains(word), "{word:?} is markup");
    }
    for shown in [
        "&lt;/pre&gt;&lt;script&gt;alert(3)",
        "<img src=\"data:image/png;base64,iVBORw0KGgo",
        "<img src=\"data:image/svg+xml;base64,",
        "denied.example.com",
        "what helps",
        "landlock_files",
        "aria-label=\"CPU, at most ",
        "aria-label=\"Memory, at most ",
        "aria-label=\"Processes, at most ",
        "<summary>These numbers</summary>",
        "class=\"deny\"",
        "application/vnd.in-toto+json",
        "default-src &#39;none&#39;",
        "prefers-color-scheme: dark",
    ] {
        assert!(page.contains(shown), "{shown:?} is missing in\n{page}");
    }
    let mut look = Command::new("/usr/bin/python3");
    look.args(["-c", include_str!("report/look.py")]).arg(user.path(&format!("report-{id}.html")));
    let looked = look.output().expect("it starts");
    assert!(looked.status.success(), "{}", String::from_utf8_lossy(&looked.stderr));
    // What stands there is not written over.
    let again = user.run(&["--socket", &socket, "report", &id]);
    assert!(again.code != Some(0) && again.stderr.contains("--force"), "{again:?}");
    assert_eq!(user.run(&["--socket", &socket, "report", "--force", &id]).code, Some(0));
    let printed = user.run(&["--socket", &socket, "report", "--to", "-", &id]);
    assert!(printed.stdout.starts_with("<!doctype html>"), "{printed:?}");
}

#[test]
fn the_page_about_a_session_has_its_executions() {
    let world = world();
    let agent = world.agent(AGENT);
    let made = agent.call("POST", "/v1/sessions", Some(json!({}).to_string().as_bytes()));
    let session: Session = serde_json::from_slice(&made.expect("an answer").body).expect("one");
    let ids = ["one", "two"].map(|word| {
        let request = SubmitRequest { session: Some(session.id), ..argv(&["echo", word]) };
        agent.run(&request).execution.id.to_string()
    });
    let user = Account::of(&world, AGENT);
    let (socket, id) = (world.socket().display().to_string(), session.id.to_string());
    let told = user.run(&["--socket", &socket, "report", "--to", "-", &id]);
    assert_eq!(told.code, Some(0), "{told:?}");
    for id in ids {
        assert!(told.stdout.contains(&format!("<section id=\"{id}\"")), "{}", told.stdout);
    }
}
