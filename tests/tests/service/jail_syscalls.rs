//! What a payload can ask of the kernel.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use supervisor_api::{LimitsRequest, SubmitRequest, UniqueMap};
use supervisor_tests::{AGENT, World, attack, bash, milliseconds, status_field, unconfined};

const EPERM: i32 = 1;
const ENOSYS: i32 = 38;

/// Calls that must be forbidden whatever their arguments are, x86-64: the kernel's programs, mounts,
/// namespaces, tracing, keys, handles, other ways to do I/O, and the host's administration.
const FORBIDDEN: [i32; 66] = [
    101, 103, 153, 155, 161, 162, 163, 165, 166, 167, 168, 169, 170, 171, 172, 173, 175, 176, 179,
    206, 207, 208, 209, 210, 246, 248, 249, 250, 272, 298, 300, 301, 303, 304, 308, 310, 311, 312,
    313, 317, 320, 321, 323, 333, 425, 426, 427, 428, 429, 430, 431, 432, 433, 438, 440, 442, 443,
    237, 238, 279, 240, 241, 242, 243, 244, 245,
];

/// Calls of every ordinary program, x86-64.
const ORDINARY: [i32; 24] =
    [2, 3, 4, 5, 8, 9, 10, 11, 13, 14, 16, 17, 21, 39, 72, 79, 89, 96, 97, 102, 186, 228, 257, 318];

#[cfg(target_arch = "x86_64")]
fn sweep(world: &World, from: u32, to: u32) -> HashMap<i32, i32> {
    let source = attack(include_str!("../payloads/sweep.py"));
    let limits =
        LimitsRequest { wall_time: Some(milliseconds(60_000)), ..LimitsRequest::default() };
    let args = vec![from.to_string(), to.to_string()];
    let request = SubmitRequest { args, limits, ..source };
    let ended = world.agent(AGENT).run(&request);
    ended.expect_exit(0);
    let pair = |line: &str| {
        let (number, how) = line.split_once(' ')?;
        Some((number.parse().ok()?, how.parse().ok()?))
    };
    ended.stdout.lines().filter_map(pair).collect()
}

/// SY-01. A number that no table has is unknown, as on a kernel without the call; none that is known
/// ends the caller.
#[cfg(target_arch = "x86_64")]
#[test]
fn every_system_call_number_is_either_allowed_forbidden_or_unknown() {
    let world = World::open();
    let answers = sweep(&world, 0, 700);
    let killed: Vec<_> = answers.iter().filter(|(_, how)| **how < 0).collect();
    assert!(killed.is_empty(), "killed by {killed:?}");
    for number in FORBIDDEN {
        let answer = answers.get(&number);
        assert!([Some(&EPERM), Some(&ENOSYS)].contains(&answer), "{number}: {answer:?}");
    }
    for number in ORDINARY {
        assert_ne!(answers[&number], ENOSYS, "{number}");
    }
    // The kernel lets 335 and 336, the ways back from probes of its own, past every filter.
    for number in (337..424).chain(500..700) {
        assert_eq!(answers[&number], ENOSYS, "{number}");
    }
}

/// SY-02. Outside, a 64-bit program can make 32-bit calls, unless the kernel was built without.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_entries_for_32_bit_programs_end_whoever_uses_them() {
    let world = World::open();
    let source = format!(
        "{}\nprint('64', execute(GETPID_64))\nprint('32', execute(GETPID_32))\n\
         print('x32', execute(GETPID_X32))",
        include_str!("../payloads/machine_code.py")
    );
    let ended = world.agent(AGENT).run(&attack(&source));
    ended.expect_exit(0);
    for line in ["64 exited", "32 SIGSYS", "x32 SIGSYS"] {
        assert!(ended.stdout.lines().any(|each| each == line), "{}", ended.stdout);
    }
    let first = format!(
        "{}\nattempt('32', lambda: execute(GETPID_32))",
        include_str!("../payloads/machine_code.py")
    );
    assert!(["'exited'", "'SIGSEGV'"].contains(&unconfined(&first).expect_allowed("32")));
}

/// SY-04. The kernel looks at the lower half; so must the filter.
#[test]
fn bits_that_the_kernel_ignores_do_not_open_a_door() {
    let world = World::open();
    let source = "
letter = ctypes.create_string_buffer(b'i')
for half in (0, 1 << 32, 0xFFFFFFFF << 32):
    for name, arguments in (
        ('AF_ALG', ('socket', 38 | half, 5, 0)), ('AF_VSOCK', ('socket', 40 | half, 1, 0)),
        ('AF_PACKET', ('socket', 17 | half, 3, 0)), ('raw', ('socket', 2, 3 | half, 1)),
        ('TIOCSTI', ('ioctl', 0, 0x5412 | half, letter)),
        ('clone', ('clone', 0x10000011 | half, 0, 0, 0, 0)),
        ('unshare', ('unshare', 0x10000000 | half)), ('filter', ('prctl', 22 | half, 2, 0, 0, 0)),
        ('personality', ('personality', 0x40000 | half)),
    ):
        attempt(f'{name} {half:#x}', lambda: call(*arguments))
";
    world.agent(AGENT).run(&attack(source)).attempts().expect_all_denied(&["EPERM"]);
    let outside = "attempt('truncated', lambda: call('socket', 1 | 1 << 32, 1, 0))";
    unconfined(outside).expect_allowed("truncated");
}

/// SY-05, SY-08 and the rest of what has a long record of holes.
#[test]
fn asynchronous_io_keys_and_kernel_programs_are_out_of_reach() {
    let world = World::open();
    let source = "
buffer = ctypes.create_string_buffer(120)
attempt('ring setup', lambda: call('io_uring_setup', 8, buffer))
attempt('ring enter', lambda: call('io_uring_enter', 0, 1, 1, 0, 0, 0))
attempt('ring register', lambda: call('io_uring_register', 0, 0, 0, 0))
attempt('add key', lambda: call('add_key', b'user', b'canary', b'x', 1, -3))
attempt('request key', lambda: call('request_key', b'user', b'canary', 0, -3))
for operation in range(33):
    attempt(f'keyctl {operation}', lambda: call('keyctl', operation, -3, 0, 0, 0))
attempt('filter', lambda: call('seccomp', 1, 0, buffer))
attempt('filter by prctl', lambda: call('prctl', 22, 2, buffer, 0, 0))
";
    let attempts = world.agent(AGENT).run(&attack(source)).attempts();
    attempts.expect_all_denied(&["EPERM", "ENOSYS"]);
    let outside = "attempt('add', lambda: call('add_key', b'user', b'canary', b'x', 1, -1))";
    unconfined(outside).expect_allowed("add");
}

/// SY-34. The image's files are the host's own, and so are their pages in memory.
#[test]
fn a_payload_neither_asks_about_the_hosts_page_cache_nor_empties_it_nor_has_its_pages_in_a_pipe() {
    let source = "
file = os.open('/usr/bin/env', os.O_RDONLY)
os.pread(file, 10, 0)
reader, writer = os.pipe()
attempt('sendfile', lambda: os.sendfile(writer, file, 0, 100))
attempt('ask', lambda: os.preadv(file, [bytearray(10)], 0, os.RWF_NOWAIT))
attempt('forget', lambda: os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED))
";
    assert_eq!(unconfined(source).denied(), []);
    let attempts = World::open().agent(AGENT).run(&attack(source)).attempts();
    assert_eq!(
        attempts.denied(),
        [("sendfile", "EINVAL"), ("ask", "ENOTSUP"), ("forget", "EINVAL")]
    );
}

/// SY-06.
#[test]
fn sockets_are_tcp_udp_and_the_list_of_interfaces_and_nothing_else() {
    let world = World::open();
    let source = include_str!("../payloads/families.py");
    let attempts = world.agent(AGENT).run(&attack(source)).attempts();
    let ordinary = ["family 2 1", "family 2 2", "family 10 1", "family 10 2"];
    for (name, _) in attempts.allowed() {
        let routes = ["family 16 2", "family 16 3"].contains(&name); // AF_NETLINK, NETLINK_ROUTE
        assert!(routes || ordinary.contains(&name) || name.starts_with("ordinary"), "{name}");
    }
    for (name, error) in attempts.denied() {
        assert!(["EPERM", "EINVAL"].contains(&error), "the kernel, not the filter: {name} {error}");
    }
    for name in ordinary.iter().chain(&["ordinary 2 1 6", "ordinary 2 2 17", "ordinary 16 3 0"]) {
        attempts.expect_allowed(name);
    }
    let pairs = "
attempt('stream', lambda: socket.socketpair() and 'a pair')
attempt('datagram', lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) and 'a pair')
";
    let attempts = world.agent(AGENT).run(&attack(pairs)).attempts();
    attempts.expect_allowed("stream");
    attempts.expect_denied("datagram", &["EPERM"]);
}

/// SY-12. Looked at from the host, thread by thread.
#[test]
fn every_thread_of_a_sandbox_is_confined_alike() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let source = "
import threading
for _ in range(3):
    if os.fork() == 0:
        signal.pause()
for _ in range(10):
    threading.Thread(target=signal.pause, daemon=True).start()
print('up', flush=True)
signal.pause()
";
    let id = agent.start(&attack(source));
    agent.wait_for_words(id, "up");
    let processes = world.processes_of(id);
    let mut threads = Vec::new();
    for pid in &processes {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
        threads.extend(tasks.flatten().map(|task| task.path().join("status")));
    }
    assert!(threads.len() >= 15, "{threads:?}");
    let init = format!("/proc/{}/", processes[0]);
    let mut filters = Vec::new();
    for thread in &threads {
        let field = |name| status_field(thread, name).expect("it runs");
        let held = ["Seccomp", "NoNewPrivs", "CapBnd", "CapEff", "CapPrm"].map(field);
        let none = "0000000000000000";
        assert_eq!(held, ["2", "1", none, none, none], "{thread:?}");
        if !thread.starts_with(&init) {
            filters.push(field("Seccomp_filters"));
        }
    }
    filters.dedup();
    assert_eq!(filters.len(), 1, "{filters:?}");
}

/// SY-13.
#[test]
fn the_daemon_and_the_launcher_are_confined_too() {
    let world = World::open();
    let none = "0000000000000000";
    let field = |pid: u32, name| {
        status_field(Path::new(&format!("/proc/{pid}/status")), name).expect("it runs")
    };
    let (daemon, launcher) = (world.daemon_pid(), world.launcher_pid());
    let socket = fs::metadata(world.socket()).expect("there is one");
    assert_eq!(
        supervisor_tests::owner_uid(daemon),
        Some(socket.uid()),
        "the socket is the daemon's own"
    );
    assert_ne!(socket.uid(), 0);
    for (name, value) in [("CapEff", none), ("CapPrm", none), ("Seccomp", "2"), ("NoNewPrivs", "1")]
    {
        assert_eq!(field(daemon, name), value, "{name} of the daemon");
    }
    for (name, value) in [("CapInh", none), ("CapAmb", none), ("Seccomp", "2"), ("NoNewPrivs", "1")]
    {
        assert_eq!(field(launcher, name), value, "{name} of the launcher");
    }
    // SYS_ADMIN, NET_ADMIN, NET_BIND_SERVICE for a sandbox's own sockets, SETUID, SETGID, KILL for
    // sandboxes, and DAC_OVERRIDE for a cgroup that wasn't delegated.
    let kept: u64 = 1 << 21 | 1 << 12 | 1 << 10 | 1 << 7 | 1 << 6 | 1 << 5 | 1 << 1;
    for name in ["CapEff", "CapPrm", "CapBnd"] {
        let held = u64::from_str_radix(&field(launcher, name), 16).expect("hexadecimal");
        assert_eq!(held & !kept, 0, "{name} of the launcher is {held:x}");
    }
}

/// SY-14, the calls that programs need although an attack could use them.
#[test]
fn threads_children_and_shared_memory_work() {
    let world = World::open();
    let script = "
        set -e
        echo hi | cat
        (sleep 0 & wait)
        python3 - <<'END'
import mmap, multiprocessing, os, socket, subprocess, threading
assert subprocess.run(['sh', '-c', 'echo hi|cat'], capture_output=True).stdout == b'hi\\n'
thread = threading.Thread(target=print, args=('thread',)); thread.start(); thread.join()
with multiprocessing.get_context('fork').Pool(2) as pool: assert pool.map(abs, [-1, -2]) == [1, 2]
mmap.mmap(-1, 4096); assert os.cpu_count() >= 1
END
        echo $GREETING";
    let env = UniqueMap([("GREETING".to_owned(), "done".to_owned())].into());
    let ended = world.agent(AGENT).run(&SubmitRequest { env, ..bash(script) });
    ended.expect_exit(0);
    assert_eq!(ended.stdout, "hi\nthread\ndone\n", "{}", ended.stderr);
}
