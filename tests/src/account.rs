//! An account of the host with a home of its own, and the programs where every account finds them.

use std::fs;
use std::io::Read;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::binaries::Installed;
use crate::inspect::process_ids;
use crate::wait::until_true;
use crate::world::World;

/// An account. It needs no entry in the host's table of accounts.
#[derive(Debug)]
pub struct Account {
    uid: u32,
    gid: u32,
    installed: Installed,
    home: TempDir,
    scratch: TempDir,
}

/// How a program ended and what it said.
#[derive(Debug)]
pub struct Told {
    /// Its exit status.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Account {
    /// An account with this uid and gid and no other group.
    pub fn new(uid: u32) -> Self {
        Self::with_group(uid, uid)
    }

    /// That of a caller of this supervisor, in the group that may use its socket if there is one.
    pub fn of(world: &World, uid: u32) -> Self {
        let uid = world.agent(uid).uid();
        Self::with_group(uid, world.group().unwrap_or(uid))
    }

    fn with_group(uid: u32, gid: u32) -> Self {
        let directory = || {
            let made = tempfile::Builder::new().prefix("supervisor-test-").tempdir().unwrap();
            chown(made.path(), Some(uid), Some(uid)).unwrap();
            made
        };
        Self { uid, gid, installed: Installed::new(), home: directory(), scratch: directory() }
    }

    /// Its uid.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// A place in its home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Puts a file into its home.
    pub fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    /// Reads a file of its home.
    #[track_caller]
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Where a program under test is.
    pub fn program(&self, name: &str) -> PathBuf {
        self.installed.program(name)
    }

    /// A program that this account is about to start in its home.
    pub fn command(&self, program: impl AsRef<Path>, words: &[&str]) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .args(words)
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("TMPDIR", self.scratch.path())
            .current_dir(self.home.path())
            .uid(self.uid)
            .gid(self.gid)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs supervisorctl.
    pub fn run(&self, words: &[&str]) -> Told {
        Told::of(self.supervisorctl(words))
    }

    /// supervisorctl, to be run by this account.
    pub fn supervisorctl(&self, words: &[&str]) -> Command {
        self.command(self.program("supervisorctl"), words)
    }

    /// Fails unless every process of these programs ends and no file of theirs is left.
    #[track_caller]
    pub fn expect_nothing_left(&self) {
        let own = self.installed.path();
        let is_ours = |pid: &u32| {
            fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|path| path.starts_with(own))
        };
        until_true("every process has ended", || !process_ids().iter().any(is_ours));
        let left: Vec<_> = fs::read_dir(self.scratch.path()).unwrap().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

impl Told {
    /// Runs a program to its end.
    pub fn of(mut command: Command) -> Self {
        Self::from(command.output().unwrap())
    }

    /// Starts a program that says `begun` first; what it told if it ends instead.
    pub fn begun(mut command: Command) -> Result<Child, Self> {
        let mut child = command.spawn().unwrap();
        let mut first = [0; 6];
        match child.stdout.as_mut().unwrap().read_exact(&mut first) {
            Ok(()) => {
                assert_eq!(&first, b"begun\n");
                Ok(child)
            }
            Err(_) => Err(Self::from(child.wait_with_output().unwrap())),
        }
    }

    /// Its standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl From<Output> for Told {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}
