//! Clients that nobody has told anything but what a sandbox's environment says.

use crate::world::World;

const RULES: &str = "[[egress]]\nname = \"up\"\nhosts = [\"up.test\"]\nprotocols = [\"http\", \"https\"]\n\
                     addresses = [\"203.0.113.0/24\"]\ntls = \"inspect\"\nmethods = [\"GET\"]\n";

#[test]
fn openssl_verifies_an_inspected_connection() {
    let world = World::new(RULES);
    let authority = world.authority().display().to_string();
    let program = format!(
        "printf 'GET /ok HTTP/1.1\\r\\nHost: up.test\\r\\nConnection: close\\r\\n\\r\\n' | \
         openssl s_client -quiet -verify_return_error -CAfile {authority} \
         -verify_hostname up.test -servername up.test -connect up.test:443"
    );
    for proxy in ["", " -proxy 127.0.0.1:3128"] {
        let heard = world.run("sh", &["-c", &format!("{program}{proxy} -ign_eof")]);
        assert!(heard.out.contains("200 OK") && heard.out.ends_with("ok"), "{heard:?}");
    }
    for old in ["-tls1", "-tls1_1"] {
        let heard = world.run("sh", &["-c", &format!("{program} {old} -cipher ALL:@SECLEVEL=0")]);
        assert!(!heard.out.contains("200 OK"), "{heard:?}");
    }
}

#[test]
fn python_comes_through_by_proxy_variables_and_without() {
    let world = World::new(RULES);
    let authority = world.authority().display().to_string();
    let program = "import urllib.request, urllib.error\n\
        for scheme in ('http', 'https'):\n \
        print(urllib.request.urlopen(scheme + '://up.test/ok', timeout=20).read().decode())\n\
        try: urllib.request.urlopen('https://up.test/ok', b'x', timeout=20)\n\
        except urllib.error.HTTPError as e: print(e.code, e.headers['Proxy-Status'][:11], 'remedy' in e.read().decode())\n";
    let direct = format!("SSL_CERT_FILE={authority}");
    let proxied = "http_proxy=http://127.0.0.1:3128 https_proxy=http://127.0.0.1:3128";
    for environment in [direct.clone(), format!("{direct} {proxied}")] {
        let mut arguments =
            vec!["-u", "HTTP_PROXY", "-u", "HTTPS_PROXY", "-u", "NO_PROXY", "-u", "no_proxy"];
        arguments.extend(environment.split(' '));
        let heard = world.run("env", &[&arguments[..], &["python3", "-c", program]].concat());
        assert_eq!(heard.out, "ok\nok\n403 supervisord True\n", "{environment}: {heard:?}");
    }
}

#[test]
fn streams_that_are_reset_at_once_end_their_connection_and_no_other() {
    let world = World::new(RULES);
    let program = r#"
import socket, ssl, struct, sys
context = ssl.create_default_context(cafile=sys.argv[1])
context.set_alpn_protocols(["h2"])
s = context.wrap_socket(socket.create_connection(("up.test", 443), 20), server_hostname="up.test")
def frame(kind, flags, stream, payload=b""):
    return struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream) + payload
head = b"\x82\x87\x04\x04/big\x41\x07up.test"
s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))
try:
    for n in range(5000):
        s.sendall(frame(1, 5, 2 * n + 1, head) + frame(3, 0, 2 * n + 1, struct.pack("!I", 8)))
    data = b""
    while True:
        more = s.recv(65536)
        if not more: break
        data += more
    at, last = 0, None
    while at + 9 <= len(data):
        length = int.from_bytes(data[at:at + 3], "big")
        if data[at + 3] == 7: last = int.from_bytes(data[at + 13:at + 17], "big")
        at += 9 + length
    print("goaway", last)
except OSError as e:
    print("closed", e)
"#;
    let heard = world.run(
        "timeout",
        &["60", "python3", "-c", program, &world.authority().display().to_string()],
    );
    assert!(heard.out.starts_with("goaway 11") || heard.out.starts_with("closed"), "{heard:?}");
    assert_eq!(world.curl(&["https://up.test/ok"]).code(), 200);
}
