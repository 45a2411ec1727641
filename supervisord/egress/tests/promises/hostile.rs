//! Servers that break off, never end, or say more than anybody asked for.

use std::thread;
use std::time::{Duration, Instant};

use supervisor_egress::Limits;

use crate::world::World;

const RULES: &str = "[[egress]]\nname = \"up\"\nhosts = [\"up.test\", \"raw.test\"]\nprotocols = [\"http\"]\n\
                     addresses = [\"203.0.113.0/24\"]\n";

const HEAD: &str = "HTTP/1.1 200 OK\r\n";

fn url(said: &str, then: &[&str]) -> String {
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut url = format!("http://raw.test/{}", hex(said));
    for part in then {
        url.push('/');
        url.push_str(&if ["reset", "slowly"].contains(part) {
            (*part).to_owned()
        } else {
            hex(part)
        });
    }
    url
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_server_that_breaks_off_before_its_head_is_whole_is_answered_for() {
    let world = World::new(RULES);
    for said in
        ["", "HTTP/1.1", HEAD, "HTTP/1.1 200 OK\r\nX: a", "HTTP/1.1 103 Early Hints\r\n\r\n"]
    {
        let heard = world.curl_proxied(&[&url(said, &["reset"])]);
        assert_eq!(heard.code(), 502, "{said:?}: {heard:?}");
        assert!(heard.problem()["code"].is_string(), "{heard:?}");
    }
}

#[test]
fn an_answer_that_is_broken_off_or_lies_about_its_length_does_not_look_whole() {
    let world = World::new(RULES);
    for (fields, body) in [
        ("Content-Length: 9\r\n", "short"),
        ("Transfer-Encoding: chunked\r\n", "5\r\nshort\r\n"),
        ("Transfer-Encoding: chunked\r\n", "5\r\nshort\r\nffffffffffffffff\r\nx"),
        ("Transfer-Encoding: chunked\r\n", "5\r\nshort\r\n0x5\r\nshort\r\n0\r\n\r\n"),
        ("", "short"),
    ] {
        let heard = world.curl_proxied(&[&url(&format!("{HEAD}{fields}\r\n{body}"), &["reset"])]);
        assert!(heard.status != 0, "{fields:?} {body:?}: {heard:?}");
        assert!(heard.body().is_empty() || heard.body().starts_with("short"), "{heard:?}");
    }
    // What comes behind the length is nobody's answer.
    let long = format!("{HEAD}Content-Length: 2\r\n\r\nok{HEAD}Content-Length: 4\r\n\r\nmore");
    let twice = [url(&long, &[]), "http://up.test/ok".to_owned()];
    let heard = world.curl_proxied(&[&twice[0], &twice[1]]);
    assert_eq!(heard.out.matches("\r\n\r\nok").count(), 2, "{heard:?}");
    assert!(!heard.out.contains("more"), "{heard:?}");
}

#[test]
fn a_head_that_never_ends_is_given_up() {
    let limits = Limits { first_byte: Duration::from_secs(2), ..Limits::default() };
    let world = World::bounded(RULES, limits);
    for (said, then) in [
        (HEAD, &["X: "][..]),
        ("HTTP/1.1 200 OK\r\nX: ", &["xxxxxxxxxxxxxxxx"]),
        (HEAD, &["X: x\r\n"]),
        ("", &["HTTP/1.1 100 Continue\r\n\r\n"]),
        ("HTTP/1.1 200 OK\r\nX: ", &["x", "slowly"]),
        ("", &["HTTP/1.1 103 Early Hints\r\n\r\n", "slowly"]),
    ] {
        let begun = Instant::now();
        let heard = world.curl_proxied(&[&url(said, then)]);
        assert!([502, 504].contains(&heard.code()), "{said:?} {then:?}: {heard:?}");
        assert!(begun.elapsed() < Duration::from_secs(30), "{said:?} {then:?}");
    }
}

/// Twenty at once, of which each could send what fills the memory.
#[test]
fn answers_without_an_end_take_no_memory_and_hold_nobody_up() {
    let world = World::new(RULES);
    let before = resident_kib();
    let piece = "x".repeat(4000);
    let endless = [
        url(&format!("{HEAD}Content-Length: 999999999999\r\n\r\n"), &[&piece]),
        url(&format!("{HEAD}\r\n"), &[&piece]),
    ];
    thread::scope(|scope| {
        let slow: Vec<_> = (0..20)
            .map(|number| {
                let (world, endless) = (&world, &endless[number % 2]);
                // Nobody reads most of it: the proxy may not either.
                let words = ["--max-time", "4", "--limit-rate", "1000", "-o", "/dev/null", endless];
                scope.spawn(move || world.curl_proxied(&words).status)
            })
            .collect();
        let (mut answered, mut most) = (0, 0);
        while slow.iter().any(|each| !each.is_finished()) {
            assert_eq!(world.curl_proxied(&["http://up.test/ok"]).code(), 200);
            (answered, most) = (answered + 1, most.max(resident_kib()));
        }
        let grown = most.saturating_sub(before);
        assert!(grown < 20 * (16 << 10), "{grown} KiB for twenty");
        assert!(answered > 3, "{answered} between them");
        let ended: Vec<_> = slow.into_iter().map(|each| each.join().unwrap()).collect();
        assert!(
            ended.iter().all(|status| *status == 28),
            "they were ended by their time: {ended:?}"
        );
    });
}
