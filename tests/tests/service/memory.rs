//! Memory that is easily overlooked, and memory that is easily counted twice, where looking at processes has to do for
//! the controller that counts pages.

use std::fs;

use supervisor_api::{Outcome, SubmitRequest};
use supervisor_tests::{AGENT, World, attack, is_enforced};

use crate::limits::limited;

const MIB: u64 = 1 << 20;

/// Python source that may have so much memory.
fn within(memory: u64, source: &str) -> SubmitRequest {
    limited(attack(source), |limits| limits.memory_max = Some(memory))
}

/// RS-02. Pages that are only read take nothing, but each table that maps them takes 4 KiB for two MiB of them.
#[test]
fn tables_of_pages_count() {
    let world = World::open();
    let source = "
NORESERVE, NOHUGEPAGE, TABLE = 0x4000, 15, 2 << 20
size = 64 << 30
held = []
for _ in range(2):
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NORESERVE
    held.append(mmap.mmap(-1, size, flags, mmap.PROT_READ))
    held[-1].madvise(NOHUGEPAGE)
    for place in range(0, size, TABLE):
        held[-1][place]
signal.pause()
";
    world.agent(AGENT).run(&within(128 * MIB, source)).expect(&Outcome::OutOfMemory);
}

/// RS-02. Of a process whose first thread has ended /proc shows no memory.
#[test]
fn memory_counts_when_the_first_thread_has_ended() {
    let world = World::open();
    let source = "
import threading
first = os.getpid()
def hold():
    while 'VmRSS' in open(f'/proc/{first}/status').read():
        pass
    print('alone', flush=True)
    held = b'x' * (160 << 20)
    signal.pause()
threading.Thread(target=hold).start()
ctypes.CDLL(None).syscall({'x86_64': 60, 'aarch64': 93}[platform.machine()], 0)
";
    let ended = world.agent(AGENT).run(&within(128 * MIB, source));
    ended.expect(&Outcome::OutOfMemory);
    assert_eq!(ended.stdout, "alone\n");
}

/// Until a child has executed its program it shows what its parent has once more.
#[test]
fn a_program_past_half_its_memory_can_start_others() {
    let world = World::open();
    let source = "
import subprocess
held = b'x' * (300 << 20)
for _ in range(20):
    subprocess.run(['/bin/true'], check=True)
for _ in range(20):
    child = os.fork()
    if child == 0:
        os.execv('/bin/true', ['true'])
    os.waitpid(child, 0)
print('done')
";
    let ended = world.agent(AGENT).run(&within(512 * MIB, source));
    ended.expect_exit(0);
    assert_eq!(ended.stdout, "done\n");
}

/// RS-02. What a child has written to is its own.
#[test]
fn a_copy_that_was_written_to_counts() {
    let world = World::open();
    let source = "
held = bytearray(b'x') * (300 << 20)
if os.fork() == 0:
    for place in range(0, len(held), 4096):
        held[place] = 1
signal.pause()
";
    world.agent(AGENT).run(&within(512 * MIB, source)).expect(&Outcome::OutOfMemory);
}

/// RS-34. Nobody shows the events that wait for those who watch files, nor the files that are watched. The controller
/// counts both; without it, the user namespace has numbers of its own, which a payload can't change.
#[test]
fn what_is_kept_for_those_who_watch_files_is_bounded() {
    const MEMORY: u64 = 64 * MIB;
    let world = World::open();
    let source = "
libc = ctypes.CDLL(None, use_errno=True)
def checked(made):
    if made == -1:
        raise OSError(ctypes.get_errno(), '')
    return made
held = []
def queue():
    held.append(checked(libc.inotify_init1(0)))
def watch():
    name = f'watched{len(watched)}'
    os.close(os.open(name, os.O_CREAT, 0o600))
    watched.append(checked(libc.inotify_add_watch(held[0], name.encode(), 2)))
watched = []
def stopped(what, most, take):
    taken = 0
    try:
        while taken < most:
            take()
            taken += 1
        print(what, taken)
    except OSError as problem:
        print(what, taken, errno.errorcode[problem.errno])
for name in ('instances', 'watches'):
    attempt(name, lambda: write(f'/proc/sys/user/max_inotify_{name}', b'1000000'))
stopped('QUEUES', 64, queue)
stopped('WATCHES', 5000, watch)
";
    let request = limited(within(MEMORY, source), |limits| limits.workspace_inodes = Some(8192));
    let ended = world.agent(AGENT).run(&request);
    ended.expect_exit(0);
    ended.attempts().expect_all_denied(&["EROFS", "EACCES"]);
    if is_enforced(&ended.execution, "memory_max") {
        return;
    }
    let events = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("a number");
    let queue = events.trim().parse::<u64>().expect("a number") * 512;
    for (what, most, error) in [
        ("QUEUES ", (MEMORY / 8 / queue).max(1), "EMFILE"),
        ("WATCHES ", MEMORY / 8 / 2048, "ENOSPC"),
    ] {
        assert_eq!(ended.numbers(what), [most], "{}", ended.stdout);
        assert!(ended.stdout.contains(&format!("{what}{most} {error}\n")), "{}", ended.stdout);
    }
}
