//! Requests that are allowed come through as they are, in every form that clients use.

use supervisor_egress::Event;

use crate::seams::SECRET;
use crate::world::World;

const RULES: &str = "[[egress]]\nname = \"up\"\nhosts = [\"up.test\"]\nprotocols = [\"http\", \"https\"]\n\
                     addresses = [\"203.0.113.0/24\"]\ntls = \"inspect\"\nwebsocket = true\n\
                     [[egress]]\nname = \"other\"\nhosts = [\"other.test\"]\nprotocols = [\"http\", \"https\"]\n\
                     addresses = [\"203.0.113.0/24\"]\ntls = \"inspect\"\n";

#[test]
fn http_1_and_http_2_come_through_inspected_with_and_without_a_proxy() {
    let world = World::new(RULES);
    for version in ["--http1.1", "--http2"] {
        for heard in [
            world.curl(&[version, "https://up.test/headers"]),
            world.curl_proxied(&[version, "https://up.test/headers"]),
        ] {
            assert_eq!(heard.code(), 200, "{heard:?}");
            let expected = if version == "--http2" { "HTTP/2.0" } else { "HTTP/1.1" };
            assert!(heard.body().starts_with(expected), "{heard:?}");
            assert!(!heard.body().contains("proxy-connection"), "{heard:?}");
        }
        let heard = world.curl(&[version, "-d", "hello", "https://up.test/echo"]);
        assert_eq!(heard.body(), "hello", "{heard:?}");
        let heard = world.curl(&[version, "-I", "https://up.test/ok"]);
        assert_eq!(heard.code(), 200, "{heard:?}");
    }
}

#[test]
fn an_address_of_ipv6_is_inspected_like_a_name() {
    let world = World::new(
        "[[egress]]\nname = \"six\"\nhosts = [\"2001:db8::10\"]\nprotocols = [\"https\"]\n\
         addresses = [\"2001:db8::/32\"]\ntls = \"inspect\"\n",
    );
    for heard in [
        world.curl_proxied(&["-g", "https://[2001:db8::10]/ok"]),
        world.curl(&["-g", "https://[2001:db8::10]/ok"]),
    ] {
        assert_eq!((heard.status, heard.body()), (0, "ok"), "{heard:?}");
    }
}

#[test]
fn large_bodies_stream_through_both_ways() {
    let world = World::new(RULES);
    let path = world.directory().join("body");
    std::fs::write(&path, vec![b'x'; 8 << 20]).unwrap();
    let upload = format!("@{}", path.display());
    for version in ["--http1.1", "--http2"] {
        let heard = world.curl(&[version, "--data-binary", &upload, "https://up.test/digest"]);
        assert_eq!(heard.body(), "8388608 bytes", "{heard:?}");
        let size = ["-o", "/dev/null", "-w", "%{size_download}", "https://up.test/big"];
        let heard = world.curl(&[&[version][..], &size].concat());
        assert!(heard.out.ends_with("67108864"), "{heard:?}");
    }
}

#[test]
fn trailers_come_through() {
    let world = World::new(RULES);
    for version in ["--http1.1", "--http2"] {
        let heard = world.curl(&[
            version,
            "-H",
            "TE: trailers",
            "-D",
            "-",
            "-o",
            "/dev/null",
            "https://up.test/trailers",
        ]);
        assert!(heard.out.contains("x-sum: 7"), "{version}: {heard:?}");
    }
}

#[test]
fn a_websocket_is_decided_and_then_passed() {
    let world = World::new(RULES);
    let program = r#"
import ssl, socket, sys
def open(host):
    context = ssl.create_default_context(cafile=sys.argv[1])
    s = context.wrap_socket(socket.create_connection((host, 443), 5), server_hostname=host)
    s.sendall(f"GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = s.recv(1)
        if not byte: break
        head += byte
    return s, head
s, head = open("up.test")
print(head.split(b"\r\n")[0].decode())
for n in (1, 70000):
    frame = bytes([0x82, n]) if n < 126 else b"\x82\x7f" + n.to_bytes(8, "big")
    s.sendall(frame + b"x" * n)
    got = b""
    while len(got) < n + len(frame): got += s.recv(65536)
    print(len(got) - len(frame))
s, head = open("up.test")
word, key = b"svph_" + b"a" * 32, b"\x07\x80\x01\xff"
masked = bytes(byte ^ key[place % 4] for place, byte in enumerate(word))
s.sendall(bytes([0x81, 0x80 | len(word)]) + key + masked)
try:
    print("echo", len(s.recv(4096)))
except OSError:
    print("echo", 0)
s, head = open("other.test")
print(head.split(b"\r\n")[0].decode(), b"websocket_not_allowed" in s.recv(4096))
"#;
    let authority = world.authority();
    let heard = world.run("python3", &["-c", program, &authority.display().to_string()]);
    let lines: Vec<&str> = heard.out.lines().collect();
    assert_eq!(lines.len(), 5, "{heard:?}");
    assert!(lines[0].starts_with("HTTP/1.1 101"), "{heard:?}");
    assert_eq!(&lines[1..3], ["1", "70000"], "{heard:?}");
    assert_eq!(lines[3], "echo 0", "a placeholder has gone out: {heard:?}");
    assert!(lines[4].starts_with("HTTP/1.1 403") && lines[4].ends_with("True"), "{heard:?}");
    assert_eq!(refusals(&world), [("placeholder_misplaced", "up.test:443".to_owned())]);
}

/// What was refused on account of a credential so far, where it was going, each by a rule that is told.
fn refusals(world: &World) -> Vec<(&'static str, String)> {
    let refused = |event: Event| match event {
        Event::Credential(event) => {
            let code = event.refusal?.code.as_str();
            assert!(event.number > 0 && !event.rule.is_empty(), "{code}");
            Some((code, event.destination.to_string()))
        }
        Event::Decided(_) | Event::Ended(_) => None,
    };
    world.events.all().into_iter().filter_map(refused).collect()
}

#[test]
fn connections_to_upstreams_are_used_again() {
    let world = World::new(RULES);
    for _ in 0..3 {
        let heard = world.curl(&["http://up.test/ok", "http://up.test/ok", "https://up.test/ok"]);
        assert_eq!(heard.status, 0, "{heard:?}");
    }
    let seen = world.seen.connections();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!(world.seen.requests().len(), 9);
}

#[test]
fn a_body_that_a_signature_covers_is_collected_up_to_its_bound() {
    let world = World::new(RULES);
    let heard = world.curl(&["-H", "X-Digest: 1", "-d", "hello", "https://up.test/echo"]);
    assert_eq!(heard.body(), "hello", "{heard:?}");
    let large = "x".repeat(2000);
    let heard = world.curl(&["-H", "X-Digest: 1", "-d", &large, "https://up.test/echo"]);
    assert_eq!(heard.code(), 413, "{heard:?}");
}

#[test]
fn a_websocket_is_asked_for_again_with_a_credential_that_was_renewed() {
    let binding = "[[credential]]\nname = \"token\"\nhosts = [\"up.test\"]\nheader = \"x-token\"\n";
    let world = World::new(&format!("{RULES}{binding}"));
    let upgrade = ["-H", "Connection: Upgrade", "-H", "Upgrade: websocket"];
    let versions = ["-H", "Sec-WebSocket-Version: 13", "-H", "Sec-WebSocket-Key: eA=="];
    let url = ["--http1.1", "--max-time", "5", "https://up.test/ws-renewed"];
    let heard = world.curl(&[&upgrade[..], &versions, &url].concat());
    assert_eq!(heard.code(), 101, "{heard:?}");
    assert_eq!(world.seen.requests(), ["GET up.test /ws-renewed"; 2]);
}

#[test]
fn a_redirect_is_a_response_like_any_other() {
    let world = World::new(RULES);
    let heard = world.curl_proxied(&["-L", "http://up.test/redirect"]);
    assert_eq!(heard.code(), 403, "{heard:?}");
    assert_eq!(world.seen.requests(), ["GET up.test /redirect"]);
}

#[test]
fn a_credential_goes_to_its_host_only_and_never_comes_back() {
    let binding = "[[credential]]\nname = \"key\"\nhosts = [\"up.test\"]\nheader = \"x-key\"\n";
    let world = World::new(&format!("{RULES}{binding}"));
    for version in ["--http1.1", "--http2"] {
        let heard = world.curl(&[version, "-H", "X-Key: mine", "https://up.test/keyed"]);
        assert_eq!((heard.code(), heard.body()), (200, "true"), "{heard:?}");
        let heard = world.curl(&[version, "https://other.test/keyed"]);
        assert_eq!(heard.body(), "false", "{heard:?}");
        let heard = world.curl(&[version, "https://up.test/headers"]);
        assert!(heard.out.contains("credential_reflected"), "it is told why: {heard:?}");
        assert!(!heard.out.contains(SECRET) && !heard.err.contains(SECRET), "{heard:?}");
    }
    let heard = world.curl(&["http://up.test/keyed"]);
    assert_eq!(heard.body(), "false", "not without TLS: {heard:?}");
    let reflected = ("credential_reflected", "up.test:443".to_owned());
    assert_eq!(refusals(&world), [reflected.clone(), reflected]);
    assert!(!format!("{:?}", world.events.all()).contains(SECRET));
}

#[test]
fn a_body_that_must_not_leave_does_not_leave_by_a_second_connection_either() {
    let world = World::new(RULES);
    let placeholder = format!("{{\"key\": \"svph_{}\"}}", "a".repeat(32));
    for version in ["--http1.1", "--http2"] {
        // The upstream's connection is kept, so a request that fails on it would be sent once more.
        assert_eq!(world.curl(&[version, "https://up.test/ok"]).code(), 200);
        let heard = world.curl(&[
            version,
            "-X",
            "PUT",
            "-H",
            "X-Digest: 1", // has the body collected, so that it is at hand
            "--data-binary",
            &placeholder,
            "https://up.test/echo",
        ]);
        assert_ne!(heard.code(), 200, "{heard:?}");
        assert!(!heard.out.contains("svph_a"), "{heard:?}");
    }
}
