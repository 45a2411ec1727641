//! What is kept is kept, whoever is killed.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use supervisor_launch::{Request, Storage, Workspace};
use supervisor_sys::{is_free_project, project_of};

use crate::launcher::{Launcher, as_daemon, prepare, storage};
use crate::payload::Payload;

fn write(root: &OwnedFd, name: &str, text: &str) {
    as_daemon(|| {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC;
        let file = openat(root, name, flags, Mode::from_bits_truncate(0o644)).unwrap();
        File::from(file).write_all(text.as_bytes()).unwrap();
    });
}

fn read(root: &OwnedFd, name: &str) -> String {
    as_daemon(|| {
        let mut text = String::new();
        let file = openat(root, name, OFlag::O_RDONLY, Mode::empty()).unwrap();
        File::from(file).read_to_string(&mut text).unwrap();
        text
    })
}

#[test]
fn daemon_and_payloads_share_a_kept_workspace_and_its_files_are_each_ones_own() {
    let launcher = Launcher::start();
    let id = launcher.make(8 << 20, 100);
    let root = launcher.grant(id);
    write(&root, "in", "from outside");
    let kept = || prepare(Workspace::Kept(id), 1 << 30, 1000);
    let script = "cat in; stat -c ' %u %g' in; echo inside >out; rm in; ls";
    let payload = Payload::start(&launcher, kept(), script);
    assert_eq!(payload.applied.workspace, storage());
    assert_eq!(payload.finish(), (0, "from outside 1000 1000\nout\n".to_owned()));
    assert_eq!(read(&root, "out"), "inside\n");
    launcher.expect_devices(1); // for two mounts
    assert_eq!(Payload::run(&launcher, kept(), "cat out").1, "inside\n");
    drop(root);
    launcher.expect_no_devices();
    assert_eq!(Payload::run(&launcher, kept(), "cat out").1, "inside\n");
}

#[test]
fn several_sandboxes_can_have_one_kept_workspace_at_a_time() {
    let launcher = Launcher::start();
    let id = launcher.make(8 << 20, 100);
    let kept = || prepare(Workspace::Kept(id), 1 << 30, 1000);
    let wait = "echo up; while [ ! -e go ]; do sleep 0.05; done; stat -c %u go; echo done >$$";
    let mut first = Payload::start(&launcher, kept(), wait);
    let mut second = Payload::start(&launcher, kept(), wait);
    assert_eq!((first.line(), second.line()), ("up".to_owned(), "up".to_owned()));
    launcher.expect_devices(1);
    assert_eq!(Payload::run(&launcher, kept(), "touch go").0, 0);
    assert_eq!(first.finish(), (0, "1000\n".to_owned()));
    assert_eq!(second.finish(), (0, "1000\n".to_owned()));
}

#[test]
fn a_kept_workspace_outlives_launchers_that_are_killed_and_daemons_that_come_and_go() {
    let mut launcher = Launcher::start();
    let id = launcher.make(8 << 20, 100);
    let kept = || prepare(Workspace::Kept(id), 1 << 30, 1000);
    for round in 0..6 {
        let root = launcher.grant(id);
        write(&root, &format!("round-{round}"), "kept");
        // All is written before it says so: it may be killed at once.
        let script = format!("echo up >u{round}; sync; ls | wc -l; sleep 300");
        let mut payload = Payload::start(&launcher, kept(), &script);
        assert_eq!(payload.line(), (round * 2 + 2).to_string());
        let execution = prepare(Workspace::Disk, 8 << 20, 100);
        let mut fresh = Payload::start(&launcher, execution, "echo up; sleep 300");
        assert_eq!(fresh.line(), "up");
        drop((payload, fresh));
        match round % 2 {
            0 => launcher.kill_and_start(), // what the old one left may not be gone yet
            _ => launcher.reconnect(),
        }
        assert_eq!(launcher.kept(), [id]);
        let again = launcher.grant(id);
        assert_eq!(read(&again, &format!("round-{round}")), "kept");
        drop((root, again));
        if let Ok((supervisor_launch::Reply::List { executions }, _)) = launcher.ask(Request::List)
        {
            for execution in executions {
                launcher.ask(Request::Destroy { execution }).expect("destroyed");
            }
        }
    }
    launcher.expect_no_devices();
    launcher.ask(Request::RemoveWorkspace { id }).expect("removed");
    assert_eq!(launcher.on_disk(), 0);
    launcher.kill_and_start();
    assert!(launcher.kept().is_empty());
}

#[test]
fn many_workspaces_are_listed_whole() {
    let launcher = Launcher::start();
    let mut made: Vec<u128> = (0..5).map(|_| launcher.make(1 << 20, 33)).collect();
    made.sort_unstable();
    assert_eq!(launcher.kept(), made);
    let rest = launcher.ask(Request::ListWorkspaces { from: made[3] }).expect("listed").0;
    let supervisor_launch::Reply::Workspaces { kept } = rest else { panic!("{rest:?}") };
    assert_eq!(kept.iter().map(|each| each.id).collect::<Vec<_>>(), made[3..]);
}

#[test]
fn a_tree_that_is_too_deep_to_walk_and_closed_to_its_owner_is_removed() {
    let launcher = Launcher::start();
    let id = launcher.make(64 << 20, 5000);
    let script = "python3 -c '
import os
for number in range(2000):
    os.mkdir(\"deep\"); open(\"file\", \"x\").close(); os.chdir(\"deep\")
' && mkdir lifted-1 lifted-2 && touch lifted-1/x && ln -s / link && mkfifo pipe && \
                  mkdir closed && touch closed/x && chmod 0 closed && chmod 0 .";
    let (code, said) = Payload::run(&launcher, prepare(Workspace::Kept(id), 1 << 30, 9000), script);
    assert_eq!(code, 0, "{said}");
    launcher.ask(Request::RemoveWorkspace { id }).expect("removed");
    assert_eq!(launcher.on_disk(), 0);
}

/// Names need room, too: a place for them must be found when there is none left.
#[test]
fn a_full_workspace_with_many_directories_is_removed() {
    let launcher = Launcher::start();
    let id = launcher.make(16 << 20, 9000);
    let script = "python3 -c '
import os
for number in range(1500):
    os.makedirs(f\"many/{number}\"); open(f\"many/{number}/file\", \"x\").close()
with open(\"many/7/fill\", \"wb\", buffering=0) as fill:
    try:
        while True: fill.write(bytes(4096))
    except OSError as error: print(error.errno)
'";
    let (code, said) = Payload::run(&launcher, prepare(Workspace::Kept(id), 1 << 30, 9000), script);
    assert_eq!(code, 0, "{said}");
    launcher.ask(Request::RemoveWorkspace { id }).expect("removed");
    assert!(launcher.kept().is_empty());
}

#[test]
fn a_daemon_that_keeps_a_file_of_a_removed_workspace_open_gets_no_more_into_it() {
    let launcher = Launcher::start();
    let id = launcher.make(1 << 20, 100);
    let root = launcher.grant(id);
    let mut file = as_daemon(|| {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT;
        File::from(openat(&root, "file", flags, Mode::S_IRWXU).unwrap())
    });
    launcher.ask(Request::RemoveWorkspace { id }).expect("removed");
    let written = as_daemon(|| {
        let mut written = 0;
        while file.write_all(&[1; 4096]).is_ok() && written < 64 << 20 {
            written += 4096;
        }
        written
    });
    assert!(written <= 1 << 20, "{written} bytes");
    drop((file, root));
    let other = launcher.make(1 << 20, 100); // what is removed after it takes its limits along
    launcher.ask(Request::RemoveWorkspace { id: other }).expect("removed");
    assert_eq!(launcher.on_disk(), 0);
}

#[test]
fn limits_of_what_was_removed_while_it_was_open_are_forgotten_by_the_next_launcher() {
    let mut launcher = Launcher::start();
    let id = launcher.make(1 << 20, 100);
    let root = launcher.grant(id);
    // An image has no project.
    let project = (storage() == Storage::Quota).then(|| project_of(root.as_fd()).unwrap());
    let place = File::open(launcher.workspaces()).unwrap();
    let is_free = || project.is_none_or(|project| is_free_project(place.as_fd(), project).unwrap());
    let file = as_daemon(|| openat(&root, "file", OFlag::O_CREAT, Mode::S_IRWXU).unwrap());
    launcher.ask(Request::RemoveWorkspace { id }).expect("removed");
    assert!(project.is_none() || !is_free(), "the limits hold as long as something is open");
    launcher.stop();
    drop((file, root));
    launcher.start_again();
    assert!(is_free(), "{project:?} is still limited");
    assert_eq!(launcher.on_disk(), 0);
}
