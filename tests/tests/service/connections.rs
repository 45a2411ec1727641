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

/// RS-38. So many connections of each listener are so many of an execution, whatever has the listeners: four threads of each
/// of two processes, by IPv4 and by IPv6.
#[test]
fn sockets_that_listen_end_at_their_number_and_one_more_listens_for_each_that_is_closed() {
    let world = World::open();
    let source = "
import socket, threading
def listen(family):
    made = socket.socket(family, socket.SOCK_STREAM)
    made.bind(('127.0.0.1' if family == socket.AF_INET else '::1', 0))
    made.listen()
    return made
for _ in range(1000): # none of them is kept
    listen(socket.AF_INET).close()
kept, refused = [], set()
def take(which):
    family = (socket.AF_INET, socket.AF_INET6)[which % 2]
    for _ in range(60):
        try:
            kept.append(listen(family))
        except OSError as problem:
            refused.add(errno.errorcode[problem.errno])
def take_all():
    takers = [threading.Thread(target=take, args=(which,)) for which in range(4)]
    for taker in takers: taker.start()
    for taker in takers: taker.join()
ours, theirs = os.pipe(), os.pipe()
if os.fork() == 0:
    take_all()
    os.write(theirs[1], struct.pack('=I', len(kept)))
    os.read(ours[0], 1)
    os._exit(0)
other, = struct.unpack('=I', os.read(theirs[0], 4))
take_all()
print('KEPT', len(kept) + other)
print('refused', *refused, flush=True)
os.write(ours[1], b'x')
os.wait() # and with it all that it had
again = listen(socket.AF_INET)
for backlog in (1, 50):
    again.listen(backlog) # on the same socket
come = socket.create_connection(again.getsockname())
again.accept()[0].close()
print('listens again', flush=True)
";
    let ended = world.agent(AGENT).run(&attack(source));
    ended.expect_exit(0);
    let kept = ended.numbers("KEPT ")[0];
    assert!((128..=148).contains(&kept), "{kept}");
    assert!(ended.stdout.contains("refused ENOBUFS\n"), "{}", ended.stdout);
    assert!(ended.stdout.ends_with("listens again\n"), "{}", ended.stdout);
}
