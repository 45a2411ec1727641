//! The descriptors that the launcher gave for this sandbox.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::exit;

use supervisor_launch::{CHANNEL, COPY_DESCRIPTORS, Report, Setup, Step, Wanted};
use supervisor_sys::write_at_once;

use crate::failure::{Failed, at};

/// What was inherited.
pub struct Inherited {
    /// The setup message; afterwards its other end tells whether the launcher lives.
    pub setup: OwnedFd,
    /// Where reports go.
    pub report: OwnedFd,
    /// What only the payload's process needs.
    for_payload: RefCell<Option<ForPayload>>,
    /// The workspace, attached nowhere yet.
    pub workspace: OwnedFd,
    /// The file system with the payload's terminal, if it has one; attached nowhere yet.
    pub terminals: Option<OwnedFd>,
    /// What a root that can be written is made of.
    pub root: Option<Layers>,
}

/// What a root that can be written is made of; attached nowhere yet.
pub struct Layers {
    /// The image, its files the payload's.
    pub image: OwnedFd,
    /// A directory of the workspace's disk with what was written of it.
    pub written: OwnedFd,
}

/// What only the payload's process needs.
pub struct ForPayload {
    /// The start message.
    pub start: OwnedFd,
    /// Standard streams, in order.
    pub streams: [OwnedFd; 3],
    /// Its end of its channel, if it has one.
    pub channel: Option<OwnedFd>,
}

impl Inherited {
    /// Sorts the descriptors, which came in the order of the launcher's message with all that was wanted.
    pub fn new(mut fds: Vec<OwnedFd>, wanted: Wanted) -> io::Result<Self> {
        let root = wanted.root.then(|| Some((fds.pop()?, fds.pop()?))).flatten();
        let root = root.map(|(written, image)| Layers { image, written });
        let terminals = wanted.terminal.then(|| fds.pop()).flatten();
        let channel = wanted.channel.then(|| fds.pop()).flatten();
        let fds = fds.into_iter().map(out_of_the_way).collect::<io::Result<Vec<_>>>()?;
        let channel = channel.map(out_of_the_way).transpose()?;
        let terminals = terminals.map(out_of_the_way).transpose()?;
        let fds = <[OwnedFd; COPY_DESCRIPTORS]>::try_from(fds);
        let [setup, report, start, stdin, stdout, stderr, workspace] =
            fds.map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let streams = [stdin, stdout, stderr];
        let for_payload = RefCell::new(Some(ForPayload { start, streams, channel }));
        Ok(Self { setup, report, for_payload, workspace, terminals, root })
    }

    /// Reads the launcher's message.
    pub fn read_setup(&self) -> Result<Setup, Failed> {
        let mut bytes = [0; Setup::LENGTH];
        let mut pipe = File::from(at(Step::ReadSetup, self.setup.try_clone())?);
        at(Step::ReadSetup, pipe.read_exact(&mut bytes))?;
        at(Step::ReadSetup, Setup::decode(&bytes).map_err(io::Error::other))
    }

    /// Hands over what only the payload's process needs; to one caller.
    pub fn take_for_payload(&self) -> Option<ForPayload> {
        self.for_payload.take()
    }

    /// Closes what only the payload's process needs.
    pub fn close_all_but_report(&self) {
        drop(self.for_payload.take());
    }

    /// Tells the daemon which step failed. If even that fails, the exit status says so.
    pub fn report_failure(&self, failed: Failed) {
        let report = Report::Failed { step: failed.step, errno: failed.errno };
        if write_at_once(self.report.as_fd(), &report.encode()).is_err() {
            exit(2)
        }
    }
}

/// Frees the number that the payload's channel is to have.
fn out_of_the_way(fd: OwnedFd) -> io::Result<OwnedFd> {
    // While this one is open, its copy has another.
    if fd.as_raw_fd() == CHANNEL { fd.try_clone() } else { Ok(fd) }
}
