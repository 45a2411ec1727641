//! What a sandbox of a peer sees of the host: /usr, and the names at the root that lead into it.
//! The same for all of them, and about what our default image has.

use std::fs;
use std::path::{Path, PathBuf};

/// A name at the root.
#[derive(Debug)]
pub enum Entry {
    /// A link and where it leads.
    Link(PathBuf, PathBuf),
    /// A directory to be mounted read-only.
    Directory(PathBuf),
}

/// The names that this host has.
pub fn entries() -> Vec<Entry> {
    ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"]
        .into_iter()
        .filter_map(|name| {
            let path = Path::new("/").join(name);
            let kind = fs::symlink_metadata(&path).ok()?.file_type();
            match fs::read_link(&path) {
                Ok(target) => Some(Entry::Link(path, target)),
                Err(_) if kind.is_dir() => Some(Entry::Directory(path)),
                Err(_) => None,
            }
        })
        .collect()
}
