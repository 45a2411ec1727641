//! Fixed layouts, little-endian: a writer that can't fail and a reader that takes nothing on trust.

use std::fmt;

/// Bytes that are not a message of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed message: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// Appends numbers.
#[derive(Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.0.extend(value.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend(value.to_le_bytes());
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.0.extend(value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend(value.to_le_bytes());
    }

    pub(crate) fn u128(&mut self, value: u128) {
        self.0.extend(value.to_le_bytes());
    }
}

impl Writer {
    /// Bytes whose number both sides know.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }
}

/// Takes numbers off the front; the end must be reached exactly.
pub(crate) struct Reader<'a>(&'a [u8]);

macro_rules! take {
    ($($name:ident: $type:ty),*) => {
        $(
            pub(crate) fn $name(&mut self) -> Result<$type, Malformed> {
                let (head, rest) = self.0.split_first_chunk().ok_or(Malformed("too short"))?;
                self.0 = rest;
                Ok(<$type>::from_le_bytes(*head))
            }
        )*
    };
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    take!(u8: u8, u16: u16, u32: u32, i32: i32, u64: u64, u128: u128);

    /// As many bytes as fit.
    pub(crate) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Malformed("too short"))?;
        self.0 = rest;
        Ok(*head)
    }

    pub(crate) fn bool(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("not a truth value")),
        }
    }

    /// The bytes up to the next NUL, which is taken as well.
    pub(crate) fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(Malformed("unended string"))?;
        let (text, rest) = self.0.split_at(end);
        self.0 = rest.get(1..).unwrap_or_default();
        Ok(text)
    }

    /// Whether everything was taken.
    pub(crate) fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    /// Fails unless everything was taken.
    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("too long")) }
    }
}
