//! The program under test, started in a directory of its own.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// The program with these arguments, not started yet.
pub fn command(socket: &Path, directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_supervisorctl"));
    command
        .args(arguments)
        .current_dir(directory)
        .env("SUPERVISORD_SOCKET", socket)
        .env_remove("SUPERVISORD_BIN")
        .stdin(Stdio::null());
    command
}

/// What a program that has ended wrote, as text.
pub struct Ended {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Its standard output as one JSON value on one line.
    pub fn json(&self) -> Value {
        assert_eq!(self.stdout.matches('\n').count(), 1, "{}", self.stdout);
        serde_json::from_str(&self.stdout).expect("one JSON value")
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

/// A program that runs, with both outputs in pipes.
pub struct Running {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    said: String,
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        Self { child, stderr, said: String::new() }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        kill(Pid::from_raw(pid), signal).expect("signalled");
    }

    /// Reads standard error up to the line with these words.
    pub fn wait_for_words(&mut self, words: &str) {
        loop {
            let mut line = String::new();
            let count = self.stderr.read_line(&mut line).expect("readable");
            assert_ne!(count, 0, "ended without {words:?}: {}", self.said);
            self.said.push_str(&line);
            if line.contains(words) {
                return;
            }
        }
    }

    /// Closes our end of its standard output.
    pub fn stop_reading(&mut self) {
        drop(self.child.stdout.take());
    }

    /// Reads so many bytes of its standard output.
    pub fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.child.stdout.as_mut().expect("a pipe").read_exact(&mut bytes).expect("readable");
        bytes
    }

    /// Waits for its end, and reads nothing.
    pub fn status(&mut self) -> Option<i32> {
        self.child.wait().expect("waited for").code()
    }

    pub fn end(mut self) -> Ended {
        let mut stdout = String::new();
        if let Some(mut pipe) = self.child.stdout.take() {
            pipe.read_to_string(&mut stdout).expect("UTF-8");
        }
        let mut stderr = self.said;
        self.stderr.read_to_string(&mut stderr).expect("UTF-8");
        let status = self.child.wait().expect("waited for").code();
        Ended { status, stdout, stderr }
    }
}
