//! Times as results show them.

use jiff::Timestamp;

/// Now, RFC 3339 in UTC with milliseconds.
pub fn now() -> String {
    let now = Timestamp::now();
    let rounded = now.round(jiff::Unit::Millisecond).unwrap_or(now);
    format!("{rounded:.3}")
}
