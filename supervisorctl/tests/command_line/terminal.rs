//! What a hostile payload can do to the operator's terminal: nothing.

use std::fs::File;
use std::io::Read;

use nix::pty::openpty;
use supervisor_api::Stream;

use crate::fake::{Fake, ID, chunks};

/// Runs the program with a terminal as both outputs; tells what arrived there.
fn on_a_terminal(fake: &Fake, arguments: &[&str]) -> String {
    shown(fake, arguments, false)
}

/// The same, with that terminal as the input too if it `types`.
fn shown(fake: &Fake, arguments: &[&str], types: bool) -> String {
    let pair = openpty(None, None).expect("a terminal");
    let stdin = types.then(|| pair.slave.try_clone().expect("a descriptor"));
    let stderr = pair.slave.try_clone().expect("a descriptor");
    let mut command = fake.command(arguments);
    command.env("TERM", "xterm").env_remove("NO_COLOR").stdout(pair.slave).stderr(stderr);
    if let Some(stdin) = stdin {
        command.stdin(stdin);
    }
    let mut child = command.spawn().expect("started");
    drop(command); // with its copies of the terminal
    let mut bytes = Vec::new();
    // Once nobody holds the other end, reading a terminal ends in an error.
    let ended = File::from(pair.master).read_to_end(&mut bytes).expect_err("EIO at the end");
    assert_eq!(ended.raw_os_error(), Some(nix::errno::Errno::EIO as i32));
    assert!(child.wait().expect("waited for").success());
    String::from_utf8(bytes).expect("UTF-8")
}

fn hostile() -> Fake {
    Fake::with(|script| {
        let bytes = b"\x1b]52;c;cm0gLXJm\x07 \x1b[2J\xc2\x9b6n\rspoofed\n\xe2\x82";
        script.chunks = chunks(&[(Stream::Stdout, bytes), (Stream::Stdout, b"\xac end")]);
    })
}

#[test]
fn a_payload_cannot_write_escape_sequences_to_the_operators_terminal() {
    let shown = on_a_terminal(&hostile(), &["run", "--quiet", "true"]);
    let harmless =
        "\u{241b}]52;c;cm0gLXJm\u{2407} \u{241b}[2J\u{fffd}6n\u{240d}spoofed\r\n\u{20ac} end\r\n";
    assert_eq!(shown, harmless);
    let shown = on_a_terminal(&hostile(), &["output", "--quiet", &ID.to_string()]);
    assert_eq!(shown, harmless);
}

#[test]
fn an_operator_who_wants_the_bytes_gets_them() {
    let shown = on_a_terminal(&hostile(), &["run", "--quiet", "--raw", "true"]);
    assert!(shown.starts_with("\x1b]52;c;cm0gLXJm\x07"), "{shown:?}");
}

#[test]
fn what_a_payload_s_terminal_shows_comes_as_it_is_though_no_key_was_ever_taken() {
    let fake = Fake::with(|script| {
        script.chunks = chunks(&[(Stream::Stdout, b"one\r\n"), (Stream::Stdout, b"two\r\n")]);
    });
    let shown = shown(&fake, &["run", "--quiet", "-it", "true"], true);
    assert_eq!(shown.replace("\x1b", "ESC"), "one\r\ntwo\r\n");
}

#[test]
fn names_in_a_table_are_harmless_and_our_own_colours_are_there() {
    let fake = Fake::with(|script| {
        script.execution.labels.0.insert("k".to_owned(), "\x1b[2J".to_owned());
        script.execution.argv = vec!["a\x1bc".to_owned()];
    });
    let shown = on_a_terminal(&fake, &["list"]);
    assert!(!shown.contains("\x1b[2J") && !shown.contains("\x1bc"), "{shown:?}");
    let shown = on_a_terminal(&fake, &["status", &ID.to_string()]);
    assert!(shown.contains("\x1b[1m\x1b[32mexited"), "{shown:?}");
}
