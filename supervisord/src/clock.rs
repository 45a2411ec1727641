//! Times as results show them.

use std::sync::OnceLock;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use nix::time::{ClockId, clock_gettime};
use supervisor_api::AuditTime;

/// Now, by the host's clock. In debug builds a test can turn it.
pub fn timestamp() -> Timestamp {
    let now = Timestamp::now();
    #[cfg(debug_assertions)]
    let now =
        now.checked_add(SignedDuration::from_secs(crate::fault::clock_is_off())).unwrap_or(now);
    now
}

/// Seconds since 1970, by the host's clock when this was asked for first, and by what has passed since: a
/// clock that is set meanwhile moves nothing, and time in suspend counts.
pub fn steady() -> i64 {
    static FIRST: OnceLock<(i64, i64)> = OnceLock::new();
    let Ok(passed) = clock_gettime(ClockId::CLOCK_BOOTTIME) else {
        return timestamp().as_second(); // every kernel that we run on has it
    };
    let (then, at) = *FIRST.get_or_init(|| (timestamp().as_second(), passed.tv_sec()));
    then.saturating_add(passed.tv_sec().saturating_sub(at))
}

/// Now, RFC 3339 in UTC with milliseconds.
pub fn now() -> String {
    let now = timestamp();
    let rounded = now.round(jiff::Unit::Millisecond).unwrap_or(now);
    format!("{rounded:.3}")
}

/// A file's time, in seconds since 1970, as results show it; empty for one that no calendar has, which a
/// payload can give to its files.
pub fn at(seconds: i64) -> String {
    Timestamp::from_second(seconds).map(|time| format!("{time:.0}")).unwrap_or_default()
}

/// A time that a result shows, so many seconds later as records have it; or earlier, if they are negative.
pub fn recorded_at(time: &str, seconds: i64) -> Option<AuditTime> {
    let shift = SignedDuration::from_secs(seconds);
    let shifted = time.parse::<Timestamp>().ok()?.checked_add(shift).ok()?;
    shifted.to_string().parse().ok()
}

/// How long ago that was, by the host's clock; `None` for what is no time or lies ahead.
pub fn since(time: &str) -> Option<Duration> {
    let then: Timestamp = time.parse().ok()?;
    Duration::try_from(timestamp().duration_since(then)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_as_results_show_it_is_not_long_ago() {
        assert!(since(&now()).unwrap_or_default() < Duration::from_secs(60));
        assert!(since("2001-01-01T00:00:00.000Z").unwrap() > Duration::from_secs(1 << 29));
        assert_eq!(since("9000-01-01T00:00:00Z"), None);
        assert_eq!(since("yesterday"), None);
    }
}
