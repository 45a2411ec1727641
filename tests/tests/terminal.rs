//! A payload with a terminal of its own.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by a panic, and so does what it stands on"
)]

use supervisor_api::{Content, ErrorCode, ExecutionId, Outcome, SubmitRequest, TerminalSize};
use supervisor_tests::{
    AGENT, Client, Follow, Selection, Settings, World, argv, attack, bash, python, until,
    until_true,
};

const USUAL: TerminalSize = TerminalSize { rows: 24, columns: 80 };

/// The same with a terminal.
fn on_terminal(request: SubmitRequest) -> SubmitRequest {
    SubmitRequest { terminal: Some(USUAL), ..request }
}

/// Types after all that was typed before.
#[track_caller]
fn type_in(agent: &Client, id: ExecutionId, keys: &str) {
    let offset = agent.input(id).expect("it takes input").offset;
    let taken = agent.send(id, offset, keys).expect("taken");
    assert_eq!(taken.offset, offset + keys.len() as u64);
}

/// Reads until the terminal has shown this.
#[track_caller]
fn shown(follow: &mut Follow, words: &str) -> String {
    let mut text = String::new();
    while !text.contains(words) {
        let bytes = follow.bytes().expect("it goes on").unwrap_or_else(|| panic!("ended: {text}"));
        text.push_str(&String::from_utf8_lossy(&bytes));
    }
    text
}

#[test]
fn a_payload_finds_its_terminal_by_its_name() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let script = r#"
tty; stty size; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo all three
exec 3<>/dev/tty && echo by the name of tty >&3
echo "of session $(ps -o tty= -p $$)" "$TERM"
python3 -c 'import os; print(os.get_terminal_size(), os.ttyname(0))'
"#;
    let ended = agent.run(&on_terminal(bash(script)));
    ended.expect_exit(0);
    let expected = "/dev/pts/0\r\n24 80\r\nall three\r\nby the name of tty\r\n\
                    of session pts/0 xterm\r\n\
                    os.terminal_size(columns=80, lines=24) /dev/pts/0\r\n";
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), (expected, ""));
    assert!(ended.execution.terminal && ended.execution.stdin_open);
    let without = agent.run(&bash("tty; exec 3<>/dev/tty"));
    without.expect_exit(1);
    assert_eq!(without.stdout, "not a tty\n");
    assert!(without.stderr.contains("No such device or address"), "{}", without.stderr);
}

/// Two tools that make a terminal for another program, with and without one of their own.
#[test]
fn a_payload_makes_pseudo_terminals_where_its_policy_says_so() {
    let open = "name = \"open\"\nextends = \"default\"\n[filesystem]\npseudo_terminals = true\n";
    let default = include_str!("../../policies/default.toml");
    let policies = [("default.toml", default), ("open.toml", open)];
    let policies = policies.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec();
    let world = World::with(Settings { policies, ..Settings::default() });
    let agent = world.agent(AGENT);
    let script = "python3 -c 'import pty; pty.spawn([\"tty\"])'; script -qec tty /dev/null";
    let under_open = SubmitRequest { policy: Some("open".to_owned()), ..bash(script) };
    let first = agent.run(&under_open);
    first.expect_exit(0);
    assert_eq!(first.stdout, "/dev/pts/0\r\n/dev/pts/0\r\n", "{}", first.stderr);
    let second = agent.run(&on_terminal(under_open));
    second.expect_exit(0);
    assert_eq!(second.stdout, "/dev/pts/1\r\n/dev/pts/1\r\n");
    // The others of this daemon have none.
    let without = agent.run(&bash("script -qec tty /dev/null"));
    assert!(without.stderr.contains("No such file or directory"), "{}", without.stderr);
}

#[test]
fn what_is_typed_is_echoed_and_read_by_line() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let first = Some(Content(b"given\n".to_vec()));
    let request = SubmitRequest { stdin: first, ..on_terminal(argv(&["cat"])) };
    let id = agent.start(&request);
    let mut follow = agent.follow(id, Selection::Stdout, 0).expect("followed");
    shown(&mut follow, "given\r\ngiven\r\n");
    type_in(&agent, id, "helo\x7flo\r");
    shown(&mut follow, "hello\r\n");
    let refused = agent.close_input(id).expect_err("a terminal has no end");
    assert!(refused.code == ErrorCode::Conflict && refused.hint.is_some(), "{refused}");
    type_in(&agent, id, "\x04");
    agent.ended(id).expect_exit(0);
}

#[test]
fn a_terminal_that_is_resized_has_its_program_told() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let source = "
import os, signal
signal.signal(signal.SIGWINCH, lambda *_: print('now', tuple(os.get_terminal_size()), flush=True))
print('up', flush=True)
while True:
    signal.pause()
";
    let id = agent.start(&on_terminal(python(source)));
    let mut follow = agent.follow(id, Selection::Stdout, 0).expect("followed");
    shown(&mut follow, "up\r\n");
    let size = TerminalSize { rows: 50, columns: 132 };
    assert_eq!(agent.resize(id, size).expect("resized"), size);
    shown(&mut follow, "now (132, 50)\r\n");
    for size in [TerminalSize { rows: 0, columns: 1 }, TerminalSize { rows: 1, columns: 0 }] {
        let refused = agent.resize(id, size).expect_err("no size");
        assert_eq!(refused.code, ErrorCode::InvalidArgument);
        let request = SubmitRequest { terminal: Some(size), ..argv(&["true"]) };
        assert_eq!(agent.submit(&request).expect_err("no size").code, ErrorCode::InvalidArgument);
    }
    type_in(&agent, id, "\x03");
    agent.ended(id);
    assert_eq!(agent.resize(id, size).expect_err("it has ended").code, ErrorCode::Conflict);
    let plain = agent.start(&argv(&["sleep", "300"]));
    assert_eq!(agent.resize(plain, size).expect_err("it has none").code, ErrorCode::Conflict);
}

#[test]
fn keys_interrupt_and_stop_what_is_in_the_foreground() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let id = agent.start(&on_terminal(argv(&["bash", "--norc", "-i"])));
    let mut follow = agent.follow(id, Selection::Stdout, 0).expect("followed");
    shown(&mut follow, "$ ");
    type_in(&agent, id, "sh -c 'echo be''gun; exec sleep 300'\r");
    shown(&mut follow, "begun\r\n");
    type_in(&agent, id, "\x03");
    type_in(&agent, id, "echo status $?\r");
    shown(&mut follow, "status 130\r\n");
    type_in(&agent, id, "sh -c 'echo ag''ain; exec sleep 300'\r");
    shown(&mut follow, "again\r\n");
    type_in(&agent, id, "\x1a");
    shown(&mut follow, "Stopped");
    type_in(&agent, id, "echo in $(jobs -p | wc -l) job\r");
    shown(&mut follow, "in 1 job\r\n");
    agent.cancel(id).expect("ours");
    agent.ended(id).expect(&Outcome::Cancelled);
}

/// The daemon dies while a terminal is being filled, and while it is typed into.
#[test]
fn a_terminal_loses_no_byte_over_the_daemons_death() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let script = "stty -echo; echo up; while read round; do seq 1 20000; echo end $round; done";
    let id = agent.start(&on_terminal(bash(script)));
    let mut follow = agent.follow(id, Selection::Stdout, 0).expect("followed");
    shown(&mut follow, "up\r\n");
    let mut expected = "up\r\n".to_owned();
    for round in 0..3 {
        let line = format!("{round}\n");
        let offset = 2 * round;
        agent.send(id, offset, &line).expect("taken");
        world.daemon().kill();
        world.start_daemon();
        assert_eq!(agent.send(id, offset, &line).expect("a second time").offset, offset + 2);
        expected.extend((1..=20_000).map(|number| format!("{number}\r\n")));
        expected.push_str(&format!("end {round}\r\n"));
        let mut follow = agent.follow(id, Selection::Stdout, 0).expect("followed");
        shown(&mut follow, &format!("end {round}\r\n"));
    }
    let size = TerminalSize { rows: 40, columns: 90 };
    agent.resize(id, size).expect("it is the next daemon's as well");
    type_in(&agent, id, "\x04");
    let ended = agent.ended(id);
    ended.expect_exit(0);
    assert!(ended.stdout == expected, "{} bytes of {}", ended.stdout.len(), expected.len());
}

#[test]
fn a_process_that_keeps_the_terminal_open_does_not_keep_the_result() {
    let world = World::open();
    let script = "(trap '' HUP; sleep 300 &); setsid sleep 300 & echo done";
    let ended = world.agent(AGENT).run(&on_terminal(bash(script)));
    ended.expect_exit(0);
    assert_eq!(ended.stdout, "done\r\n");
    assert!(ended.execution.usage.wall_ms < 10_000, "{:?}", ended.execution.usage);
}

#[test]
fn a_terminal_that_everybody_closed_shows_what_is_written_when_it_is_opened_again() {
    let world = World::open();
    let script =
        "echo one; exec <&- >&- 2>&-; sleep 0.3; echo two >/dev/tty; echo three >/dev/pts/0";
    let ended = world.agent(AGENT).run(&on_terminal(bash(script)));
    ended.expect_exit(0);
    assert_eq!(ended.stdout, "one\r\ntwo\r\nthree\r\n");
}

/// Typing into one's own terminal, another line discipline, the console, the host's terminals.
#[test]
fn what_a_terminal_could_be_abused_for_is_refused() {
    let world = World::open();
    let source = r#"
import fcntl, termios, struct
for name, request, argument in [
    ("sti", 0x5412, b"x"), ("setd", 0x5423, struct.pack("i", 3)), ("linux", 0x541C, b"\x02"),
    ("cons", 0x541D, 0), ("excl", 0x540C, 0), ("vhangup", 0x5437, 0),
]:
    try:
        fcntl.ioctl(0, request, argument)
        print(name, "done")
    except OSError as error:
        print(name, error.errno)
print(sorted(os.listdir("/dev/pts")))
"#;
    let ended = world.agent(AGENT).run(&on_terminal(attack(source)));
    ended.expect_exit(0);
    let refused =
        ["sti", "setd", "linux", "cons", "excl", "vhangup"].map(|name| format!("{name} 1\r\n"));
    assert_eq!(ended.stdout, format!("{}['0', 'ptmx']\r\n", refused.concat()));
}

#[test]
fn a_program_that_never_reads_its_terminal_costs_little_and_stalls_nobody() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let source = "import tty, time\ntty.setraw(0)\nprint('up', flush=True)\ntime.sleep(300)";
    let deaf = agent.start(&on_terminal(python(source)));
    let mut follow = agent.follow(deaf, Selection::Stdout, 0).expect("followed");
    shown(&mut follow, "up");
    let flood = vec![b'x'; 1 << 20];
    // A disk that stands still for a moment lets others be late, and who is held up is so each time.
    let taken = until("others are served while the sender waits", || {
        std::thread::scope(|threads| {
            let flooding = threads.spawn(|| agent.send(deaf, 0, &flood).expect("some of it"));
            let other = agent.start(&on_terminal(argv(&["head", "-n1"])));
            type_in(&agent, other, "line\r");
            agent.ended(other).expect_exit(0);
            let waits = !flooding.is_finished();
            let taken = flooding.join().expect("an answer");
            waits.then_some(taken)
        })
    });
    assert!(taken.offset < 1 << 19 && taken.passed_on < 1 << 18, "{taken:?}");
    agent.cancel(deaf).expect("ours");
}

/// More than the terminal, the pipe and the limit hold, with nobody who reads.
#[test]
fn a_flood_on_a_terminal_is_cut_and_holds_nobody_up() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let mut request = on_terminal(bash("yes AAAAAAA | head -c 40000000; echo; echo the end"));
    request.limits.output_bytes = Some(1 << 20);
    let ended = agent.run(&request);
    ended.expect_exit(0);
    let summary = ended.execution.output.stdout;
    assert_eq!((summary.kept, summary.kept + summary.cut), (1 << 20, 45_000_000 + 11));
    until_true("it is known", || agent.status(ended.execution.id, 0).is_ok());
}
