//! What a payload's processes can do to others, what they inherit, and that none is left.

use supervisor_api::{
    Content, Execution, InputFile, LimitsRequest, Outcome, SubmitRequest, TerminalSize, UniqueMap,
};
use supervisor_tests::{AGENT, World, argv, attack, bash, milliseconds, python, unconfined};

const OUT_OF_REACH: [&str; 5] = ["EPERM", "EACCES", "ENOSYS", "ENOENT", "ESRCH"];

fn limits(change: impl FnOnce(&mut LimitsRequest)) -> LimitsRequest {
    let mut limits = LimitsRequest::default();
    change(&mut limits);
    limits
}

fn names(names: &[(&str, &str)]) -> UniqueMap {
    UniqueMap(names.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
}

/// PR-01. The control is a process of one's own, outside.
#[test]
fn a_payload_cannot_look_into_init_or_trace_anything() {
    let world = World::open();
    let trace = include_str!("../payloads/trace.py");
    let inside = format!("{trace}\nlook_into('init', 1)\nlook_into('parent', os.getppid())");
    let attempts = world.agent(AGENT).run(&attack(&inside)).attempts();
    attempts.expect_all_denied(&OUT_OF_REACH);
    let child = "
pid = os.fork()
if pid == 0:
    time.sleep(60)
    os._exit(0)
look_into('child', pid)
os.kill(pid, signal.SIGKILL)
";
    let outside = unconfined(&format!("{trace}{child}"));
    outside.expect_allowed("child mem");
    outside.expect_allowed("child attach");
    let attempts = world.agent(AGENT).run(&attack(&format!("{trace}{child}"))).attempts();
    attempts.expect_denied("child attach", &["EPERM"]);
    attempts.expect_denied("child seize", &["EPERM"]);
    attempts.expect_denied("child descriptor", &["EPERM"]);
}

/// PR-31. What a payload's process is before its program is executed is a copy of init: by its own link, and by a
/// script that names the link as its interpreter, it can be executed once more. It is memory that nobody can change.
#[test]
fn no_program_of_ours_is_changed_through_a_link_to_itself() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let own = std::fs::read(supervisor_tests::program("supervisor-init")).expect("init is there");
    for words in [&["/proc/self/exe"][..], &["/proc/self/exe", "0"], &["/proc/self/exe", "3"]] {
        let ended = agent.run(&argv(words));
        assert!(ended.stderr.contains("is started by supervisor-launcher"), "{ended:?}");
        ended.expect_exit(1);
    }
    let content = Content(b"#!/proc/self/exe\n".to_vec());
    let script = InputFile { path: "run".to_owned(), content, executable: true };
    let script = SubmitRequest { files: vec![script], ..argv(&["./run"]) };
    assert_ne!(agent.run(&script).execution.outcome, Some(Outcome::Exited { code: 0 }));
    let source = "
for path in ('/proc/self/exe', '/proc/1/exe', '/proc/thread-self/exe', f'/proc/{os.getppid()}/exe'):
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_WRONLY | os.O_APPEND):
        attempt(f'{path} {flags:#x}', lambda: os.open(path, flags))
    attempt(f'{path} mode', lambda: os.chmod(path, 0o777))
    attempt(f'{path} mark', lambda: os.setxattr(path, 'user.canary', b'x'))
";
    let attempts = agent.run(&attack(source)).attempts();
    attempts.expect_all_denied(&["EROFS", "EACCES", "ENOENT", "ETXTBSY", "EPERM", "EOPNOTSUPP"]);
    let now = std::fs::read(supervisor_tests::program("supervisor-init")).expect("init is there");
    assert!(own == now, "init has changed");
}

/// PR-02.
#[test]
fn a_payload_that_kills_all_it_can_ends_only_what_is_its_own() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let neighbour = agent.start(&bash("echo up; exec sleep 300"));
    agent.wait_for_words(neighbour, "up");
    let source = "
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    time.sleep(300)
for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP):
    attempt(f'init {number}', lambda: os.kill(1, number))
attempt('all terminate', lambda: os.kill(-1, signal.SIGTERM))
attempt('all kill', lambda: os.kill(-1, signal.SIGKILL))
sys.exit(7)
";
    let ended = world.agent(AGENT).run(&attack(source));
    ended.expect_exit(7);
    assert!(ended.execution.usage.wall_ms < milliseconds(30_000), "its child was waited for");
    let attempts = supervisor_tests::Attempts::of(&ended.stdout);
    attempts.expect_denied("init", &["EPERM"]);
    attempts.expect_allowed("all kill");
    let neighbour = agent.status(neighbour, 0).expect("it is known");
    assert_eq!(neighbour.outcome, None, "the neighbour was hit");
}

/// PR-04. The directory that is being listed has a descriptor itself.
#[test]
fn a_payload_inherits_three_descriptors_and_no_more() {
    let world = World::open();
    let source = "
for number in sorted(os.listdir('/proc/self/fd'), key=int):
    try:
        print(number, os.readlink('/proc/self/fd/' + number).split(':')[0])
    except FileNotFoundError:
        pass
";
    let expected = "0 pipe\n1 pipe\n2 pipe\n";
    // The interpreter has its script open only while it reads it.
    let direct = argv(&["python3", "-c", &format!("import os{source}")]);
    assert_eq!(world.agent(AGENT).run(&direct).stdout, expected);
    let listing = world.agent(AGENT).run(&argv(&["ls", "/proc/self/fd"]));
    assert_eq!(listing.stdout, "0\n1\n2\n3\n");
}

/// PR-05.
#[test]
fn no_working_directory_leads_out_of_the_workspace() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let submit = |cwd: &str| {
        let list = python("import os; print(os.getcwd())");
        agent.submit(&SubmitRequest { cwd: Some(cwd.to_owned()), ..list })
    };
    let (long, deep) = ("a".repeat(5000), "a/".repeat(100));
    for cwd in [
        "/",
        "//etc",
        "/proc/self/fd/7",
        "/proc/self/fd/8/../../..",
        "/proc/1/root",
        "/proc/self/cwd",
        "/workspace/..",
        "/workspace/../etc",
        "/workspaces",
        "..",
        "../../..",
        "a/../../etc",
        "a/./b",
        "a//b",
        "a/",
        "/w\nx",
        "a\u{0}b",
        &long,
        &deep,
    ] {
        let error = submit(cwd).expect_err(cwd);
        assert_eq!((error.status, error.field.as_deref()), (400, Some("cwd")), "{cwd:?}");
    }
    for cwd in ["", ".", "/workspace", "/workspace/"] {
        let id = submit(cwd).expect(cwd).id;
        assert_eq!(agent.ended(id).stdout, "/workspace\n", "{cwd:?}");
    }
    let missing = agent.finished(submit("no/such/place").expect("its shape is right").id);
    let Some(Outcome::SetupFailed { step, reason }) = missing.outcome else {
        panic!("{missing:?}");
    };
    assert!(step == "change_directory" && reason.starts_with("ENOENT"), "{step}: {reason}");
}

/// PR-06. Daemon and launcher run with a variable that must not come through.
#[test]
fn the_environment_is_what_the_policy_and_the_caller_say() {
    let world = World::open();
    let source = "import os\nfor name in sorted(os.environ): print(name, os.environ[name])";
    let plain = world.agent(AGENT).run(&python(source)).stdout;
    let expected = "HOME /workspace\nLANG C.UTF-8\nLOGNAME sandbox\n\
                    PATH /usr/local/bin:/usr/bin:/bin\nSHELL /bin/bash\nTMPDIR /tmp\nUSER sandbox\n";
    assert_eq!(plain.replace("LC_CTYPE C.UTF-8\n", ""), expected);
    let asked = SubmitRequest { env: names(&[("HOME", "/tmp"), ("X", "1 2")]), ..python(source) };
    let changed = world.agent(AGENT).run(&asked).stdout;
    assert!(changed.contains("HOME /tmp\n") && changed.contains("X 1 2\n"), "{changed}");
    let others = "
import glob
for path in glob.glob('/proc/[0-9]*/environ'):
    if path != f'/proc/{os.getpid()}/environ':
        attempt(path, lambda: read(path))
attempt('init', lambda: read('/proc/1/environ'))
";
    let attempts = world.agent(AGENT).run(&attack(others)).attempts();
    attempts.expect_all_denied(&OUT_OF_REACH);
}

/// PR-07.
#[test]
fn processes_that_hid_away_end_with_the_payload() {
    let world = World::open();
    let ended = world.agent(AGENT).run(&attack(include_str!("../payloads/orphans.py")));
    ended.expect_exit(0);
    assert_eq!(ended.stdout, "the first process is done\n");
    assert!(ended.execution.usage.wall_ms < milliseconds(30_000), "the payload was waited for");
    assert_eq!(world.processes_of(ended.execution.id), [0; 0]);
}

/// FT-10. Where the host has no memory left the kernel ends first whoever says this, and the payload can't take
/// it back.
#[test]
fn a_payload_goes_first_where_the_host_has_no_memory_left() {
    let world = World::open();
    let source = "
print('SCORE', read('/proc/self/oom_score_adj').decode())
attempt('less', lambda: write('/proc/self/oom_score_adj', b'-900'))
";
    let ended = world.agent(AGENT).run(&attack(source));
    assert_eq!(ended.numbers("SCORE "), [1000]);
    ended.attempts().expect_all_denied(&["EROFS", "EACCES"]);
}

/// PR-09. There is no grace to be had: the whole cgroup is killed.
#[test]
fn a_payload_that_ignores_every_signal_still_ends_on_time() {
    let world = World::open();
    let source = attack(include_str!("../payloads/stubborn.py"));
    let limits = limits(|limits| limits.wall_time = Some(milliseconds(5000)));
    let ended = world.agent(AGENT).run(&SubmitRequest { limits, ..source });
    ended.expect(&Outcome::TimedOut);
    assert_eq!(ended.stdout, "here to stay\n");
    // A busy host may be late; the payload would stay for ever.
    let took = ended.execution.usage.wall_ms;
    assert!((milliseconds(5000)..milliseconds(50_000)).contains(&took), "{took}");
    assert_eq!(world.processes_of(ended.execution.id), [0; 0]);
}

/// PR-11. On a terminal of its own as well, where the attempt has a target; both ways of spelling a request
/// that the kernel truncates. Root may do it outside, where the same attempts go through.
#[test]
fn a_payload_cannot_type_into_a_terminal() {
    let world = World::open();
    let typing = |terminal: &str| {
        let attempts = "
import pty
TIOCSTI, TIOCLINUX, TIOCSETD, TIOCCONS = 0x5412, 0x541C, 0x5423, 0x541D
letter = ctypes.create_string_buffer(b'i')
for descriptor in (0, 1, 2, TERMINAL):
    for request in (TIOCSTI, TIOCSTI | 1 << 32, TIOCLINUX, TIOCSETD, TIOCCONS):
        attempt(f'{request:#x} {descriptor}', lambda: call('ioctl', descriptor, request, letter))
attempt('terminal', lambda: os.open('/dev/tty', os.O_RDWR))
print('SESSION', os.getsid(0) == os.getpid())
";
        attempts.replace("TERMINAL", terminal)
    };
    let ended = world.agent(AGENT).run(&attack(&typing("0")));
    let attempts = ended.attempts();
    attempts.expect_denied("0x", &["EPERM"]);
    attempts.expect_denied("terminal", &["ENXIO", "ENOENT", "EACCES"]);
    assert!(ended.stdout.ends_with("SESSION True\n"), "{}", ended.stdout);
    let terminal = Some(TerminalSize { rows: 24, columns: 80 });
    let request = SubmitRequest { terminal, ..attack(&typing("0")) };
    let attempts = world.agent(AGENT).run(&request).attempts();
    attempts.expect_denied("0x", &["EPERM"]);
    attempts.expect_allowed("terminal");
    let pushed = unconfined(&typing("pty.openpty()[1]")).allowed().len();
    assert!(pushed >= 2, "TIOCSTI works for nobody here, so nothing was shown");
}

/// A host's collector of dumps runs as root, outside, on what the payload has made of itself. Only at this
/// limit does the kernel not start it (core(5)), so it stays where it is.
#[test]
fn no_crash_of_a_payload_starts_anything_on_the_host() {
    let source = "
print(resource.getrlimit(resource.RLIMIT_CORE), flush=True)
for soft, hard in ((0, 0), (0, 1), (1, 1), (0, resource.RLIM_INFINITY)):
    attempt(f'{soft} of {hard}', lambda: resource.setrlimit(resource.RLIMIT_CORE, (soft, hard)))
";
    unconfined(source).expect_allowed("0 of 0");
    let ended = World::open().agent(AGENT).run(&attack(source));
    assert!(ended.stdout.starts_with("(1, 1)\n"), "{}", ended.stdout);
    ended.attempts().expect_all_denied(&["ValueError"]);
}

/// What the result says of how it ended is all there is to know.
#[test]
fn a_signal_that_ends_the_payload_is_told_by_number_and_name() {
    let world = World::open();
    let agent = world.agent(AGENT);
    for (signal, name) in [(6, "SIGABRT"), (9, "SIGKILL"), (11, "SIGSEGV"), (15, "SIGTERM")] {
        let ended = agent.run(&bash(&format!("kill -{signal} $$")));
        ended.expect(&Outcome::Signaled { signal, name: name.to_owned() });
    }
    let Execution { usage, .. } = agent.run(&bash("exit 3")).execution;
    assert!(usage.cpu_ms < 60_000 && usage.wall_ms < 60_000, "{usage:?}");
}
