//! Times as results show them.

use jiff::Timestamp;

/// Now, RFC 3339 in UTC with milliseconds.
pub fn now() -> String {
    let now = Timestamp::now();
    let rounded = now.round(jiff::Unit::Millisecond).unwrap_or(now);
    format!("{rounded:.3}")
}

/// A file's time, in seconds since 1970, as results show it; empty for one that no calendar has, which a
/// payload can give to its files.
pub fn at(seconds: i64) -> String {
    Timestamp::from_second(seconds).map(|time| format!("{time:.0}")).unwrap_or_default()
}
