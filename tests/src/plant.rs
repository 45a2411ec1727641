//! Files that a test puts on the host for a payload not to reach.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A directory of the host's that goes away with this value.
#[derive(Debug)]
pub struct Planted {
    directory: PathBuf,
}

impl Planted {
    /// Makes a directory of this mode beneath one of the host's. Its name is the test's alone.
    pub fn beneath(parent: &str, mode: u32) -> io::Result<Self> {
        let unique = tempfile::Builder::new().prefix("supervisor-test-").tempdir_in(parent)?;
        let directory = unique.keep();
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode))?;
        Ok(Self { directory })
    }

    /// Puts a file into it and gives its path.
    pub fn file(&self, name: &str, content: &str, mode: u32) -> PathBuf {
        let path = self.directory.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// Makes a directory in it.
    pub fn directory(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.directory.join(name);
        fs::DirBuilder::new().mode(mode).create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("can't remove {}: {error}", self.directory.display());
        }
    }
}
