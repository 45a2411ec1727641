//! What all sandboxes of one uid may have together.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use supervisor_launch::{Applied, Descriptor, Prepare, Workspace};

use crate::launcher::{Launcher, OWNER, prepare};
use crate::payload::Payload;

fn beneath(owner: Option<u32>) -> Prepare {
    Prepare { owner, ..prepare(Workspace::Memory, 1 << 20, 33) }
}

fn cgroup_of(payload: &Payload<'_>) -> String {
    let process = payload.pid();
    std::fs::read_to_string(format!("/proc/{process}/cgroup")).expect("it lives")
}

#[test]
fn all_sandboxes_of_a_uid_are_beneath_one_cgroup_that_goes_with_the_last() {
    let launcher = Launcher::start();
    let first = Payload::start(&launcher, beneath(Some(OWNER)), "sleep 300");
    let second = Payload::start(&launcher, beneath(Some(OWNER)), "sleep 300");
    let other = Payload::start(&launcher, beneath(Some(OWNER + 1)), "sleep 300");
    let nobodys = Payload::start(&launcher, beneath(None), "sleep 300");
    if first.applied.descriptors & Descriptor::Kill.bit() == 0 {
        panic!("this test needs cgroup v2");
    }
    let name = |owner: u32| format!("/supervisor-{}/uid-{owner}/ex-", launcher.pid());
    assert!(cgroup_of(&first).contains(&name(OWNER)), "{}", cgroup_of(&first));
    assert!(cgroup_of(&second).contains(&name(OWNER)));
    assert!(cgroup_of(&other).contains(&name(OWNER + 1)));
    assert!(!cgroup_of(&nobodys).contains("/uid-"));
    for payload in [first, other, nobodys, second] {
        payload.destroy();
    }
    // The directory beneath which they were is empty, or the launcher could not remove it at its end.
}

#[test]
fn a_uid_at_its_ceiling_of_processes_leaves_others_theirs() {
    let launcher = Launcher::start_with(&["--uid-pids-max", "24"]);
    let mut first = Payload::start(
        &launcher,
        beneath(Some(OWNER)),
        "sleep 300 & sleep 300 & sleep 300 & echo up; wait",
    );
    assert_eq!(first.line(), "up");
    if first.applied.controllers & Applied::PIDS == 0 {
        // No controller, no ceiling: the daemon's sums are what holds, and the launcher's word says so.
        return first.destroy();
    }
    let script = "python3 -c '
import os, time
number = 0
try:
    while number < 40:
        if os.fork() == 0: time.sleep(300)
        number += 1
except BlockingIOError: pass
print(number, flush=True); time.sleep(300)'";
    let mut second = Payload::start(&launcher, beneath(Some(OWNER)), script);
    let forked: u32 = second.line().parse().expect("a number");
    assert!(forked < 20, "{forked} besides those of the first");
    let mut other = Payload::start(&launcher, beneath(Some(OWNER + 1)), script);
    let theirs: u32 = other.line().parse().expect("a number");
    assert!(theirs > forked, "{theirs} and {forked}");
    for payload in [first, second, other] {
        payload.destroy();
    }
}

/// A cgroup of the test's own; whoever is put there delegates it.
struct Delegated(PathBuf);

impl Delegated {
    fn make() -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let line = mounts.lines().find(|line| line.contains(" - cgroup2 ")).expect("cgroup v2");
        let place = Path::new(line.split(' ').nth(4).unwrap());
        let made = place.join(format!("launcher-test-{}", std::process::id()));
        fs::create_dir(&made).unwrap();
        Self(made)
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        fs::remove_dir(self.0.join("launcher")).unwrap(); // where the launcher has moved itself
        fs::remove_dir(&self.0).unwrap();
    }
}

#[test]
fn what_a_killed_launcher_left_in_a_delegated_cgroup_is_in_nobodys_way() {
    let cgroup = Delegated::make();
    let (empty, used) = (cgroup.0.join("ex-1"), cgroup.0.join(format!("uid-{OWNER}")));
    fs::create_dir(&empty).unwrap();
    fs::create_dir_all(used.join("ex-2")).unwrap();
    let mut last = Command::new("sleep").arg("300").spawn().unwrap(); // it still runs
    fs::write(used.join("ex-2/cgroup.procs"), last.id().to_string()).unwrap();
    let launcher = Launcher::start_in(&cgroup.0);
    let payload = Payload::start(&launcher, beneath(Some(OWNER)), "sleep 300");
    assert!(!empty.exists());
    assert!(cgroup_of(&payload).contains(&format!("/uid-{OWNER}/ex-")));
    assert!(!used.join("ex-2").exists());
    assert_eq!(last.wait().unwrap().signal(), Some(9)); // nobody supervised it any more
    payload.destroy();
    assert!(!used.exists());
}
