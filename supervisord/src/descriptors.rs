//! Descriptors that this process has left. What takes some is refused beforehand where there are too few, so that
//! nothing is begun whose end could not be seen.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use nix::sys::resource::{Resource, getrlimit};
use supervisor_api::{ApiError, ErrorCode};

/// What an execution takes: up to sixteen come with its sandbox, two more are to look at its reports, four are of what it
/// says, and a few are open for a moment. The rest is for whoever asks meanwhile.
const EXECUTION: usize = 32;

/// Whether an execution would have the descriptors that it takes.
///
/// # Errors
/// When there are not as many left.
pub fn admit() -> Result<(), ApiError> {
    match take(EXECUTION) {
        Ok(_given_back) => Ok(()),
        Err(error) => {
            tracing::error!(%error, "there are too few descriptors for another execution");
            Err(refusal())
        }
    }
}

/// Takes as many at once.
fn take(count: usize) -> io::Result<Vec<OwnedFd>> {
    let any = io::stderr();
    (0..count).map(|_| any.as_fd().try_clone_to_owned()).collect()
}

/// Whether it failed for want of descriptors, of this process or of the host.
pub fn are_short(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(nix::libc::EMFILE | nix::libc::ENFILE))
}

/// There are none left.
pub fn refusal() -> ApiError {
    let most = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    let problem =
        format!("the daemon has no descriptors left: {most} are the most (RLIMIT_NOFILE)");
    ApiError::new(ErrorCode::Busy, problem).with_hint(
        "nothing was run; try again when something has ended, or an administrator gives supervisord more \
         (LimitNOFILE= of its unit) and starts it again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_to_look_is_given_back_and_a_shortage_is_told_with_its_number() {
        for _ in 0..100 {
            admit().unwrap(); // a test has a thousand
        }
        // To have really none left would be a fault of the tests that run beside this one.
        assert!(are_short(&nix::errno::Errno::EMFILE.into()));
        let refusal = refusal();
        assert_eq!(refusal.code, ErrorCode::Busy);
        assert!(!refusal.detail.contains(" 0 are"), "{refusal:?}");
    }
}
