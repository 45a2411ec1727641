//! What the traffic of each sandbox comes to, for whoever looks at what runs.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use supervisor_api::{ExecutionId, TopEgress};
use supervisor_egress::{Gauge, Usage};

/// The gauges of sandboxes that have a way out.
#[derive(Debug, Default)]
pub struct Gauges(Mutex<HashMap<ExecutionId, Gauge>>);

impl Gauges {
    /// Adds one, and forgets those whose traffic has ended.
    pub fn add(&self, id: ExecutionId, gauge: Gauge) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, gauge| gauge.usage().is_some());
        all.insert(id, gauge);
    }

    /// What the traffic of an execution comes to; nothing if it has no way out.
    pub fn of(&self, id: ExecutionId) -> Option<TopEgress> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Usage { connections, requests, refused, bytes_out, bytes_in } =
            all.get(&id)?.usage()?;
        Some(TopEgress { connections, requests, refused, bytes_out, bytes_in })
    }
}
