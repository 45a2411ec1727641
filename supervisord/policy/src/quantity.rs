//! Quantities as people write them: sizes, times, shares and counts with their units, turned into
//! whole numbers of one base unit. Nothing wraps and nothing is rounded.

use std::fmt;

/// Byte units, the larger before the smaller. `K`, `M` and `G` alone are left out on purpose:
/// readers don't agree on what they mean.
const BYTE_UNITS: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Time units in milliseconds, the larger before the smaller.
const TIME_UNITS: &[(&str, u64)] =
    &[("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes: `512 MiB`, `64KiB`, `1 GB` (10⁹), or a plain number.
    Bytes,
    /// Bytes per second: `10 MiB/s`, or as [`Unit::Bytes`].
    BytesPerSecond,
    /// Operations per second: a plain number, or `100/s`.
    PerSecond,
    /// Milliseconds: `500 ms`, `60 s`, `2 min`, `1 h`, `1m30s`. A bare number has no meaning.
    Time,
    /// Percent of one core: `50%`, `200%`. A bare number has no meaning.
    Percent,
    /// A plain number.
    Count,
}

/// Why a text is not a quantity of the unit asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidQuantity {
    unit: Unit,
    fault: Fault,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Fault {
    NoNumber,
    NoUnit,
    UnknownUnit,
    Negative,
    Order,
    TooLarge,
}

impl Unit {
    /// Reads a text such as `512 MiB`; the result is in the base unit of the variant.
    ///
    /// # Errors
    /// When the text holds no whole number, a unit of another kind, or more than 64 bits.
    pub fn parse(self, text: &str) -> Result<u64, InvalidQuantity> {
        let text = text.trim();
        match self {
            Unit::Bytes => self.bytes(text),
            Unit::BytesPerSecond => self.bytes(per_second(text)),
            Unit::PerSecond => self.count(per_second(text)),
            Unit::Time => self.time(text),
            Unit::Percent => match text.strip_suffix('%') {
                Some(number) => self.count(number.trim_end()),
                None => self.count(text).and(Err(self.fault(Fault::NoUnit))),
            },
            Unit::Count => self.count(text),
        }
    }

    /// Reads a number that was written without quotes.
    ///
    /// # Errors
    /// When it is negative, needs a unit, or is more than 64 bits.
    pub fn whole(self, number: i128) -> Result<u64, InvalidQuantity> {
        if number < 0 {
            return Err(self.fault(Fault::Negative));
        }
        if !self.takes_plain_numbers() {
            return Err(self.fault(Fault::NoUnit));
        }
        u64::try_from(number).map_err(|_| self.fault(Fault::TooLarge))
    }

    /// The value as people write it; [`Unit::parse`] reads it back as the same number.
    pub fn show(self, value: u64) -> String {
        match self {
            Unit::Bytes => in_largest_unit(BYTE_UNITS, value),
            Unit::BytesPerSecond => format!("{}/s", in_largest_unit(BYTE_UNITS, value)),
            Unit::PerSecond => format!("{value}/s"),
            Unit::Time => in_largest_unit(TIME_UNITS, value),
            Unit::Percent => format!("{value}%"),
            Unit::Count => value.to_string(),
        }
    }

    /// Spellings to offer where a text was not understood.
    pub const fn examples(self) -> &'static str {
        match self {
            Unit::Bytes => "\"512 MiB\", \"64KiB\", \"1 GB\" (decimal) or a plain number of bytes",
            Unit::BytesPerSecond => "\"10 MiB/s\" or a plain number of bytes per second",
            Unit::PerSecond => "a plain number, or \"100/s\"",
            Unit::Time => "\"500 ms\", \"60 s\", \"2 min\", \"1 h\" or \"1m30s\"",
            Unit::Percent => "\"50%\" for half a core, \"200%\" for two",
            Unit::Count => "a whole number",
        }
    }

    const fn takes_plain_numbers(self) -> bool {
        !matches!(self, Unit::Time | Unit::Percent)
    }

    const fn fault(self, fault: Fault) -> InvalidQuantity {
        InvalidQuantity { unit: self, fault }
    }

    fn count(self, text: &str) -> Result<u64, InvalidQuantity> {
        match self.number(text)? {
            (number, "") => Ok(number),
            _ => Err(self.fault(Fault::UnknownUnit)),
        }
    }

    fn bytes(self, text: &str) -> Result<u64, InvalidQuantity> {
        let (number, name) = self.number(text)?;
        let factor = match name.trim() {
            "" => 1,
            name => self.factor(BYTE_UNITS, name)?,
        };
        number.checked_mul(factor).ok_or(self.fault(Fault::TooLarge))
    }

    /// One or more parts, each of a smaller unit than the one before: `30s1m` and `1s1s` are more
    /// likely slips of the pen than times.
    fn time(self, text: &str) -> Result<u64, InvalidQuantity> {
        let (mut rest, mut total, mut last) = (text, 0u64, u64::MAX);
        loop {
            let (number, after) = self.number(rest)?;
            let after = after.trim_start();
            let length = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let (name, tail) = after.split_at(length);
            if name.is_empty() {
                return Err(self.fault(if after.is_empty() {
                    Fault::NoUnit
                } else {
                    Fault::UnknownUnit
                }));
            }
            let factor = self.factor(TIME_UNITS, name)?;
            if factor >= last {
                return Err(self.fault(Fault::Order));
            }
            total = number
                .checked_mul(factor)
                .and_then(|part| total.checked_add(part))
                .ok_or(self.fault(Fault::TooLarge))?;
            (rest, last) = (tail.trim_start(), factor);
            if rest.is_empty() {
                return Ok(total);
            }
        }
    }

    /// The leading digits and what comes after them.
    fn number(self, text: &str) -> Result<(u64, &str), InvalidQuantity> {
        let length = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, rest) = text.split_at(length);
        if digits.is_empty() {
            let negative = rest.trim_start().starts_with('-');
            return Err(self.fault(if negative { Fault::Negative } else { Fault::NoNumber }));
        }
        match digits.parse() {
            Ok(number) => Ok((number, rest)),
            Err(_) => Err(self.fault(Fault::TooLarge)),
        }
    }

    fn factor(self, units: &[(&str, u64)], name: &str) -> Result<u64, InvalidQuantity> {
        let unit = units.iter().find(|(known, _)| *known == name);
        unit.map(|(_, factor)| *factor).ok_or(self.fault(Fault::UnknownUnit))
    }
}

impl InvalidQuantity {
    /// How to write it instead.
    pub fn hint(&self) -> String {
        match self.fault {
            Fault::Order => "write the larger unit first, each unit once: \"1m30s\"".to_owned(),
            _ => format!("write {}", self.unit.examples()),
        }
    }
}

impl fmt::Display for InvalidQuantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.fault {
            Fault::NoNumber => "this does not start with a whole number",
            Fault::NoUnit => "the unit is missing",
            Fault::UnknownUnit => "this unit or spelling is not known here",
            Fault::Negative => "this can't be negative",
            Fault::Order => "the parts of this time are out of order",
            Fault::TooLarge => "this number is too large",
        })
    }
}

impl std::error::Error for InvalidQuantity {}

fn per_second(text: &str) -> &str {
    text.strip_suffix("/s").unwrap_or(text).trim_end()
}

fn in_largest_unit(units: &[(&str, u64)], value: u64) -> String {
    let fits = |factor: &u64| value != 0 && value.is_multiple_of(*factor);
    match units.iter().find(|(_, factor)| fits(factor)).or(units.last()) {
        Some((name, factor)) => format!("{} {name}", value / factor),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNITS: [Unit; 6] = [
        Unit::Bytes,
        Unit::BytesPerSecond,
        Unit::PerSecond,
        Unit::Time,
        Unit::Percent,
        Unit::Count,
    ];

    #[test]
    fn quantities_read_as_people_mean_them() {
        for (unit, text, value) in [
            (Unit::Bytes, "512 MiB", 512 << 20),
            (Unit::Bytes, "64KiB", 64 << 10),
            (Unit::Bytes, "1 GB", 1_000_000_000),
            (Unit::Bytes, "4096", 4096),
            (Unit::Bytes, "100 B", 100),
            (Unit::BytesPerSecond, "10 MiB/s", 10 << 20),
            (Unit::BytesPerSecond, "10 MB", 10_000_000),
            (Unit::PerSecond, "100/s", 100),
            (Unit::Time, "60 s", 60_000),
            (Unit::Time, "500 ms", 500),
            (Unit::Time, "2 min", 120_000),
            (Unit::Time, "1 h", 3_600_000),
            (Unit::Time, "1m30s", 90_000),
            (Unit::Time, "1 h 30 min", 5_400_000),
            (Unit::Percent, "50%", 50),
            (Unit::Percent, "200 %", 200),
            (Unit::Count, "1024", 1024),
        ] {
            assert_eq!(unit.parse(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn ambiguous_or_broken_quantities_are_refused() {
        for (unit, text) in [
            (Unit::Bytes, ""),
            (Unit::Bytes, "MiB"),
            (Unit::Bytes, "1 M"),
            (Unit::Bytes, "1 mib"),
            (Unit::Bytes, "1.5 GiB"),
            (Unit::Bytes, "-1"),
            (Unit::Bytes, "+1"),
            (Unit::Bytes, "1 GiB/s"),
            (Unit::Bytes, "18446744073709551616"),
            (Unit::Bytes, "16777216 TiB"),
            (Unit::Time, "60"),
            (Unit::Time, "30s1m"),
            (Unit::Time, "1s1s"),
            (Unit::Time, "1 min 1 m"),
            (Unit::Time, "213503982335 d"),
            (Unit::Time, "1 s,"),
            (Unit::Percent, "50"),
            (Unit::Percent, "%"),
            (Unit::Percent, "50%%"),
            (Unit::Count, "1k"),
            (Unit::Count, "٣"),
        ] {
            assert!(unit.parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_bare_number_is_refused_where_it_has_no_meaning() {
        assert!(Unit::Time.whole(60).is_err());
        assert!(Unit::Percent.whole(50).is_err());
        assert_eq!(Unit::Bytes.whole(4096), Ok(4096));
        assert!(Unit::Bytes.whole(-1).is_err());
        assert!(Unit::Bytes.whole(i128::from(u64::MAX) + 1).is_err());
    }

    proptest! {
        #[test]
        fn a_quantity_that_is_shown_reads_back_as_the_same_number(
            value in any::<u64>(), factor in 0u32..64, unit in 0usize..UNITS.len(),
        ) {
            let value = value >> factor;
            prop_assert_eq!(UNITS[unit].parse(&UNITS[unit].show(value)), Ok(value));
        }

        #[test]
        fn no_text_breaks_the_reading_of_quantities(text in "\\PC{0,40}", unit in 0usize..UNITS.len()) {
            if let Err(invalid) = UNITS[unit].parse(&text) {
                prop_assert!(!invalid.to_string().is_empty() && !invalid.hint().is_empty());
            }
        }
    }
}
