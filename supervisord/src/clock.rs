//! Times as results show them.

use jiff::{SignedDuration, Timestamp};

/// Now, RFC 3339 in UTC with milliseconds.
pub fn now() -> String {
    let now = Timestamp::now();
    let rounded = now.round(jiff::Unit::Millisecond).unwrap_or(now);
    format!("{rounded:.3}")
}

/// A time that a result shows, so many seconds later; or earlier, if they are negative.
pub fn shifted(time: &str, seconds: i64) -> Option<String> {
    let shift = SignedDuration::from_secs(seconds);
    let shifted = time.parse::<Timestamp>().ok()?.checked_add(shift).ok()?;
    Some(format!("{shifted:.3}"))
}
