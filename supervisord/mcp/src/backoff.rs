//! Going on after a restart of the daemon: the same question again, after growing pauses, for a
//! bounded time. Only for questions that change nothing when they are asked twice.

use std::time::Duration;

use tokio::time::{self, Instant};

/// A failure that another attempt may cure.
pub trait Passing {
    /// Whether the same request may succeed a little later, such as after the daemon's restart.
    fn is_transient(&self) -> bool;
}

/// The first pause; a daemon that only dropped one connection is back at once.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause, so that the end of a restart is noticed within it.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Attempts without any success in between: about half a minute, longer than a restart with
/// adoption of running executions takes.
const ATTEMPTS: u32 = 20;

/// How long after the first failure the last attempt may begin: what is refused slowly, as where the daemon has
/// waited for its launcher, is not asked as often as what is refused at once.
const LAST_ATTEMPT: Duration = Duration::from_secs(30);

/// Pauses between attempts.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
    first: Option<Instant>,
}

impl Backoff {
    /// Something went well; the next failure counts as the first.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Waits before the next attempt; gives the failure back once it is no use to go on.
    pub async fn wait<F: Passing>(&mut self, failure: F) -> Result<(), F> {
        let since = self.first.get_or_insert_with(Instant::now).elapsed();
        if !failure.is_transient() || self.is_over(since) {
            return Err(failure);
        }
        time::sleep(pause(self.failures)).await;
        self.failures = self.failures.saturating_add(1);
        Ok(())
    }

    /// Whether it is no use to go on so long after the first failure.
    fn is_over(&self, since: Duration) -> bool {
        self.failures >= ATTEMPTS || since >= LAST_ATTEMPT
    }
}

/// Asks until there is an answer, or a failure that another attempt does not cure.
pub async fn retrying<T, F: Passing>(attempt: impl AsyncFn() -> Result<T, F>) -> Result<T, F> {
    let mut backoff = Backoff::default();
    loop {
        match attempt().await {
            Ok(answer) => return Ok(answer),
            Err(failure) => backoff.wait(failure).await?,
        }
    }
}

fn pause(failures: u32) -> Duration {
    let doubled = 2u32.checked_pow(failures).and_then(|factor| FIRST_PAUSE.checked_mul(factor));
    doubled.map_or(LONGEST_PAUSE, |pause| pause.min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_slowly_is_not_asked_as_often_as_what_is_refused_at_once() {
        let after = |failures| Backoff { failures, first: None };
        let slow = Duration::from_secs(30);
        assert!(
            !after(0).is_over(Duration::ZERO),
            "what took long for the first time is asked again"
        );
        assert!(after(1).is_over(slow) && !after(1).is_over(slow / 2));
        assert!(!after(ATTEMPTS - 1).is_over(slow / 2) && after(ATTEMPTS).is_over(slow / 2));
    }

    #[test]
    fn all_attempts_together_take_about_half_a_minute() {
        let total: Duration = (0..ATTEMPTS).map(pause).sum();
        assert!((20..60).contains(&total.as_secs()), "{total:?}");
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }
}
