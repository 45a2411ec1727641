//! The socket between a payload and its daemon.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;

use supervisor_launch::{Descriptor, Reply, Request, Workspace};

use crate::launcher::{Launcher, prepare};
use crate::payload::Payload;

fn with_channel() -> supervisor_launch::Prepare {
    supervisor_launch::Prepare { channel: true, ..prepare(Workspace::Memory, 1 << 20, 33) }
}

#[test]
fn a_payload_and_its_daemon_speak_on_descriptor_3_and_it_has_no_other() {
    let launcher = Launcher::start();
    let script = "ls /proc/self/fd | tr '\\n' ' '; read -r line <&3; echo \"heard $line\" >&3";
    let mut payload = Payload::start(&launcher, with_channel(), script);
    let mut channel = UnixStream::from(payload.channel());
    channel.write_all(b"a word\n").unwrap();
    let mut answer = String::new();
    channel.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "heard a word\n");
    let (code, said) = payload.finish();
    assert_eq!((code, said.trim_end()), (0, "0 1 2 3 4"), "4 is ls's own");
}

#[test]
fn without_a_channel_descriptor_3_is_free() {
    let launcher = Launcher::start();
    let plain = prepare(Workspace::Memory, 1 << 20, 33);
    let (_, said) = Payload::run(&launcher, plain, "ls /proc/self/fd | tr '\\n' ' '");
    assert_eq!(said.trim_end(), "0 1 2 3", "3 is ls's own");
}

#[test]
fn a_daemon_that_comes_back_has_the_channel_again_and_the_payload_saw_no_end() {
    let launcher = Launcher::start();
    let request = with_channel();
    let script =
        "read -r line <&3; echo \"heard $line\" >&3; read -r line <&3; echo \"and $line\" >&3";
    let mut payload = Payload::start(&launcher, request, script);
    let mut first = UnixStream::from(payload.channel());
    first.write_all(b"one\n").unwrap();
    let mut line = String::new();
    BufReader::new(&first).read_line(&mut line).unwrap();
    assert_eq!(line, "heard one\n");
    drop(first);
    let (reply, fds) = launcher.ask(Request::Adopt { execution: request.execution }).unwrap();
    let Reply::Prepared { applied, .. } = reply else { panic!("{reply:?}") };
    let present = Descriptor::ALL.into_iter().filter(|each| applied.descriptors & each.bit() != 0);
    let mut places = present.zip(fds);
    let (_, again) = places.find(|(place, _)| *place == Descriptor::Channel).expect("it is kept");
    let mut again = UnixStream::from(again);
    again.set_nonblocking(false).unwrap();
    again.write_all(b"two\n").unwrap();
    let mut answer = String::new();
    again.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "and two\n");
    assert_eq!(payload.finish().0, 0);
}
