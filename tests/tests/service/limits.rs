//! Every limit has an outcome of its own. Where the kernel's controllers are not to be had, the
//! result says which weaker control held, and the expectation is that control's.

use std::time::{Duration, Instant};

use supervisor_api::{Limit, LimitsRequest, Outcome, SubmitRequest};
use supervisor_tests::{
    AGENT, OTHER_AGENT, World, attack, bash, is_enforced, milliseconds, resident_bytes, slowness,
    unconfined,
};

const MIB: u64 = 1 << 20;

/// A submission with these limits.
pub(crate) fn limited(
    request: SubmitRequest,
    change: impl FnOnce(&mut LimitsRequest),
) -> SubmitRequest {
    let mut limits = request.limits;
    change(&mut limits);
    SubmitRequest { limits, ..request }
}

fn with_arguments(request: SubmitRequest, args: &[&str]) -> SubmitRequest {
    SubmitRequest { args: args.iter().map(|&word| word.to_owned()).collect(), ..request }
}

/// RS-01. The neighbour's run shows that the host goes on.
#[test]
fn a_fork_bomb_stops_at_its_number_of_processes() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let bomb = limited(attack(include_str!("../payloads/fork_bomb.py")), |limits| {
        limits.pids_max = Some(64);
    });
    let id = agent.start(&bomb);
    agent.wait_for_words(id, "THREADS");
    let processes = world.processes_of(id).len();
    assert!(processes <= 65, "{processes} with init");
    world.agent(OTHER_AGENT).run(&bash("true")).expect_exit(0);
    agent.cancel(id).expect("it is ours");
    let ended = agent.ended(id);
    ended.expect(&Outcome::Cancelled);
    let made = ended.numbers("PROCESSES ");
    assert!((56..64).contains(&made[0]), "{made:?}");
    assert!(ended.stdout.contains(" EAGAIN\n"), "{}", ended.stdout);
    assert!(ended.numbers("THREADS ")[0] <= 8);
    if is_enforced(&ended.execution, "pids_max") {
        let usage = ended.execution.usage;
        assert!(usage.pids_refused > Some(0) && usage.pids_peak <= Some(64), "{usage:?}");
    }
}

/// RS-02. Of four processes none is past the limit, all together are.
#[test]
fn memory_past_the_limit_ends_the_whole_execution_as_out_of_memory() {
    let world = World::alone();
    let before = resident_bytes(world.daemon_pid());
    for arguments in [["1", "1073741824"], ["4", "67108864"]] {
        let hog = with_arguments(attack(include_str!("../payloads/memory.py")), &arguments);
        let hog = limited(hog, |limits| limits.memory_max = Some(128 * MIB));
        let ended = world.agent(AGENT).run(&hog);
        ended.expect(&Outcome::OutOfMemory);
        assert!(ended.stdout.starts_with("begins\n"), "{}", ended.stdout);
        let peak = ended.execution.usage.memory_peak.expect("it was counted");
        assert!(peak > 64 * MIB, "{peak}");
        if is_enforced(&ended.execution, "memory_max") {
            assert!(peak <= 128 * MIB, "{peak}");
        }
        assert_eq!(world.processes_of(ended.execution.id), [0; 0]);
    }
    let grown = resident_bytes(world.daemon_pid()).saturating_sub(before);
    assert!(grown < 16 * MIB, "the daemon grew by {grown} bytes");
}

/// What stays below the limit is left alone.
#[test]
fn memory_below_the_limit_can_be_used() {
    let world = World::open();
    let source = "held = b'x' * (96 << 20)\nprint(len(held))";
    let modest = limited(attack(source), |limits| limits.memory_max = Some(192 * MIB));
    let ended = world.agent(AGENT).run(&modest);
    ended.expect_exit(0);
    assert!(ended.execution.usage.memory_peak > Some(96 * MIB), "{:?}", ended.execution.usage);
}

/// RS-03. One limit holds for /tmp and /dev/shm together.
#[test]
fn what_is_written_to_tmp_and_shared_memory_counts() {
    let world = World::open();
    let fill = format!(
        "{}\nfill('tmp', '/tmp/a')\nfill('shm', '/dev/shm/a')\n",
        include_str!("../payloads/fill.py")
    );
    let request = limited(attack(&fill), |limits| {
        limits.tmp_bytes = Some(16 * MIB);
        limits.memory_max = Some(128 * MIB);
    });
    let ended = world.agent(AGENT).run(&request);
    ended.expect_exit(0);
    assert_eq!(ended.numbers("FULL tmp "), [16 * MIB]);
    assert_eq!(ended.numbers("FULL shm "), [0]);
    assert_eq!(ended.stdout.matches("ENOSPC").count(), 2, "{}", ended.stdout);
    let anonymous = "
shared = mmap.mmap(-1, 1 << 30)
for place in range(0, 1 << 30, 4096):
    shared[place] = 1
print('held')
";
    let request = limited(attack(anonymous), |limits| limits.memory_max = Some(128 * MIB));
    world.agent(AGENT).run(&request).expect(&Outcome::OutOfMemory);
}

/// RS-33. What nobody has attached shows in no process, nor do semaphores. The controller counts both; without it,
/// the ipc namespace has numbers of its own, which a payload can't change.
#[test]
fn memory_that_no_process_shows_is_bounded_too() {
    const SEMAPHORES: u64 = 32_000;
    let world = World::open();
    let source = "
_libc.shmat.restype = ctypes.c_void_p
def stopped(what, most, take):
    taken = 0
    try:
        while taken < most:
            taken += take()
        print(what, taken)
    except OSError as problem:
        print(what, taken, errno.errorcode[problem.errno])
def segment():
    size = 4 << 20
    made = call('shmget', 0, size, 0o1600)
    place = _libc.shmat(made, None, 0)
    ctypes.memset(place, 1, size)
    _libc.shmdt(ctypes.c_void_p(place))
    return size
def semaphores():
    call('semget', 0, 250, 0o1600)
    return 250
for name in ('shmall', 'shmmni', 'sem'):
    attempt(name, lambda: write(f'/proc/sys/kernel/{name}', b'1 1 1 1'))
stopped('SEMAPHORES', 64000, semaphores)
stopped('SEGMENTS', 256 << 20, segment)
";
    let request = limited(attack(source), |limits| limits.memory_max = Some(128 * MIB));
    let ended = world.agent(AGENT).run(&request);
    if is_enforced(&ended.execution, "memory_max") {
        return ended.expect(&Outcome::OutOfMemory);
    }
    ended.attempts().expect_all_denied(&["EROFS", "EACCES"]);
    for (what, most) in [("SEMAPHORES ", SEMAPHORES), ("SEGMENTS ", 16 * MIB)] {
        let taken = ended.numbers(what)[0];
        let reason = if taken == 0 { "ENOSYS" } else { "ENOSPC" };
        assert!(taken == 0 || taken == most, "{}", ended.stdout);
        assert!(ended.stdout.contains(&format!("{what}{taken} {reason}\n")), "{}", ended.stdout);
    }
}

/// RS-04. Holes cost nothing, so a file may look as large as it likes.
#[test]
fn the_workspace_holds_so_many_bytes_and_no_more() {
    let world = World::open();
    let source = format!(
        "{}
fill('workspace', 'big')
descriptor = os.open('other', os.O_CREAT | os.O_WRONLY, 0o600)
attempt('reserve', lambda: os.posix_fallocate(descriptor, 0, 1 << 40))
attempt('far', lambda: os.pwrite(descriptor, b'x', 1 << 49))
",
        include_str!("../payloads/fill.py")
    );
    let request = limited(attack(&source), |limits| limits.workspace_bytes = Some(64 * MIB));
    let ended = world.agent(AGENT).run(&request);
    let written = ended.numbers("FULL workspace ")[0];
    assert!((63 * MIB..=64 * MIB).contains(&written), "{written}");
    ended.attempts().expect_all_denied(&["ENOSPC", "EDQUOT", "EFBIG"]);
    let used = ended.execution.usage.workspace_bytes.expect("it was counted");
    assert!((63 * MIB..=64 * MIB).contains(&used), "{used}");
}

/// RS-06. The API answers while the tree is made and removed.
#[test]
fn the_workspace_and_tmp_hold_so_many_files_and_no_more() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let source = format!(
        "{}\npopulate('workspace', '.')\npopulate('tmp', '/tmp')\n",
        include_str!("../payloads/fill.py")
    );
    let request = limited(attack(&source), |limits| {
        limits.workspace_inodes = Some(4096);
        limits.tmp_inodes = Some(1024);
    });
    let id = agent.start(&request);
    let doctor = Instant::now();
    assert!(!agent.doctor().controls.is_empty());
    assert!(doctor.elapsed() < Duration::from_secs(5) * slowness());
    let ended = agent.ended(id);
    ended.expect_exit(0);
    let (files, scratch) = (ended.numbers("FULL workspace ")[0], ended.numbers("FULL tmp ")[0]);
    assert!((4090..=4096).contains(&files), "{files}");
    assert!((1020..=1024).contains(&scratch), "{scratch}");
    // A workspace on disk is full by its quota.
    let full = ["ENOSPC", "EDQUOT"].map(|error| ended.stdout.matches(error).count());
    assert_eq!(full.iter().sum::<usize>(), 2, "{}", ended.stdout);
    assert_eq!(ended.execution.usage.workspace_inodes, Some(4096));
}

/// RS-08. Pipes are bounded by the kernel for each user, and each sandbox is a user of its own. None can be made
/// larger: those of standard streams are root's.
#[test]
fn full_pipes_are_bounded_and_leave_a_neighbours_alone() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let id = agent.start(&attack(include_str!("../payloads/pipes.py")));
    let text = agent.wait_for_words(id, "PIPES");
    let neighbour = attack(
        "r, w = os.pipe()
print(fcntl.fcntl(w, 1032))
for which in (1, 2, w):
    attempt('grow', lambda: fcntl.fcntl(which, 1031, 1 << 20))",
    );
    let neighbour = world.agent(OTHER_AGENT).run(&neighbour);
    assert!(neighbour.stdout.starts_with("65536\n"), "{}", neighbour.stdout);
    neighbour.attempts().expect_all_denied(&["EINVAL"]);
    agent.cancel(id).expect("it is ours");
    let line = text.lines().last().expect("a line");
    let said: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
    let pages = std::fs::read_to_string("/proc/sys/fs/pipe-user-pages-soft").expect("a limit");
    let most = pages.trim().parse::<u64>().expect("a number") * 4096 + 400 * 2 * 4096;
    assert!(said[0] <= 400 && said[2] <= most, "{line} with {most}");
}

/// RS-10.
#[test]
fn descriptors_end_at_their_number_and_it_cannot_be_raised() {
    let world = World::open();
    let source = "
held = []
try:
    while True:
        held.append(os.open('/dev/null', os.O_RDONLY))
except OSError as problem:
    print('OPEN', len(held), errno.errorcode[problem.errno])
    for descriptor in held:
        os.close(descriptor)
for kind in ('NOFILE', 'NPROC', 'CORE', 'CPU', 'MEMLOCK', 'STACK', 'RTPRIO', 'NICE'):
    number = getattr(resource, 'RLIMIT_' + kind)
    attempt(kind, lambda: resource.setrlimit(number, (1 << 40, 1 << 40)))
";
    let request = limited(attack(source), |limits| limits.open_files = Some(256));
    let ended = world.agent(AGENT).run(&request);
    let opened = ended.numbers("OPEN ")[0];
    assert!((250..256).contains(&opened) && ended.stdout.contains("EMFILE"), "{}", ended.stdout);
    ended.attempts().expect_all_denied(&["ValueError", "EPERM"]);
}

/// RS-15. CPU time and wall time are counted apart.
#[test]
fn eight_busy_processes_get_their_share_of_a_core_and_their_wall_time() {
    let world = World::open();
    let source = "
for _ in range(7):
    if os.fork() == 0:
        break
while True:
    pass
";
    let request = limited(attack(source), |limits| {
        limits.cpu_max = Some(50);
        limits.wall_time = Some(milliseconds(3000));
    });
    let begin = Instant::now();
    let ended = world.agent(AGENT).run(&request);
    ended.expect(&Outcome::TimedOut);
    let usage = ended.execution.usage;
    let took = begin.elapsed().as_millis() as u64; // a slow disk is in both
    assert!((milliseconds(3000)..=took).contains(&usage.wall_ms), "{usage:?} of {took} ms");
    let share = usage.cpu_ms * 100 / usage.wall_ms;
    let most = if is_enforced(&ended.execution, "cpu_max") { 60 } else { 90 };
    assert!((5..=most).contains(&share), "{share} % of a core: {usage:?}");
}

#[test]
fn cpu_time_of_all_processes_together_is_a_limit_of_its_own() {
    let world = World::open();
    let source = "
for _ in range(3):
    if os.fork() == 0:
        break
while True:
    pass
";
    let request = limited(attack(source), |limits| {
        limits.cpu_max = Some(400);
        limits.cpu_time = Some(milliseconds(1000));
    });
    let ended = world.agent(AGENT).run(&request);
    ended.expect(&Outcome::LimitExceeded { limit: Limit::CpuTime });
    let used = ended.execution.usage.cpu_ms;
    assert!(used >= milliseconds(1000), "{used}");
}

#[test]
fn a_sleeper_past_its_time_is_timed_out() {
    let world = World::open();
    let request = limited(bash("sleep 300"), |limits| limits.wall_time = Some(milliseconds(500)));
    let begin = Instant::now();
    let ended = world.agent(AGENT).run(&request);
    ended.expect(&Outcome::TimedOut);
    let usage = ended.execution.usage;
    let expected = milliseconds(500)..=begin.elapsed().as_millis() as u64;
    assert!(expected.contains(&usage.wall_ms) && usage.cpu_ms < *expected.start(), "{usage:?}");
}

/// Bytes that are read past the page cache, so that the disk has to give them.
#[test]
fn the_disk_gives_so_many_bytes_a_second_or_the_result_says_that_nobody_held_it() {
    let world = World::open();
    let source = "
import glob
path = max(glob.glob('/usr/bin/python3*'), key=os.path.getsize)
descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
page, begin = mmap.mmap(-1, 1 << 20), time.monotonic()
for _ in range(3):
    os.preadv(descriptor, [page], 0)
print('MS', int((time.monotonic() - begin) * 1000))
";
    let request = limited(attack(source), |limits| limits.io_read_bps = Some(MIB));
    let ended = world.agent(AGENT).run(&request);
    let line = ended.execution.controls.iter().find(|line| line.control == "io_max");
    let line = line.expect("a line");
    if is_enforced(&ended.execution, "io_max") {
        ended.expect_exit(0);
        assert!(ended.numbers("MS ")[0] >= 1500, "{}", ended.stdout);
    } else {
        assert!(line.reason.is_some() && line.remedy.is_some(), "{line:?}");
    }
}

/// RS-31. The kernel counts those who watch files for each user, and for the owner of each user's namespace in the one
/// above. Were that root, one sandbox could have all that there are, its neighbours' and the host's services' too.
#[test]
fn watchers_of_files_end_at_their_number_and_leave_a_neighbours_and_the_hosts_alone() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let watch = "
libc = ctypes.CDLL(None, use_errno=True)
def watch():
    made = libc.inotify_init1(0)
    if made == -1:
        raise OSError(ctypes.get_errno(), '')
    return made
";
    let all = "
held = []
try:
    while True:
        held.append(watch())
except OSError as problem:
    print('WATCHERS', len(held), errno.errorcode[problem.errno], flush=True)
signal.pause()
";
    let request = limited(attack(&format!("{watch}{all}")), |limits| limits.open_files = Some(512));
    let id = agent.start(&request);
    let text = agent.wait_for_words(id, "WATCHERS");
    let one = format!("{watch}attempt('one', watch)");
    let neighbour = world.agent(OTHER_AGENT).run(&attack(&one)).attempts();
    let host = unconfined(&one);
    agent.cancel(id).expect("it is ours");
    neighbour.expect_allowed("one");
    host.expect_allowed("one");
    let most = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_instances").expect("a limit");
    let most: u64 = most.trim().parse().expect("a number");
    let ended = agent.ended(id);
    let made = ended.numbers("WATCHERS ")[0];
    assert!(made <= most.min(512) && text.contains(" EMFILE"), "{text} with {most}");
}
