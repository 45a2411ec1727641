//! A list of the kernel's that is read from its beginning each time.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// One reading of it.
pub struct FromStart<'a> {
    list: &'a File,
    offset: u64,
}

impl<'a> FromStart<'a> {
    /// A reading of this list.
    pub const fn of(list: &'a File) -> Self {
        Self { list, offset: 0 }
    }
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.list.read_at(buffer, self.offset)?;
        self.offset += length as u64;
        Ok(length)
    }
}
