//! What nobody reads is held in bounds: it is in the host's memory, and in none of the sandbox's.

use std::io::Write;
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

use crate::bounds::within_a_minute;
use crate::wire::connect;
use crate::world::World;

const RULES: &str = "[[egress]]\nname = \"up\"\nhosts = [\"up.test\"]\nprotocols = [\"http\"]\n\
                     addresses = [\"203.0.113.0/24\"]\n";

/// Twice what is asked for is what the kernel makes of it, and the packet that passes that it still takes.
const PACKET: u64 = 64 * 1024;
const PAYLOAD: u64 = 2 * 128 * 1024 + PACKET;
/// The third number of the host's tcp_wmem where it is as the kernel has it.
const PAYLOAD_WIDE: u64 = 4 * 1024 * 1024 + PACKET;
const UPSTREAM: u64 = 2 * 128 * 1024 + PACKET;
const UPSTREAM_WIDE: u64 = 2 * 2 * 1024 * 1024 + PACKET;
const WIDE: usize = 8;

/// A connected socket, as the kernel shows it: its ports, and the bytes that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    local: u16,
    remote: u16,
    sent: u64,
    received: u64,
}

/// The connected sockets of a thread's network namespace (proc_pid_net(5)).
fn held(thread: &str) -> Vec<Held> {
    let tables = ["tcp", "tcp6"].map(|table| format!("/proc/{thread}/net/{table}"));
    let text: String = tables.iter().map(|table| std::fs::read_to_string(table).unwrap()).collect();
    let one = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = |field: &str| u16::from_str_radix(field.rsplit_once(':')?.1, 16).ok();
        let (sent, received) = fields.get(4)?.split_once(':')?;
        let bytes = |field: &str| u64::from_str_radix(field, 16).ok();
        let held = Held {
            local: port(fields[1])?,
            remote: port(fields[2])?,
            sent: bytes(sent)?,
            received: bytes(received)?,
        };
        (fields[3] == "01").then_some(held)
    };
    text.lines().filter_map(one).collect()
}

#[test]
fn answers_that_nobody_reads_are_held_in_bounds() {
    let world = World::new(RULES);
    let mut unread: Vec<TcpStream> = (0..20).map(|_| connect("127.0.0.1:3128")).collect();
    for stream in &mut unread {
        stream.write_all(b"GET http://up.test/big HTTP/1.1\r\nHost: up.test\r\n\r\n").unwrap();
    }
    let look = || {
        let mut to_payload = held("thread-self");
        to_payload.retain(|socket| socket.local == 3128);
        let mut to_upstream = held(&format!("self/task/{}", world.host_thread));
        to_upstream.retain(|socket| socket.remote == 80);
        (to_payload, to_upstream)
    };
    // Everything is full once nothing moves and something waits everywhere.
    let (mut before, mut stills) = (look(), 0);
    within_a_minute(|| {
        sleep(Duration::from_millis(100));
        let now = look();
        let waits = now.0.iter().all(|socket| socket.sent > 0)
            && now.1.iter().all(|socket| socket.received > 0)
            && (now.0.len(), now.1.len()) == (unread.len(), unread.len());
        stills = if waits && now == before { stills + 1 } else { 0 };
        before = now;
        stills == 5
    });
    let (to_payload, to_upstream) = before;
    let wide = to_payload.iter().filter(|socket| socket.sent > PAYLOAD).count();
    assert!(wide <= WIDE, "{to_payload:?}");
    assert!(to_payload.iter().all(|socket| socket.sent <= PAYLOAD_WIDE), "{to_payload:?}");
    assert!(to_upstream.iter().all(|socket| socket.received <= UPSTREAM_WIDE), "{to_upstream:?}");
    let wide = to_upstream.iter().filter(|socket| socket.received > UPSTREAM).count();
    assert!(wide <= WIDE, "{to_upstream:?}");
}
