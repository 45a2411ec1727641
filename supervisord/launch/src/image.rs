//! Images as messages name them: by digest, never by path, and names of theirs by the digest of the name.

use crate::request::UNSAYABLE;
use crate::wire::{Malformed, Reader, Writer};

/// What a sandbox's root holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Image {
    /// The host's own programs, and what the launcher lays out besides.
    Default,
    /// One that root imported, by its id. Said since version 3.
    Imported([u8; 32]),
}

impl Image {
    pub(crate) fn write(self, writer: &mut Writer, version: u16) -> Result<(), Malformed> {
        match self {
            Image::Default => writer.u16(0),
            Image::Imported(_) if version < 3 => return Err(UNSAYABLE),
            Image::Imported(id) => {
                writer.u16(1);
                writer.bytes(&id);
            }
        }
        Ok(())
    }

    pub(crate) fn read(reader: &mut Reader<'_>, version: u16) -> Result<Self, Malformed> {
        match (reader.u16()?, version) {
            (0, _) => Ok(Image::Default),
            (1, 3..) => Ok(Image::Imported(reader.bytes()?)),
            _ => Err(Malformed("unknown image")),
        }
    }
}
