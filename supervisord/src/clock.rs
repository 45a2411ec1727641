//! Times as results show them.

use jiff::{SignedDuration, Timestamp};

/// Now, RFC 3339 in UTC with milliseconds.
pub fn now() -> String {
    let now = Timestamp::now();
    let rounded = now.round(jiff::Unit::Millisecond).unwrap_or(now);
    format!("{rounded:.3}")
}

/// A minute after a time that a result shows.
pub fn a_minute_after(time: &str) -> Option<String> {
    let later = time.parse::<Timestamp>().ok()?.checked_add(SignedDuration::from_mins(1)).ok()?;
    Some(format!("{later:.3}"))
}
