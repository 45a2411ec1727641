//! Connections within a sandbox, which are in the kernel's memory and no process's.

use supervisor_tests::{AGENT, World, attack};

/// RS-36. Connections that nobody accepts belong to nobody, so nobody is charged with them, and all on the host share
/// what there is for TCP. What a program asks for as its queue is cut by its network namespace's own number.
#[test]
fn connections_that_nobody_accepts_are_bounded() {
    let world = World::open();
    let source = "
import socket
def number(name):
    return open('/proc/sys/net/' + name).read().strip()
print('somaxconn', number('core/somaxconn'), flush=True)
print('tcp_max_tw_buckets', number('ipv4/tcp_max_tw_buckets'), flush=True)
for name in ('core/somaxconn', 'ipv4/tcp_max_tw_buckets'):
    attempt(name, lambda: write('/proc/sys/net/' + name, b'100000'))
listener = socket.create_server(('127.0.0.1', 0), backlog=4096)
def come():
    made = socket.socket()
    made.setblocking(False)
    made.connect_ex(listener.getsockname())
    return made
def waiting():
    told = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return struct.unpack_from('=II', told, 24) # of a listener: those that wait, and how many may
come_in = [come() for _ in range(100)]
patience = time.monotonic() + 30
while waiting()[0] < 65 and time.monotonic() < patience:
    pass
print('waiting', *waiting(), flush=True)
listener.settimeout(30)
for served in range(1, 101):
    listener.accept()[0].close()
print('served', served)
";
    let ended = world.agent(AGENT).run(&attack(source));
    ended.expect_exit(0);
    ended.attempts().expect_all_denied(&["EROFS", "EACCES"]);
    for line in ["somaxconn 64\n", "tcp_max_tw_buckets 4096\n", "waiting 65 64\n", "served 100\n"] {
        assert!(ended.stdout.contains(line), "{line}{}", ended.stdout);
    }
}
