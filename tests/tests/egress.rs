//! What leaves a sandbox: what its policy allows, by its own proxy, with credentials that it never has.
//! In a network namespace of the test's own, against a real server with real TLS.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::time::{SystemTime, UNIX_EPOCH};

use supervisor_api::{Outcome, SubmitRequest};
use supervisor_tests::{AGENT, DAEMON, Selection, Settings, Upstream, World, bash, until_true};

const SECRET: &str = "sk-5f2a-never-in-the-sandbox-91c7";

/// An API in a network of the test's own.
fn api() -> Upstream {
    let mut upstream = Upstream::open(&["127.0.0.2 api.example.com other.example.com"]);
    let secret = upstream.place("secret");
    fs::write(&secret, SECRET).unwrap();
    chown(&secret, Some(DAEMON), Some(DAEMON)).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o400)).unwrap();
    let source = include_str!("egress/upstream.py");
    upstream.serve("/usr/bin/python3", source, &["leaf.pem", "leaf.key", SECRET]);
    upstream
}

fn world(upstream: &Upstream) -> World {
    world_with(upstream, include_str!("egress/policy.toml"))
}

fn world_with(upstream: &Upstream, policy: &str) -> World {
    World::with(settings(upstream, policy))
}

fn settings(upstream: &Upstream, policy: &str) -> Settings {
    Settings {
        tables: format!(
            "[[credential]]\nname = \"api-key\"\nkind = \"static\"\nhosts = [\"api.example.com\"]\n\
             source = {{ file = {:?} }}\n",
            upstream.place("secret")
        ),
        ..upstream.settings(&[("api", policy)])
    }
}

fn under_api(payload: &str) -> SubmitRequest {
    SubmitRequest { policy: Some("api".to_owned()), ..bash(payload) }
}

/// Without any variable that a program could find the proxy by.
const BARE: &str = "env -u http_proxy -u https_proxy -u HTTP_PROXY -u HTTPS_PROXY ";

#[test]
fn code_uses_an_api_whose_key_it_never_sees_with_and_without_the_proxy_s_variables() {
    let upstream = api();
    let world = world(&upstream);
    let ended = world.agent(AGENT).run(&under_api(&format!(
        "echo \"placeholder ${{#API_KEY}}\"
         curl -sS -H \"Authorization: Bearer $API_KEY\" https://api.example.com/v1/a
         {BARE} curl -sS -H \"Authorization: Bearer $API_KEY\" https://api.example.com/v1/b
         curl -sS -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo; echo \" curl $?\"
         env; cat /proc/self/environ | tr '\\0' '\\n'"
    )));
    let output = format!("{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("GET /v1/a key=True\n"), "{output}");
    assert!(ended.stdout.contains("GET /v1/b key=True\n"), "{output}");
    assert!(!output.contains(SECRET), "{output}");
    ended.expect(&Outcome::Exited { code: 0 });
    // Every use of the key is in the log, and so is the answer that would have told it.
    let records = world.root().audit("kind=credential&credential=api-key").expect("root may");
    let text = serde_json::to_string(&records.records).unwrap();
    assert_eq!(text.matches("\"act\":\"inject\"").count(), 3, "{text}");
    assert!(text.contains("\"act\":\"leak\"") && !text.contains(SECRET), "{text}");
    // Nobody dumps the daemon's memory: the kernel doesn't, and root's debugger leaves it out.
    let of_daemon =
        |name: &str| fs::read_to_string(format!("/proc/{}/{name}", world.daemon_pid())).unwrap();
    assert_eq!(of_daemon("coredump_filter"), "00000000\n");
    let limits = of_daemon("limits");
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(line.split_whitespace().nth(4), Some("0"), "{line}");
}

#[test]
fn what_the_policy_does_not_allow_is_refused_with_its_rule_and_recorded() {
    let upstream = api();
    let world = world(&upstream);
    let agent = world.agent(AGENT);
    let ended = agent.run(&under_api(&format!(
        "curl -sS -X DELETE -w ' %{{http_code}}\\n' https://api.example.com/v1/a
         curl -sS -w ' %{{http_code}}\\n' https://api.example.com/private
         curl -sS https://other.example.com/v1/a; echo \"other $?\"
         {BARE} curl -sS https://other.example.com/v1/a; echo \"bare other $?\"
         {BARE} curl -sS --max-time 20 https://127.0.0.2/v1/a; echo \"address $?\""
    )));
    let output = format!("{}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.stdout.matches(" 403\n").count(), 2, "{output}");
    for refused in ["other", "bare other", "address"] {
        assert!(!ended.stdout.contains(&format!("\n{refused} 0\n")), "{output}");
    }
    assert!(!ended.stdout.contains("key="), "{output}");
    let target = format!("/v1/executions/{}/decisions", ended.execution.id);
    let decisions = agent.call("GET", &target, None).expect("an answer");
    let decisions = String::from_utf8(decisions.body).unwrap();
    for expected in ["\"DELETE\"", "/private", "other.example.com", "\"deny\""] {
        assert!(decisions.contains(expected), "{expected}: {decisions}");
    }
}

#[test]
fn a_budget_that_is_used_up_refuses_and_says_what_is_left() {
    let upstream = api();
    let world = world(&upstream);
    let ended = world.agent(AGENT).run(&under_api(
        "for each in 1 2 3 4 5; do
           curl -sS -w ' %{http_code}\\n' https://api.example.com/v1/$each
         done",
    ));
    let output = format!("{}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.stdout.matches("\n 200\n").count(), 4, "{output}");
    assert_eq!(ended.stdout.matches(" 429\n").count(), 1, "{output}");
    assert!(ended.stdout.contains("0 of 4 requests left"), "{output}");
}

/// FT-04. What can't be counted is not sent, by a code of its own, and that only for as long as it can't be.
#[test]
fn a_moment_without_room_in_the_state_closes_a_way_out_for_that_moment_only() {
    let upstream = api();
    let policy = include_str!("egress/policy.toml").replace("requests = 4", "requests = 10000");
    let small = settings(&upstream, &policy);
    let world = World::with(Settings { state_bytes: Some(48 << 20), ..small });
    let agent = world.agent(AGENT);
    let session = agent.call("POST", "/v1/sessions", Some(b"{\"policy\": \"api\"}"));
    let session = session.expect("an answer").json();
    let id = session["id"].as_str().expect("an id");
    // What it prints would not be kept.
    let running = agent.start(&SubmitRequest {
        session: Some(id.parse().expect("an id")),
        ..bash(
            "until [ -e stop ]; do
               curl -sS -o new -w '\\nstatus %{http_code}\\n' https://api.example.com/v1/a >>new
               mv new answer
             done",
        )
    });
    let answer = format!("/v1/sessions/{id}/files/answer");
    let until_it_has = |words: &str| {
        until_true(words, || {
            let answer = agent.call("GET", &answer, None).expect("an answer");
            String::from_utf8_lossy(&answer.body).contains(words)
        });
    };
    until_it_has("status 200");
    let ballast = world.state().join("ballast");
    assert!(fs::write(&ballast, vec![0; 64 << 20]).is_err(), "the file system is too large");
    until_it_has("budgets_unkept");
    until_it_has("status 503");
    fs::remove_file(&ballast).expect("removed");
    until_it_has("status 200");
    agent.cancel(running).expect("it is ours");
}

#[test]
fn a_policy_without_egress_has_no_way_out_at_all() {
    let upstream = api();
    let world = world(&upstream);
    let ended = world
        .agent(AGENT)
        .run(&bash("curl -sS --max-time 20 https://api.example.com/v1/a; echo \"curl $?\"; env"));
    assert!(ended.stdout.contains("curl 6\n"), "{}{}", ended.stdout, ended.stderr);
    assert!(!ended.stdout.contains("PROXY"), "{}", ended.stdout);
}

/// Each says `key=True` if it got through, with and without the variables of the proxy.
const CLIENTS: [(&str, &str); 4] = [
    (
        "python",
        "python3 -c 'import os, urllib.request as u
key = {\"Authorization\": \"Bearer \" + os.environ[\"API_KEY\"]}
print(u.urlopen(u.Request(\"https://api.example.com/v1/a\", headers=key)).read().decode())'",
    ),
    (
        "node",
        "node -e 'fetch(\"https://api.example.com/v1/a\", {
            headers: { Authorization: \"Bearer \" + process.env.API_KEY },
        }).then(async (answer) => console.log(await answer.text()))'",
    ),
    ("curl over HTTP/1.1", "curl -sS --http1.1 -H \"Authorization: Bearer $API_KEY\" https://api.example.com/v1/a"),
    (
        "openssl",
        "printf 'GET /v1/a HTTP/1.1\\r\\nHost: api.example.com\\r\\nConnection: close\\r\\nAuthorization: Bearer %s\\r\\n\\r\\n' $API_KEY |
         openssl s_client -quiet -verify_return_error -connect api.example.com:443 \
         -servername api.example.com 2>&1",
    ),
];

#[test]
fn ordinary_clients_work_unchanged_with_and_without_the_proxy_s_variables() {
    let upstream = api();
    let policy = include_str!("egress/policy.toml").replace("requests = 4", "requests = 100");
    let world = world_with(&upstream, &policy);
    for (name, line) in CLIENTS {
        for (how, bare) in [("with", ""), ("without", BARE)] {
            let script = format!("cat > line <<'END'\n{line}\nEND\n{bare} timeout 60 bash line");
            let ended = world.agent(AGENT).run(&under_api(&script));
            let output = format!("{}{}", ended.stdout, ended.stderr);
            assert!(ended.stdout.contains("key=True"), "{name} {how} variables: {output}");
        }
    }
}

/// FT-01. What was under way fails; what comes after it goes out by the same sockets, certificate,
/// placeholder and policy, within the same budget.
#[test]
fn a_killed_daemon_s_successor_serves_the_way_out_of_what_still_runs() {
    let upstream = api();
    let policy = include_str!("egress/policy.toml").replace("requests = 4", "requests = 64");
    let mut world = world_with(&upstream, &policy);
    let agent = world.agent(AGENT);
    let id = agent.start(&under_api(&format!(
        "for round in $(seq 100); do
           echo \"begun $(date +%s%N)\"
           for bare in '' '{BARE}'; do
             code=$($bare curl -sS -o answer -w '%{{http_code}}' -H \"Authorization: Bearer $API_KEY\" \
               https://api.example.com/v1/a)
             if [ \"$code\" = 429 ]; then cat answer; exit; fi
             echo \"${{bare:+bare }}$code $(head -n 1 answer)\"
           done
           curl -sS -o answer -w 'private %{{http_code}}\\n' https://api.example.com/private
           echo \"round $round\"
         done"
    )));
    let mut offset = 0;
    for _ in 0..3 {
        let mut follow = agent.follow(id, Selection::Stdout, offset).expect("followed");
        follow.until_it_says("round");
        world.daemon().kill();
        world.start_daemon();
        let back = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        offset = agent.output(id, Selection::Stdout, 0).expect("kept").len() as u64;
        let mut follow = agent.follow(id, Selection::Stdout, offset).expect("followed");
        // What was said before may be read only now, and of a round any part may come at once.
        let mut said = String::new();
        let whole = loop {
            said.push_str(&follow.until_it_says("round"));
            let mut ended = said.split("begun ").skip(1).filter(|round| round.contains("\nround"));
            let begun = |round: &str| round.lines().next().unwrap().parse::<u128>().unwrap();
            if let Some(round) = ended.find(|round| begun(round) > back) {
                break round.to_owned();
            }
        };
        for success in
            ["\n200 GET /v1/a key=True\n", "\nbare 200 GET /v1/a key=True\n", "\nprivate 403\n"]
        {
            assert!(whole.contains(success), "{success:?}: {whole}");
        }
    }
    let ended = agent.ended(id);
    ended.expect(&Outcome::Exited { code: 0 });
    assert!(ended.stdout.contains("0 of 64 requests left"), "{}", ended.stdout);
    // Each death costs the block that was granted, a sixteenth, and what was under way.
    let sent = ended.stdout.matches("200 GET /v1/a key=True").count();
    assert!((64 - 3 * 5..=64).contains(&sent), "{sent}: {}", ended.stdout);
    let way = world.state().join(format!("executions/{id}/way"));
    until_true("its way out is forgotten", || !way.exists());
}
