//! The descriptors of one sandbox: what its init gets, what the daemon gets, what we keep so that
//! a daemon that was restarted can have them again.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::pipe2;
use supervisor_launch::{Descriptor, Input};
use supervisor_sys::{memory_file, refuse_descriptors};

use crate::terminal::Terminal;

/// The ends that go into the sandbox, in the order of init's command line.
pub struct Inside {
    /// The setup message, and the launcher's life: it never writes again, the kernel closes it.
    pub setup: OwnedFd,
    /// Reports.
    pub report: OwnedFd,
    /// The start message.
    pub start: OwnedFd,
    /// Standard streams.
    pub stdin: OwnedFd,
    /// Standard output.
    pub stdout: OwnedFd,
    /// Standard error.
    pub stderr: OwnedFd,
    /// The payload's end of its channel, if it has one.
    pub channel: Option<OwnedFd>,
}

impl Inside {
    /// In the order of init's command line.
    pub fn each(&self) -> [BorrowedFd<'_>; 6] {
        [&self.setup, &self.report, &self.start, &self.stdin, &self.stdout, &self.stderr]
            .map(|fd| fd.as_fd())
    }
}

/// The ends that stay outside.
#[derive(Default)]
pub struct Outside {
    fds: [Option<OwnedFd>; Descriptor::PLACES],
}

impl Outside {
    /// Adds a descriptor.
    pub fn put(&mut self, place: Descriptor, fd: OwnedFd) {
        if let Some(slot) = self.fds.get_mut(place as usize) {
            *slot = Some(fd);
        }
    }

    /// The descriptor in this place.
    pub fn get(&self, place: Descriptor) -> Option<BorrowedFd<'_>> {
        self.fds.get(place as usize)?.as_ref().map(|fd| fd.as_fd())
    }

    /// Drops a descriptor.
    pub fn forget(&mut self, place: Descriptor) {
        if let Some(slot) = self.fds.get_mut(place as usize) {
            *slot = None;
        }
    }

    /// The set of places that are filled.
    pub fn present(&self) -> u32 {
        let filled = Descriptor::ALL.iter().filter(|place| self.get(**place).is_some());
        filled.map(|place| place.bit()).sum()
    }

    /// All of them, in wire order.
    pub fn each(&self) -> Vec<BorrowedFd<'_>> {
        self.fds.iter().flatten().map(|fd| fd.as_fd()).collect()
    }
}

/// Makes the pipes of a sandbox, and a channel where one is wanted, and keeps our ends in `outside`, with
/// a file in memory for input that stays open: nothing of ours reads it, and its pages are charged to the
/// daemon, which writes them. The second value is where we write the setup message.
pub fn pipes(
    outside: &mut Outside,
    (input, channel): (Input, bool),
    terminal: Option<&Terminal>,
) -> io::Result<(Inside, OwnedFd)> {
    if input != Input::Given {
        outside.put(Descriptor::Input, memory_file(c"input")?);
    }
    let (setup, setup_writer) = pipe2(OFlag::O_CLOEXEC)?;
    let (report_reader, report) = pipe2(OFlag::O_CLOEXEC)?;
    let (start, start_writer) = pipe2(OFlag::O_CLOEXEC)?;
    let (stdout_reader, stdout) = pipe2(OFlag::O_CLOEXEC)?;
    for (place, fd) in [
        (Descriptor::Start, start_writer),
        (Descriptor::Report, report_reader),
        (Descriptor::Stdout, stdout_reader),
    ] {
        keep(outside, place, fd)?;
    }
    let [stdin, stdout, stderr] = match terminal {
        Some(Terminal { slave, .. }) => {
            keep(outside, Descriptor::Screen, stdout)?;
            [slave.try_clone()?, slave.try_clone()?, slave.try_clone()?]
        }
        None => {
            let (stdin, stdin_writer) = pipe2(OFlag::O_CLOEXEC)?;
            let (stderr_reader, stderr) = pipe2(OFlag::O_CLOEXEC)?;
            keep(outside, Descriptor::Stdin, stdin_writer)?;
            keep(outside, Descriptor::Stderr, stderr_reader)?;
            [stdin, stdout, stderr]
        }
    };
    let channel = if channel { Some(make_channel(outside)?) } else { None };
    Ok((Inside { setup, report, start, stdin, stdout, stderr, channel }, setup_writer))
}

/// We keep the daemon's end as well: a payload must not take the end of a daemon for its own.
fn make_channel(outside: &mut Outside) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, flags)?;
    // A socket that comes along is let go of by whoever reads, and that takes as long as its sender likes. Kernels
    // that can't refuse them have a filter that lets no payload make one that is let go of slowly (SO_LINGER).
    refuse_descriptors(ours.as_fd())?;
    keep(outside, Descriptor::Channel, ours)?;
    Ok(theirs)
}

/// The daemon waits on many at once; the other end is a description of its own.
fn keep(outside: &mut Outside, place: Descriptor, fd: OwnedFd) -> io::Result<()> {
    fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    outside.put(place, fd);
    Ok(())
}
