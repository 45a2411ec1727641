//! Payloads and an upstream that have read the standards for what two readers take for different
//! things, against the real daemon: what arrives outside is what the rules allow, and what comes back
//! has no credential in it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use serde_json::Value;
use supervisor_api::{Outcome, SubmitRequest, Verdict, What};
use supervisor_tests::{
    AGENT, DAEMON, Ended, OTHER_AGENT, Selection, Settings, Upstream, World, bash, python,
    until_true,
};

const SECRET: &str = "sk-5f2a-never-in-the-sandbox-91c7";

fn upstream() -> Upstream {
    let mut upstream = Upstream::open(&["127.0.0.2 api.example.com other.example.com"]);
    let secret = upstream.place("secret");
    fs::write(&secret, SECRET).unwrap();
    chown(&secret, Some(DAEMON), Some(DAEMON)).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o400)).unwrap();
    let source = include_str!("hostile_traffic/upstream.py");
    upstream.serve("/usr/bin/python3", source, &["leaf.pem", "leaf.key", SECRET]);
    upstream
}

fn world(upstream: &Upstream) -> World {
    World::with(Settings {
        tables: format!(
            "[[credential]]\nname = \"api-key\"\nkind = \"static\"\nhosts = [\"api.example.com\"]\n\
             source = {{ file = {:?} }}\n",
            upstream.place("secret")
        ),
        ..upstream.settings(&[("api", include_str!("hostile_traffic/policy.toml"))])
    })
}

fn run(world: &World, sources: &[&str]) -> Ended {
    let source = [&[include_str!("hostile_traffic/prelude.py")], sources].concat().join("\n");
    let request = SubmitRequest { policy: Some("api".to_owned()), ..python(&source) };
    let ended = world.agent(AGENT).run(&request);
    println!("{}{}", ended.stdout, ended.stderr);
    ended.expect(&Outcome::Exited { code: 0 });
    ended
}

/// The requests that have arrived: their lines, and whether the credential was in them.
fn arrived(upstream: &Upstream) -> Vec<(String, Value, bool)> {
    let text = fs::read_to_string(upstream.place("requests")).unwrap();
    let read = |line: &str| serde_json::from_str::<(String, Value, bool)>(line).unwrap();
    let all: Vec<_> = text.lines().map(read).collect();
    for (line, fields, _) in &all {
        println!("arrived: {line} {fields}");
    }
    all
}

/// Fails where something has arrived that no rule allows.
#[track_caller]
fn expect_allowed_ones_only(upstream: &Upstream) {
    let all = arrived(upstream);
    assert!(!all.is_empty(), "not even what is allowed has arrived");
    for (line, fields, secret) in all {
        let host = fields["host"].as_str().unwrap_or_default().to_owned();
        let words: Vec<_> = line.split(' ').collect();
        let [method, path, "HTTP/1.1"] = words[..] else { panic!("{line}") };
        let allowed = match host.as_str() {
            "api.example.com" => path.starts_with("/v1/") && ["GET", "POST"].contains(&method),
            "other.example.com" => path.starts_with("/free/") && method == "GET",
            _ => false,
        };
        let odd = ["..", "%2e", "%2f", "%5c", "\\", "#", ";", "//", "%00", "%c0", "%25"];
        let plain = !odd.iter().any(|odd| path.to_ascii_lowercase().contains(odd));
        assert!(allowed && plain, "{line} {fields}");
        assert!(!fields.to_string().contains("evil.test"), "{line} {fields}");
        assert!(!secret || host == "api.example.com", "{line} {fields}");
    }
}

/// CR-02 and what goes beyond it.
#[test]
fn no_answer_brings_the_credential_back_into_the_sandbox() {
    let upstream = upstream();
    let ended = run(&world(&upstream), &[include_str!("hostile_traffic/echoes.py")]);
    let hexadecimal =
        |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    for told in [
        SECRET.to_owned(),
        SECRET.to_uppercase(),
        hexadecimal(SECRET),
        "never-in-the".to_owned(),
        "%6E%65%76%65%72".to_owned(),
        "\\u006e\\u0065\\u0076".to_owned(),
        "&#110;&#101;&#118;".to_owned(),
        // In base64, at its three places.
        "bmV2ZXIt".to_owned(),
        "5ldmVyL".to_owned(),
        "uZXZlci".to_owned(),
    ] {
        assert!(!ended.stdout.contains(&hexadecimal(&told)), "{told}: {}", ended.stdout);
    }
    for answered in ["early HTTP/1.1 200", "continue HTTP/1.1 200", "store HTTP/1.1 200"] {
        assert!(ended.stdout.contains(answered), "{answered}");
    }
    assert!(ended.stdout.contains("elsewhere HTTP/1.1 200"));
    let refused = "body upper hex base64 base64url percent json html error gzip field name cookie \
        location reason stored";
    for refused in refused.split_whitespace() {
        assert!(ended.stdout.contains(&format!("{refused} HTTP/1.1 502")), "{refused}");
    }
    let carried = arrived(&upstream).iter().filter(|(_, _, secret)| *secret).count();
    assert_eq!(carried, 25, "one of each, and what is stored");
}

/// NT-06, NT-07, NT-08, NT-10, CR-07.
#[test]
fn no_request_of_http_1_arrives_that_two_readers_would_take_for_different_ones() {
    let upstream = upstream();
    let ended = run(&world(&upstream), &[include_str!("hostile_traffic/requests.py")]);
    let lines = |kind: &str| {
        let of = |line: &&str| line.starts_with(&format!("{kind} "));
        ended.stdout.lines().filter(of).map(str::to_owned).collect::<Vec<_>>()
    };
    expect_allowed_ones_only(&upstream);
    for line in lines("framing").iter().chain(&lines("host")) {
        assert!(line.contains("HTTP/1.1 4") || line.contains("HTTP/1.1 505"), "{line}");
    }
    for line in lines("otherwise") {
        assert!(line.contains(" 403 "), "{line}");
    }
    for line in lines("same") {
        assert!(line.contains(" 200 "), "{line}");
    }
    assert_eq!(lines("pipelined"), ["pipelined ['200', '403', '200']"]);
}

/// NT-02, NT-03, NT-06, NT-11, NT-13.
#[test]
fn a_destination_has_one_spelling_and_a_tunnel_one_protocol() {
    let upstream = upstream();
    let ended = run(&world(&upstream), &[include_str!("hostile_traffic/tunnels.py")]);
    for line in ended.stdout.lines() {
        let granted = line.contains(" 200 ") && !line.starts_with("tunnel");
        assert!(!granted, "{line}");
        assert!(!line.starts_with("spelling") || !line.contains(" untold "), "{line}");
        assert!(!line.starts_with("tunnel to") || line.contains(" 200 "), "{line}");
    }
    assert!(!upstream.place("requests").exists() || arrived(&upstream).is_empty());
}

/// NT-20. HTTP/2 by hand: names, framing, floods.
#[test]
fn no_frames_of_http_2_make_a_request_that_nobody_has_judged_or_harm_the_session() {
    let upstream = upstream();
    let world = world(&upstream);
    let hidden = "HIDDEN = \"GET /hidden HTTP/1.1\\r\\nHost: api.example.com\\r\\n\\r\\n\"";
    let ended = run(&world, &[hidden, include_str!("hostile_traffic/streams.py")]);
    expect_allowed_ones_only(&upstream);
    for line in ended.stdout.lines() {
        let good = ["h2 good:", "h2 afterwards:"].iter().any(|name| line.starts_with(name));
        assert!(!good || line.ends_with("status 200"), "{line}");
    }
    // What asks for nothing, and requests that are taken back, end their connection with a reason.
    let floods = "continuation empty-continuation ping settings reset empty-data priority";
    for flood in floods.split(' ').map(|name| format!("h2 flood {}: ", name.replace('-', " "))) {
        let line = ended.stdout.lines().find(|line| line.starts_with(&flood)).unwrap_or_default();
        assert!(line.ends_with("goaway 11"), "{flood}{line}");
    }
    let query = format!("execution={}&verdict=deny&limit=1000", ended.execution.id);
    let records = world.root().audit(&query).unwrap().records;
    let told = serde_json::to_string(&records).unwrap();
    assert!(told.matches("\"reason\":\"too_many_frames\"").count() >= 7, "{told}");
    for (line, fields, _) in arrived(&upstream) {
        assert!(fields.get("x").is_none() && !line.contains("X:"), "{line} {fields}");
    }
}

/// NT-20. Ten thousand connections of one sandbox: as many as it may have are held, all others are told so at
/// once, and another sandbox's requests are served meanwhile.
#[test]
fn ten_thousand_connections_of_one_sandbox_are_its_own_trouble() {
    let upstream = upstream();
    let world = world(&upstream);
    let agent = world.agent(OTHER_AGENT);
    let source =
        [include_str!("hostile_traffic/prelude.py"), include_str!("hostile_traffic/neighbour.py")];
    let policy = Some("api".to_owned());
    let request = SubmitRequest { policy, stdin_open: true, ..python(&source.join("\n")) };
    let neighbour = agent.start(&request);
    let heard = || {
        let output = agent.output(neighbour, Selection::Stdout, 0).expect("kept");
        let output = String::from_utf8(output).expect("text");
        let words = |line: &str| line.split(' ').skip(1).map(str::to_owned).collect::<Vec<_>>();
        output.lines().map(words).filter(|words| words.len() == 2).collect::<Vec<_>>()
    };
    until_true("the neighbour is served", || heard().len() >= 20);
    let before = heard();
    let ended = run(&world, &[include_str!("hostile_traffic/crowd.py")]);
    let during = heard().split_off(before.len());
    agent.close_input(neighbour).expect("it looks");
    agent.ended(neighbour).expect_exit(0);

    let crowd = ended.numbers("crowd ");
    assert_eq!(crowd.iter().sum::<u64>(), 10_000, "{}", ended.stdout);
    assert_eq!(crowd[0], 256, "{}", ended.stdout);
    assert!(crowd[1] > 4_000, "those of the proxy are told in words: {}", ended.stdout);
    assert!(ended.numbers("served ")[0] > 50, "{}", ended.stdout);
    let query = format!("execution={}&verdict=deny", ended.execution.id);
    let records = serde_json::to_string(&world.root().audit(&query).unwrap().records).unwrap();
    let told = records.matches("\"reason\":\"too_many_connections\"").count();
    assert!((1..100).contains(&told), "{told} records: {records}");
    let milliseconds = |all: &[Vec<String>]| {
        let mut times: Vec<u64> = all.iter().map(|each| each[1].parse().unwrap()).collect();
        times.sort_unstable();
        (times[times.len() / 2], times[times.len() * 9 / 10])
    };
    assert!(!during.is_empty(), "the neighbour was not served at all");
    assert!(before.iter().chain(&during).all(|each| each[0] == "200"), "{during:?}");
    let ((median, most), calm) = (milliseconds(&during), milliseconds(&before));
    println!("{} requests of a neighbour: {median} ms, {most} ms; before {calm:?}", during.len());
    assert!(median < 1_000 && most < 5_000, "{during:?}");
}

/// NT-21. A server that answers with frames without end is left, and costs nobody else anything.
#[test]
fn a_server_that_floods_its_client_with_frames_of_http_2_is_left() {
    let kinds =
        ["ping", "settings", "reset", "push", "empty", "trailers", "early", "continuation", "old"];
    let names: Vec<_> = kinds.iter().map(|kind| format!("{kind}.example.com")).collect();
    let mut upstream = Upstream::open(&[&format!("127.0.0.2 {}", names.join(" "))]);
    upstream.serve("/usr/bin/python3", include_str!("hostile_traffic/flooding.py"), &[]);
    let policy = "name = \"floods\"\nextends = \"default\"\n[[egress]]\nname = \"all\"\n\
                  hosts = [\"*.example.com\"]\naddresses = [\"127.0.0.2/32\"]\nmethods = [\"GET\"]\n";
    let world = World::with(upstream.settings(&[("floods", policy)]));
    // A head of a hundred bytes and more, so that the server knows that it is there.
    let each = names.iter().map(|name| {
        let version = if name.starts_with("old.") { "--http1.1" } else { "--http2" };
        format!(
            "curl -sS -m 60 -o /dev/null -w '{name} %{{http_code}} %{{exitcode}}\\n' {version} \
             -A '{}' https://{name}/\n",
            "a client ".repeat(12)
        )
    });
    let request =
        SubmitRequest { policy: Some("floods".to_owned()), ..bash(&each.collect::<String>()) };
    let ended = world.agent(AGENT).run(&request);
    println!("{}{}", ended.stdout, ended.stderr);
    // What had begun to answer is cut; of the others it is told that they can't be passed on.
    for name in &names {
        let cut = ["502 0", "000 92", "200 92"]
            .map(|how| ended.stdout.contains(&format!("{name} {how}\n")));
        assert!(cut.contains(&true), "{name}: {}", ended.stdout);
    }
    let flooded = || fs::read_to_string(upstream.place("flooded")).unwrap_or_default();
    until_true("all of them are left", || flooded().lines().count() == kinds.len());
    for line in flooded().lines() {
        let (name, sent) = line.split_once(' ').unwrap();
        assert!(kinds.contains(&name) && sent.parse::<u64>().unwrap() < 32 << 20, "{line}");
    }
}

/// The log keeps what others did, however often and at whatever length a payload asks for what is refused.
#[test]
fn a_flood_of_refused_requests_is_answered_and_counted_and_does_not_fill_the_log() {
    const ASKED: u64 = 1500;
    let upstream = upstream();
    let world = world(&upstream);
    let ended = run(&world, &[include_str!("hostile_traffic/refused.py")]);
    assert!(ended.stdout.contains("refused 1500"), "{}", ended.stdout);
    let query = format!("execution={}&limit=1000", ended.execution.id);
    let page = world.root().audit(&query).unwrap();
    let (mut alone, mut counted) = (0, 0);
    for record in &page.records {
        match &record.event.what {
            What::Egress(traffic) if traffic.ruling.verdict == Verdict::Deny => {
                let path = traffic.path.as_deref().unwrap_or_default();
                assert_eq!((path.len(), traffic.path_bytes), (1024, Some(15_000)));
                alone += 1;
            }
            What::Suppression(more) => {
                assert_eq!(more.codes.values().sum::<u64>(), more.refused);
                counted += more.refused;
            }
            _ => {}
        }
        let line = serde_json::to_vec(record).unwrap();
        assert!(line.len() < 8192, "{}", line.len());
    }
    // A minute may have begun in the middle of it.
    assert!((240..=480).contains(&alone), "{alone}");
    assert_eq!(alone + counted, ASKED, "each is recorded, or counted before the end is told");
    let kinds: Vec<_> = page.records.iter().map(|record| record.event.what.kind()).collect();
    assert_eq!((kinds.first(), kinds.last()), (Some(&"submission"), Some(&"outcome")), "{kinds:?}");
}
