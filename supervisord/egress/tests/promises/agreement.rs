//! Whatever names a destination has to name the same one, in the one spelling that there is, and what
//! a name leads to is judged by its address.

use std::io::Write;

use crate::wire::{connect, head, hear, proxy, status};
use crate::world::World;

const PLAIN: &str = "[[egress]]\nname = \"up\"\nhosts = [\"up.test\"]\nprotocols = [\"http\", \"https\"]\n\
                     addresses = [\"203.0.113.0/24\"]\ntls = \"inspect\"\n";

fn get(target: &str, host: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").into_bytes()
}

#[test]
fn a_host_that_differs_from_its_connection_is_refused_before_anything_is_sent() {
    let world = World::new(PLAIN);
    for (connect_to, name, host) in [
        ("up.test", "up.test", "evil.test"),
        ("up.test", "up.test", "up.test:8443"),
        ("up.test", "up.test", "203.0.113.10"),
    ] {
        let url = format!("https://{name}/who");
        let route = format!("{name}:443:{connect_to}:443");
        let host = format!("Host: {host}");
        let heard = world.curl_proxied(&["--connect-to", &route, "-H", &host, &url]);
        assert_eq!(heard.code(), 421, "{heard:?}");
        assert_eq!(heard.problem()["code"], "destinations_disagree");
    }
    assert_eq!(world.seen.requests(), Vec::<String>::new());
    let heard = world.curl_proxied(&["-H", "Host: UP.TEST.", "https://up.test/who"]);
    assert_eq!(heard.code(), 200, "{heard:?}");
}

#[test]
fn a_server_name_that_differs_from_its_connection_is_refused_whether_passed_or_inspected() {
    for tls in ["inspect", "pass"] {
        let world = World::new(&PLAIN.replace("\"inspect\"", &format!("\"{tls}\"")));
        let heard = world.curl_proxied(&[
            "--connect-to",
            "evil.test:443:up.test:443",
            "https://evil.test/",
        ]);
        assert_eq!(heard.status, 35, "{heard:?}");
        let heard = world.curl(&["--resolve", "evil.test:443:203.0.113.10", "https://evil.test/"]);
        assert_eq!(heard.status, 35, "{heard:?}");
        assert_eq!(world.seen.requests(), Vec::<String>::new());
        assert!(world.events.codes().contains(&"destinations_disagree"));
    }
}

#[test]
fn every_request_of_a_connection_is_decided_by_itself() {
    let world = World::new(&format!("{PLAIN}methods = [\"GET\"]\npaths = [\"/ok\", \"/ok/**\"]\n"));
    let mut stream = connect("127.0.0.1:3128");
    let expected = [
        ("/ok", "up.test", 200),
        ("/denied", "up.test", 403),
        ("/ok", "evil.test", 403),
        ("/ok/2", "up.test", 200),
    ];
    for (path, host, expected) in expected {
        let request = format!("GET http://{host}{path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let answer = head(&mut stream);
        assert_eq!(status(&answer), expected, "{path} {host}: {answer}");
        let length = answer.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
        let mut body = vec![0; length];
        std::io::Read::read_exact(&mut stream, &mut body).unwrap();
    }
    let pipelined =
        [get("http://up.test/ok", "up.test"), get("http://evil.test/", "evil.test")].concat();
    let pipelined = String::from_utf8(pipelined).unwrap().replacen("Connection: close\r\n", "", 1);
    let answers = proxy(pipelined.as_bytes());
    assert!(answers.contains("200 OK") && answers.contains("403 Forbidden"), "{answers}");
    let seen = world.seen.requests();
    assert_eq!(seen, ["GET up.test /ok", "GET up.test /ok/2", "GET up.test /ok"]);
}

#[test]
fn addresses_that_are_not_public_are_refused_however_they_are_written() {
    let world = World::new(
        "[[egress]]\nname = \"all\"\nhosts = [\"**\"]\nports = [22, 80, 443]\nprotocols = [\"http\", \"https\"]\n",
    );
    let canonical = "127.0.0.1 127.8.8.8 0.0.0.0 10.0.0.1 172.16.0.1 192.168.0.1 169.254.169.254 \
        100.64.0.1 198.18.0.1 192.0.2.1 224.0.0.1 240.0.0.1 255.255.255.255 [::1] [::] [fe80::1] \
        [fc00::1] [fd00:ec2::254] [ff02::1] [64:ff9b::7f00:1] [2002:7f00:1::1] [2001:db8::1]";
    for address in canonical.split_whitespace() {
        for port in [22, 80, 443] {
            let request = format!("CONNECT {address}:{port} HTTP/1.1\r\nHost: {address}\r\n\r\n");
            let answer = proxy(request.as_bytes());
            assert_eq!(status(&answer), 403, "{address}:{port}: {answer}");
        }
        let answer = proxy(&get(&format!("http://{address}/"), address));
        assert_eq!(status(&answer), 403, "{address}: {answer}");
    }
    for spelling in [
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1%00",
        "[::1%25lo]",
        "[0:0:0:0:0:ffff:7f00:0001]",
        "up.test@127.0.0.1",
        "127.0.0.1:80:443",
        "[127.0.0.1]",
        "[[::1]]",
        "$(hostname)",
        "up..test",
        ".up.test",
        "-up.test",
        "*.up.test",
        "up.test%2eevil.test",
        "up_x.test",
    ] {
        let answer =
            proxy(format!("CONNECT {spelling}:443 HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        assert_eq!(status(&answer), 400, "{spelling}: {answer}");
    }
    assert_eq!(world.seen.connections(), Vec::<String>::new());
}

/// RFC 9112 §3.2: of every request of HTTP/1.1, whatever its target says. Older ones have no Host.
#[test]
fn a_tunnel_is_asked_for_with_its_host_or_in_http_1_0() {
    let world = World::new(PLAIN);
    let answer = proxy(b"CONNECT up.test:443 HTTP/1.1\r\nUser-Agent: x\r\n\r\n");
    assert_eq!(status(&answer), 400, "{answer}");
    let answer = proxy(b"GET http://up.test/ HTTP/1.1\r\nUser-Agent: x\r\n\r\n");
    assert_eq!(status(&answer), 400, "{answer}");
    assert_eq!(world.seen.connections(), Vec::<String>::new());
    assert_eq!(status(&proxy(b"CONNECT up.test:443 HTTP/1.0\r\n\r\n")), 200);
}

#[test]
fn what_a_name_resolves_to_is_judged_and_exactly_that_is_dialled() {
    let rules = "[[egress]]\nname = \"all\"\nhosts = [\"**\"]\nprotocols = [\"http\", \"https\"]\naddresses = [\"203.0.113.0/24\"]\n";
    let world = World::new(rules);
    for name in
        ["own.test", "private.test", "metadata.test", "loop.test", "localhost", "nowhere.test"]
    {
        for request in [
            format!("GET http://{name}/ HTTP/1.1\r\nHost: {name}\r\n\r\n"),
            format!("CONNECT {name}:443 HTTP/1.1\r\nHost: {name}\r\n\r\n"),
        ] {
            let answer = proxy(request.as_bytes());
            let expected = if name == "nowhere.test" { 502 } else { 403 };
            assert_eq!(status(&answer), expected, "{name}: {answer}");
        }
    }
    assert_eq!(world.seen.connections(), Vec::<String>::new());
    for _ in 0..20 {
        let answer = proxy(&get("http://rebind.test/", "rebind.test"));
        assert!([200, 403].contains(&status(&answer)), "{answer}");
    }
    assert_eq!(status(&proxy(&get("http://mixed.test/", "mixed.test"))), 200);
    assert!(world.seen.connections().iter().all(|address| address == "203.0.113.10:80"));
}

#[test]
fn the_name_of_a_rule_is_matched_in_any_case_and_as_a_whole() {
    let world = World::new(PLAIN);
    for host in ["UP.test", "up.test.", "up.TEST"] {
        let answer =
            proxy(format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        assert_eq!(status(&answer), 200, "{host}: {answer}");
    }
    for host in
        ["sub.up.test", "notup.test", "up.test.evil.test", "up-test", "xup.test", "xn--p-1ga.test"]
    {
        let answer =
            proxy(format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        assert_eq!(status(&answer), 403, "{host}: {answer}");
    }
    for host in [
        "evil.test\0.up.test",
        "evil.test#.up.test",
        "evil.test/.up.test",
        "ｕｐ.test",
        "up.test\\.evil.test",
    ] {
        let answer =
            proxy(format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        assert_eq!(status(&answer), 400, "{host:?}: {answer}");
    }
    assert!(world.seen.names().iter().all(|name| name == "up.test."), "{:?}", world.seen.names());
}

#[test]
fn a_tunnel_relays_to_no_other_proxy_and_never_to_ourselves() {
    let world = World::new(PLAIN);
    for (target, host) in
        [("http://127.0.0.1:3128/", "127.0.0.1:3128"), ("http://localhost:3128/", "localhost:3128")]
    {
        assert_eq!(status(&proxy(&get(target, host))), 403);
    }
    let mut stream = connect("127.0.0.1:3128");
    stream.write_all(b"CONNECT up.test:80 HTTP/1.1\r\nHost: up.test:80\r\n\r\n").unwrap();
    assert_eq!(status(&head(&mut stream)), 200);
    stream.write_all(b"CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n").unwrap();
    let answer = hear(&mut stream);
    assert!(status(&answer) >= 400, "{answer}");
    assert_eq!(world.seen.connections(), Vec::<String>::new());
}
