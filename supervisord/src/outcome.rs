//! How an execution ended: from what we did, what init reported and what the cgroup counted.

use std::io;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use supervisor_api::{ApiError, ErrorCode, Limit, Limits, Outcome};
use supervisor_launch::{Ended, Step};

use crate::accounting::Counted;
use crate::descriptors;
use crate::hard_limits::{self, Short};
use crate::launcher::LaunchError;
use crate::older;
use crate::workspace::{FileError, WriteFilesError};

/// Why no workspace more is made.
const NO_ROOM: &str = "there is no room for another workspace: an eighth of the disk that they are on, 1 GiB at the \
                       most, stays free for records";

/// What a session is without.
const MISSING: &str = "the session's workspace is missing: it is not where the launcher keeps them";

/// What is known at the end.
#[derive(Debug, Default)]
pub struct Facts {
    /// Why we ended it, if we did before we heard of its own end.
    pub ended_by: Option<Outcome>,
    /// The step that init or the payload's stub failed at.
    pub failed: Option<(Step, i32)>,
    /// How the payload's first process ended.
    pub ended: Option<Ended>,
    /// What the cgroup counted.
    pub counted: Counted,
}

/// The one right outcome.
pub fn outcome(facts: &Facts, limits: &Limits) -> Outcome {
    let cpu_is_up = facts.counted.cpu.is_some_and(|used| used / 1000 >= limits.cpu_time);
    match (&facts.failed, &facts.ended, &facts.ended_by) {
        (Some((step, errno)), _, _) => limited_setup_failed(*step, *errno, limits),
        // An OOM kill takes init along, so there is no report of an end; if there is one, a kill
        // that came too late for it doesn't count.
        (None, None, _) if facts.counted.out_of_memory > 0 => Outcome::OutOfMemory,
        (None, _, Some(outcome)) => outcome.clone(),
        // RLIMIT_CPU speaks up when our own look at the sum comes too late.
        (None, Some(Ended::Signaled(signal)), None)
            if cpu_is_up
                && [Signal::SIGXCPU as i32, Signal::SIGKILL as i32]
                    .contains(&i32::from(*signal)) =>
        {
            Outcome::LimitExceeded { limit: Limit::CpuTime }
        }
        (None, Some(Ended::Exited(code)), None) => Outcome::Exited { code: *code },
        (None, Some(Ended::Signaled(signal)), None) => {
            Outcome::Signaled { signal: *signal, name: signal_name(*signal) }
        }
        (None, None, None) => Outcome::Lost {
            reason: "the sandbox ended without a report: its init was killed".to_owned(),
        },
    }
}

/// A step failed before anything of the payload ran, which was to have these limits.
fn limited_setup_failed(step: Step, errno: i32, limits: &Limits) -> Outcome {
    if !is_short_limit(step, errno) {
        return setup_failed(step, errno);
    }
    let Short { problem, remedy } = hard_limits::short(limits);
    let reason = format!("EPERM: {problem}: {remedy}");
    Outcome::SetupFailed { step: step.name().to_owned(), reason }
}

/// Whether a step failed since who started us has less than a process is to have.
pub fn is_short_limit(step: Step, errno: i32) -> bool {
    step == Step::SetRlimits && Errno::from_raw(errno) == Errno::EPERM
}

/// A step failed before anything of the payload ran.
pub fn setup_failed(step: Step, errno: i32) -> Outcome {
    let reason = match Errno::from_raw(errno) {
        Errno::ENOENT if step == Step::ShowImage => {
            "ENOENT: the image is not imported: supervisorctl image import".to_owned()
        }
        Errno::EMFILE if step == Step::ShowImage => {
            "EMFILE: sandboxes have as many images as the launcher shows at once".to_owned()
        }
        Errno::EBUSY if step == Step::PrepareRoot => {
            "EBUSY: another execution of the session has its writable root; it has to end first"
                .to_owned()
        }
        Errno::EAGAIN if step == Step::Fork => {
            "EAGAIN: pids_max has no room for the payload beside init (2 is the least where the kernel's controller \
             of processes is missing), or its owner has all the processes that it may"
                .to_owned()
        }
        Errno::ENOMEM => {
            "ENOMEM: memory_max, or the host, has no memory for the sandbox itself; ask for more".to_owned()
        }
        Errno::ENOENT if step == Step::LimitOwner => {
            "ENOENT: somebody has removed the launcher's own cgroup; an administrator starts supervisor-launcher and \
             supervisord again"
                .to_owned()
        }
        Errno::UnknownErrno | Errno::ENOENT if step == Step::FindWorkspace => MISSING.to_owned(),
        Errno::EROFS | Errno::EIO if matches!(step, Step::FindWorkspace | Step::MakeDisk) => {
            format!("{errno:?}: {UNWRITABLE}; {LOOK_AT_THE_DISK}", errno = Errno::from_raw(errno))
        }
        Errno::ENOSPC if step == Step::MakeDisk => format!("ENOSPC: {NO_ROOM}"),
        Errno::UnknownErrno => "a check of our own failed".to_owned(),
        known => format!("{known:?}: {}", io::Error::from_raw_os_error(errno)),
    };
    Outcome::SetupFailed { step: step.name().to_owned(), reason }
}

/// Of the workspaces, where nothing can be written; and what to do about it.
const UNWRITABLE: &str = "the disk of the workspaces can't be written";
const LOOK_AT_THE_DISK: &str = "an administrator looks at the disk of the launcher's --workspaces (is it mounted read-only? \
    what does the kernel's log say?); what is in the session is as it was";

/// A limit was reached, and it is ended.
pub fn limit_reached(limit: Limit) -> Outcome {
    match limit {
        Limit::MemoryMax => Outcome::OutOfMemory,
        limit => Outcome::LimitExceeded { limit },
    }
}

/// The launcher could not make the sandbox.
pub fn launch_failed(error: LaunchError) -> Outcome {
    match error {
        LaunchError::Failed { step, errno } => setup_failed(step, errno),
        LaunchError::Old => {
            Outcome::SetupFailed { step: "admit".to_owned(), reason: error.to_string() }
        }
        LaunchError::NoDescriptors => {
            Outcome::SetupFailed { step: "receive".to_owned(), reason: error.to_string() }
        }
        LaunchError::Silent => {
            Outcome::SetupFailed { step: "launch".to_owned(), reason: error.to_string() }
        }
        LaunchError::Gone => Outcome::Lost { reason: error.to_string() },
    }
}

/// Its end could not have been seen.
pub fn reports_failed(error: &io::Error) -> Outcome {
    match descriptors::are_short(error) {
        true => launch_failed(LaunchError::NoDescriptors),
        false => Outcome::SetupFailed { step: "receive".to_owned(), reason: error.to_string() },
    }
}

/// The submission's files could not be written.
pub fn files_failed(error: &WriteFilesError) -> Outcome {
    Outcome::SetupFailed { step: "write_files".to_owned(), reason: error.to_string() }
}

/// The submission's files could not take the place of what the session has.
pub fn files_not_replaced(error: &FileError) -> Outcome {
    Outcome::SetupFailed { step: "write_files".to_owned(), reason: error.to_string() }
}

/// The launcher could not make a session's workspace.
pub fn workspace_refused(error: &LaunchError) -> ApiError {
    match error {
        LaunchError::Failed { errno, .. } if *errno == nix::libc::ENOSPC => {
            ApiError::new(ErrorCode::StorageFull, NO_ROOM).with_hint(
                "close a session, or ask for a smaller workspace; an administrator makes room on the file \
                 system of the launcher's --workspaces, or gives them a larger one: its journal says how much \
                 is free",
            )
        }
        LaunchError::Failed { step: Step::MakeDisk, errno } if *errno == nix::libc::EOPNOTSUPP => {
            let problem = "the file system of the workspaces can't set their room aside";
            ApiError::new(ErrorCode::ControlMissing, problem)
                .with_hint("give the launcher a directory on ext4, XFS or Btrfs (--workspaces)")
        }
        LaunchError::Old => older::lacks("workspaces like this one"),
        LaunchError::Failed { step: Step::MakeDisk, errno: 0 } => {
            let problem = "the launcher can keep no workspace on disk";
            ApiError::new(ErrorCode::ControlMissing, problem).with_hint(
                "give it a directory for them (--workspaces), and a kernel with loop devices or \
                 project quota",
            )
        }
        LaunchError::Silent => launcher_is_silent("no workspace is made"),
        error => workspaces_disk_failed(error).unwrap_or_else(|| {
            tracing::error!(%error, "a workspace could not be made");
            ApiError::new(ErrorCode::Internal, "the workspace could not be made")
        }),
    }
}

/// Whether the launcher has no such workspace. One that it could not open is there.
pub const fn is_missing(error: &LaunchError) -> bool {
    matches!(error, LaunchError::Failed { step: Step::FindWorkspace, errno: 0 | nix::libc::ENOENT })
}

/// What it means where the disk of the workspaces is there to be read only, or fails; nothing of another error.
pub fn disk_failed(error: &io::Error) -> Option<ApiError> {
    let failed = error.raw_os_error() == Some(nix::libc::EIO)
        || error.kind() == io::ErrorKind::ReadOnlyFilesystem;
    failed.then(|| ApiError::new(ErrorCode::Unavailable, UNWRITABLE).with_hint(LOOK_AT_THE_DISK))
}

/// The same of what the launcher could not do with a workspace, and of what it can't do any more.
pub fn workspaces_disk_failed(error: &LaunchError) -> Option<ApiError> {
    let errno = match error {
        LaunchError::Failed { errno, .. } => errno,
        LaunchError::Gone => return Some(launcher_is_gone()),
        _ => return None,
    };
    let failed = disk_failed(&io::Error::from_raw_os_error(*errno))?;
    tracing::error!(%error, "the disk of the workspaces fails");
    Some(failed)
}

/// A session has lost its workspace.
pub fn workspace_missing() -> ApiError {
    ApiError::new(ErrorCode::Unavailable, MISSING).with_hint(
        "close the session if what it held is not needed; else an administrator brings the workspace back to where the \
         launcher keeps them (its --workspaces), and starts supervisor-launcher and supervisord again",
    )
}

/// There is no launcher any more, and soon another.
pub fn launcher_is_gone() -> ApiError {
    ApiError::new(ErrorCode::Unavailable, "the launcher is gone")
        .with_hint("the daemon ends and is started anew with it; try again")
}

/// The launcher stands still, and this comes of it.
pub fn launcher_is_silent(so: &str) -> ApiError {
    let problem = format!("{}; {so}", LaunchError::Silent);
    tracing::error!("{problem}");
    ApiError::new(ErrorCode::Unavailable, problem).with_hint(
        "an administrator finds out why: systemctl status supervisor-launcher; one that is stopped goes on by \
         systemctl kill --signal=SIGCONT supervisor-launcher, and a restart of it ends every sandbox",
    )
}

fn signal_name(signal: u8) -> String {
    match Signal::try_from(i32::from(signal)) {
        Ok(known) => known.as_str().to_owned(),
        Err(_) => format!("SIGRTMIN+{}", i32::from(signal) - nix::libc::SIGRTMIN()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(facts: Facts) -> Outcome {
        let mut limits = crate::plan::NONE;
        limits.cpu_time = 1000;
        outcome(&facts, &limits)
    }

    #[test]
    fn a_kill_by_the_memory_limit_is_not_called_a_signal() {
        let counted = Counted { out_of_memory: 1, ..Counted::default() };
        assert_eq!(of(Facts { counted, ..Facts::default() }), Outcome::OutOfMemory);
    }

    #[test]
    fn a_payload_that_ended_by_itself_keeps_its_status() {
        let ended = Some(Ended::Exited(7));
        assert_eq!(of(Facts { ended, ..Facts::default() }), Outcome::Exited { code: 7 });
    }

    #[test]
    fn an_end_that_we_made_is_called_by_its_cause_whatever_came_after() {
        let (ended_by, ended) = (Some(Outcome::TimedOut), Some(Ended::Signaled(9)));
        assert_eq!(of(Facts { ended_by, ended, ..Facts::default() }), Outcome::TimedOut);
    }

    #[test]
    fn a_failed_step_comes_before_everything_since_nothing_ran() {
        let facts = Facts {
            failed: Some((Step::Exec, 2)),
            ended: Some(Ended::Exited(127)),
            ..Facts::default()
        };
        let Outcome::SetupFailed { step, reason } = of(facts) else {
            panic!("not a failed set-up")
        };
        assert_eq!(step, "exec");
        assert!(reason.starts_with("ENOENT: "));
    }
}
