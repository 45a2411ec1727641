//! How connections end, on either side.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, Stream};
use supervisor_egress::Roots;

use crate::wire::{connect, status};
use crate::world::World;

const RULES: &str = "[[egress]]\nname = \"up\"\nhosts = [\"up.test\", \"raw.test\"]\n\
                     protocols = [\"http\", \"https\"]\naddresses = [\"203.0.113.0/24\"]\ntls = \"inspect\"\n";

/// What comes back from whoever says no more behind this, to the end.
fn answer(mut stream: TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn who_says_no_more_behind_its_request_gets_its_answer() {
    let world = World::new(RULES);
    let proxied = "GET http://up.test/pausing HTTP/1.1\r\nHost: up.test\r\n\r\n";
    let heard = answer(connect("127.0.0.1:3128"), proxied);
    assert!(status(&heard) == 200 && heard.ends_with("\r\n0\r\n\r\n"), "{heard}");
    let found = world.run("getent", &["ahostsv4", "up.test"]).out;
    let address = found.split_whitespace().next().unwrap().to_owned();
    let direct = |request: &str| answer(connect(&format!("{address}:80")), request);
    let heard = direct("GET /pausing HTTP/1.0\r\nHost: up.test\r\n\r\n");
    assert!(heard.ends_with("one two"), "{heard}");
    let two = "POST /echo HTTP/1.1\r\nHost: up.test\r\nContent-Length: 5\r\n\r\nhello\
               GET /pausing HTTP/1.1\r\nHost: up.test\r\n\r\nGE";
    let heard = direct(two);
    let places = ["hello", "\r\n0\r\n\r\n", "HTTP/1.1 400"].map(|part| heard.find(part));
    assert!(places.is_sorted() && places.iter().all(Option::is_some), "{heard}");
    for ends_tls in [true, false] {
        let heard = encrypted(&world, &format!("{address}:443"), ends_tls);
        assert!(status(&heard) == 200 && heard.ends_with("\r\n0\r\n\r\n"), "{heard}");
    }
}

/// No upstream is at fault for it.
#[test]
fn who_ends_within_its_own_body_is_told_so() {
    let _world = World::new(RULES);
    let chunked = "Transfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n";
    let fields = "X-T: 1\r\n".repeat(300);
    for (rest, cause) in [
        ("Content-Length: 10\r\n\r\nabc".to_owned(), "the request ended before it was complete"),
        (format!("{chunked}a\r\nabc"), "the request ended before it was complete"),
        (format!("{chunked}2\r\nab\r\n0\r\n{fields}\r\n"), "can't be read"),
    ] {
        let request = format!("POST http://up.test/echo HTTP/1.1\r\nHost: up.test\r\n{rest}");
        let heard = answer(connect("127.0.0.1:3128"), &request);
        assert!(status(&heard) == 400 && heard.contains("malformed_request"), "{heard}");
        assert!(heard.contains(cause), "{heard}");
    }
}

#[test]
fn an_answer_that_is_cut_never_looks_whole_to_a_client_of_http_1_0() {
    let world = World::new(RULES);
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    for (rest, is_whole) in [("", false), ("x", false), ("0\r\n\r\n", true)] {
        let target: String =
            head.bytes().chain(rest.bytes()).map(|byte| format!("{byte:02x}")).collect();
        let mut stream = connect("127.0.0.1:3128");
        write!(stream, "GET http://raw.test/{target} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer).map_err(|error| error.kind());
        let answer = String::from_utf8_lossy(&answer);
        assert_eq!(ended.is_ok(), is_whole, "{rest:?}: {ended:?} {answer}");
        assert!(is_whole || ended == Err(ErrorKind::ConnectionReset), "{rest:?}: {ended:?}");
        assert!(!is_whole || answer.ends_with("\r\n\r\nhalf"), "{answer}");
    }
    // A budget that ends in the middle, of which the upstream knows nothing.
    world.purse.holds(1_000_000);
    let mut stream = connect("127.0.0.1:3128");
    stream.write_all(b"GET http://up.test/big HTTP/1.0\r\nHost: up.test\r\n\r\n").unwrap();
    let ended = stream.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
    assert_eq!(ended, Err(ErrorKind::ConnectionReset));
}

/// What comes back in TLS, which is ended by its own words or not.
fn encrypted(world: &World, address: &str, ends_tls: bool) -> String {
    let mut roots = RootCertStore::empty();
    for certificate in Roots::certificates(&std::fs::read(world.authority()).unwrap()).unwrap() {
        roots.add(certificate).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("up.test").unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = connect(address);
    let request = b"GET /pausing HTTP/1.1\r\nHost: up.test\r\n\r\n";
    Stream::new(&mut client, &mut stream).write_all(request).unwrap();
    if ends_tls {
        client.send_close_notify();
    }
    Stream::new(&mut client, &mut stream).flush().unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    let ended = Stream::new(&mut client, &mut stream).read_to_string(&mut answer);
    assert!(ended.is_ok(), "{ended:?}: {answer}");
    answer
}
