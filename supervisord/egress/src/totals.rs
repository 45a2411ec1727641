//! What traffic comes to: of one sandbox, and of all together.

use std::sync::atomic::{AtomicU64, Ordering};

/// What has been counted so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Connections that are being served just now.
    pub connections: u64,
    /// Requests that were allowed, and connections that are passed on.
    pub requests: u64,
    /// Requests, connections and look-ups that were refused.
    pub refused: u64,
    /// Bytes sent to upstreams, heads included.
    pub bytes_out: u64,
    /// Bytes received from them.
    pub bytes_in: u64,
}

/// Counters that only grow.
#[derive(Debug, Default)]
pub struct Totals {
    requests: AtomicU64,
    refused: AtomicU64,
    bytes_out: AtomicU64,
    bytes_in: AtomicU64,
}

impl Totals {
    /// One more request was allowed.
    pub fn allowed(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// One more was refused.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// So many bytes more have moved.
    pub fn moved(&self, sent: u64, received: u64) {
        self.bytes_out.fetch_add(sent, Ordering::Relaxed);
        self.bytes_in.fetch_add(received, Ordering::Relaxed);
    }

    /// All of them, with so many connections.
    pub fn usage(&self, connections: usize) -> Usage {
        let now = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Usage {
            connections: connections as u64,
            requests: now(&self.requests),
            refused: now(&self.refused),
            bytes_out: now(&self.bytes_out),
            bytes_in: now(&self.bytes_in),
        }
    }
}
