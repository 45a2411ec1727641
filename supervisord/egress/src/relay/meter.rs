//! What one request or connection has moved, and the budget that it is taken from.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::seam::Overspent;
use crate::totals::Totals;

/// Bytes of a budget that were set aside for one request or connection. Dropping it settles: what was
/// spent stays spent, what was only set aside is given back.
pub trait Reservation: Send + Sync {
    /// Takes these bytes, sent and received, off the budgets.
    ///
    /// # Errors
    ///
    /// When no budget gives them; no more may be moved.
    fn spend(&self, sent: u64, received: u64) -> Result<(), Overspent>;
}

/// Counts the bytes of one request or connection.
pub struct Meter {
    sent: AtomicU64,
    received: AtomicU64,
    reservation: Option<Box<dyn Reservation>>,
    /// What it is a part of: its sandbox's traffic, and everybody's.
    totals: [Arc<Totals>; 2],
}

impl Meter {
    /// A meter for what was reserved, if anything has to be.
    pub fn new(reservation: Option<Box<dyn Reservation>>, totals: [Arc<Totals>; 2]) -> Self {
        Self { sent: AtomicU64::new(0), received: AtomicU64::new(0), reservation, totals }
    }

    /// Counts bytes towards the upstream.
    ///
    /// # Errors
    ///
    /// When no budget gives them.
    pub fn send(&self, bytes: usize) -> Result<(), Overspent> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.sent.fetch_add(bytes, Ordering::Relaxed);
        self.spend(bytes, 0)
    }

    /// Counts bytes from the upstream.
    ///
    /// # Errors
    ///
    /// When no budget gives them.
    pub fn receive(&self, bytes: usize) -> Result<(), Overspent> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.received.fetch_add(bytes, Ordering::Relaxed);
        self.spend(0, bytes)
    }

    /// Bytes sent to the upstream.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes received from it.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Bytes both ways.
    pub fn total(&self) -> u64 {
        self.sent().wrapping_add(self.received())
    }

    fn spend(&self, sent: u64, received: u64) -> Result<(), Overspent> {
        self.totals.iter().for_each(|totals| totals.moved(sent, received));
        match &self.reservation {
            Some(reservation) => reservation.spend(sent, received),
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meter")
            .field("sent", &self.sent())
            .field("received", &self.received())
            .finish_non_exhaustive()
    }
}
