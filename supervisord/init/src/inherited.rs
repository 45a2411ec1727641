//! The descriptors that the launcher left open for us, by the numbers on our command line.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::exit;

use supervisor_launch::{Report, Setup, Step};
use supervisor_sys::{close_on_exec_from, take_inherited, write_at_once};

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
}

/// What only the payload's process needs.
pub struct ForPayload {
    /// The start message.
    pub start: OwnedFd,
    /// Standard streams, in order.
    pub streams: [OwnedFd; 3],
}

impl Inherited {
    /// Takes the descriptors over, and marks whatever else came along to be closed at exec.
    pub fn take() -> io::Result<Self> {
        let mut numbers =
            std::env::args().skip(1).map(|word| word.parse().map_err(io::Error::other));
        let mut next = || {
            let number = numbers.next().ok_or(io::ErrorKind::InvalidInput)??;
            take_inherited(number)
        };
        let (setup, report, start) = (next()?, next()?, next()?);
        let streams = [next()?, next()?, next()?];
        let workspace = next()?;
        close_on_exec_from(3)?;
        let for_payload = RefCell::new(Some(ForPayload { start, streams }));
        Ok(Self { setup, report, for_payload, workspace })
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
