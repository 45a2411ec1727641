//! The one form of `Range` that is served (RFC 9110 §14): a single range of bytes. Anything else is
//! no range, and the whole is sent, as the RFC asks.

/// What a request gets of something `size` bytes long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// From the first to the last of these bytes, both included.
    Part {
        /// Offset of the first byte.
        first: u64,
        /// Offset of the last byte, not before the first and within the size.
        last: u64,
    },
    /// Nothing: it begins past the end.
    Unsatisfiable,
}

impl Extent {
    /// What this `Range` asks for.
    pub fn of(range: &str, size: u64) -> Self {
        let Some((first, last)) = range.strip_prefix("bytes=").and_then(|set| set.split_once('-'))
        else {
            return Self::Whole;
        };
        let end = size.saturating_sub(1);
        let (first, last) = match (number(first), number(last)) {
            (Some(first), Some(last)) if first > last => return Self::Whole,
            (Some(first), Some(last)) => (first, last.min(end)),
            (Some(first), None) if last.is_empty() => (first, end),
            (None, Some(0)) if first.is_empty() => return Self::Unsatisfiable,
            (None, Some(count)) if first.is_empty() => (size.saturating_sub(count), end),
            _ => return Self::Whole,
        };
        if first < size { Self::Part { first, last } } else { Self::Unsatisfiable }
    }
}

/// A number of digits only; one past 64 bits is past every end.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(first: u64, last: u64) -> Extent {
        Extent::Part { first, last }
    }

    #[test]
    fn a_range_is_cut_to_what_there_is() {
        for (range, expected) in [
            ("bytes=0-0", part(0, 0)),
            ("bytes=2-5", part(2, 5)),
            ("bytes=2-", part(2, 9)),
            ("bytes=-3", part(7, 9)),
            ("bytes=-30", part(0, 9)),
            ("bytes=9-99999999999999999999999", part(9, 9)),
            ("bytes=10-", Extent::Unsatisfiable),
            ("bytes=99999999999999999999999-", Extent::Unsatisfiable),
            ("bytes=-0", Extent::Unsatisfiable),
        ] {
            assert_eq!(Extent::of(range, 10), expected, "{range}");
        }
        for range in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
            assert_eq!(Extent::of(range, 0), Extent::Unsatisfiable, "{range}");
        }
    }

    #[test]
    fn what_is_no_single_range_of_bytes_is_no_range() {
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-2",
            "bytes=0-1,3-4",
            "lines=0-1",
            "bytes=+1-2",
            "bytes=0x1-2",
            "bytes= 1-2",
            "bytes=--1",
            "bytes=1--2",
            "Bytes=0-1",
        ] {
            assert_eq!(Extent::of(range, 10), Extent::Whole, "{range}");
        }
    }

    proptest! {
        #[test]
        fn a_part_lies_within_the_whole(range in "bytes=[0-9]{0,21}-[0-9]{0,21}", size in any::<u64>()) {
            if let Extent::Part { first, last } = Extent::of(&range, size) {
                prop_assert!(first <= last && last < size);
            }
        }
    }
}
