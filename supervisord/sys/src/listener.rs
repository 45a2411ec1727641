//! A filter whose owner is asked about calls, which wait for the answer (seccomp_unotify(2)).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::filter::install;
use crate::{Instruction, check, check_fd};

const RECEIVE: libc::c_ulong = 0xC050_2100; // SECCOMP_IOCTL_NOTIF_RECV
const SEND: libc::c_ulong = 0xC018_2101; // SECCOMP_IOCTL_NOTIF_SEND
const SET_FLAGS: libc::c_ulong = 0x4008_2104; // SECCOMP_IOCTL_NOTIF_SET_FLAGS, Linux 6.6
const SYNC_WAKE_UP: u64 = 1; // SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP

/// Where questions come from. Whoever has it decides for everything under the filter.
pub struct Listener(OwnedFd);

/// A call that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    id: u64,
    call: i32,
}

impl Question {
    /// The number of the call.
    pub const fn call(&self) -> i32 {
        self.call
    }
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The kernel carries it out. It takes what is behind pointers from memory that others may have changed since the
    /// question, so nothing may depend on that.
    GoOn,
    /// It fails with this error number, and nothing else happens.
    Fail(i32),
}

impl Listener {
    /// Installs a filter for this thread and what it will start, and answers where its questions come from; it is
    /// closed at exec. Needs no_new_privs. Whoever is under such a filter already can't have another (EBUSY).
    pub fn install(program: &[Instruction]) -> io::Result<Self> {
        const NEW_LISTENER: libc::c_ulong = 8; // SECCOMP_FILTER_FLAG_NEW_LISTENER
        let listener = check_fd(install(program, NEW_LISTENER)?)?;
        // Who asks waits for us, so the kernel need look for no other processor. Older kernels do.
        // SAFETY: the call takes a number, on a descriptor that we own.
        drop(check(unsafe { libc::ioctl(listener.as_raw_fd(), SET_FLAGS, SYNC_WAKE_UP) }.into()));
        Ok(Self(listener))
    }

    /// The next question; waits if there is none. `None` if it was taken back meanwhile, since who asked was
    /// interrupted, or if we were.
    pub fn next(&self) -> io::Result<Option<Question>> {
        // SAFETY: `seccomp_notif` is plain old data, and the kernel wants all zeroes.
        let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the request has the size of the structure in it, and the kernel writes no more.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), RECEIVE, &raw mut asked) };
        match unless_taken_back(check(result.into())) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
            other => {
                other.map(|there| there.map(|_| Question { id: asked.id, call: asked.data.nr }))
            }
        }
    }

    /// Answers a question. One that was taken back meanwhile needs none.
    pub fn answer(&self, question: Question, answer: Answer) -> io::Result<()> {
        const GO_ON: u32 = 1; // SECCOMP_USER_NOTIF_FLAG_CONTINUE
        let (error, flags) = match answer {
            Answer::GoOn => (0, GO_ON),
            Answer::Fail(errno) => (-errno, 0),
        };
        let mut said = libc::seccomp_notif_resp { id: question.id, val: 0, error, flags };
        loop {
            // SAFETY: the request has the size of the structure in it, and the kernel reads no more.
            let result = unsafe { libc::ioctl(self.0.as_raw_fd(), SEND, &raw mut said) };
            match unless_taken_back(check(result.into())) {
                // We were about to be frozen. Without an answer the caller would wait for ever.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map(drop),
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The kernel knows no such question (any more).
fn unless_taken_back<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_sizes_of_their_structures() {
        let size = |request: libc::c_ulong| (request >> 16 & 0x3FFF) as usize;
        assert_eq!(size(RECEIVE), size_of::<libc::seccomp_notif>());
        assert_eq!(size(SEND), size_of::<libc::seccomp_notif_resp>());
        assert_eq!(size(SET_FLAGS), size_of::<u64>());
    }

    #[test]
    fn only_a_question_that_is_gone_is_no_error() {
        let failed = |errno| unless_taken_back::<()>(Err(io::Error::from_raw_os_error(errno)));
        assert!(matches!(failed(libc::ENOENT), Ok(None)));
        assert!(failed(libc::EINVAL).is_err());
        assert!(matches!(unless_taken_back(Ok(())), Ok(Some(()))));
    }
}
