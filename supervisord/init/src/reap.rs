//! What PID 1 does once everything is made: it waits for the payload's first process, takes whatever
//! else has ended off the kernel's list, reports, and ends.

use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use supervisor_launch::{Ended, Report};
use supervisor_sys::{wait_any, write_at_once};

/// Reaps until the payload's first process has ended. With our own end the kernel kills the rest.
pub fn reap(report: &OwnedFd, payload: u32) -> ExitCode {
    loop {
        let Ok((pid, status)) = wait_any() else { return ExitCode::FAILURE };
        if pid == payload {
            return match write_at_once(report.as_fd(), &ended(status).encode()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE, // the daemon sees the end without a report
            };
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
