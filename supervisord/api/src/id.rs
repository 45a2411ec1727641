//! Ids are types. Each carries 128 random bits, so knowing one id says nothing of another.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Lower-case letters and digits without `0`, `1`, `l` and `o`, which people confuse.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Characters that 128 bits take at 5 bits each.
const LENGTH: usize = 26;

/// Text that is not an id of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidId {
    prefix: &'static str,
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an id looks like {}-{}", self.prefix, "x".repeat(LENGTH))
    }
}

impl std::error::Error for InvalidId {}

fn encode(mut bits: u128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for _ in 0..LENGTH {
        let symbol = ALPHABET.get((bits & 31) as usize).copied().unwrap_or(b'a');
        write!(f, "{}", char::from(symbol))?;
        bits >>= 5;
    }
    Ok(())
}

fn decode(text: &str) -> Option<u128> {
    if text.len() != LENGTH {
        return None;
    }
    let mut bits = 0u128;
    for (position, byte) in text.bytes().enumerate() {
        let value = ALPHABET.iter().position(|symbol| *symbol == byte)? as u128;
        let shift = 5 * position;
        // The last character holds 3 bits; more would give one id two spellings.
        if shift == 125 && value > 7 {
            return None;
        }
        bits |= value << shift;
    }
    Some(bits)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u128);

        impl $name {
            /// The id of these bits, which come from the kernel's random source.
            pub const fn from_bits(bits: u128) -> Self {
                Self(bits)
            }

            /// The bits behind the text form.
            pub const fn bits(self) -> u128 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!($prefix, "-"))?;
                encode(self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix(concat!($prefix, "-"))
                    .and_then(decode)
                    .map(Self)
                    .ok_or(InvalidId { prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "pattern": concat!("^", $prefix, "-[a-km-np-z2-9]{26}$"),
                })
            }
        }
    };
}

id!(
    /// One run of a payload: `ex-` and 26 characters.
    ExecutionId,
    "ex"
);
id!(
    /// What a caller keeps over several executions: `se-` and 26 characters.
    SessionId,
    "se"
);
id!(
    /// A question to a person: `ap-` and 26 characters.
    ApprovalId,
    "ap"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_an_id_reads_back_as_the_same_id() {
        for bits in [0, 1, u128::MAX, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef] {
            let id = ExecutionId::from_bits(bits);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn an_id_has_one_spelling_only() {
        let text = ExecutionId::from_bits(u128::MAX).to_string();
        let longer = text.replace("i2", "i9");
        assert!(longer.parse::<ExecutionId>().is_err() || longer == text);
        for wrong in ["", "ex-", "se-aaaaaaaaaaaaaaaaaaaaaaaaaa", "ex-aaaaaaaaaaaaaaaaaaaaaaaaa9"] {
            assert!(wrong.parse::<ExecutionId>().is_err(), "{wrong}");
        }
    }
}
