//! The store: a directory that only root can enter.
//!
//! ```text
//! sha256/DIGITS/tree           what a sandbox sees as its root
//! sha256/DIGITS/manifest       one line for each entry of it
//! sha256/DIGITS/config.json    what its builder wanted done with it
//! sha256/DIGITS/record.json    when and from what it came
//! names/KEY                    the digits that a name stands for, and the name; KEY is the name's SHA-256
//! work/                        imports under way, each locked by who makes it
//! ```
//!
//! What is beneath `sha256` is whole and never changes. A launcher holds a shared lock (flock(2)) on the
//! directory of each image it shows; whoever removes one takes the lock for itself first.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;

use crate::id::hexadecimal;
use crate::{Config, ImageError, ImageId, ImageName, Record};

/// Directories of a store.
const PARTS: [&str; 3] = ["sha256", "names", "work"];

/// A store that is there and is root's alone.
#[derive(Debug, Clone)]
pub struct Store {
    path: PathBuf,
}

/// An image as it is listed.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// The names that stand for it.
    pub names: Vec<ImageName>,
    /// Whether a launcher has it.
    pub in_use: bool,
    /// What is kept of it besides.
    #[serde(flatten)]
    pub record: Record,
}

impl Store {
    /// Opens the store, and makes it where there is none.
    ///
    /// # Errors
    /// When it could not be made, or isn't root's alone.
    pub fn open(path: &Path) -> Result<Self, ImageError> {
        let make = |path: &Path| match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        };
        make(path).map_err(ImageError::failed(format!("make {}", path.display())))?;
        let store = Self { path: path.to_owned() };
        store.check()?;
        for part in PARTS {
            let path = store.path.join(part);
            make(&path).map_err(ImageError::failed(format!("make {}", path.display())))?;
        }
        Ok(store)
    }

    fn check(&self) -> Result<(), ImageError> {
        let path = &self.path;
        let looking = format!("look at {}", path.display());
        let metadata = fs::symlink_metadata(path).map_err(ImageError::failed(looking))?;
        if metadata.is_dir() && metadata.uid() == 0 && metadata.mode() & 0o077 == 0 {
            return Ok(());
        }
        let why = "it must be a directory, root's own and with the mode 0700";
        Err(ImageError::NotOurs { path: path.clone(), why })
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.path.join("work")
    }

    /// The directory of an image.
    pub(crate) fn place(&self, id: ImageId) -> PathBuf {
        self.path.join("sha256").join(id.digits())
    }

    /// The id that a digest, the start of one or a name stands for.
    ///
    /// # Errors
    /// When none of the images, or more than one, has it.
    pub fn find(&self, text: &str) -> Result<ImageId, ImageError> {
        if let Ok(id) = text.parse::<ImageId>() {
            return if self.place(id).is_dir() { Ok(id) } else { Err(ImageError::NoImage(id)) };
        }
        if let Some(start) = text.strip_prefix("sha256:") {
            let ids = self.ids()?;
            let mut fitting = ids.iter().filter(|id| id.digits().starts_with(start));
            return match (fitting.next(), fitting.next()) {
                (Some(id), None) => Ok(*id),
                (None, _) => Err(ImageError::Refused(format!("no digest begins with {text}"))),
                _ => Err(ImageError::Refused(format!("several digests begin with {text}"))),
            };
        }
        let name = text.parse().map_err(|rule: &str| ImageError::Refused(rule.to_owned()))?;
        self.named(&name)?.ok_or(ImageError::NoName(name))
    }

    /// What a name stands for.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn named(&self, name: &ImageName) -> Result<Option<ImageId>, ImageError> {
        let path = self.name_path(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.lines().next().and_then(ImageId::from_digits)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ImageError::failed(format!("read {}", path.display()))(error)),
        }
    }

    fn name_path(&self, name: &ImageName) -> PathBuf {
        self.path.join("names").join(hexadecimal(&name.key()))
    }

    /// Lets a name stand for an image, whatever it stood for before.
    pub(crate) fn call(&self, name: &ImageName, id: ImageId) -> Result<(), ImageError> {
        let path = self.name_path(name);
        let text = format!("{}\n{name}\n", id.digits());
        replace(&path, text.as_bytes())
            .map_err(ImageError::failed(format!("write {}", path.display())))
    }

    /// Takes a name away; whether it was there.
    ///
    /// # Errors
    /// When it can't be removed.
    pub fn forget(&self, name: &ImageName) -> Result<bool, ImageError> {
        let path = self.name_path(name);
        match fs::remove_file(&path).and_then(|()| sync_directory(&self.path.join("names"))) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(ImageError::failed(format!("remove {}", path.display()))(error)),
        }
    }

    /// All names, by what they stand for.
    pub(crate) fn names(&self) -> Result<BTreeMap<ImageId, Vec<ImageName>>, ImageError> {
        let mut names: BTreeMap<ImageId, Vec<ImageName>> = BTreeMap::new();
        for file in listed(&self.path.join("names"))? {
            let path = self.path.join("names").join(&file);
            let text = match fs::read_to_string(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue, // gone meanwhile
                other => other.map_err(ImageError::failed(format!("read {}", path.display())))?,
            };
            let mut lines = text.lines();
            let id = lines.next().and_then(ImageId::from_digits);
            let name = lines.next().and_then(|name| name.parse().ok());
            if let (Some(id), Some(name)) = (id, name) {
                names.entry(id).or_default().push(name);
            }
        }
        names.values_mut().for_each(|names| names.sort());
        Ok(names)
    }

    /// The ids of all images.
    pub(crate) fn ids(&self) -> Result<Vec<ImageId>, ImageError> {
        let mut ids: Vec<_> = listed(&self.path.join("sha256"))?
            .iter()
            .filter_map(|name| ImageId::from_digits(name))
            .collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// All images, by name.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn list(&self) -> Result<Vec<Entry>, ImageError> {
        let names = self.names()?;
        let ids = self.ids()?;
        let mut entries: Vec<_> = ids
            .into_iter()
            .map(|id| self.describe(id, names.get(&id).cloned().unwrap_or_default()))
            .collect::<Result<_, _>>()?;
        entries.sort_by(|one, other| {
            (&one.names, one.record.id).cmp(&(&other.names, other.record.id))
        });
        Ok(entries)
    }

    /// One image.
    ///
    /// # Errors
    /// When it isn't there or can't be read.
    pub fn entry(&self, id: ImageId) -> Result<Entry, ImageError> {
        let names = self.names()?.remove(&id).unwrap_or_default();
        self.describe(id, names)
    }

    fn describe(&self, id: ImageId, names: Vec<ImageName>) -> Result<Entry, ImageError> {
        let path = self.place(id).join("record.json");
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(ImageError::NoImage(id));
            }
            other => other.map_err(ImageError::failed(format!("read {}", path.display())))?,
        };
        let record: Record = serde_json::from_slice(&bytes)
            .map_err(|error| ImageError::Damaged { id, why: format!("record.json: {error}") })?;
        Ok(Entry { names, in_use: self.lock(id)?.is_none(), record })
    }

    /// The lock of who gives names, keeps or removes images, once nobody else has it: between an image's
    /// place and its name nothing may collect it.
    pub(crate) fn writing(&self) -> Result<Flock<File>, ImageError> {
        let path = self.path.join("names");
        let lock = || -> io::Result<Flock<File>> {
            let locked = Flock::lock(File::open(&path)?, FlockArg::LockExclusive);
            locked.map_err(|(_, error)| error.into())
        };
        lock().map_err(ImageError::failed(format!("lock {}", path.display())))
    }

    /// The lock on an image, unless somebody else has one.
    pub(crate) fn lock(&self, id: ImageId) -> Result<Option<Flock<File>>, ImageError> {
        let path = self.place(id);
        let directory = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(ImageError::NoImage(id));
            }
            other => other.map_err(ImageError::failed(format!("open {}", path.display())))?,
        };
        lock(directory).map_err(ImageError::failed(format!("lock {}", path.display())))
    }
}

/// The lock on a directory, unless somebody else has one.
pub fn lock(directory: File) -> io::Result<Option<Flock<File>>> {
    match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error.into()),
    }
}

/// What is in a directory of ours.
pub fn listed(path: &Path) -> Result<Vec<String>, ImageError> {
    let read = || -> io::Result<Vec<String>> {
        fs::read_dir(path)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    };
    read().map_err(ImageError::failed(format!("list {}", path.display())))
}

/// Puts a file in the place of another in one go.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), sync_directory)
}

/// Has what was made or renamed in a directory on disk.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The bytes of a configuration, which its id is made from, too.
pub fn config_bytes(config: &Config) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(config).map_err(io::Error::other)?;
    bytes.push(b'\n');
    Ok(bytes)
}
