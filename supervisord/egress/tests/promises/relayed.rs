//! Bytes that are passed on unseen.

use std::io::{Read, Write};
use std::sync::Arc;

use supervisor_egress::Event;

use crate::bounds::within_a_minute;
use crate::wire::{connect, head, status};
use crate::world::World;

const RULES: &str = "[[egress]]\nname = \"echo\"\nhosts = [\"up.test\"]\nprotocols = [\"tcp\"]\nports = [7]\n\
                     addresses = [\"203.0.113.0/24\"]\n\
                     [[egress]]\nname = \"up\"\nhosts = [\"up.test\"]\nprotocols = [\"http\", \"https\"]\n\
                     addresses = [\"203.0.113.0/24\"]\n";

#[test]
fn plain_tcp_passes_where_a_rule_names_it_and_the_server_may_speak_first() {
    let world = World::new(RULES);
    let heard = world.run("getent", &["ahostsv4", "up.test"]);
    let address = heard.out.split_whitespace().next().unwrap_or_else(|| panic!("{heard:?}"));
    let mut direct = connect(&format!("{address}:7"));
    let mut tunnel = connect("127.0.0.1:3128");
    tunnel.write_all(b"CONNECT up.test:7 HTTP/1.1\r\nHost: up.test:7\r\n\r\n").unwrap();
    assert_eq!(status(&head(&mut tunnel)), 200);
    for stream in [&mut direct, &mut tunnel] {
        let mut greeting = [0; 6];
        stream.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"hello\n");
        let sent = vec![b'a'; 3_000_000];
        let mut writer = stream.try_clone().unwrap();
        let copy = sent.clone();
        let writing = std::thread::spawn(move || {
            writer.write_all(&copy).unwrap();
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        writing.join().unwrap();
        assert!(back == sent, "{} bytes came back", back.len());
    }
}

#[test]
fn messages_of_every_size_come_back_whole_and_at_once() {
    let world = World::new(RULES);
    let mut tunnel = connect("127.0.0.1:3128");
    tunnel.write_all(b"CONNECT up.test:7 HTTP/1.1\r\nHost: up.test:7\r\n\r\n").unwrap();
    assert_eq!(status(&head(&mut tunnel)), 200);
    tunnel.read_exact(&mut [0; 6]).unwrap();
    let mut all = 0;
    for size in [1, 8191, 8192, 8193, 1, 16_384, 100_000, 2, 1_000_000, 8192, 8192, 1, 1] {
        let sent: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        let mut writer = tunnel.try_clone().unwrap();
        let copy = sent.clone();
        let writing = std::thread::spawn(move || writer.write_all(&copy).unwrap());
        let mut back = vec![0; size];
        tunnel.read_exact(&mut back).unwrap();
        writing.join().unwrap();
        assert!(back == sent, "{size} bytes came back as others");
        all += size as u64;
    }
    tunnel.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(tunnel.read_to_end(&mut Vec::new()).unwrap(), 0);
    drop(tunnel);
    within_a_minute(|| world.events.ends() == 1);
    let ended = world.events.all().into_iter().find_map(|event| match event {
        Event::Ended(ended) => Some((ended.how, ended.sent, ended.received)),
        Event::Decided(_) | Event::Credential(_) => None,
    });
    assert_eq!(ended, Some(("done", all, all + 6)));
}

#[test]
fn tls_that_needs_no_look_inside_shows_the_upstream_s_own_certificate() {
    let world = World::new(RULES);
    for heard in [world.curl(&["https://up.test/ok"]), world.curl_proxied(&["https://up.test/ok"])]
    {
        assert_eq!(heard.status, 60, "the sandbox's authority has not signed it: {heard:?}");
    }
    let heard = world.curl_proxied(&[
        "-k",
        "-o",
        "/dev/null",
        "-w",
        "%{size_download}",
        "https://up.test/big",
    ]);
    assert!(heard.out.ends_with("67108864"), "{heard:?}");
}

/// A real client's first message, with an extension that may hold another one (RFC 9849) or with none.
fn hello(encrypted: bool) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = "up.test".try_into().unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    if encrypted {
        // Of the outer hello: suite, configuration, key, and what only the server can read.
        let extension =
            [&[0xfe, 0x0d, 0, 58, 0, 0, 1, 0, 1, 7, 0, 32][..], &[9; 32], &[0, 16], &[8; 16]]
                .concat();
        let longer = u16::try_from(extension.len()).unwrap();
        // Behind record, message, version and random stand session, ciphers, compressions, extensions.
        let mut extensions = 9 + 34;
        extensions += 1 + usize::from(bytes[extensions]);
        extensions += 2 + usize::from(bytes[extensions]) * 256 + usize::from(bytes[extensions + 1]);
        extensions += 1 + usize::from(bytes[extensions]);
        for length in [3, 7, extensions] {
            let all = u16::from_be_bytes([bytes[length], bytes[length + 1]]) + longer;
            bytes[length..length + 2].copy_from_slice(&all.to_be_bytes());
        }
        bytes.extend(extension);
    }
    bytes
}

#[test]
fn tls_whose_name_may_be_another_one_is_not_passed_on_by_its_name() {
    let world = World::new(RULES);
    let after = |encrypted| {
        let mut stream = connect("127.0.0.1:3128");
        stream.write_all(b"CONNECT up.test:443 HTTP/1.1\r\nHost: up.test:443\r\n\r\n").unwrap();
        assert_eq!(status(&head(&mut stream)), 200);
        stream.write_all(&hello(encrypted)).unwrap();
        let mut first = [0; 7];
        stream.read_exact(&mut first).unwrap();
        first
    };
    assert_eq!(after(false)[0], 22, "the server's own hello");
    assert!(!world.events.codes().contains(&"encrypted_client_hello"));
    assert_eq!(after(true), [21, 3, 3, 0, 2, 2, 49], "access_denied");
    assert!(world.events.codes().contains(&"encrypted_client_hello"));
    // Where requests are seen, they say what they are for.
    let inspected =
        World::new(&RULES.replace("[\"http\", \"https\"]", "[\"https\"]\ntls = \"inspect\""));
    assert_eq!(after(true)[0], 22, "the supervisor's hello");
    assert!(!inspected.events.codes().contains(&"encrypted_client_hello"));
}

#[test]
fn a_tunnel_to_port_80_carries_requests_that_are_each_decided() {
    let world = World::new(&format!("{RULES}paths = [\"/ok\"]\n"));
    let heard = world.curl_proxied(&["-p", "http://up.test/ok"]);
    assert_eq!(heard.code(), 200, "{heard:?}");
    let heard = world.curl_proxied(&["-p", "http://up.test/denied"]);
    assert_eq!(heard.code(), 403, "{heard:?}");
}

#[test]
fn a_tunnel_speaks_only_what_a_rule_names() {
    let world = World::new(&RULES.replace("[\"http\", \"https\"]", "[\"https\"]"));
    for words in ["SSH-2.0-client\r\n", "GET / HTTP/1.1\r\nHost: up.test\r\n\r\n", "\x05\x01\0"] {
        let mut stream = connect("127.0.0.1:3128");
        stream.write_all(b"CONNECT up.test:443 HTTP/1.1\r\nHost: up.test:443\r\n\r\n").unwrap();
        assert_eq!(status(&head(&mut stream)), 200);
        stream.write_all(words.as_bytes()).unwrap();
        let answer = crate::wire::hear(&mut stream);
        assert!(
            answer.is_empty() || answer.starts_with('<') || status(&answer) == 403,
            "{words:?}: {answer}"
        );
    }
    let refused =
        world.events.codes().iter().filter(|code| **code == "protocol_not_allowed").count();
    assert_eq!(refused, 3, "{:?}", world.events.codes());
    assert_eq!(world.seen.requests(), Vec::<String>::new());
}
