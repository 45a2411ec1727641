//! A payload in a sandbox of a launcher under test.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use supervisor_launch::{Applied, Descriptor, Ended, Prepare, Reply, Report, Request, Start};

use crate::launcher::Launcher;

/// A sandbox with a payload in it.
pub struct Payload<'a> {
    launcher: &'a Launcher,
    execution: u128,
    /// How it is held.
    pub applied: Applied,
    fds: Vec<(Descriptor, OwnedFd)>,
}

impl<'a> Payload<'a> {
    /// Makes the sandbox and starts a shell in it.
    #[track_caller]
    pub fn start(launcher: &'a Launcher, prepare: Prepare, script: &str) -> Self {
        let execution = prepare.execution;
        let (reply, fds) = launcher.ask(Request::Prepare(prepare)).expect("prepared");
        let Reply::Prepared { applied, .. } = reply else { panic!("{reply:?}") };
        let present =
            Descriptor::ALL.into_iter().filter(|each| applied.descriptors & each.bit() != 0);
        let fds = present.zip(fds).collect();
        let mut payload = Self { launcher, execution, applied, fds };
        assert!(matches!(payload.report(), Report::Ready { .. }), "it gets ready");
        let start = Start {
            cwd: b"/workspace".to_vec(),
            argv: vec![b"/bin/sh".to_vec(), b"-c".to_vec(), script.as_bytes().to_vec()],
            environment: vec![b"PATH=/usr/bin:/bin".to_vec()],
            authority: Vec::new(),
            parks: None,
        };
        payload.take(Descriptor::Start).write_all(&start.encode().unwrap()).unwrap();
        drop(payload.take(Descriptor::Stdin));
        payload
    }

    /// Runs a shell to its end: its exit status and what it said.
    #[track_caller]
    pub fn run(launcher: &'a Launcher, prepare: Prepare, script: &str) -> (u8, String) {
        Self::start(launcher, prepare, script).finish()
    }

    /// Waits for its first line.
    pub fn line(&mut self) -> String {
        let (mut line, mut byte) = (String::new(), [0]);
        let mut stdout = self.file(Descriptor::Stdout);
        while stdout.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(byte[0].into());
        }
        line
    }

    /// The daemon's end of its channel.
    pub fn channel(&mut self) -> OwnedFd {
        self.take(Descriptor::Channel).into()
    }

    /// Waits for its end, and for that of its sandbox.
    #[track_caller]
    pub fn finish(mut self) -> (u8, String) {
        let mut said = String::new();
        self.take(Descriptor::Stdout).read_to_string(&mut said).unwrap();
        self.take(Descriptor::Stderr).read_to_string(&mut said).unwrap();
        let Report::Ended { status: Ended::Exited(code), .. } = self.report() else {
            panic!("it did not exit; it said {said}")
        };
        self.destroy();
        (code, said)
    }

    /// The pid of its init.
    pub fn pid(&self) -> u32 {
        let number = self.get(Descriptor::Process).as_raw_fd();
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("Pid:")).expect("a pidfd");
        line.trim().parse().unwrap()
    }

    /// Ends the sandbox.
    #[track_caller]
    pub fn destroy(self) {
        self.launcher.ask(Request::Destroy { execution: self.execution }).expect("destroyed");
    }

    fn get(&self, place: Descriptor) -> &OwnedFd {
        let found = self.fds.iter().find(|(each, _)| *each == place);
        &found.expect("it came along").1
    }

    fn take(&mut self, place: Descriptor) -> File {
        let file = self.file(place);
        self.fds.retain(|(each, _)| *each != place);
        file
    }

    /// One of its pipes. The daemon waits on many at once, we on one.
    fn file(&self, place: Descriptor) -> File {
        let fd = self.get(place).try_clone().unwrap();
        fcntl(&fd, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
        File::from(fd)
    }

    fn report(&self) -> Report {
        let mut bytes = [0; Report::LENGTH];
        let mut pipe = self.file(Descriptor::Report);
        pipe.read_exact(&mut bytes).expect("a report");
        Report::decode(&bytes).unwrap()
    }
}
