//! That a payload has no privilege, can't get any, and that everything around it is its own.

use std::collections::HashSet;

use supervisor_tests::{AGENT, World, attack, bash, namespace, unconfined};

/// The seven that a sandbox has of its own.
const KINDS: [&str; 7] = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"];

/// NS-01.
#[test]
fn a_payload_has_no_privilege_of_any_kind() {
    let world = World::open();
    let source = "
for line in open('/proc/self/status'):
    if line.split(':')[0] in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs',
                              'Seccomp', 'Groups'):
        print(line.strip())
print(os.getresuid(), os.getresgid(), os.getgroups())
PR_SET_SECUREBITS, PR_CAP_AMBIENT, PR_SET_NO_NEW_PRIVS = 28, 47, 38
attempt('root', lambda: os.setuid(0))
attempt('init', lambda: os.setresuid(0, 0, 0))
attempt('groups', lambda: os.setgroups([0]))
attempt('securebits', lambda: call('prctl', PR_SET_SECUREBITS, 0, 0, 0, 0))
attempt('ambient', lambda: call('prctl', PR_CAP_AMBIENT, 2, 0, 0, 0))
attempt('new privileges', lambda: call('prctl', PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0))
attempt('host name', lambda: socket.sethostname('other'))
attempt('priority', lambda: os.nice(-5))
attempt('clock', lambda: time.clock_settime(time.CLOCK_REALTIME, 0))
";
    let ended = world.agent(AGENT).run(&attack(source));
    ended.attempts().expect_all_denied(&["EPERM", "EINVAL", "EACCES"]);
    let none = "0000000000000000";
    for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(ended.stdout.contains(&format!("{name}:\t{none}\n")), "{}", ended.stdout);
    }
    for line in ["Groups:\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n"] {
        assert!(ended.stdout.contains(line), "{line} in {}", ended.stdout);
    }
    let ids = "(1000, 1000, 1000) (1000, 1000, 1000) []\n";
    assert!(ended.stdout.contains(ids), "{}", ended.stdout);
}

/// NS-02. Root can do it outside, so only the sandbox is in the way.
#[test]
fn a_payload_cannot_make_a_namespace_or_join_one() {
    let world = World::open();
    let source = include_str!("../payloads/namespaces.py");
    let attempts = world.agent(AGENT).run(&attack(source)).attempts();
    attempts.expect_denied("unshare", &["EPERM"]);
    attempts.expect_denied("clone ", &["EPERM"]);
    attempts.expect_denied("clone3", &["ENOSYS"]);
    attempts.expect_denied("join", &["EPERM"]);
    let outside = "attempt('unshare', lambda: call('unshare', 0x4000000))";
    unconfined(outside).expect_allowed("unshare");
}

/// NS-04. Looked at from the host, because what a payload sees of itself could be made up.
#[test]
fn every_namespace_of_a_sandbox_is_fresh() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let ids = [(); 2].map(|()| agent.start(&bash("echo up; exec sleep 300")));
    let mut seen = Vec::new();
    for id in ids {
        agent.wait_for_words(id, "up");
        let processes = world.processes_of(id);
        assert_eq!(processes.len(), 2, "init and the payload");
        for kind in KINDS {
            let of_each: HashSet<_> = processes.iter().map(|pid| namespace(*pid, kind)).collect();
            assert_eq!(of_each.len(), 1, "{kind} of {processes:?}");
        }
        seen.push(processes[0]);
    }
    seen.extend([world.daemon_pid(), world.launcher_pid(), std::process::id()]);
    let (a, b, others) = (seen[0], seen[1], &seen[2..]);
    for kind in KINDS {
        assert_ne!(namespace(a, kind), namespace(b, kind), "{kind}");
        for other in others {
            assert_ne!(namespace(a, kind), namespace(*other, kind), "{kind} of {other}");
            assert_ne!(namespace(b, kind), namespace(*other, kind), "{kind} of {other}");
        }
    }
}

/// Each live sandbox has host ids that nobody else has; nobody in it is the host's root.
#[test]
fn no_two_sandboxes_share_a_host_id() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let mut owners = HashSet::new();
    for _ in 0..3 {
        let id = agent.start(&bash("echo up; exec sleep 300"));
        agent.wait_for_words(id, "up");
        for pid in world.processes_of(id) {
            let uid = supervisor_tests::owner_uid(pid).expect("it runs");
            assert!(supervisor_tests::is_sandbox_id(uid), "{uid}");
            assert!(owners.insert(uid), "{uid} is there twice");
        }
    }
}

/// RS-31. Whose a user namespace is, is counted for by the kernel; looked at from the host.
#[test]
fn the_user_namespace_of_a_sandbox_is_its_own_ids() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let mut owners = HashSet::new();
    for _ in 0..2 {
        let id = agent.start(&bash("echo up; exec sleep 300"));
        agent.wait_for_words(id, "up");
        let init = world.processes_of(id)[0];
        let uid = supervisor_tests::owner_uid(init).expect("it runs");
        let source = format!(
            "
NS_GET_OWNER_UID = 0xb704
owner = ctypes.c_uint()
namespace = os.open('/proc/{init}/ns/user', os.O_RDONLY)
attempt('ask', lambda: fcntl.ioctl(namespace, NS_GET_OWNER_UID, owner) or owner.value)
"
        );
        assert_eq!(unconfined(&source).expect_allowed("ask"), uid.to_string());
        assert!(owners.insert(uid), "{uid} has two");
    }
}

/// NS-06.
#[test]
fn file_handles_and_a_change_of_root_lead_nowhere() {
    let world = World::open();
    let source = "
root = os.open('/', os.O_RDONLY)
handle = struct.pack('Ii', 8, 1) + struct.pack('Q', 2)
attempt('open handle', lambda: call('open_by_handle_at', root, handle, 0))
place = ctypes.create_string_buffer(struct.pack('Ii', 128, 0) + bytes(128))
number = ctypes.c_int()
attempt('make handle', lambda: call('name_to_handle_at', -100, b'/', place, ctypes.byref(number), 0))
attempt('chroot', lambda: os.chroot('.'))
attempt('pivot', lambda: call('pivot_root', b'.', b'.'))
attempt('clone tree', lambda: call('open_tree', -100, b'/', 1))
attempt('new mount', lambda: call('fsopen', b'tmpfs', 0))
for _ in range(50):
    os.chdir('..')
print('ROOT', sorted(os.listdir('.')) == sorted(os.listdir('/')), os.path.exists('workspace'))
";
    let ended = world.agent(AGENT).run(&attack(source));
    ended.attempts().expect_all_denied(&["EPERM"]);
    assert!(ended.stdout.ends_with("ROOT True True\n"), "{}", ended.stdout);
}

/// The network namespace has the loopback interface and no other, and what listens on the host can't
/// be reached on it.
#[test]
fn a_payload_has_a_loopback_interface_and_no_other_network() {
    let world = World::open();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let source = format!(
        "
print('INTERFACES', [name for _, name in socket.if_nameindex()])
def connect(address):
    with socket.create_connection(address, 5) as made:
        return made.getpeername()
attempt('host', lambda: connect(('127.0.0.1', {port})))
for address in ('192.0.2.1', '10.0.0.1', '169.254.169.254', '1.1.1.1'):
    attempt(f'away {{address}}', lambda: connect((address, 80)))
own = socket.create_server(('127.0.0.1', 0))
attempt('own', lambda: connect(own.getsockname()))
"
    );
    let ended = world.agent(AGENT).run(&attack(&source));
    let attempts = ended.attempts();
    assert!(ended.stdout.starts_with("INTERFACES ['lo']\n"), "{}", ended.stdout);
    attempts.expect_denied("host", &["ECONNREFUSED"]);
    attempts.expect_denied("away", &["ENETUNREACH"]);
    attempts.expect_allowed("own");
    unconfined(&source).expect_allowed("host");
}
