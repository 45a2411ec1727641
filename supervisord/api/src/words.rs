//! Numbers, paths and states as they are shown and sent.

use crate::{Execution, Outcome, State};

/// Bytes in a KiB.
const KIB: u64 = 1024;

/// Shows bytes with one decimal in the largest unit that fits.
pub fn show_size(bytes: u64) -> String {
    let (mut unit, mut name) = (1u64, "B");
    for (power, candidate) in [(1, "KiB"), (2, "MiB"), (3, "GiB"), (4, "TiB")] {
        let next = KIB.pow(power);
        if bytes >= next {
            (unit, name) = (next, candidate);
        }
    }
    if unit == 1 {
        return format!("{bytes} B");
    }
    // In 128 bits, because ten times a size need not fit in 64.
    let tenths = u128::from(bytes) * 10 / u128::from(unit);
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

/// Shows milliseconds: `350 ms`, `1.25 s`, `2 min 5 s`, `3 h 0 min`.
pub fn show_time(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0 => format!("{milliseconds} ms"),
        1..60 => format!("{seconds}.{:02} s", milliseconds % 1000 / 10),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A path as it stands in a URL: slashes stay, all but the unreserved characters of RFC 3986 §2.3
/// is percent-encoded.
pub fn percent_encoded(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

impl State {
    /// The state as it stands in JSON and in queries.
    pub const fn name(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Launching => "launching",
            State::Running => "running",
            State::Paused => "paused",
            State::Collecting => "collecting",
            State::Finished => "finished",
        }
    }
}

impl Execution {
    /// How it stands or ended, in words. Some of them may be the payload's.
    pub fn in_words(&self) -> String {
        match &self.outcome {
            None => match self.queue_position {
                Some(place) => format!("queued, number {place} in line"),
                None => self.state.name().to_owned(),
            },
            Some(Outcome::Exited { code }) => format!("exited with status {code}"),
            Some(Outcome::Signaled { signal, name }) => {
                format!("ended by signal {signal} ({name})")
            }
            Some(Outcome::TimedOut) => {
                format!("timed out after {}", show_time(self.limits.wall_time))
            }
            Some(Outcome::OutOfMemory) => {
                format!("out of memory (limit {})", show_size(self.limits.memory_max))
            }
            Some(Outcome::LimitExceeded { limit }) => format!("over its limit {limit}"),
            Some(Outcome::Cancelled) => "cancelled".to_owned(),
            Some(Outcome::SetupFailed { step, reason }) => match self.argv.first() {
                Some(program) if step == "exec" => {
                    format!("not started: {step} of {program}: {reason}")
                }
                _ => format!("not started: {step}: {reason}"),
            },
            Some(Outcome::Lost { reason }) => format!("lost: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_short() {
        assert_eq!(show_size(1023), "1023 B");
        assert_eq!(show_size(1536), "1.5 KiB");
        assert_eq!(show_size(u64::MAX), "16777215.9 TiB");
        assert_eq!(show_time(350), "350 ms");
        assert_eq!(show_time(1250), "1.25 s");
        assert_eq!(show_time(125_000), "2 min 5 s");
    }

    #[test]
    fn a_path_in_a_url_holds_nothing_that_a_url_gives_a_meaning_to() {
        assert_eq!(percent_encoded("a b/ü?#%.txt"), "a%20b/%C3%BC%3F%23%25.txt");
    }
}
