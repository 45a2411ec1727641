//! Record locks (fcntl(2), F_SETLK), which nothing in the kernel bounds: init is asked about each, and everything else about
//! them is as it is elsewhere.

use std::fs;

use supervisor_api::{Outcome, SubmitRequest};
use supervisor_tests::{AGENT, World, attack};

/// Locks of an execution at the most, and one more for each thread that asks at the same time.
const MOST: u64 = 1024;

/// RS-37. Each lock is memory of the host's that nobody is charged with, and whoever closes a file walks past all on it.
#[test]
fn record_locks_end_at_their_number_and_those_of_open_files_are_not_to_be_had() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let source = "
import threading
path = os.open('locked', os.O_RDWR | os.O_CREAT)
made, refused = [], set()
def take(which):
    for at in range(which, 20_000, 4):
        try:
            fcntl.lockf(path, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 2 * at)
            made.append(at)
        except OSError as problem:
            refused.add(errno.errorcode[problem.errno])
takers = [threading.Thread(target=take, args=(which,)) for which in range(4)]
for taker in takers: taker.start()
for taker in takers: taker.join()
print('MADE', len(made), *refused)
for command in (36, 37, 38):
    of_file = struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 1, 1, 0)
    attempt(f'of the open file {command}', lambda: fcntl.fcntl(path, command, of_file))
attempt('shared table', lambda: call('clone', 0x400 | signal.SIGCHLD, 0, 0, 0, 0))
print('all', flush=True)
signal.pause()
";
    let id = agent.start(&attack(source));
    let text = agent.wait_for_words(id, "all\n");
    let pids = world.processes_of(id);
    let list = fs::read_to_string("/proc/locks").expect("a list");
    let held = list.lines().filter(|line| is_of(line, &pids)).count() as u64;
    agent.cancel(id).expect("it is ours");
    let ended = agent.ended(id);
    ended.expect(&Outcome::Cancelled);
    let made = ended.numbers("MADE ")[0];
    assert!(made == held && (MOST - 256..=MOST + 4).contains(&held), "{held} of {text}");
    assert!(text.contains(" ENOLCK\n"), "{text}");
    assert_eq!(text.matches("\tEINVAL\n").count(), 3, "{text}");
    assert!(text.contains("DENIED\tshared table\tEPERM\n"), "{text}");
}

/// `7: POSIX  ADVISORY  WRITE 12 08:02:1234 0 EOF`
fn is_of(line: &str, pids: &[u32]) -> bool {
    let mut words = line.split_whitespace().skip(1).skip_while(|word| *word == "->");
    let is_posix = words.next() == Some("POSIX");
    is_posix && words.nth(2).is_some_and(|pid| pid.parse().is_ok_and(|pid| pids.contains(&pid)))
}

/// Far more calls than there may be locks, since each is given back; by one connection, and by four processes at once.
#[test]
fn a_database_goes_on_for_as_long_as_it_likes() {
    let world = World::open();
    let source = "
import sqlite3
def come():
    there = sqlite3.connect('database', timeout=60, isolation_level=None)
    there.execute('PRAGMA synchronous = OFF')
    return there
first = come()
first.execute('PRAGMA journal_mode = DELETE')
first.execute('CREATE TABLE counted (number INTEGER)')
for number in range(1000):
    first.execute('INSERT INTO counted VALUES (?)', (number,))
children = []
for _ in range(4):
    child = os.fork()
    if child == 0:
        mine = come()
        for number in range(50):
            mine.execute('BEGIN IMMEDIATE')
            mine.execute('INSERT INTO counted VALUES (?)', (number,))
            mine.execute('COMMIT')
        os._exit(0)
    children.append(child)
print('ENDED', *(os.waitpid(child, 0)[1] for child in children))
print('ROWS', *first.execute('SELECT count(*) FROM counted').fetchone())
print('INTEGRITY', *first.execute('PRAGMA integrity_check').fetchone())
";
    let ended = world.agent(AGENT).run(&attack(source));
    ended.expect_exit(0);
    assert_eq!(ended.stdout, "ENDED 0 0 0 0\nROWS 1200\nINTEGRITY ok\n");
}

#[test]
fn who_waits_for_a_lock_is_interrupted_by_signals_and_told_of_deadlocks_and_gets_it_in_the_end() {
    let world = World::open();
    let source = "
path = os.open('locked', os.O_RDWR | os.O_CREAT)
def lock(at, how=fcntl.LOCK_EX):
    fcntl.lockf(path, how, 1, at)
def pipe():
    read, write = os.pipe()
    return (lambda: os.read(read, 1)), (lambda: os.write(write, b'x'))
(theirs, they_have), (ours, we_have) = pipe(), pipe()
def also(other, mine):
    try:
        lock(other)
    except OSError as problem:
        print('deadlock', problem.errno == errno.EDEADLK, flush=True)
        lock(mine, fcntl.LOCK_UN)
        lock(other)
    lock(mine, fcntl.LOCK_UN)
    lock(other, fcntl.LOCK_UN)
lock(0)
child = os.fork()
if child == 0:
    lock(1)
    they_have()
    ours()
    attempt('held by the parent', lambda: lock(0, fcntl.LOCK_EX | fcntl.LOCK_NB))
    also(0, 1)
    os._exit(0)
theirs()
class Alarm(Exception): pass
def ring(*_): raise Alarm
signal.signal(signal.SIGALRM, ring)
try:
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    lock(1)
except Alarm:
    print('interrupted', flush=True)
we_have()
also(1, 0) # each has what the other waits for
print('ENDED', os.waitpid(child, 0)[1])
";
    let ended = world.agent(AGENT).run(&attack(source));
    ended.expect_exit(0);
    ended.attempts().expect_all_denied(&["EAGAIN", "EACCES"]);
    let said: Vec<&str> = ended.stdout.lines().filter(|line| !line.contains('\t')).collect();
    assert_eq!(said, ["interrupted", "deadlock True", "ENDED 0"]);
}

/// Init has one thread, which is asked all the time and reaps all the same.
#[test]
fn an_execution_that_asks_all_the_time_is_paused_goes_on_and_ends_like_any_other() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let source = "
path = os.open('locked', os.O_RDWR | os.O_CREAT)
for which in range(4):
    if os.fork() == 0:
        while True:
            try:
                fcntl.lockf(path, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, which)
                fcntl.lockf(path, fcntl.LOCK_UN, 1, which)
            except OSError:
                pass
for _ in range(50):
    if os.fork() == 0:
        if os.fork() == 0:
            os._exit(0) # init's to reap
        os._exit(0)
    os.wait()
def zombies():
    states = []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            states.append(open(f'/proc/{pid}/stat').read().rsplit(') ')[1][0])
        except OSError:
            pass
    return states.count('Z')
while zombies():
    pass
print('reaped', flush=True)
sys.stdin.read() # until it was paused and goes on
lock = os.open('held', os.O_RDWR | os.O_CREAT)
fcntl.lockf(lock, fcntl.LOCK_EX)
if os.fork() == 0:
    fcntl.lockf(lock, fcntl.LOCK_EX) # until its parent has ended, and with that everybody
    os._exit(0)
print('waits', flush=True)
time.sleep(0.1)
";
    let id = agent.start(&SubmitRequest { stdin_open: true, ..attack(source) });
    agent.wait_for_words(id, "reaped");
    for act in ["pause", "resume", "pause", "resume"] {
        let target = format!("/v1/executions/{id}/{act}");
        let reply = agent.call("POST", &target, None).expect("the daemon answers");
        assert!(reply.status < 300, "{act}: {reply:?}");
    }
    agent.close_input(id).expect("it reads");
    let ended = agent.ended(id);
    ended.expect_exit(0);
    assert_eq!(ended.stdout, "reaped\nwaits\n");
    assert_eq!(world.processes_of(id), [0; 0]);
}
