//! Ctrl-C once, twice, a terminal that is closed, and output that nobody takes.

use std::fs::OpenOptions;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use supervisor_api::Stream;

use crate::fake::{Fake, ID, chunks};
use crate::program::Running;

fn endless() -> Fake {
    Fake::with(|script| {
        script.runs_until_cancelled = true;
        script.chunks = chunks(&[(Stream::Stdout, b"so far\n")]);
    })
}

#[test]
fn one_interrupt_cancels_and_the_result_is_still_shown() {
    let fake = endless();
    let mut running = Running::start(fake.command(&["run", "sleep", "1000"]));
    assert_eq!(running.read(7), b"so far\n");
    running.signal(Signal::SIGINT);
    running.wait_for_words("Ctrl-C again leaves it running");
    let ended = running.end();
    assert_eq!(ended.status, Some(130));
    assert!(ended.stderr.contains(&format!("{ID} cancelled")), "{}", ended.stderr);
    assert_eq!(fake.requests("cancel").len(), 1);
}

#[test]
fn two_interrupts_leave_it_running_and_tell_its_id() {
    let fake = endless();
    let mut running = Running::start(fake.command(&["run", "sleep", "1000"]));
    fake.wait_for("output");
    running.signal(Signal::SIGINT);
    running.wait_for_words("Ctrl-C again leaves it running");
    running.signal(Signal::SIGINT);
    let ended = running.end();
    assert_eq!(ended.status, Some(130));
    assert!(ended.stderr.contains(&format!("detached; {ID} goes on")), "{}", ended.stderr);
    assert!(fake.requests("cancel").is_empty());
}

#[test]
fn a_request_to_end_cancels_at_once() {
    let fake = endless();
    let running = Running::start(fake.command(&["--json", "run", "sleep", "1000"]));
    fake.wait_for("status");
    running.signal(Signal::SIGTERM);
    let ended = running.end();
    assert_eq!(ended.status, Some(130));
    assert_eq!(ended.json()["execution"]["outcome"]["type"], "cancelled");
}

#[test]
fn a_reader_that_goes_away_ends_the_execution_without_words() {
    let fake = Fake::with(|script| {
        script.runs_until_cancelled = true;
        // More than a pipe holds, so that the writer notices.
        script.chunks = chunks(&[(Stream::Stdout, &[b'x'; 200_000])]);
    });
    let mut running = Running::start(fake.command(&["run", "yes"]));
    running.read(10);
    running.stop_reading();
    let ended = running.end();
    assert_eq!((ended.status, ended.stderr.as_str()), (Some(141), ""));
    assert_eq!(fake.requests("cancel").len(), 1);
}

#[test]
fn a_terminal_that_is_closed_cancels_at_once_unless_that_is_ignored() {
    let fake = endless();
    let program = fake.command(&["--json", "run", "sleep", "1000"]);
    // Whoever runs the tests may have it ignored.
    let running = Running::start(through(&program, &["/usr/bin/env", "--default-signal=HUP"]));
    fake.wait_for("status");
    running.signal(Signal::SIGHUP);
    assert_eq!(running.end().status, Some(130));
    assert_eq!(fake.requests("cancel").len(), 1);

    let fake = endless();
    let program = fake.command(&["run", "sleep", "1000"]);
    let ignoring = ["/usr/bin/env", "--ignore-signal=HUP"];
    let mut running = Running::start(through(&program, &ignoring));
    assert_eq!(running.read(7), b"so far\n");
    running.signal(Signal::SIGHUP);
    running.signal(Signal::SIGINT);
    running.wait_for_words("Ctrl-C again leaves it running");
    assert_eq!(running.end().status, Some(130));
}

/// The same program, started by another one.
fn through(program: &Command, starter: &[&str]) -> Command {
    let mut command = Command::new(starter[0]);
    command.args(&starter[1..]).arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(Stdio::null());
    command
}

#[test]
fn output_that_can_not_be_written_ends_the_execution() {
    let fake = endless();
    let mut command = fake.command(&["run", "-q", "sleep", "1000"]);
    let full = OpenOptions::new().write(true).open("/dev/full").expect("there");
    let status = command.stdout(full).stderr(Stdio::null()).status().expect("started");
    assert_eq!(status.code(), Some(125));
    assert_eq!(fake.requests("cancel").len(), 1);
}

#[test]
fn a_request_to_end_waits_for_no_reader() {
    let fake = Fake::with(|script| {
        script.runs_until_cancelled = true;
        script.chunks = chunks(&[(Stream::Stdout, &[b'x'; 200_000])]);
    });
    let mut running = Running::start(fake.command(&["run", "yes"]));
    running.read(10);
    running.signal(Signal::SIGTERM);
    running.wait_for_words("is cancelled; its end was not shown");
    assert_eq!(running.status(), Some(130), "with its output unread");
    assert_eq!(fake.requests("cancel").len(), 1);
}
