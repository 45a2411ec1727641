//! What is slow, broken or too much costs its own connection and no other.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use supervisor_egress::Limits;

use crate::wire::{connect, hear, proxy, status};
use crate::world::World;

const RULES: &str = "[[egress]]\nname = \"up\"\nhosts = [\"up.test\", \"raw.test\"]\nprotocols = [\"http\", \"https\"]\n\
                     addresses = [\"203.0.113.0/24\"]\ntls = \"inspect\"\n";

const GET: &[u8] = b"GET http://up.test/ok HTTP/1.1\r\nHost: up.test\r\nConnection: close\r\n\r\n";

/// An impatient proxy for those that have begun to speak. Who hasn't is ended without a word, so a
/// test that wants one must not be late because the machine is busy.
fn impatient() -> Limits {
    Limits { head: Duration::from_millis(800), ..Limits::default() }
}

#[test]
fn slow_heads_end_at_their_deadline_and_hold_nobody_up() {
    let world = World::bounded(RULES, impatient());
    let mut slow: Vec<TcpStream> = (0..50).map(|_| connect("127.0.0.1:3128")).collect();
    for stream in &mut slow {
        stream.write_all(b"GET http://up.test/ HTTP/1.1\r\nX: ").unwrap();
    }
    let begun = Instant::now();
    assert_eq!(status(&proxy(GET)), 200);
    let mut answers = Vec::new();
    for stream in &mut slow {
        // Bytes that trickle in don't make the deadline later.
        drop(stream.write_all(b"a"));
        answers.push(status(&hear(stream)));
    }
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert!(answers.iter().all(|status| *status == 408), "{answers:?}");
    assert_eq!(world.seen.requests(), ["GET up.test /ok"]);
}

#[test]
fn an_idle_connection_ends_and_a_silent_tls_client_too() {
    let idle = Duration::from_millis(1500);
    let _world = World::bounded(RULES, Limits { idle, ..impatient() });
    let mut idle = connect("127.0.0.1:3128");
    assert_eq!(hear(&mut idle), "");
    let mut tunnel = connect("127.0.0.1:3128");
    tunnel
        .write_all(b"CONNECT up.test:443 HTTP/1.1\r\nHost: up.test\r\n\r\n\x16\x03\x01\x02\0\x01")
        .unwrap();
    let answer = hear(&mut tunnel);
    assert_eq!(status(&answer), 200, "{answer}");
}

#[test]
fn a_session_has_so_many_connections_and_is_told_when_there_are_more() {
    let _world = World::bounded(RULES, Limits { connections: 8, ..Limits::default() });
    let held: Vec<TcpStream> = (0..8).map(|_| connect("127.0.0.1:3128")).collect();
    let mut answer = String::new();
    // The places are taken as soon as the connections have been accepted.
    for _ in 0..50 {
        let mut one_more = connect("127.0.0.1:3128");
        one_more.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        answer = hear(&mut one_more);
        if !answer.is_empty() {
            break;
        }
    }
    assert_eq!(status(&answer), 503, "{answer}");
    assert!(answer.contains("too_many_connections"), "{answer}");
    drop(held);
    within_a_minute(|| status(&proxy(GET)) == 200);
    // A connection that has become a tunnel is one still.
    let mut tunnels = Vec::new();
    within_a_minute(|| {
        let mut stream = connect("127.0.0.1:3128");
        drop(stream.write_all(b"CONNECT up.test:443 HTTP/1.1\r\nHost: up.test\r\n\r\n"));
        if status(&crate::wire::head(&mut stream)) == 200 {
            tunnels.push(stream);
        }
        tunnels.len() == 8
    });
    assert_eq!(status(&proxy(GET)), 503);
    drop(tunnels);
    within_a_minute(|| status(&proxy(GET)) == 200);
}

pub fn within_a_minute(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline);
    }
}

#[test]
fn an_upstream_that_does_not_answer_is_given_up() {
    let limits = Limits { first_byte: Duration::from_millis(500), ..Limits::default() };
    let world = World::bounded(RULES, limits);
    let heard = world.curl_proxied(&["http://raw.test/hang"]);
    assert_eq!((heard.code(), heard.problem()["code"].as_str()), (504, Some("upstream_timeout")));
}

#[test]
fn an_answer_may_pause_for_longer_than_a_payload_may() {
    let limits = Limits { stall: Duration::from_millis(200), ..Limits::default() };
    let world = World::bounded(RULES, limits);
    for version in ["--http1.1", "--http2"] {
        let heard = world.curl(&[version, "https://up.test/pausing"]);
        assert_eq!((heard.status, heard.code()), (0, 200), "{heard:?}");
        assert!(heard.out.ends_with("one two"), "{heard:?}");
    }
}

#[test]
fn an_answer_that_stops_is_cut_and_does_not_look_complete() {
    let limits = Limits { pause: Duration::from_millis(200), ..Limits::default() };
    let world = World::bounded(RULES, limits);
    for version in ["--http1.1", "--http2"] {
        let heard = world.curl(&[version, "https://up.test/pausing"]);
        assert!(heard.status != 0 && heard.out.ends_with("one "), "{heard:?}");
    }
}

#[test]
fn a_connection_ends_after_its_number_of_requests() {
    let world = World::bounded(RULES, Limits { requests_per_connection: 3, ..Limits::default() });
    for version in ["--http1.1", "--http2"] {
        let url = "https://up.test/ok";
        let heard = world.curl(&[version, "-w", "%{num_connects} ", url, url, url, url]);
        assert_eq!(heard.status, 0, "{heard:?}");
        assert_eq!(heard.out.matches("\r\n\r\nok").count(), 4, "{heard:?}");
        let connects = heard.out.matches("ok1 ").count();
        assert_eq!(connects, 2, "{version}: {heard:?}");
    }
}

#[test]
fn long_heads_and_many_fields_are_refused() {
    let _world = World::new(RULES);
    let long = format!(
        "GET http://up.test/ok HTTP/1.1\r\nHost: up.test\r\nX: {}\r\n\r\n",
        "a".repeat(70_000)
    );
    assert_eq!(status(&proxy(long.as_bytes())), 431);
    let many = format!(
        "GET http://up.test/ok HTTP/1.1\r\nHost: up.test\r\n{}\r\n",
        "X: a\r\n".repeat(200)
    );
    assert_eq!(status(&proxy(many.as_bytes())), 431);
    let target =
        format!("GET http://up.test/{} HTTP/1.1\r\nHost: up.test\r\n\r\n", "a".repeat(20_000));
    assert_eq!(status(&proxy(target.as_bytes())), 414);
}

#[test]
fn a_response_with_endless_fields_is_not_passed_on() {
    let world = World::new(RULES);
    let fields = "X: a\r\n".repeat(300);
    let response = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n");
    let target: String = response.bytes().map(|byte| format!("{byte:02x}")).collect();
    let heard = world.curl_proxied(&[&format!("http://raw.test/{target}")]);
    assert_eq!(heard.code(), 502, "{heard:?}");
}

#[test]
fn a_client_that_leaves_in_the_middle_leaves_nothing_behind() {
    let world = World::new(RULES);
    for _ in 0..20 {
        let mut stream = connect("127.0.0.1:3128");
        stream.write_all(b"GET http://up.test/big HTTP/1.1\r\nHost: up.test\r\n\r\n").unwrap();
        let mut piece = [0; 1000];
        stream.read_exact(&mut piece).unwrap();
    }
    assert_eq!(status(&proxy(GET)), 200);
    within_a_minute(|| world.events.ends() >= 21);
}
