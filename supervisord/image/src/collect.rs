//! Removing images. None goes that a launcher has.

use std::fs::{self, File};
use std::io;

use serde::Serialize;

use crate::store::{self, Store, listed};
use crate::{ImageError, ImageId};

/// What a collection removed and left.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Collected {
    /// Images that no name stood for.
    pub removed: Vec<ImageId>,
    /// Bytes of their files.
    pub bytes: u64,
    /// Images without a name that a launcher has.
    pub in_use: Vec<ImageId>,
    /// Imports that were broken off.
    pub unfinished: u64,
}

impl Store {
    /// Removes every image that no name stands for and no launcher has, and what imports that were
    /// broken off have left.
    ///
    /// # Errors
    /// When the store can't be read or something can't be removed.
    pub fn collect(&self) -> Result<Collected, ImageError> {
        let _writing = self.writing()?;
        let mut collected = Collected { unfinished: self.sweep()?, ..Collected::default() };
        let names = self.names()?;
        for id in self.ids()?.into_iter().filter(|id| !names.contains_key(id)) {
            let bytes = self.entry(id).map_or(0, |entry| entry.record.bytes);
            match self.take_away(id) {
                Ok(()) => {
                    collected.removed.push(id);
                    collected.bytes += bytes;
                }
                Err(ImageError::InUse(id)) => collected.in_use.push(id),
                Err(error) => return Err(error),
            }
        }
        Ok(collected)
    }

    /// Removes an image and the names that stand for it.
    ///
    /// # Errors
    /// [`ImageError::InUse`] when a launcher has it.
    pub fn remove(&self, id: ImageId) -> Result<(), ImageError> {
        let _writing = self.writing()?;
        self.take_away(id)
    }

    fn take_away(&self, id: ImageId) -> Result<(), ImageError> {
        let lock = self.lock(id)?.ok_or(ImageError::InUse(id))?;
        for name in self.names()?.remove(&id).unwrap_or_default() {
            self.forget(&name)?;
        }
        // First it loses its place, which a launcher looks at again once it has the lock.
        let (place, gone) = (self.place(id), self.work().join(format!("gone-{}", id.digits())));
        let removing = || format!("remove image {id}");
        // What an earlier removal that was cut off has left.
        match fs::remove_dir_all(&gone) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(ImageError::failed(removing())(error));
            }
            _ => {}
        }
        fs::rename(&place, &gone).map_err(ImageError::failed(removing()))?;
        drop(lock);
        fs::remove_dir_all(&gone).map_err(ImageError::failed(removing()))
    }

    fn sweep(&self) -> Result<u64, ImageError> {
        let mut swept = 0;
        for name in listed(&self.work())? {
            let path = self.work().join(&name);
            let sweep = || -> io::Result<bool> {
                let directory = match File::open(&path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                    other => other?,
                };
                let Some(_lock) = store::lock(directory)? else { return Ok(false) };
                fs::remove_dir_all(&path)?;
                Ok(true)
            };
            let sweeping = format!("remove {}", path.display());
            swept += u64::from(sweep().map_err(ImageError::failed(sweeping))?);
        }
        Ok(swept)
    }
}
