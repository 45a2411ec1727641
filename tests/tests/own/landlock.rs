//! A file of the payload's own host id, where the ids that come next are known, and what the kernel's audit says of Landlock.

#![allow(clippy::expect_used, reason = "a test that panics is a test that fails")]

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Child, ChildStdout, Command, Stdio};

use supervisor_tests::{AGENT, Planted, World, attack, bash, owner_uid, python};

/// LL-06. Even a file that belongs to the payload's own host id can't be changed where the mount is
/// read-only.
#[test]
fn what_landlock_does_not_cover_the_read_only_mount_does() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let first = agent.start(&bash("echo up; exec sleep 300"));
    agent.wait_for_words(first, "up");
    let payload = owner_uid(world.processes_of(first)[1]).expect("it runs");
    agent.cancel(first).expect("it is ours"); // the next one gets the ids that were free the longest
    let planted = Planted::beneath("/usr/share", 0o755).expect("planted");
    let path = planted.file("own", "x", 0o644);
    chown(&path, Some(payload), Some(payload)).expect("given");
    let source = format!(
        "
path = {path:?}
print('OWNER', os.stat(path).st_uid == os.getuid())
attempt('mode', lambda: os.chmod(path, 0o777))
attempt('time', lambda: os.utime(path))
attempt('attribute', lambda: os.setxattr(path, 'user.x', b'1'))
attempt('owner', lambda: os.chown(path, os.getuid(), os.getgid()))
attempt('open', lambda: os.open(path, os.O_WRONLY))
attempt('rename', lambda: os.rename(path, path + 'x'))
attempt('see root', lambda: os.stat('/root/.bashrc'))
"
    );
    let ended = agent.run(&attack(&source));
    assert!(ended.stdout.starts_with("OWNER True\n"), "{}", ended.stdout);
    let attempts = ended.attempts();
    attempts.expect_denied("see root", &["ENOENT", "EACCES"]);
    attempts.expect_all_denied(&["EROFS", "EACCES", "ENOENT", "EXDEV"]);
    let before = fs::metadata(&path).expect("still there");
    assert_eq!(before.permissions().mode() & 0o777, 0o644);
}

/// Listens to the kernel's audit, and switches it back to what it was before at the end.
struct Records(Child, Lines<BufReader<ChildStdout>>);

impl Records {
    fn follow() -> Self {
        let program = include_str!("../payloads/audit_records.py");
        let mut python = Command::new("/usr/bin/python3");
        let python = python.args(["-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut started = python.spawn().expect("python3 starts");
        let mut lines = BufReader::new(started.stdout.take().expect("piped")).lines();
        assert_eq!(lines.next().expect("the kernel audits").expect("read"), "ready");
        Self(started, lines)
    }

    /// All that come before the first with this name.
    fn before(&mut self, name: &str) -> Vec<String> {
        let records = self.1.by_ref().map(|line| line.expect("read"));
        records.take_while(|record| !record.contains(name)).collect()
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let ended = self.0.wait();
        assert!(std::thread::panicking() || ended.is_ok_and(|status| status.success()));
    }
}

/// What it says: the ABI of the kernel's Landlock, and how often it was refused.
fn refused_outside(program: &str, name: &str) -> u8 {
    let directory = tempfile::tempdir().expect("made");
    let mut python = Command::new("/usr/bin/python3");
    let output = python.args(["-c", program, name]).current_dir(directory.path()).output();
    let said = String::from_utf8(output.expect("python3 runs").stdout).expect("text");
    let (abi, refused) = said.trim().split_once(' ').expect("two numbers");
    assert_eq!(refused, "5");
    abi.parse().expect("a number")
}

/// LL-33. What a payload's own rules refuse it is in no log of the host's, where each would be a record. The control is
/// a process of one's own, outside; kernels whose Landlock has no ABI 7 make records of nobody.
#[test]
fn what_a_payloads_own_rules_refuse_it_fills_no_log_of_the_host() {
    let program = include_str!("../payloads/confined_further.py");
    let name = |what| format!("supervisor-test-{what}-{}", std::process::id());
    let [outside, inside, last] = ["outside", "inside", "last"].map(name);
    let mut records = Records::follow();
    refused_outside(program, &outside);
    let world = World::open();
    let source = format!("import sys\nsys.argv = ['', {inside:?}]\n{program}");
    let ended = world.agent(AGENT).run(&python(&source));
    ended.expect_exit(0);
    assert!(ended.stdout.ends_with(" 5\n"), "{}", ended.stdout);
    if refused_outside(program, &last) >= 7 {
        let made = records.before(&last);
        let of = |name: &str| made.iter().filter(|record| record.contains(name)).count();
        assert_ne!(of(&outside), 0, "{made:?}");
        assert_eq!(of(&inside), 0, "{made:?}");
    }
}
