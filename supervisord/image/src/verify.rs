//! Looking whether an image is what it was when it came.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;

use serde::Serialize;

use crate::manifest::{self, Totals};
use crate::store::Store;
use crate::tree::id_of;
use crate::{ImageError, ImageId};

/// An image that is what its id says.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Verified {
    /// Its id.
    pub id: ImageId,
    /// Bytes that were read.
    pub bytes: u64,
    /// Entries that were looked at.
    pub entries: u64,
}

impl Store {
    /// Reads all of an image and compares it with its id.
    ///
    /// # Errors
    /// [`ImageError::Damaged`] when it is not what it was, with the first line that differs.
    pub fn verify(&self, id: ImageId) -> Result<Verified, ImageError> {
        let place = self.place(id);
        let reading = || format!("read image {id}");
        let tree = match File::open(place.join("tree")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ImageError::NoImage(id));
            }
            other => other.map_err(ImageError::failed(reading()))?,
        };
        let mut found = Vec::new();
        let most = Totals { bytes: u64::MAX, entries: u64::MAX };
        let (digest, totals) = manifest::write(tree.as_fd(), &mut found, most)
            .map_err(|error| ImageError::Damaged { id, why: error.to_string() })?;
        let config = fs::read(place.join("config.json")).map_err(ImageError::failed(reading()))?;
        if id_of(&digest, &config) == id {
            let Totals { bytes, entries } = totals;
            return Ok(Verified { id, bytes, entries });
        }
        let expected = fs::read(place.join("manifest")).map_err(ImageError::failed(reading()))?;
        Err(ImageError::Damaged { id, why: difference(&expected, &found) })
    }
}

fn difference(expected: &[u8], found: &[u8]) -> String {
    let line = |bytes: Option<&[u8]>| {
        bytes.map_or("nothing".to_owned(), |line| String::from_utf8_lossy(line).into_owned())
    };
    let (mut expected, mut found) =
        (expected.split(|byte| *byte == b'\n'), found.split(|byte| *byte == b'\n'));
    loop {
        match (expected.next(), found.next()) {
            (None, None) => return "its configuration was changed".to_owned(),
            (one, other) if one == other => {}
            (one, other) => return format!("`{}` was `{}`", line(other), line(one)),
        }
    }
}
