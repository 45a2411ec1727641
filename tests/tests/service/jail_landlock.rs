//! What Landlock holds and what it doesn't: there the mounts, the modes and the filter stand in.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};

use supervisor_api::{ControlReport, ControlStatus, ErrorCode, Mode, SubmitRequest};
use supervisor_tests::{AGENT, Planted, World, argv, attack, bash, is_enforced, unconfined};

/// LL-01.
#[test]
fn every_right_over_files_holds_in_the_workspace_and_none_outside() {
    let world = World::open();
    let source = include_str!("../payloads/rights.py");
    let ended = world.agent(AGENT).run(&attack(source));
    assert!(is_enforced(&ended.execution, "landlock_files"), "this kernel's Landlock is too old");
    let attempts = ended.attempts();
    for (name, error) in attempts.denied() {
        let refusals = ["EACCES", "EROFS", "EPERM", "EXDEV", "ENOENT"];
        assert!(refusals.contains(&error), "{name} {error}");
        assert!(!name.starts_with("own ") || name == "own socket", "{name} {error}");
    }
    for (name, _) in attempts.allowed() {
        assert!(name.starts_with("own ") || name.ends_with(" list"), "{name}");
    }
    attempts.expect_denied("host make", &["EACCES", "EROFS", "EXDEV"]);
    attempts.expect_denied("own socket", &["EPERM"]);
}

/// Whether the policy for code that nobody vouches for can be had. It wants every control: a strict service on a
/// kernel that lacks one refuses it by the name.
fn is_strict_policy_here(world: &World) -> bool {
    let doctor = world.agent(AGENT).doctor();
    let lacks = |line: &&ControlReport| line.status != ControlStatus::Enforced;
    let landlock = doctor.controls.iter().filter(|line| line.control.starts_with("landlock_"));
    let lacking: Vec<_> =
        landlock.filter(lacks).map(|line| format!("requires {}", line.control)).collect();
    if doctor.mode == Mode::Strict && !lacking.is_empty() {
        let refusal = world.agent(AGENT).submit(&strict(bash("true"))).err();
        let is_named = refusal.as_ref().is_some_and(|refusal| {
            refusal.code == ErrorCode::ControlMissing
                && lacking.iter().any(|words| refusal.detail.contains(words))
        });
        assert!(is_named, "{refusal:?}, not one of {lacking:?}");
        return false;
    }
    true
}

fn strict(request: SubmitRequest) -> SubmitRequest {
    SubmitRequest { policy: Some("untrusted-strict".to_owned()), ..request }
}

/// The policy for code that nobody vouches for makes files, and runs none of them.
#[test]
fn where_the_policy_says_so_nothing_that_was_written_can_be_executed() {
    let world = World::open();
    if !is_strict_policy_here(&world) {
        return;
    }
    let script = "cp /bin/true mine; ./mine; echo $?; cp /bin/true /tmp/mine; /tmp/mine; echo $?";
    assert_eq!(world.agent(AGENT).run(&strict(bash(script))).stdout, "126\n126\n");
    assert_eq!(world.agent(AGENT).run(&bash(script)).stdout, "0\n0\n");
    let direct = argv(&["bash", "-c", ": </dev/tcp/127.0.0.1/1"]);
    let ended = world.agent(AGENT).run(&strict(direct));
    let refusals = ["not permitted", "Permission denied"];
    let is_refused = refusals.iter().any(|words| ended.stderr.contains(words));
    assert!(is_refused, "{}", ended.stderr);
}

/// LL-32. A file in memory is on no mount that could forbid it, and no rule of Landlock's is about it. Where memory
/// is watched by looking at processes, there are none at all.
#[test]
fn where_the_policy_says_so_no_file_in_memory_can_be_executed() {
    let world = World::open();
    if !is_strict_policy_here(&world) {
        return;
    }
    let source = "
def execute(flags):
    made = os.memfd_create('program', flags)
    os.write(made, read('/bin/true', 1 << 22))
    child = os.fork()
    if child == 0:
        try:
            os.execve(f'/proc/self/fd/{made}', ['true'], {})
        except OSError as problem:
            os._exit(problem.errno)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status != 0:
        raise OSError(status, '')
    return 'executed'
for name, flags in (('plain', 0), ('executable', 0x10), ('sealed', 0x8)):
    attempt(name, lambda: execute(flags))
";
    let attempts = world.agent(AGENT).run(&strict(attack(source))).attempts();
    attempts.expect_all_denied(&["EACCES", "EINVAL", "ENOSYS"]);
    let ended = world.agent(AGENT).run(&attack(source));
    if is_enforced(&ended.execution, "memory_max") {
        ended.attempts().expect_allowed("plain");
    } else {
        ended.attempts().expect_all_denied(&["ENOSYS"]);
    }
}

/// A program's own attempt to reach listeners at these paths.
fn connect(paths: &[String]) -> String {
    format!(
        "
def stream(path):
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(5)
    made.connect(path)
    return 'connected'
for path in {paths:?}:
    attempt('stream ' + path, lambda: stream(path))
    attempt('datagram ' + path,
            lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', path))
    attempt('pair ' + path,
            lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].connect(path))
attempt('abstract', lambda: socket.socket(socket.AF_UNIX).bind(b'\\0supervisor-test'))
"
    )
}

/// LL-05. A read-only mount does not keep a socket in it from being connected to, and neither does
/// Landlock before its ABI 9.
#[test]
fn no_socket_of_the_host_can_be_reached_by_its_path() {
    let world = World::open();
    let planted = Planted::beneath("/usr/share", 0o755).expect("planted");
    let streams = planted.path().join("stream");
    let datagrams = planted.path().join("datagram");
    let listener = UnixListener::bind(&streams).expect("bound");
    let receiver = UnixDatagram::bind(&datagrams).expect("bound");
    for path in [&streams, &datagrams] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("open to all");
    }
    let paths: Vec<String> = [
        "/run/docker.sock",
        "/var/run/docker.sock",
        "/run/containerd/containerd.sock",
        "/run/dbus/system_bus_socket",
        "/run/systemd/private",
        "/run/systemd/notify",
        "/run/systemd/journal/stdout",
        "/run/supervisord/api.sock",
        "/run/user/0/bus",
    ]
    .iter()
    .map(|&path| path.to_owned())
    .chain([streams.display().to_string(), datagrams.display().to_string()])
    .chain([world.socket().display().to_string()])
    .collect();
    let source = connect(&paths);
    world.agent(AGENT).run(&attack(&source)).attempts().expect_all_denied(&["EPERM"]);
    for end in [listener.set_nonblocking(true), receiver.set_nonblocking(true)] {
        end.expect("set");
    }
    assert!(listener.accept().is_err(), "the listener was reached");
    assert!(receiver.recv(&mut [0]).is_err(), "the receiver was reached");
    let outside = unconfined(&source);
    outside.expect_allowed(&format!("stream {}", streams.display()));
}
