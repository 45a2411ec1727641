//! What the payload's calls have to be asked about before they go on, because no limit of the kernel's counts what they make:
//! record locks and sockets that listen.
//!
//! A filter (`Profile::Counted`) that the payload's process inherits has each such call wait until we have said that it
//! may go on, or fails. Of a call we take its number, which the kernel gives us, and nothing that is behind its
//! arguments: that is the payload's, and another of its threads can change it at any time.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::SYS_listen;
use supervisor_launch::Step;
use supervisor_launch::seccomp::Profile;
use supervisor_sys::{Answer, Listener, without};

use crate::failure::{Failed, at};
use crate::filters::program;
use crate::listening::Listening;
use crate::record_locks::RecordLocks;

/// Questions of one sandbox, and what answers them. Belongs to init alone: whoever has this answers its own.
pub struct Questions {
    listener: Listener,
    locks: RecordLocks,
    listening: Listening,
}

impl Questions {
    /// From here on what this process starts has to ask. `None` where a test leaves it out.
    pub fn watch(locks: RecordLocks, listening: Listening) -> Result<Option<Self>, Failed> {
        if without("record-locks") {
            return Ok(None);
        }
        let program =
            program(Profile::Counted).ok_or(Failed { step: Step::CountLocks, errno: 0 })?;
        let listener = at(Step::CountLocks, Listener::install(program))?;
        Ok(Some(Self { listener, locks, listening }))
    }

    /// For how long nobody gets an answer; zero if the next who asks gets one.
    pub fn busy(&self) -> Duration {
        self.locks.busy(Instant::now())
    }

    /// Answers who asks; waits if nobody does.
    pub fn answer(&mut self) -> io::Result<()> {
        let Some(question) = self.listener.next()? else { return Ok(()) };
        let refusal = if i64::from(question.call()) == SYS_listen {
            // What POSIX says of a system that has no more for listen.
            (!self.listening.admits()).then_some(Errno::ENOBUFS)
        } else {
            // What fcntl(2) says of a table of locks that is full.
            (!self.locks.admit(Instant::now())).then_some(Errno::ENOLCK)
        };
        let answer = refusal.map_or(Answer::GoOn, |errno| Answer::Fail(errno as i32));
        self.listener.answer(question, answer)
    }
}

impl AsFd for Questions {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}
