//! How many queries a sandbox may ask in a time.

use std::time::{Duration, Instant};

/// A bucket that fills with `per_second` tokens a second and holds twice as many.
#[derive(Debug)]
pub struct Rate {
    per_second: u32,
    tokens: f64,
    filled: Instant,
}

impl Rate {
    /// A full bucket.
    pub fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second, tokens: f64::from(per_second) * 2.0, filled: now }
    }

    /// Takes a token, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        let rate = f64::from(self.per_second);
        let passed = now.saturating_duration_since(self.filled).min(Duration::from_secs(2));
        self.filled = now;
        self.tokens = (self.tokens + passed.as_secs_f64() * rate).min(rate * 2.0);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_only_the_rate() {
        let start = Instant::now();
        let mut rate = Rate::new(10, start);
        assert_eq!((0..100).filter(|_| rate.take(start)).count(), 20);
        let later = start + Duration::from_secs(1);
        assert_eq!((0..100).filter(|_| rate.take(later)).count(), 10);
        let much_later = start + Duration::from_secs(3600);
        assert_eq!((0..100).filter(|_| rate.take(much_later)).count(), 20);
    }
}
