//! The times between which records are looked for.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

/// A time as records have it, RFC 3339 in UTC with microseconds, so that the order of their texts is theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditTime(String);

/// What a beginning of a time is completed with.
const WHOLE: &str = "0000-01-01T00:00:00.000000Z";

/// Bytes up to the end of the year, the month, the day, the hour, the minute and the second.
const BEGINNINGS: [usize; 6] = [4, 7, 10, 13, 16, 19];

/// What every time begins with; `d` is a digit.
const FORM: &str = "dddd-dd-ddTdd:dd:dd";

/// Digits of a second's fraction, at the most; records have six.
const MAX_FRACTION: usize = 9;

/// Why a text is no time to search by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadTime;

impl AuditTime {
    /// The time as records have it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AuditTime {
    type Err = BadTime;

    /// Reads RFC 3339, or a beginning of it in UTC.
    fn from_str(text: &str) -> Result<Self, BadTime> {
        let whole = match BEGINNINGS.contains(&text.len()) {
            true if fits(text) => format!("{text}{}", WHOLE.get(text.len()..).unwrap_or_default()),
            false if is_whole(text) => text.to_owned(),
            _ => return Err(BadTime),
        };
        let time: Timestamp = whole.parse().map_err(|_| BadTime)?;
        // In UTC, the first and the last hours of the calendar may be of a year that records can't have.
        let text = format!("{time:.6}");
        if text.len() == WHOLE.len() { Ok(Self(text)) } else { Err(BadTime) }
    }
}

/// Whether this is a beginning of a time's form.
fn fits(text: &str) -> bool {
    let fits =
        |(byte, form): (u8, u8)| if form == b'd' { byte.is_ascii_digit() } else { byte == form };
    text.len() <= FORM.len() && text.bytes().zip(FORM.bytes()).all(fits)
}

/// Whether this is a time down to the second, with or without a fraction, and then its zone.
fn is_whole(text: &str) -> bool {
    let Some((second, rest)) = text.split_at_checked(FORM.len()) else { return false };
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|digit: char| digit.is_ascii_digit());
            if !(1..=MAX_FRACTION).contains(&(fraction.len() - zone.len())) {
                return false;
            }
            zone
        }
        None => rest,
    };
    let is_offset = |offset: &[u8]| match offset {
        [b'+' | b'-', hour @ .., b':', tens, ones] => {
            hour.len() == 2 && hour.iter().chain([tens, ones]).all(u8::is_ascii_digit)
        }
        _ => false,
    };
    fits(second) && (zone == "Z" || is_offset(zone.as_bytes()))
}

impl fmt::Display for AuditTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for BadTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "it is 2026-01-31T12:30:00Z or with an offset such as +01:00, or in UTC 2026-01-31 or 2026-01-31T12:30",
        )
    }
}

impl std::error::Error for BadTime {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_time_is_read_in_any_zone_and_a_beginning_of_one_in_utc() {
        for (text, read) in [
            ("2026", "2026-01-01T00:00:00.000000Z"),
            ("2026-02", "2026-02-01T00:00:00.000000Z"),
            ("2026-02-03", "2026-02-03T00:00:00.000000Z"),
            ("2026-02-03T04", "2026-02-03T04:00:00.000000Z"),
            ("2026-02-03T04:05", "2026-02-03T04:05:00.000000Z"),
            ("2026-02-03T04:05:06", "2026-02-03T04:05:06.000000Z"),
            ("2026-02-03T04:05:06Z", "2026-02-03T04:05:06.000000Z"),
            ("2026-02-03T04:05:06.7Z", "2026-02-03T04:05:06.700000Z"),
            ("2026-02-03T04:05:06.123456789Z", "2026-02-03T04:05:06.123456Z"),
            ("2026-02-03T00:05:06+01:30", "2026-02-02T22:35:06.000000Z"),
            ("2026-12-31T23:59:59.5-00:01", "2027-01-01T00:00:59.500000Z"),
        ] {
            assert_eq!(text.parse(), Ok(AuditTime(read.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "26",
            "20260",
            "2026-1",
            "2026-13",
            "2026-02-30",
            "2026-02-03T24",
            "2026-02-03T04:60",
            "2026-02-03 04:05",
            "2026-02-03 04:05:06Z",
            "2026-02-03Z",
            "2026-02-03T04:05Z",
            "2026-02-03T04:05:06.Z",
            "2026-02-03T04:05:06.1234567890Z",
            "2026-02-03T04:05:06.123456",
            "2026-02-03T04:05:06+0100",
            "2026-02-03T04:05:06+99:00",
            "2026-02-03T04:05:06Z[UTC]",
            "2026-02-03T04:05:06Zé",
            "2026-02-03t04:05:06z",
            "2026-02-03T04:05:0é",
            "0000-01-01T00:00:00+01:00",
            "+002026-02-03T04:05:06Z",
        ] {
            assert_eq!(text.parse::<AuditTime>(), Err(BadTime), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_what_it_gives_reads_back(text in "\\PC{0,30}|[0-9T:.Z+-]{4,30}") {
            if let Ok(time) = text.parse::<AuditTime>() {
                prop_assert_eq!(time.as_str().parse(), Ok(time.clone()));
            }
        }

        #[test]
        fn earlier_times_have_lesser_texts(one in 0i64..4_000_000_000, two in 0i64..4_000_000_000) {
            let read = |second| Timestamp::from_second(second).unwrap().to_string().parse::<AuditTime>().unwrap();
            prop_assert_eq!(one.cmp(&two), read(one).as_str().cmp(read(two).as_str()));
        }
    }
}
