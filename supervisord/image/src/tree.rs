//! Where a tree is made, and how it goes.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, Flock, RenameFlags, renameat2};
use sha2::{Digest, Sha256};
use supervisor_sys::random_bits;

use crate::store::{self, Store};
use crate::{ImageError, ImageId};

/// What is made before it has its name. It goes with us unless it was kept; if we are killed, the next
/// collection finds it unlocked.
pub struct Draft {
    path: Option<PathBuf>,
    _lock: Flock<File>,
}

impl Draft {
    /// An empty directory that is ours.
    pub fn begin(store: &Store) -> Result<Self, ImageError> {
        let bits = random_bits().map_err(ImageError::failed("ask for random bits"))?;
        let path = store.work().join(format!("{bits:032x}"));
        let begin = || -> io::Result<Flock<File>> {
            DirBuilder::new().mode(0o700).create(&path)?;
            let busy = || io::Error::other("somebody else locked it");
            store::lock(File::open(&path)?)?.ok_or_else(busy)
        };
        let lock = begin().map_err(ImageError::failed(format!("make {}", path.display())))?;
        Ok(Self { path: Some(path), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new(""))
    }

    /// Gives it its name. Whether it was new: one that is there already is the same, unless it was damaged since.
    /// So it gives way where nobody has it.
    pub fn keep(mut self, store: &Store, id: ImageId) -> Result<bool, ImageError> {
        let place = store.place(id);
        let keeping = || format!("put the image at {}", place.display());
        let Some(path) = self.path.as_deref() else { return Ok(false) };
        let is_new = !place.is_dir();
        if is_new {
            fs::rename(path, &place).map_err(ImageError::failed(keeping()))?;
            self.path = None;
        } else {
            // Whoever waits for the lock looks at the place again.
            let Some(_nobody_has_it) = store.lock(id)? else { return Ok(false) };
            let exchange =
                renameat2(AT_FDCWD, path, AT_FDCWD, &place, RenameFlags::RENAME_EXCHANGE);
            match exchange {
                Ok(()) => {}
                // A file system that can't: what is there stays.
                Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => return Ok(false),
                Err(errno) => return Err(ImageError::failed(keeping())(errno.into())),
            }
        }
        for directory in [place.parent(), Some(&store.work())].into_iter().flatten() {
            store::sync_directory(directory).map_err(ImageError::failed(keeping()))?;
        }
        Ok(is_new)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // What stays is removed by the next collection.
            fs::remove_dir_all(path).ok();
        }
    }
}

/// The id of a tree with this manifest and of this configuration.
pub fn id_of(manifest: &[u8; 32], config: &[u8]) -> ImageId {
    let mut digest = Sha256::new();
    digest.update(b"supervisor image 1\n");
    digest.update(manifest);
    digest.update(Sha256::digest(config));
    ImageId::new(digest.finalize().into())
}
