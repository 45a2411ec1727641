//! From an archive or a directory to an image in the store.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::libc::{O_CLOEXEC, O_NONBLOCK};
use nix::unistd::{geteuid, syncfs};
use serde::Serialize;
use supervisor_launch::IMAGE_ID;

use crate::manifest::{self, Totals};
use crate::report::Wanted;
use crate::store::{Store, config_bytes};
use crate::tree::{Draft, id_of};
use crate::unpacker::{self, Views};
use crate::{Bounds, ImageError, ImageId, ImageName, Record, Unpacked, pack};

/// What every image has besides what its archive has, at the most: places for mounts, and accounts.
const ADDED_ENTRIES: u64 = 64;
const ADDED_BYTES: u64 = 1 << 20;

/// What is to be imported.
#[derive(Debug, Clone)]
pub struct Import {
    /// An archive, or a directory.
    pub path: PathBuf,
    /// What to call it.
    pub name: Option<ImageName>,
    /// Which image of an archive with several, by one of its own names or its digest.
    pub select: Option<String>,
    /// What it may hold.
    pub bounds: Bounds,
}

/// An image that came, or was there.
#[derive(Debug, Clone, Serialize)]
pub struct Imported {
    /// Its id.
    pub id: ImageId,
    /// What it is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<ImageName>,
    /// Whether it was not there before.
    pub new: bool,
    /// Bytes of its files.
    pub bytes: u64,
    /// Files, directories and links in it.
    pub entries: u64,
    /// What the unpacker says of the archive.
    #[serde(flatten)]
    pub unpacked: Unpacked,
}

impl Store {
    /// Imports an image. What is half done leaves nothing behind.
    ///
    /// # Errors
    /// When the archive is refused, or something on this host fails.
    pub fn import(&self, import: &Import) -> Result<Imported, ImageError> {
        if !geteuid().is_root() {
            let why = io::Error::from(io::ErrorKind::PermissionDenied);
            return Err(ImageError::failed("import an image, which only root can")(why));
        }
        let draft = Draft::begin(self)?;
        let reading = format!("read {}", import.path.display());
        let archive = archive(&import.path, draft.path(), &import.bounds).map_err(|error| {
            match error.kind() {
                // Of the disk itself it has a number.
                ErrorKind::QuotaExceeded if error.raw_os_error().is_none() => {
                    ImageError::Refused(error.to_string())
                }
                _ => ImageError::failed(reading)(error),
            }
        })?;
        let making = format!("make a tree in {}", draft.path().display());
        let tree = make_tree(draft.path()).map_err(ImageError::failed(making))?;
        let spool = spool(draft.path()).map_err(ImageError::failed("make a spool file"))?;
        let views = Views { archive, tree, spool };
        let wanted = Wanted { bounds: import.bounds, select: import.select.clone() };
        let unpacked = unpacker::unpack(views, &wanted)?;
        let (id, Totals { bytes, entries }) = describe(draft.path(), &unpacked, &import.bounds)
            .map_err(ImageError::failed("write the image"))?;
        let _writing = self.writing()?;
        let new = draft.keep(self, id)?;
        if let Some(name) = &import.name {
            self.call(name, id)?;
        }
        Ok(Imported { id, name: import.name.clone(), new, bytes, entries, unpacked })
    }
}

/// The archive; a directory is packed first.
fn archive(path: &Path, draft: &Path, bounds: &Bounds) -> io::Result<File> {
    let source = OpenOptions::new().read(true).custom_flags(O_NONBLOCK | O_CLOEXEC).open(path)?;
    let metadata = source.metadata()?;
    if metadata.is_file() {
        return Ok(source);
    }
    if !metadata.is_dir() {
        return Err(io::Error::other("it is neither a file nor a directory"));
    }
    let mut packed = spool(draft)?;
    pack::pack(source.as_fd(), &mut packed, bounds)?;
    packed.seek(SeekFrom::Start(0))?;
    Ok(packed)
}

/// A file without a name.
fn spool(draft: &Path) -> io::Result<File> {
    let path = draft.join("spool");
    let file =
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(path)?;
    Ok(file)
}

/// The directory that becomes a sandbox's root, the unpacker's own until it has ended.
fn make_tree(draft: &Path) -> io::Result<File> {
    let path = draft.join("tree");
    DirBuilder::new().mode(0o755).create(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    chown(&path, Some(IMAGE_ID), Some(IMAGE_ID))?;
    File::open(path)
}

/// Looks at what was made and writes down what it is; all of it is on disk then.
fn describe(draft: &Path, unpacked: &Unpacked, bounds: &Bounds) -> io::Result<(ImageId, Totals)> {
    let tree = File::open(draft.join("tree"))?;
    let manifest = File::create(draft.join("manifest"))?;
    let most = Totals {
        bytes: bounds.bytes.saturating_add(ADDED_BYTES),
        entries: bounds.entries.saturating_add(ADDED_ENTRIES),
    };
    let (digest, totals) = manifest::write(tree.as_fd(), manifest, most)?;
    let config = config_bytes(&unpacked.config)?;
    let id = id_of(&digest, &config);
    fs::write(draft.join("config.json"), config)?;
    let record = Record {
        id,
        imported_at: Timestamp::now().to_string(),
        bytes: totals.bytes,
        entries: totals.entries,
        unpacked: unpacked.clone(),
    };
    fs::write(draft.join("record.json"), serde_json::to_vec(&record).map_err(io::Error::other)?)?;
    syncfs(&tree)?;
    Ok((id, totals))
}
