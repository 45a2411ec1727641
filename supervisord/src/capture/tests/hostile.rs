//! Payloads that try to hold up the daemon by their end of the pipe.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use nix::fcntl::{SpliceFFlags, splice};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, gettid};
use supervisor_api::Stream;
use tempfile::TempDir;

use super::{Payload, made, read_all, start, summary, text};
use crate::capture::Capture;

#[tokio::test]
async fn a_pipe_held_open_by_a_grandchild_does_not_hold_up_the_end() {
    let directory = TempDir::new().unwrap();
    let capture = Capture::create(made(directory.path()), 100);
    let (payload, pipes) = Payload::start();
    let pump = start(&capture, pipes);
    let mut child = Command::new("sh")
        .args(["-c", "sleep 300 & echo $! >&2; echo done"])
        .stdout(payload.stdout.as_ref().unwrap().try_clone().unwrap())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut grandchild = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut grandchild).unwrap();
    assert!(child.wait().unwrap().success());
    drop(payload);
    assert!(!pump.is_finished());
    capture.drain_rest();
    pump.await.unwrap().unwrap();
    kill(Pid::from_raw(grandchild.trim().parse().unwrap()), Signal::SIGKILL).unwrap();
    capture.finish();
    assert_eq!(text(&read_all(&capture, None).await), "done\n");
}

#[tokio::test]
async fn the_rest_is_taken_even_if_it_was_written_just_before() {
    for bytes in [0, 1, 65536] {
        let directory = TempDir::new().unwrap();
        let capture = Capture::create(made(directory.path()), 1 << 20);
        let (mut payload, pipes) = Payload::start();
        payload.write(Stream::Stdout, &vec![b'x'; bytes]);
        payload.write(Stream::Stderr, &vec![b'y'; bytes]);
        capture.drain_rest();
        let [stdout, stderr] = pipes;
        capture.pump(stdout.into(), Some(stderr.into())).await.unwrap();
        assert_eq!(capture.summary(), summary((bytes as u64, 0), (bytes as u64, 0)));
        drop(payload);
    }
}

#[tokio::test]
async fn a_payload_that_holds_the_lock_of_its_pipe_does_not_stop_the_daemon() {
    let directory = TempDir::new().unwrap();
    let capture = Capture::create(made(directory.path()), 100);
    let (mut payload, pipes) = Payload::start();
    payload.write(Stream::Stdout, b"before ");
    let (quiet, mut voice) = UnixStream::pair().unwrap();
    let stdout = payload.stdout.take().unwrap();
    let (sender, receiver) = mpsc::channel();
    let holder = std::thread::spawn(move || {
        sender.send(gettid()).unwrap();
        splice(&quiet, None, &stdout, None, 100, SpliceFFlags::empty()).unwrap()
    });
    let thread = receiver.recv().unwrap();
    // The number of the system call that the thread sleeps in, if it sleeps in one.
    let sleeps_in = format!("/proc/self/task/{thread}/syscall");
    let splice_number = format!("{} ", nix::libc::SYS_splice);
    while !std::fs::read_to_string(&sleeps_in).unwrap().starts_with(&splice_number) {
        std::thread::yield_now();
    }

    // This runtime has one thread: whatever blocks it blocks the test.
    let pump = start(&capture, pipes);
    let other_directory = TempDir::new().unwrap();
    let other = Capture::create(made(other_directory.path()), 100);
    let (mut other_payload, other_pipes) = Payload::start();
    other_payload.write(Stream::Stdout, b"not held up");
    drop(other_payload);
    start(&other, other_pipes).await.unwrap().unwrap();
    assert_eq!(other.summary(), summary((11, 0), (0, 0)));
    assert_eq!(capture.summary(), summary((0, 0), (0, 0)));
    assert!(!pump.is_finished());

    voice.write_all(b"after").unwrap();
    assert_eq!(holder.join().unwrap(), 5);
    drop(payload);
    pump.await.unwrap().unwrap();
    assert_eq!(text(&read_all(&capture, None).await), "before after");
}
