//! A private supervisor for one call, played by a shell script.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::sys::signal::Signal;
use supervisor_api::Stream;

use crate::fake::{Fake, ID, artifact, chunks};
use crate::program::{Ended, Running};

/// Runs the program with this script as its supervisord.
fn with_supervisord(fake: &Fake, script: &str, arguments: &[&str]) -> Ended {
    command(fake, script, arguments).output().expect("started").into()
}

fn command(fake: &Fake, script: &str, arguments: &[&str]) -> Command {
    let program = fake.directory().join("supervisord");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
    let socket = fake.socket();
    let mut command = fake.command(arguments);
    command
        .env("SUPERVISORD_SOCKET", "/nowhere")
        .env("SUPERVISORD_BIN", program)
        .env("FAKE", socket);
    command
}

/// Says where it listens, goes on until its standard input ends, and says so in a file.
const WELL: &str = "[ \"$1\" = --standalone ] || exit 9\n\
                    echo words >&2; echo \"ready $FAKE\"; cat >/dev/null; echo ended >ended";

#[test]
fn a_private_supervisor_is_used_and_ended_after_everything_is_fetched() {
    let fake = Fake::with(|script| {
        script.chunks = chunks(&[(Stream::Stdout, b"hello\n")]);
        script.artifacts = vec![artifact("x", b"1")];
    });
    let ended = with_supervisord(&fake, WELL, &["run", "--standalone", "true"]);
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(0), "hello\n"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("words"), "{}", ended.stderr);
    assert!(fake.directory().join("ended").exists());
    assert!(fake.directory().join(format!("artifacts-{ID}/x")).exists());
}

#[test]
fn its_words_are_shown_when_asked_for_and_doctor_works_likewise() {
    let fake = Fake::new();
    let ended = with_supervisord(&fake, WELL, &["doctor", "--standalone", "--verbose"]);
    assert_eq!(ended.status, Some(1));
    assert!(ended.stdout.contains("network_namespace"), "{}", ended.stdout);
    assert!(ended.stderr.contains("words"), "{}", ended.stderr);
}

#[test]
fn one_that_does_not_start_is_ours_and_its_words_are_shown() {
    let fake = Fake::new();
    let script = "echo 'user namespaces are restricted: do this' >&2; exit 3";
    let ended = with_supervisord(&fake, script, &["run", "--standalone", "true"]);
    assert_eq!(ended.status, Some(125));
    assert!(ended.stderr.contains("user namespaces are restricted: do this"), "{}", ended.stderr);
    let ended = with_supervisord(&fake, "echo hello", &["doctor", "--standalone", "--json"]);
    assert_eq!(ended.status, Some(1));
    assert!(ended.json()["error"]["detail"].as_str().expect("words").contains("hello"));
}

#[test]
fn one_that_does_not_end_well_is_ours_after_the_result_was_shown() {
    let fake = Fake::with(|script| script.chunks = chunks(&[(Stream::Stdout, b"hello\n")]));
    let script = "echo \"ready $FAKE\"; cat >/dev/null; echo 'left a cgroup' >&2; exit 4";
    let ended = with_supervisord(&fake, script, &["run", "--standalone", "--json", "true"]);
    assert_eq!(ended.status, Some(125));
    assert_eq!(ended.json()["stdout"], "hello\n");
    assert!(ended.stderr.contains("left a cgroup"), "{}", ended.stderr);
}

#[test]
fn an_interrupt_cancels_at_once_and_the_private_supervisor_still_ends_by_itself() {
    let fake = Fake::with(|script| script.runs_until_cancelled = true);
    let running = Running::start(command(&fake, WELL, &["run", "--standalone", "sleep", "1000"]));
    fake.wait_for("output");
    running.signal(Signal::SIGINT);
    let ended = running.end();
    assert_eq!(ended.status, Some(130));
    assert!(ended.stderr.contains(&format!("{ID} cancelled")), "{}", ended.stderr);
    assert!(!ended.stderr.contains("Ctrl-C again"), "{}", ended.stderr);
    assert!(fake.directory().join("ended").exists());
}

#[test]
fn an_interrupt_before_it_listens_ends_it() {
    let fake = Fake::new();
    let script = "echo up >&2; cat >/dev/null; echo ended >ended";
    let arguments = ["run", "--standalone", "--verbose", "true"];
    let mut running = Running::start(command(&fake, script, &arguments));
    running.wait_for_words("up");
    running.signal(Signal::SIGINT);
    assert_eq!(running.end().status, Some(130));
    assert!(fake.directory().join("ended").exists());
    assert!(fake.requests("submit").is_empty());
}
