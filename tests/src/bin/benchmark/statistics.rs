//! Numbers about many numbers.

use std::time::Duration;

/// The value below which a part of the samples lies (nearest rank), in milliseconds; `None` of none.
pub fn quantile(samples: &[Duration], part: f64) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).map(|sample| milliseconds(*sample))
}

/// A duration in milliseconds.
pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let samples: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(quantile(&samples, 0.5), Some(100.0));
        assert_eq!(quantile(&samples, 0.99), Some(198.0));
        assert_eq!(quantile(&samples[..1], 0.99), Some(200.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
