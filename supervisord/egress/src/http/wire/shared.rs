//! What a connection's bytes and its requests know of each other.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::http::violation::Violation;

/// What a connection's bytes and its requests know of each other.
#[derive(Debug, Default)]
pub struct Shared {
    /// Requests that are not completely answered.
    unanswered: AtomicU32,
    /// Who is to hear that all are.
    waiting: Mutex<Option<Waker>>,
    violation: Mutex<Option<Violation>>,
    switched: AtomicBool,
    ends_by_closing: AtomicBool,
}

/// One request that is not completely answered; dropping it says that it is.
#[derive(Debug)]
pub struct Unanswered(Arc<Shared>);

impl Shared {
    /// Counts a request until the result is dropped.
    pub fn request(self: &Arc<Self>) -> Unanswered {
        self.unanswered.fetch_add(1, Ordering::Relaxed);
        Unanswered(self.clone())
    }

    /// Why the input was ended, if the peer is at fault.
    pub fn violation(&self) -> Option<Violation> {
        *self.violation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The input was ended for a fault of the peer's.
    pub fn found(&self, violation: Violation) {
        *self.violation.lock().unwrap_or_else(PoisonError::into_inner) = Some(violation);
    }

    /// Another protocol was granted: what goes on has deadlines of its own.
    pub fn switch(&self) {
        self.switched.store(true, Ordering::Relaxed);
    }

    /// Whether another protocol was granted. That one was asked for changes nothing for whoever doesn't read
    /// the refusal.
    pub fn has_switched(&self) -> bool {
        self.switched.load(Ordering::Relaxed)
    }

    /// An answer has no other end than the connection's, as those of HTTP/1.0 may.
    pub fn end_by_closing(&self) {
        self.ends_by_closing.store(true, Ordering::Relaxed);
    }

    /// Whether the last answer has no other end than the connection's.
    pub(super) fn ends_by_closing(&self) -> bool {
        self.ends_by_closing.load(Ordering::Relaxed)
    }

    /// Whether a request is not completely answered.
    pub fn is_busy(&self) -> bool {
        self.unanswered.load(Ordering::Relaxed) > 0
    }

    /// Ready when every request is completely answered.
    pub(super) fn poll_answered(&self, cx: &Context<'_>) -> Poll<()> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // Within the lock, which the last answer takes after it was counted.
        if !self.is_busy() {
            return Poll::Ready(());
        }
        *waiting = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if self.0.unanswered.fetch_sub(1, Ordering::AcqRel) == 1 {
            let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.take().into_iter().for_each(Waker::wake);
        }
    }
}
