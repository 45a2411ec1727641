//! A program under test that runs in the background.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::until;

/// Lines of a log that are shown when a test fails.
const SHOWN: usize = 40;

/// A running program.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    _file: File,
}

impl Process {
    /// Starts a program as this uid and gid, its words going to a log. It is executed through a
    /// descriptor, because the account need not be able to reach the directory it is in.
    pub fn start(name: &str, id: u32, arguments: &[String], log: PathBuf) -> io::Result<Self> {
        Self::start_with(name, id, arguments, log, &[])
    }

    /// The same with more variables in its environment.
    pub fn start_with(
        name: &str,
        id: u32,
        arguments: &[String],
        log: PathBuf,
        variables: &[(&str, &str)],
    ) -> io::Result<Self> {
        let file = File::open(crate::program(name))?;
        let words = File::options().create(true).append(true).open(&log)?;
        let child = Command::new(format!("/proc/self/fd/{}", file.as_raw_fd()))
            .arg0(name)
            .args(arguments)
            .env("SUPERVISORD_LOG", "info")
            .env("SUPERVISOR_CANARY", "never to be seen by a payload")
            .envs(variables.iter().copied())
            .current_dir("/")
            .uid(id)
            .gid(id)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(words)
            .spawn()?;
        Ok(Self { child, log, _file: file })
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Whether it has ended, and with success.
    pub fn ended_well(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(status)) if status.success())
    }

    /// Asks it to end and waits until it has; fails if it does not end well.
    pub fn end(&mut self) {
        let status = self.signal_and_wait(Signal::SIGTERM);
        assert!(status.success(), "ended with {status}; it said:\n{}", self.words());
    }

    /// Ends it without a word, as the kernel does when memory is short.
    pub fn kill(&mut self) {
        let status = self.signal_and_wait(Signal::SIGKILL);
        assert_eq!(status.signal(), Some(9), "it had ended before; it said:\n{}", self.words());
    }

    /// Waits until it was killed by something else.
    #[track_caller]
    pub fn wait_for_kill(&mut self, why: &str) {
        let status = until(why, || self.child.try_wait().unwrap());
        assert_eq!(status.signal(), Some(9), "{why}: {status}; it said:\n{}", self.words());
    }

    /// Ends it in whatever state it is.
    pub fn clear_away(&mut self) {
        if self.runs() {
            self.signal_and_wait(Signal::SIGKILL);
        }
    }

    /// Asks it to end, waits until it has, and doesn't mind how: a panic in a panic would end the whole program.
    pub fn leave(&mut self) {
        if self.runs() {
            self.signal_and_wait(Signal::SIGTERM);
        }
    }

    /// What it said last.
    pub fn words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(SHOWN)..].join("\n")
    }

    fn signal_and_wait(&mut self, signal: Signal) -> ExitStatus {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap());
        kill(pid, signal).expect("a child that was not waited for can be signalled");
        until("a program has ended", || self.child.try_wait().unwrap())
    }
}
