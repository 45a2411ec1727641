//! A refusal can be acted on, and is nobody else's.

use std::io::{Read, Write};
use std::sync::atomic::Ordering;
use std::time::Duration;

use supervisor_egress::credential::RefusalCode;
use supervisor_egress::{Decided, Event, Subject};

use crate::bounds::within_a_minute;
use crate::seams::{AGREED, placeholder};
use crate::wire::{connect, head, hear, status};
use crate::world::World;

const RULES: &str = "[[egress]]\nname = \"up\"\nhosts = [\"up.test\"]\nmethods = [\"GET\", \"POST\"]\n\
                     paths = [\"/ok\", \"/digest\", \"/public/**\"]\nprotocols = [\"http\", \"https\"]\n\
                     addresses = [\"203.0.113.0/24\"]\nmax_body = \"1 KiB\"\n\
                     [[egress]]\nname = \"people\"\nhosts = [\"other.test\"]\nverdict = \"ask\"\n\
                     methods = [\"GET\", \"POST\"]\n\
                     addresses = [\"203.0.113.0/24\"]\n";

#[test]
fn an_answer_says_which_line_of_which_policy_and_what_would_help() {
    let world = World::new(RULES);
    for (heard, place) in [
        (world.curl_proxied(&["https://up.test/denied"]), "inside the tunnel"),
        (world.curl(&["https://up.test/denied"]), "without a proxy"),
        (world.curl_proxied(&["http://up.test/denied"]), "in the clear"),
    ] {
        assert_eq!(heard.code(), 403, "{place}: {heard:?}");
        let head = heard.out.to_lowercase();
        assert!(head.contains("proxy-status: supervisord; error=http_request_denied"), "{heard:?}");
        assert!(head.contains("content-type: application/problem+json"), "{heard:?}");
        let problem = heard.problem();
        assert_eq!(problem["code"], "path_not_allowed", "{place}");
        assert!(problem["rule"].as_str().is_some_and(|rule| rule.contains("child")), "{problem}");
        for key in ["cause", "remedy"] {
            assert!(problem[key].as_str().is_some_and(|text| text.len() > 10), "{problem}");
        }
    }
    let heard = world.curl_proxied(&["https://evil.test/"]);
    assert_eq!(heard.status, 56, "{heard:?}");
    assert!(heard.err.contains("403"), "{heard:?}");
    assert_eq!(world.seen.requests(), Vec::<String>::new());
}

#[test]
fn a_question_that_nobody_answers_is_a_refusal() {
    let world = World::new(RULES);
    let heard = world.curl_proxied(&["https://other.test/ok"]);
    assert_eq!((heard.code(), heard.problem()["code"].as_str()), (403, Some("approval_timed_out")));
    assert_eq!(world.seen.requests(), Vec::<String>::new());
}

#[test]
fn a_body_past_its_bound_is_refused_whether_its_length_is_given_or_not() {
    let world = World::new(RULES);
    let large = "x".repeat(2000);
    let heard = world.curl_proxied(&["-d", &large, "https://up.test/digest"]);
    assert_eq!((heard.code(), heard.problem()["code"].as_str()), (413, Some("body_too_large")));
    let heard = world.curl_proxied(&[
        "-H",
        "Transfer-Encoding: chunked",
        "-d",
        &large,
        "http://up.test/digest",
    ]);
    assert_eq!((heard.code(), heard.problem()["code"].as_str()), (413, Some("body_too_large")));
    let heard = world.curl_proxied(&["-d", "x", "https://up.test/digest"]);
    assert_eq!(heard.body(), "1 bytes");
}

#[test]
fn paths_in_odd_spellings_get_to_nothing_that_a_rule_does_not_allow() {
    let world = World::new(RULES);
    for path in [
        "/public/../secret",
        "/public/%2e%2e/secret",
        "/public/%2E%2e%2fsecret",
        "//secret",
        "/public//../secret",
        "/public/..;/secret",
        "/%73ecret",
        "/secret%20",
        "/secret/.",
        "/public/%252e%252e/secret",
        "/SECRET",
        "/public?/../secret",
        "/public/%c0%ae%c0%ae/secret",
        "/public/%01",
    ] {
        let url = format!("https://up.test{path}");
        let heard = world.curl_proxied(&["--path-as-is", &url]);
        assert!([400, 403].contains(&heard.code()), "{path}: {heard:?}");
    }
    let heard =
        world.curl_proxied(&["--path-as-is", "https://up.test/public/a/../b/./%7Ec?d=/../e"]);
    assert_eq!(heard.code(), 200);
    assert_eq!(world.seen.requests(), ["GET up.test /public/b/~c?d=/../e"]);
}

#[test]
fn an_exhausted_budget_refuses_the_next_request_and_cuts_a_body() {
    let world = World::new(&RULES.replace("\"/ok\"", "\"/ok\", \"/big\""));
    world.purse.holds(100_000);
    let heard = world.curl_proxied(&["-o", "/dev/null", "http://up.test/big"]);
    assert_ne!(heard.status, 0, "{heard:?}");
    world.purse.holds(0);
    let heard = world.curl_proxied(&["http://up.test/ok"]);
    assert_eq!((heard.code(), heard.problem()["code"].as_str()), (429, Some("budget_exhausted")));
    assert_eq!(world.events.failures().len(), 1, "the cut body is told as one");
    let codes = world.events.codes();
    assert_eq!(codes.len(), 2, "what has no budget left is refused and never allowed: {codes:?}");
}

#[test]
fn what_can_not_be_counted_is_refused_by_a_code_of_its_own_and_goes_on_afterwards() {
    let world = World::new(RULES);
    world.purse.is_unkept.store(true, Ordering::Relaxed);
    let heard = world.curl_proxied(&["http://up.test/ok"]);
    assert_eq!((heard.code(), heard.problem()["code"].as_str()), (503, Some("budgets_unkept")));
    assert_eq!(world.seen.requests(), [""; 0]);
    world.purse.is_unkept.store(false, Ordering::Relaxed);
    assert_eq!(world.curl_proxied(&["http://up.test/ok"]).code(), 200);
}

#[test]
fn an_upstream_whose_certificate_does_not_hold_gets_no_request() {
    let world = World::new(
        "[[egress]]\nname = \"bad\"\nhosts = [\"badcert.test\", \"wrongname.test\", \"expired.test\"]\n\
         ports = [443, 8443]\ntls = \"inspect\"\naddresses = [\"203.0.113.0/24\"]\n",
    );
    for url in ["https://expired.test/", "https://wrongname.test/", "https://badcert.test:8443/"] {
        let heard = world.curl_proxied(&[url]);
        assert_eq!(
            (heard.code(), heard.problem()["code"].as_str()),
            (502, Some("upstream_tls")),
            "{url}"
        );
    }
    assert_eq!(world.seen.requests(), Vec::<String>::new());
    let failures = world.events.failures();
    let told: Vec<_> = failures.iter().map(|failure| failure.remedy.as_str()).collect();
    assert!(told[0].contains("has expired"), "{told:?}");
    assert!(told[1].contains("for another name"), "{told:?}");
    assert!(failures.iter().all(|failure| failure.cause.contains("certificate")), "{failures:?}");
}

#[test]
fn a_person_agrees_to_a_body_and_to_no_other() {
    let world = World::new(RULES);
    let send = |version: &str, body: &str, chunked: &str| {
        let path = world.directory().join("body");
        std::fs::write(&path, body).unwrap();
        let body = format!("@{}", path.display());
        world.curl(&[version, "-H", chunked, "--data-binary", &body, "https://other.test/echo"])
    };
    let large = "x".repeat(300 << 10);
    for version in ["--http1.1", "--http2"] {
        // curl sends a length without the field, and none with it.
        for chunked in ["X-Nothing: x", "Transfer-Encoding: chunked"] {
            let heard = send(version, AGREED, chunked);
            assert_eq!((heard.code(), heard.body()), (200, AGREED), "{version} {chunked}");
            let body = ["-H", "X-Amz-Target: Drop", "-d", AGREED, "https://other.test/echo"];
            let heard = world.curl(&[&[version, "-H", chunked], &body[..]].concat());
            assert_eq!(heard.code(), 403, "the same body for something else: {heard:?}");
            let heard = send(version, "pleasf", chunked);
            assert_eq!(heard.code(), 403, "{version} {chunked}: {heard:?}");
            assert_eq!(heard.problem()["code"], "approval_timed_out");
            let heard = send(version, &large, chunked);
            assert_eq!(heard.code(), 413, "{version} {chunked}: {heard:?}");
            assert_eq!(heard.problem()["code"], "body_too_large_to_ask");
        }
    }
}

/// As one that has connected and loads its certificates, on a machine that is busy.
#[test]
fn a_program_that_is_late_to_speak_is_told_why_it_is_refused() {
    let _world = World::new(RULES);
    let mut late = connect("198.51.100.9:80");
    late.set_read_timeout(Some(Duration::from_millis(1500))).unwrap();
    assert_eq!(hear(&mut late), "");
    late.write_all(b"GET / HTTP/1.1\r\nHost: 198.51.100.9\r\n\r\n").unwrap();
    late.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    let answer = hear(&mut late);
    assert_eq!(status(&answer), 403, "{answer}");
    assert!(answer.contains("remedy"), "{answer}");
}

#[test]
fn a_placeholder_in_a_body_is_refused_as_the_one_that_sent_it_and_recorded_with_its_destination() {
    let world = World::new(RULES);
    let body = format!("KEY={}", placeholder("token"));
    for version in ["--http1.1", "--http2"] {
        let heard = world.curl(&[version, "-d", &body, "https://up.test/digest"]);
        let code = heard.problem()["code"].clone();
        assert_eq!(
            (heard.code(), code.as_str()),
            (403, Some("placeholder_misplaced")),
            "{heard:?}"
        );
    }
    let told = world.events.all().into_iter().filter_map(|event| match event {
        Event::Credential(event) => Some((event.destination.to_string(), event.refusal?.code)),
        _ => None,
    });
    let told: Vec<_> = told.collect();
    let one = ("up.test:443".to_owned(), RefusalCode::PlaceholderMisplaced);
    assert_eq!(told, [one.clone(), one]);
}

#[test]
fn a_request_that_names_another_host_in_its_tunnel_is_recorded_with_the_one_of_the_tunnel() {
    let world = World::new(RULES);
    let heard = world.curl(&["--http1.1", "-H", "Host: other.test", "https://up.test/ok"]);
    assert_eq!(heard.problem()["code"], "destinations_disagree");
    let named = world.events.all().into_iter().any(|event| match event {
        Event::Decided(Decided {
            code: "destinations_disagree",
            subject: Subject::Connection { destination: Some(destination), .. },
            ..
        }) => destination.to_string() == "up.test:443",
        _ => false,
    });
    assert!(named, "{:?}", world.events.all());
}

/// What a program is told to do that was refused with this code.
fn remedy(world: &World, code: &str) -> String {
    let mut remedies = Vec::new();
    within_a_minute(|| {
        let refused = |event: Event| match event {
            Event::Decided(decided) if decided.code == code => decided.remedy,
            _ => None,
        };
        remedies = world.events.all().into_iter().filter_map(refused).collect();
        !remedies.is_empty()
    });
    remedies.remove(0)
}

#[test]
fn what_speaks_something_else_is_told_what_to_speak() {
    let world = World::new(RULES);
    let mut stream = connect("127.0.0.1:3128");
    stream.write_all(&[5, 1, 0]).unwrap();
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [5, 0xff], "no acceptable methods");
    assert!(remedy(&world, "socks_not_spoken").contains("http://"));
    let mut stream = connect("127.0.0.1:3128");
    stream.write_all(b"CONNECT up.test:443 HTTP/1.1\r\nHost: up.test:443\r\n\r\n").unwrap();
    assert_eq!(status(&head(&mut stream)), 200);
    stream.write_all(b"SSH-2.0-client\r\n").unwrap();
    assert_eq!(status(&hear(&mut stream)), 403);
    let told = remedy(&world, "protocol_not_allowed");
    assert!(told.contains("git: https://"), "{told}");
    let imap = "openssl s_client -alpn imap -servername up.test -connect up.test:443 < /dev/null";
    let heard = world.run("sh", &["-c", imap]);
    assert_ne!(heard.status, 0, "{heard:?}");
    let told = remedy(&world, "alpn_not_supported");
    assert!(told.contains("http/1.1"), "{told}");
}
