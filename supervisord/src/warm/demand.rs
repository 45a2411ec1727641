//! How much a recipe is asked for of late.

use std::time::{Duration, Instant};

/// After so long without a claim, half of the demand is forgotten.
const HALF_LIFE: Duration = Duration::from_secs(300);

/// Claims that are remembered at the most, so that a burst is forgotten within the hour.
const MOST: f64 = 64.0;

/// Recent claims, each worth less the longer it is ago.
#[derive(Debug, Clone, Copy)]
pub struct Demand {
    value: f64,
    when: Instant,
}

impl Demand {
    /// None yet.
    pub fn new(now: Instant) -> Self {
        Self { value: 0.0, when: now }
    }

    /// One more claim, whether or not it found something.
    pub fn note(&mut self, now: Instant) {
        *self = Self { value: (self.at(now) + 1.0).min(MOST), when: now };
    }

    /// What it is by now.
    pub fn at(&self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.when).as_secs_f64();
        self.value * (-passed / HALF_LIFE.as_secs_f64()).exp2()
    }

    /// How many should be parked: none for what was asked for once, which says nothing about the next time.
    pub fn wants(&self, now: Instant) -> usize {
        // A tenth is for what was forgotten since the last claim.
        (self.at(now) - 1.1).ceil().max(0.0) as usize
    }
}
