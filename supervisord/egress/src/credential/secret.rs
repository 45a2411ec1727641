//! Bytes that nobody may see: they are overwritten when they are dropped, can't be printed, cloned
//! or serialised, and are compared in constant time.

use std::fmt;

use bytes::Bytes;
use zeroize::Zeroizing;

/// Bytes of a secret value at the most. Keys and tokens are far smaller; header sections of common
/// servers end at twice this.
pub const MAX_VALUE: usize = 16 * 1024;

/// Bytes of a secret value at the least. What is shorter can be guessed, and would be seen by chance in
/// any response that is watched for it.
pub const MIN_VALUE: usize = 8;

/// A secret.
pub struct Secret(Zeroizing<Box<[u8]>>);

/// A value that can't be a secret in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidValue {
    /// It is shorter than [`MIN_VALUE`].
    TooShort,
    /// It is longer than [`MAX_VALUE`].
    TooLong,
    /// It holds a byte other than visible US-ASCII and inner spaces: CR, LF and NUL would end a field
    /// and start another one (RFC 9110 §5.5).
    ForbiddenByte {
        /// Where, counted from 0. What stands there is part of a secret.
        offset: usize,
    },
}

/// Memory that is overwritten when the last reference to the [`Bytes`] made of it goes.
struct Owner(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes a value that goes into requests: visible US-ASCII, spaces inside.
    ///
    /// # Errors
    /// It is shorter than [`MIN_VALUE`], longer than [`MAX_VALUE`] or holds other bytes. The value is overwritten.
    pub fn new(value: Zeroizing<Vec<u8>>) -> Result<Self, InvalidValue> {
        if value.len() < MIN_VALUE {
            return Err(InvalidValue::TooShort);
        }
        if value.len() > MAX_VALUE {
            return Err(InvalidValue::TooLong);
        }
        let last = value.len() - 1;
        let bad = |(offset, byte): &(usize, &u8)| {
            let inner_space = **byte == b' ' && *offset != 0 && *offset != last;
            !(byte.is_ascii_graphic() || inner_space)
        };
        match value.iter().enumerate().find(bad) {
            Some((offset, _)) => Err(InvalidValue::ForbiddenByte { offset }),
            None => Ok(Self(Zeroizing::new(value.as_slice().into()))),
        }
    }

    /// The bytes. Whoever asks for them keeps them out of everything but a request.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether these bytes are the secret, in a time that depends on their number only.
    pub fn is(&self, other: &[u8]) -> bool {
        let unequal = self.0.iter().zip(other).fold(0, |sum, (one, two)| sum | (one ^ two));
        std::hint::black_box(unequal) == 0 && self.0.len() == other.len()
    }
}

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Bytes for a header field, overwritten when the last reference to them goes.
pub(crate) fn sealed(value: Zeroizing<Vec<u8>>) -> Bytes {
    Bytes::from_owner(Owner(value))
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)") // not even its length
    }
}

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort => write!(f, "the value is shorter than {MIN_VALUE} bytes"),
            Self::TooLong => write!(f, "the value is longer than {MAX_VALUE} bytes"),
            Self::ForbiddenByte { offset } => write!(
                f,
                "the byte at offset {offset} is not visible US-ASCII; line ends, NUL and control \
                 characters can't be part of a credential"
            ),
        }
    }
}

impl std::error::Error for InvalidValue {}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(value: &[u8]) -> Result<Secret, InvalidValue> {
        Secret::new(Zeroizing::new(value.to_vec()))
    }

    #[test]
    fn a_value_cannot_end_a_field_or_hide_a_byte() {
        for (bad, offset) in [
            (&b"abc\r\nX-Evil: 1"[..], 3),
            (b"abcdefgh\n", 8),
            (b"abc\0defghi", 3),
            (b"\x7fabcdefgh", 0),
            (b" abcdefgh", 0),
            (b"abcdefgh ", 8),
            (b"a\tbcdefgh", 1),
            ("gr\u{fc}n und blau".as_bytes(), 2),
        ] {
            assert_eq!(secret(bad).unwrap_err(), InvalidValue::ForbiddenByte { offset });
        }
        for short in [&b""[..], b"5", b"1234567"] {
            assert_eq!(secret(short).unwrap_err(), InvalidValue::TooShort);
        }
        assert_eq!(secret(&[b'a'; MAX_VALUE + 1]).unwrap_err(), InvalidValue::TooLong);
        assert!(secret(&[b'a'; MAX_VALUE]).is_ok());
        assert!(secret(b"correct horse battery").is_ok());
    }

    #[test]
    fn a_secret_cannot_be_printed() {
        let value = secret(b"hunter2-hunter2").expect("valid");
        assert_eq!(format!("{value:?} {:?}", Some(&value)), "Secret(..) Some(Secret(..))");
    }

    #[test]
    fn only_the_same_bytes_are_the_same_secret() {
        let value = secret(b"hunter2-hunter2").expect("valid");
        assert!(value.is(b"hunter2-hunter2"));
        for other in [&b""[..], b"hunter2-hunter", b"hunter2-hunter22", b"Hunter2-hunter2"] {
            assert!(!value.is(other));
        }
    }
}
