//! supervisorctl with a payload that is typed into: on a real terminal, as an ordinary user.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by a panic, and so does what it stands on"
)]

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use supervisor_api::{ExecutionId, State};
use supervisor_tests::{AGENT, Account, Told, World, until_true};

const TYPIST: &str = include_str!("payloads/typist.py");

/// Ctrl-P and Ctrl-Q.
const DETACH: &str = "\u{10}\u{11}";

fn command(user: &Account, world: &World, words: &[&str]) -> Command {
    let mut command = user.supervisorctl(words);
    command.env("SUPERVISORD_SOCKET", world.socket());
    command
}

/// Runs supervisorctl on a terminal and does these steps there.
#[track_caller]
fn on_terminal(user: &Account, world: &World, steps: &Value, words: &[&str]) -> Value {
    user.write("typist.py", TYPIST);
    let (steps, program) = (steps.to_string(), user.program("supervisorctl"));
    let program = program.display().to_string();
    let words = [&["typist.py", &steps, &program], words].concat();
    let mut command = user.command("/usr/bin/python3", &words);
    command.env("SUPERVISORD_SOCKET", world.socket()).env("TERM", "xterm");
    let told = Told::of(command);
    assert_eq!(told.code, Some(0), "{told:?}");
    told.json()
}

/// The one execution that runs.
#[track_caller]
fn running(world: &World) -> ExecutionId {
    let list = world.agent(AGENT).list("state=running").expect("ours");
    let [one] = list.executions.as_slice() else { panic!("{list:?}") };
    one.id
}

#[test]
fn a_program_on_the_callers_terminal_has_its_size_and_its_keys() {
    let (world, user) = (World::open(), Account::new(AGENT));
    let steps = json!([
        ["expect", "$ "],
        ["send", "tty; stty size\r"],
        ["expect", "/dev/pts/0\r\n24 80\r\n"],
        ["expect", "$ "],
        ["resize", 30, 100],
        ["send", "while [ \"$(stty size)\" != '30 100' ]; do :; done; echo res''ized\r"],
        ["expect", "resized\r\n"],
        ["send", "sh -c 'echo be''gun; exec sleep 300'\r"],
        ["expect", "begun\r\n"],
        ["send", "\u{3}"],
        ["send", "echo status $? of $TERM\r"],
        ["expect", "status 130 of xterm\r\n"],
        ["send", "exit 7\r"],
    ]);
    let words = ["run", "-q", "-it", "--", "bash", "--norc", "-i"];
    let told = on_terminal(&user, &world, &steps, &words);
    assert_eq!((&told["status"], &told["restored"]), (&json!(7), &json!(true)), "{told}");
    let steps = json!([["expect", "$ "], ["send", "logout\r"]]);
    let told = on_terminal(&user, &world, &steps, &["shell", "-q"]);
    assert_eq!((&told["status"], &told["restored"]), (&json!(0), &json!(true)), "{told}");
}

#[test]
fn who_detaches_leaves_it_running_and_comes_back() {
    let (mut world, user) = (World::open(), Account::new(AGENT));
    let steps =
        json!([["expect", "$ "], ["send", "mark=kept\r"], ["expect", "$ "], ["send", DETACH]]);
    let told = on_terminal(&user, &world, &steps, &["run", "-t", "--", "bash", "--norc", "-i"]);
    assert_eq!((&told["status"], &told["restored"]), (&json!(0), &json!(true)), "{told}");
    let id = running(&world).to_string();
    let shown = told["shown"].as_str().expect("text");
    assert!(
        shown.contains(&format!("detached; {id} goes on: supervisorctl attach {id}")),
        "{shown}"
    );
    world.daemon().kill();
    world.start_daemon();
    // Two are there at once: one looks on from the first byte.
    let mut follower = command(&user, &world, &["attach", "--no-stdin", "--offset", "0", &id])
        .spawn()
        .expect("started");
    let steps = json!([["send", "echo $mark\r"], ["expect", "kept\r\n"], ["send", "exit 3\r"],]);
    let told = on_terminal(&user, &world, &steps, &["attach", "-q", &id]);
    assert_eq!((&told["status"], &told["restored"]), (&json!(3), &json!(true)), "{told}");
    let mut all = String::new();
    follower.stdout.take().expect("piped").read_to_string(&mut all).expect("text");
    assert_eq!(follower.wait().expect("waited for").code(), Some(3));
    let told = all.matches("kept\r\n").count();
    assert_eq!(told, 2, "typed once before and said once after: {all}");
}

#[test]
fn a_terminal_is_as_it_was_however_the_command_ends() {
    let (world, user) = (World::open(), Account::new(AGENT));
    let steps = json!([["expect", "$ "], ["signal", 15]]);
    let told = on_terminal(&user, &world, &steps, &["run", "-t", "--", "bash", "--norc", "-i"]);
    assert_eq!(told["restored"], json!(true), "{told}");
    until_true("it was cancelled", || {
        world.agent(AGENT).list("state=running").expect("ours").executions.is_empty()
    });
    let steps = json!([["expect", "exited with status 0"]]);
    let told = on_terminal(&user, &world, &steps, &["run", "-t", "--", "true"]);
    assert_eq!((&told["status"], &told["restored"]), (&json!(0), &json!(true)), "{told}");
    let refused = Told::of(command(&user, &world, &["run", "-t", "--", "true"]));
    assert_eq!(refused.code, Some(125), "without a terminal: {refused:?}");
}

#[test]
fn standard_input_is_passed_on_as_it_comes() {
    let (mut world, user) = (World::open(), Account::new(AGENT));
    let mut words = command(&user, &world, &["run", "-q", "-i", "--", "cat"]);
    let mut child = words.stdin(Stdio::piped()).spawn().expect("started");
    let (mut stdin, mut stdout) =
        (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
    for line in ["one\n", "two\n", "three\n"] {
        stdin.write_all(line.as_bytes()).expect("it reads");
        let mut shown = vec![0; line.len()];
        stdout.read_exact(&mut shown).expect("it answers");
        assert_eq!(String::from_utf8_lossy(&shown), line);
        if line == "two\n" {
            world.daemon().kill();
            world.start_daemon();
        }
    }
    drop(stdin);
    assert_eq!(child.wait().expect("waited for").code(), Some(0));
    let mut words = command(&user, &world, &["run", "--json", "-i", "--", "sort"]);
    let mut child = words.stdin(Stdio::piped()).spawn().expect("started");
    child.stdin.take().expect("piped").write_all(b"b\na\n").expect("it reads");
    let told = Told::from(child.wait_with_output().expect("waited for"));
    assert_eq!(told.json()["stdout"], "a\nb\n");
}

#[test]
fn what_was_submitted_open_is_attached_to_later() {
    let (world, user) = (World::open(), Account::new(AGENT));
    let submitted = Told::of(command(&user, &world, &["submit", "-i", "--", "cat"]));
    let id = submitted.stdout.trim().to_owned();
    let agent = world.agent(AGENT);
    let known: ExecutionId = id.parse().expect("an id");
    until_true("it runs", || agent.status(known, 0).expect("ours").state == State::Running);
    let mut words = command(&user, &world, &["attach", "-q", &id]);
    let mut child = words.stdin(Stdio::piped()).spawn().expect("started");
    child.stdin.take().expect("piped").write_all(b"attached\n").expect("it reads");
    let told = Told::from(child.wait_with_output().expect("waited for"));
    assert_eq!((told.code, told.stdout.as_str()), (Some(0), "attached\n"), "{told:?}");
}

/// Without a terminal each sends to the pipe by what it knows of it: whoever knows less is told, and loses nothing in
/// silence.
#[test]
fn who_is_attached_is_told_that_somebody_else_sends_as_well() {
    let (world, user) = (World::open(), Account::new(AGENT));
    let submitted = Told::of(command(&user, &world, &["submit", "-i", "--", "cat"]));
    let id = submitted.stdout.trim().to_owned();
    let agent = world.agent(AGENT);
    let known: ExecutionId = id.parse().expect("an id");
    let arrived = |bytes| agent.input(known).is_ok_and(|input| input.offset == bytes);
    until_true("it runs", || arrived(0));
    let mut words = command(&user, &world, &["attach", "-q", &id]);
    words.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = words.spawn().expect("started");
    let mut keys = child.stdin.take().expect("piped");
    keys.write_all(b"mine\n").expect("it reads");
    until_true("it arrives", || arrived(5));
    assert_eq!(agent.send(known, 5, "theirs\n").expect("taken").offset, 12);
    keys.write_all(b"late\n").expect("it reads");
    let told = Told::from(child.wait_with_output().expect("waited for"));
    assert_eq!(told.code, Some(125), "{told:?}"); // as for whatever is no end of the program
    assert!(told.stderr.contains("somebody else's stand at offset 5"), "{told:?}");
    assert!(!agent.close_input(known).expect("ours").open);
    assert_eq!(agent.ended(known).stdout, "mine\ntheirs\n");
}
