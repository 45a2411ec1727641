//! Sizes, times and shares as people write and read them. Parsing is exact: no floating point, no
//! guess at what an ambiguous suffix meant.

use std::time::Duration;

use jiff::Timestamp;
use supervisor_api::{AuditTime, BadTime};
pub use supervisor_api::{show_size, show_time};

/// Bytes of a KiB, and the step from one size suffix to the next.
const KIB: u64 = 1024;

/// The size suffixes in rising order.
const SIZE_SUFFIXES: [&str; 5] = ["", "K", "M", "G", "T"];

/// Reads `4096`, `512K`, `64M`, `2G`, `1T`, each also with `iB`; powers of 1024.
pub fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let suffix = text.get(digits.len()..).unwrap_or_default();
    let suffix = suffix.strip_suffix("iB").filter(|rest| !rest.is_empty()).unwrap_or(suffix);
    let power = SIZE_SUFFIXES.iter().zip(0u32..).find(|(name, _)| **name == suffix);
    let (Ok(number), Some((_, power))) = (plain(digits), power) else {
        return Err("write bytes, or a whole number with K, M, G or T (powers of 1024)".to_owned());
    };
    KIB.checked_pow(power)
        .and_then(|unit| number.checked_mul(unit))
        .ok_or_else(|| "larger than any size can be".to_owned())
}

/// Reads `10s`, `1.5s`, `500ms`, `5m`, `2h`, `30d` or `10` (seconds) as milliseconds.
pub fn milliseconds(text: &str) -> Result<u64, String> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.get(number.len()..).unwrap_or_default() {
        "ms" => 1,
        "s" | "" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => 24 * 60 * 60 * 1000,
        _ => 0,
    };
    let thousandths = fixed_point(number, 3);
    let (Some(thousandths), 1..) = (thousandths, unit) else {
        return Err("write a number with ms, s, m, h or d; without one it is seconds".to_owned());
    };
    let exact = thousandths.checked_mul(unit).ok_or("longer than any time can be")?;
    if exact % 1000 != 0 {
        return Err("finer than a millisecond".to_owned());
    }
    Ok(exact / 1000)
}

/// Reads the same as [`milliseconds`], in whole seconds, rounded up.
pub fn seconds(text: &str) -> Result<u64, String> {
    milliseconds(text).map(|milliseconds| milliseconds.div_ceil(1000))
}

/// Reads a moment: so long ago (`90m`, `2h`), or a time as RFC 3339 has it, of which the end may be missing where
/// it is in UTC (`2026-01-31`, `2026-01-31T12:30`). Gives it as records of the audit log have it. A number alone is
/// so many seconds ago, also one of four digits.
pub fn moment(text: &str) -> Result<AuditTime, String> {
    let read =
        |text: &str| text.parse().map_err(|bad: BadTime| format!("{bad}, or 90m for so long ago"));
    if let Ok(ago) = milliseconds(text).map(Duration::from_millis) {
        let then =
            Timestamp::now().checked_sub(ago).map_err(|_| "longer ago than time goes back")?;
        return read(&format!("{then:.6}"));
    }
    read(text)
}

/// Reads a number of cores such as `0.5` or `2` as percent of one core.
pub fn cores(text: &str) -> Result<u64, String> {
    match fixed_point(text, 2) {
        Some(0) => Err("at least 0.01 of a core".to_owned()),
        Some(percent) => Ok(percent),
        None => Err("write a number of cores with at most two decimals, such as 0.5".to_owned()),
    }
}

/// Digits only: `u64::from_str` would take a sign.
fn plain(digits: &str) -> Result<u64, ()> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(());
    }
    digits.parse().map_err(|_| ())
}

/// Reads a decimal number with at most `decimals` decimals, scaled by ten to their number.
fn fixed_point(text: &str, decimals: usize) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.len() > decimals {
        return None;
    }
    let scale = 10u64.checked_pow(u32::try_from(decimals).ok()?)?;
    let padded = format!("{fraction:0<decimals$}");
    let whole = plain(whole).ok()?.checked_mul(scale)?;
    plain(fraction).ok()?;
    whole.checked_add(plain(&padded).ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("512M"), Ok(512 << 20));
        assert_eq!(size("2GiB"), Ok(2 << 30));
    }

    #[test]
    fn a_size_that_can_be_read_in_two_ways_is_refused() {
        for text in ["", "M", "512MB", "512m", "1.5G", "-1", "+1", "1 M", "iB", "1iB", "0x10"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert!(size("99999999999T").is_err());
    }

    #[test]
    fn times_have_a_unit_or_are_seconds() {
        assert_eq!(milliseconds("10"), Ok(10_000));
        assert_eq!(milliseconds("1.5s"), Ok(1500));
        assert_eq!(milliseconds("500ms"), Ok(500));
        assert_eq!(milliseconds("2h"), Ok(7_200_000));
        assert_eq!(seconds("30d"), Ok(2_592_000));
        assert_eq!(seconds("1500ms"), Ok(2));
        for text in ["", "s", "1.s", ".5s", "0.5ms", "1w", "-1s", "1e3", "99999999999999999h"] {
            assert!(milliseconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_moment_is_a_time_or_so_long_ago() {
        let read = |text| moment(text).map(|time| time.to_string());
        assert_eq!(read("2026-01-31"), Ok("2026-01-31T00:00:00.000000Z".to_owned()));
        assert_eq!(read("2026-01-31T12:30:00Z"), Ok("2026-01-31T12:30:00.000000Z".to_owned()));
        assert_eq!(read("2026-01-31T12:30:00+01:00"), Ok("2026-01-31T11:30:00.000000Z".to_owned()));
        assert!(read("90m").is_ok_and(|then| then > read("2026-01-31").unwrap()));
        for text in ["", "yesterday", "2026-1-1", "2026-01-31 12:30", "2026-02-30"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }

    #[test]
    fn half_a_core_is_fifty_percent() {
        assert_eq!(cores("0.5"), Ok(50));
        assert_eq!(cores("2"), Ok(200));
        for text in ["0", "0.005", "1,5", "half"] {
            assert!(cores(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC{0,24}") {
            drop((size(&text), milliseconds(&text), cores(&text)));
        }

        #[test]
        fn every_number_of_bytes_reads_back(bytes: u64) {
            prop_assert_eq!(size(&bytes.to_string()), Ok(bytes));
        }
    }
}
