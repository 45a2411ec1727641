//! Pseudo-terminals: what is done with a master is the kernel's own work, which no limit of a sandbox counts, so a
//! payload of an ordinary policy gets at none.

use supervisor_api::{SubmitRequest, TerminalSize};
use supervisor_tests::{AGENT, Attempts, World, attack, unconfined};

/// What a payload may find at the node.
const REFUSALS: [&str; 4] = ["ENOENT", "EACCES", "EPERM", "EROFS"];

/// Every way to a master, and at one that was got, a line whose last byte has it all shown again.
const SOURCE: &str = r"
import contextlib, fcntl, pty, termios

def at(master):
    os.set_blocking(master, False)
    os.write(master, b'a' * 3500)
    return os.write(master, b'\x12' * 512)

def node():
    number = os.makedev(5, 2)
    os.mknod('./ptmx', stat.S_IFCHR | 0o666, number)
    return at(os.open('./ptmx', os.O_RDWR | os.O_NOCTTY))

with contextlib.suppress(OSError):
    os.chmod('/dev/pts/ptmx', 0o666)
for name in ('/dev/ptmx', '/dev/pts/ptmx', '/dev/pts/../ptmx'):
    attempt(name, lambda: at(os.open(name, os.O_RDWR | os.O_NOCTTY)))
attempt('openpty', lambda: at(os.openpty()[0]))
attempt('node', node)
";

fn attempts(request: SubmitRequest) -> Attempts {
    let ended = World::open().agent(AGENT).run(&request);
    ended.expect_exit(0);
    ended.attempts()
}

/// RS-35.
#[test]
fn a_payload_has_no_pseudo_terminal_whose_work_nobody_counts() {
    for name in ["/dev/ptmx", "/dev/pts/ptmx", "openpty"] {
        unconfined(SOURCE).expect_allowed(name);
    }
    let found = attempts(attack(SOURCE));
    found.expect_all_denied(&REFUSALS);
    found.expect_denied("/dev/ptmx", &["ENOENT"]);
}

/// RS-35. Its own terminal is in an instance where others could be.
#[test]
fn a_payload_on_a_terminal_gets_at_no_master_either() {
    let terminal = Some(TerminalSize { rows: 24, columns: 80 });
    let found = attempts(SubmitRequest { terminal, ..attack(SOURCE) });
    // Where it is who the launcher is, the node is its own, and there is room for no second one.
    let refusals = [REFUSALS.as_slice(), &["ENOSPC"]].concat();
    found.expect_all_denied(&refusals);
}
