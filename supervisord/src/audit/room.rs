//! Whether there is room for records; without it no new work is let in.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use supervisor_api::Suspension;

use super::error::Unaudited;
use super::show;

/// Whether there is room for more; what the writer knows and everybody else asks.
#[derive(Debug, Default)]
pub struct Room {
    /// Zero if there is, else one more than the number of refusals since there isn't.
    refused: AtomicU64,
    state: Mutex<Option<(Unaudited, Timestamp)>>,
}

impl Room {
    /// Refuses, and counts it, if there is none.
    pub fn admit(&self) -> Result<(), Unaudited> {
        if self.refused.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        let state = *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((why, _)) = state else { return Ok(()) };
        self.refused.fetch_add(1, Ordering::AcqRel);
        Err(why)
    }

    /// Lets no new work in, for this reason.
    pub fn close(&self, why: Unaudited) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_none() {
            tracing::error!("{why}");
            self.refused.store(1, Ordering::Release);
        }
        let since = state.map_or_else(Timestamp::now, |(_, since)| since);
        *state = Some((why, since));
    }

    /// Whether no new work is let in.
    pub fn is_closed(&self) -> bool {
        self.refused.load(Ordering::Acquire) > 0
    }

    /// Lets work in again; how many were refused and since when, if it was closed.
    pub fn open(&self) -> Option<Suspension> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, since) = state.take()?;
        let refused = self.refused.swap(0, Ordering::AcqRel).saturating_sub(1);
        Some(Suspension { refused, since: show(since) })
    }

    /// Why there is none.
    pub fn reason(&self) -> Option<Unaudited> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).map(|(why, _)| why)
    }
}
