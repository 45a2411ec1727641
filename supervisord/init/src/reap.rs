//! What PID 1 does once everything is made: it takes whatever has ended off the kernel's list, answers who asks for
//! a record lock or to listen, and when the payload's first process has ended it reports, and ends.

use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeValLike;
use supervisor_launch::{Ended, Report, Step};
use supervisor_sys::{wait_any_ended, write_at_once};

use crate::failure::{Failed, at};
use crate::questions::Questions;

/// The payload's first process, and where we hear of what it and all others do.
pub struct Watched {
    payload: u32,
    ends: SignalFd,
    questions: Option<Questions>,
}

impl Watched {
    /// Once the payload's process is made: it must not inherit the blocked signal.
    pub fn new(payload: u32, questions: Option<Questions>) -> Result<Self, Failed> {
        let signal = SigSet::from(Signal::SIGCHLD);
        at(Step::Fork, signal.thread_block())?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let ends = at(Step::Fork, SignalFd::with_flags(&signal, flags))?;
        Ok(Self { payload, ends, questions })
    }

    /// Waits until somebody has ended or asks, and says which of the two.
    fn wait(&mut self) -> Result<(bool, bool), Errno> {
        let busy = self.questions.as_ref().map(Questions::busy).unwrap_or_default();
        let asked = self.questions.as_ref().filter(|_| busy.is_zero());
        let (from, wanted) = match asked {
            Some(questions) => (questions.as_fd(), PollFlags::POLLIN),
            None => (self.ends.as_fd(), PollFlags::empty()),
        };
        let ends = PollFd::new(self.ends.as_fd(), PollFlags::POLLIN);
        let mut both = [ends, PollFd::new(from, wanted)];
        match poll(&mut both, timeout(busy)) {
            Err(Errno::EINTR) => return Ok((false, false)),
            other => other?,
        };
        let [ended, asked] = both.map(|each| each.any().unwrap_or(false));
        if ended {
            self.ends.read_signal()?; // one stands for all that have ended since
        }
        Ok((ended, asked))
    }
}

/// None where there is nothing to wait for; rounded up, or the last millisecond were waited for again and again.
fn timeout(busy: Duration) -> PollTimeout {
    let milliseconds = busy.as_micros().div_ceil(1000);
    match u16::try_from(milliseconds) {
        Ok(0) => PollTimeout::NONE,
        Ok(some) => PollTimeout::from(some),
        Err(_) => PollTimeout::from(u16::MAX),
    }
}

/// Reaps until the payload's first process has ended. With our own end the kernel kills the rest.
pub fn reap(report: &OwnedFd, mut watched: Watched) -> ExitCode {
    // Whoever has ended before we were told of ends is found by looking.
    let (mut ended, mut asked) = (true, false);
    loop {
        if ended && let Some(exit) = take_ended(report, watched.payload) {
            return exit;
        }
        if asked
            && let Some(questions) = &mut watched.questions
            && questions.answer().is_err()
        {
            return ExitCode::FAILURE; // or who asks would wait for ever
        }
        (ended, asked) = match watched.wait() {
            Ok(which) => which,
            Err(_) => return ExitCode::FAILURE,
        };
    }
}

/// All that have ended; if the payload's first process is among them, our own end.
fn take_ended(report: &OwnedFd, payload: u32) -> Option<ExitCode> {
    loop {
        match wait_any_ended() {
            Ok(None) => return None,
            Err(_) => return Some(ExitCode::FAILURE),
            Ok(Some((pid, status))) if pid == payload => {
                return Some(match write_at_once(report.as_fd(), &ended(status).encode()) {
                    Ok(()) => ExitCode::SUCCESS,
                    Err(_) => ExitCode::FAILURE, // the daemon sees the end without a report
                });
            }
            Ok(Some(_)) => {}
        }
    }
}

/// wait(2): the low seven bits are the signal, 0 for an exit with the status in the next byte.
fn ended(status: i32) -> Report {
    let [low, high, ..] = status.to_le_bytes();
    let status = match low & 0x7f {
        0 => Ended::Exited(high),
        signal => Ended::Signaled(signal),
    };
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).ok();
    let max_rss = usage.map_or(0, |usage| usage.max_rss().unsigned_abs());
    let cpu = usage.map_or(0, |usage| {
        (usage.user_time().num_microseconds() + usage.system_time().num_microseconds())
            .unsigned_abs()
    });
    Report::Ended { status, max_rss, cpu }
}
