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
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::libc::{ELOOP, ENXIO, O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK};
use serde::Serialize;

use crate::id::hexadecimal;
use crate::{Config, ImageError, ImageId, ImageName, Record};

/// Directories of a store.
const PARTS: [&str; 3] = ["sha256", "names", "work"];

/// How the name of a file ends that has yet to take its place.
const NEW: &str = ".new";

/// Bytes of a name's file at the most: a digest, a name of at most 255 bytes, and room to spare.
const MAX_NAME_FILE: u64 = 4096;

/// Bytes of a record at the most: the configuration of its archive ([`MAX_JSON`](crate::bounds::MAX_JSON)), escaped, and
/// what the unpacker has to say.
const MAX_RECORD: u64 = 64 << 20;

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
        Ok(read_name(&self.name_path(name))?.map(|(id, _)| id))
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

    /// All names, by what they stand for. With one that is damaged nothing is known of any image's names.
    pub(crate) fn names(&self) -> Result<BTreeMap<ImageId, Vec<ImageName>>, ImageError> {
        let mut names: BTreeMap<ImageId, Vec<ImageName>> = BTreeMap::new();
        let written = |file: &String| !file.ends_with(NEW); // what was being written when it was cut off
        for file in listed(&self.path.join("names"))?.iter().filter(|file| written(file)) {
            // One that is not there is gone meanwhile.
            if let Some((id, name)) = read_name(&self.path.join("names").join(file))? {
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
        let damaged = |why: String| ImageError::Damaged { id, why: format!("record.json: {why}") };
        let bytes = match read(&path, MAX_RECORD) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(ImageError::NoImage(id));
            }
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                return Err(damaged(error.to_string()));
            }
            other => other.map_err(ImageError::failed(format!("read {}", path.display())))?,
        };
        let record: Record =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
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

/// What a name's file says; nothing if it isn't there.
fn read_name(path: &Path) -> Result<Option<(ImageId, ImageName)>, ImageError> {
    let damaged = |why: String| ImageError::DamagedName { path: path.to_owned(), why };
    let text = match read(path, MAX_NAME_FILE) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            return Err(damaged(error.to_string()));
        }
        other => other.map_err(ImageError::failed(format!("read {}", path.display())))?,
    };
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines();
    let id = lines.next().and_then(ImageId::from_digits);
    let name: Option<ImageName> = lines.next().and_then(|name| name.parse().ok());
    let (Some(id), Some(name)) = (id, name) else {
        return Err(damaged("it has no digest and name".to_owned()));
    };
    let file = path.file_name().unwrap_or_default();
    if *file != *hexadecimal(&name.key()) {
        return Err(damaged(format!("it has another name, {name}")));
    }
    Ok(Some((id, name)))
}

/// All of a file of ours, whatever stands in its place: nothing here waits, and no link is followed.
fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let damaged = |why: &str| io::Error::new(ErrorKind::InvalidData, why.to_owned());
    let flags = O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if matches!(error.raw_os_error(), Some(ELOOP | ENXIO)) => {
            return Err(damaged("it is not a regular file"));
        }
        opened => opened?,
    };
    if !file.metadata()?.is_file() {
        return Err(damaged("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(damaged("it is longer than one that was written here"));
    }
    Ok(bytes)
}

/// Puts a file in the place of another in one go.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    let mut file = options.open(&new)?;
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

#[cfg(test)]
mod tests {
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn a_name_that_is_damaged_is_told_by_its_file_and_is_not_a_name_that_is_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("images")).unwrap();
        let name: ImageName = "tools".parse().unwrap();
        let id = ImageId::from_digits(&"ab".repeat(32)).unwrap();
        store.call(&name, id).unwrap();
        let path = store.name_path(&name);
        assert_eq!(store.named(&name).unwrap(), Some(id));
        fs::write(path.with_extension("new"), "ab").unwrap(); // cut off
        assert_eq!(store.names().unwrap(), BTreeMap::from([(id, vec![name.clone()])]));
        let whole = fs::read(&path).unwrap();
        let moved = String::from_utf8(whole.clone()).unwrap().replace("tools", "others");
        let long = vec![b'x'; 5000];
        for damaged in [&[][..], b"zz", moved.as_bytes(), &long, b"fifo"] {
            fs::remove_file(&path).unwrap();
            match damaged {
                b"fifo" => mkfifo(&path, Mode::S_IRWXU).unwrap(),
                bytes => fs::write(&path, bytes).unwrap(),
            }
            let told = [
                store.names().map(drop),
                store.named(&name).map(drop),
                store.list().map(drop),
                store.collect().map(drop),
            ];
            for told in told {
                let error = told.unwrap_err();
                assert!(matches!(&error, ImageError::DamagedName { path: it, .. } if *it == path));
            }
        }
        // What puts it right.
        store.call(&name, id).unwrap();
        assert_eq!(store.named(&name).unwrap(), Some(id));
    }
}
