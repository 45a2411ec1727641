//! A tree that comes as a tar archive (POSIX.1-2001 and GNU long names), unpacked entry by entry as it
//! arrives. The archive is hostile: a name is a path of ours or is skipped, only files, directories and
//! links that stay inside are made, a hard link becomes a copy of a file that the archive brought, modes are two,
//! owners are nobody's choice, and no entry is written through what an earlier one or a payload planted.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd as _, BorrowedFd};

use nix::fcntl::renameat;
use nix::sys::stat::{FileStat, Mode, fstat};
use nix::unistd::symlinkat;
use supervisor_api::{SkippedEntry, UnpackReport};
use supervisor_sys::random_bits;
use tar::{Archive, Entry, EntryType, Header, PaxExtensions};

use super::error::{FileError, failed};
use super::replace::{Replacement, TEMPORARY};
use crate::fault::{self, Point};
use crate::workspace::beneath;
use crate::workspace::hazard::climbs_out;
use crate::workspace::path::WorkspacePath;

/// Bytes of a long name or of one set of extended fields. A path of ours has 4 KiB at the most.
const MAX_FIELDS: u64 = 64 << 10;

/// Skipped entries that are named in the report; the others are counted.
const MAX_NAMED: usize = 100;

/// Extended fields as Solaris writes them: some readers go by them, most do not.
const SOLARIS: u8 = b'X';

/// Where the head of a sparse file in GNU's old form says that its map goes on behind it.
const IS_EXTENDED: usize = 482;

/// Bytes written at once.
const CHUNK: usize = 64 << 10;

/// What an archive may hold.
#[derive(Debug, Clone, Copy)]
pub struct UnpackBounds {
    /// Entries, skipped ones and extended fields among them.
    pub entries: u64,
    /// Bytes of files. The workspace has its own limit; this one ends an archive that says it holds more
    /// before it has filled it.
    pub bytes: u64,
}

/// What came of it.
pub type Unpacked = UnpackReport;

impl UnpackBounds {
    fn take(&mut self, bytes: u64) -> Result<(), FileError> {
        let left = self.bytes.checked_sub(bytes);
        self.bytes = left.ok_or_else(|| {
            FileError::TooMuch("the archive's files are larger than the workspace".to_owned())
        })?;
        Ok(())
    }
}

/// How far it has come.
struct State {
    left: UnpackBounds,
    report: Unpacked,
    /// Inodes of the files it has made: hard links lead to those alone. No more than the workspace has.
    written: HashSet<u64>,
}

/// What entries before an entry said of it.
#[derive(Default)]
struct Fields {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    is_sparse: bool,
}

/// Unpacks an archive into the workspace. Files take the place of files that are there; directories that
/// are there stay. An error leaves what was unpacked before it.
pub fn unpack(
    root: BorrowedFd<'_>,
    archive: impl Read,
    bounds: UnpackBounds,
) -> Result<Unpacked, FileError> {
    let mut archive = Archive::new(archive);
    // Raw: the library would hold names and fields of any length in memory.
    let entries = archive.entries().map_err(unreadable)?.raw(true);
    let mut fields = Fields::default();
    let mut state = State { left: bounds, report: Unpacked::default(), written: HashSet::new() };
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        state.left.entries = state.left.entries.checked_sub(1).ok_or_else(|| {
            FileError::TooMuch(format!("the archive has more than {} entries", bounds.entries))
        })?;
        match entry.header().entry_type() {
            EntryType::XHeader => read_extensions(entry, &mut fields)?,
            EntryType::GNULongName => once(&mut fields.path, long_name(entry)?)?,
            EntryType::GNULongLink => once(&mut fields.link, long_name(entry)?)?,
            EntryType::XGlobalHeader => only_comments(entry)?, // as git writes it
            kind if kind.as_byte() == SOLARIS => return Err(twofold("extended fields of Solaris")),
            EntryType::GNUSparse if goes_on(entry.header()) => {
                return Err(twofold("a sparse file"));
            }
            _ => unpack_entry(root, entry, std::mem::take(&mut fields), &mut state)?,
        }
        fault::reach(Point::EntryUnpacked);
    }
    fault::reach(Point::ArchiveUnpacked);
    Ok(state.report)
}

fn unpack_entry(
    root: BorrowedFd<'_>,
    mut entry: Entry<'_, impl Read>,
    fields: Fields,
    state: &mut State,
) -> Result<(), FileError> {
    let name = fields.path.unwrap_or_else(|| entry.path_bytes().into_owned());
    let kind = match entry.header().entry_type() {
        // Archives older than POSIX.1-1988 mark a directory by its name alone.
        EntryType::Regular if name.ends_with(b"/") => EntryType::Directory,
        kind => kind,
    };
    let Some(name) = plain(&name, kind) else { return Ok(()) }; // the root itself
    let path = match WorkspacePath::try_from(name) {
        Ok(path) => path,
        Err(rule) => return skip(&mut state.report, name, rule.to_string()),
    };
    let size = fields.size.unwrap_or_else(|| entry.size());
    if has_no_bytes(kind) && (size, entry.size()) != (0, 0) {
        // Most readers go on right behind such an entry, and the library behind the bytes that it is said to have.
        let why = format!("the archive gives {path} a size, which is no file");
        return Err(FileError::Archive(why));
    }
    let link =
        || fields.link.clone().or_else(|| entry.link_name_bytes().map(|name| name.into_owned()));
    let State { left, report, written } = state;
    match kind {
        _ if fields.is_sparse => skip(report, name, "a sparse file".to_owned()),
        EntryType::Regular if size != entry.size() => {
            // The library reads what the header says; an archive that says two things is not read on.
            Err(FileError::Archive(format!("the archive gives {path} two sizes")))
        }
        EntryType::Regular => {
            left.take(size)?;
            let executable = entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0);
            match write(root, &path, executable, size, &mut entry) {
                Ok(inode) => {
                    written.insert(inode);
                    report.files += 1;
                    report.bytes += size;
                    Ok(())
                }
                Err(error) => skip_or_fail(report, name, error),
            }
        }
        EntryType::Directory => match super::make_directory(root, &path) {
            Ok(()) => {
                report.directories += 1;
                Ok(())
            }
            Err(error) => skip_or_fail(report, name, error),
        },
        EntryType::Symlink => {
            match link().as_deref().filter(|target| stays_inside(&path, target)) {
                None => skip(report, name, "a link that leads out of the workspace".to_owned()),
                Some(target) => match put_link(root, &path, target) {
                    Ok(()) => {
                        report.links += 1;
                        Ok(())
                    }
                    Err(error) => skip_or_fail(report, name, error),
                },
            }
        }
        EntryType::Link => {
            let target = link().unwrap_or_default();
            match open_written(root, &target, written) {
                Ok(Some((mut file, found))) => {
                    let size = u64::try_from(found.st_size).unwrap_or_default();
                    left.take(size)?;
                    match copy(root, &path, &found, &mut file) {
                        Ok(inode) => {
                            written.insert(inode);
                            report.files += 1;
                            report.bytes += size;
                            Ok(())
                        }
                        Err(error) => skip_or_fail(report, name, error),
                    }
                }
                Ok(None) => {
                    let other =
                        "a hard link to what is no file that this archive brought".to_owned();
                    skip(report, name, other)
                }
                Err(error) => skip_or_fail(report, name, error),
            }
        }
        _ => skip(report, name, "neither a file nor a directory nor a link".to_owned()),
    }
}

/// Whether nothing of such an entry stands behind its head (POSIX.1, ustar).
fn has_no_bytes(kind: EntryType) -> bool {
    use EntryType::{Block, Char, Directory, Fifo, Link, Symlink};
    matches!(kind, Directory | Symlink | Link | Char | Block | Fifo)
}

/// The name without what archivers put around it; `None` for the tree's own root.
fn plain(name: &[u8], kind: EntryType) -> Option<&[u8]> {
    let mut name = name;
    while let Some(rest) = name.strip_prefix(b"./") {
        name = rest;
    }
    if kind == EntryType::Directory {
        name = name.strip_suffix(b"/").unwrap_or(name);
        if [b"".as_slice(), b"."].contains(&name) {
            return None;
        }
    }
    Some(name)
}

/// Writes a file whole or not at all; its inode.
fn write(
    root: BorrowedFd<'_>,
    path: &WorkspacePath,
    executable: bool,
    size: u64,
    content: &mut impl Read,
) -> Result<u64, FileError> {
    let mut file = Replacement::begin(root, path, executable)?;
    // The library tells the end of an archive as that of a file: what is cut takes no file's place.
    let left = size.saturating_sub(fill(&mut file, content)?);
    if left > 0 {
        let cut = format!("the archive breaks off in {path}, {left} bytes before its end");
        return Err(FileError::Archive(cut));
    }
    let inode = file.inode()?;
    file.finish().map(|()| inode)
}

fn fill(file: &mut Replacement, content: &mut impl Read) -> Result<u64, FileError> {
    let (mut buffer, mut count) = (vec![0; CHUNK], 0);
    loop {
        let length = content.read(&mut buffer).map_err(unreadable)?;
        match buffer.get(..length) {
            Some(bytes) if length > 0 => file.write(bytes)?,
            _ => return Ok(count),
        }
        count += length as u64;
    }
}

/// Opens the file that a hard link of an archive names, through no link; nothing where it is none that the archive
/// brought. A payload can put another one of its own there meanwhile, and has a copy of that.
fn open_written(
    root: BorrowedFd<'_>,
    target: &[u8],
    written: &HashSet<u64>,
) -> Result<Option<(File, FileStat)>, FileError> {
    let target = plain(target, EntryType::Link).map(WorkspacePath::try_from);
    let Some(Ok(target)) = target else { return Ok(None) };
    let file = super::open(root, &target)?;
    let found = fstat(&file).map_err(failed("look at", &target))?;
    Ok(written.contains(&found.st_ino).then_some((file, found)))
}

/// What had two names in the archive's tree is two files here, as in the archives that [`super::pack`] makes: what
/// changes one would change the other unseen, and one with two names is no artifact.
fn copy(
    root: BorrowedFd<'_>,
    path: &WorkspacePath,
    found: &FileStat,
    from: &mut File,
) -> Result<u64, FileError> {
    let executable = beneath::mode_of(found).contains(Mode::S_IXUSR);
    let mut file = Replacement::begin(root, path, executable)?;
    // No more than was counted, however a payload makes it grow.
    fill(&mut file, &mut from.take(u64::try_from(found.st_size).unwrap_or_default()))?;
    let inode = file.inode()?;
    file.finish().map(|()| inode)
}

/// Puts a link in its place in one step, as a file is put.
fn put_link(root: BorrowedFd<'_>, path: &WorkspacePath, target: &[u8]) -> Result<(), FileError> {
    let failed = failed::<std::io::Error>("make the link", path);
    let (parents, name) = path.split();
    let directory = super::enter_all(root, path, parents)?;
    let place = directory.as_ref().map_or(root, |opened| opened.as_fd());
    let temporary = format!("{TEMPORARY}{:032x}", random_bits().map_err(&failed)?);
    symlinkat(target, place, temporary.as_str()).map_err(|errno| failed(errno.into()))?;
    let moved = renameat(place, temporary.as_str(), place, name);
    if moved.is_err() {
        let gone = nix::unistd::UnlinkatFlags::NoRemoveDir;
        nix::unistd::unlinkat(place, temporary.as_str(), gone)
            .map_err(|errno| failed(errno.into()))?;
    }
    moved.map_err(|errno| failed(errno.into()))
}

/// Whether a relative link's words stay beneath the workspace. It is only ever followed by payloads, which
/// can make any link themselves; this keeps archives from planting one that looks harmless.
fn stays_inside(path: &WorkspacePath, target: &[u8]) -> bool {
    let Ok(target) = std::str::from_utf8(target) else { return false };
    if target.is_empty() || target.starts_with('/') || target.chars().any(char::is_control) {
        return false;
    }
    !climbs_out(path.ancestors().count(), target)
}

/// Blocks that are of no size the head names stand behind such a head. The library knows nothing of them, so it
/// would take what somebody put there for the next entries.
fn goes_on(head: &Header) -> bool {
    head.as_bytes().get(IS_EXTENDED).is_some_and(|byte| *byte != 0)
}

/// What one reader takes for an entry and another one for something else is not read on.
fn twofold(what: &str) -> FileError {
    let without = "make it without: tar --format=posix, and no --sparse";
    FileError::Archive(format!(
        "the archive has {what} in an old form, which readers disagree about; {without}"
    ))
}

/// Fields for all entries that follow may say nothing of what those are: readers disagree about whether it counts.
fn only_comments(entry: Entry<'_, impl Read>) -> Result<(), FileError> {
    let says_more =
        |key: &[u8]| [b"path".as_slice(), b"linkpath", b"size"].contains(&key) || is_of_sparse(key);
    if extensions(entry)?.keys().any(|key| says_more(key)) {
        let why = "the archive gives all its entries one name or size".to_owned();
        return Err(FileError::Archive(why));
    }
    Ok(())
}

fn is_of_sparse(key: &[u8]) -> bool {
    key.starts_with(b"GNU.sparse.")
}

fn extensions(entry: Entry<'_, impl Read>) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, FileError> {
    let bytes = bounded(entry)?;
    let mut seen = BTreeMap::new();
    for extension in PaxExtensions::new(&bytes) {
        let extension = extension.map_err(unreadable)?;
        seen.insert(extension.key_bytes().to_vec(), extension.value_bytes().to_vec());
    }
    Ok(seen)
}

fn read_extensions(entry: Entry<'_, impl Read>, fields: &mut Fields) -> Result<(), FileError> {
    let mut seen = extensions(entry)?;
    fields.is_sparse |= seen.keys().any(|key| is_of_sparse(key));
    if let Some(size) = seen.get(b"size".as_slice()) {
        let size = std::str::from_utf8(size).ok().and_then(|text| text.parse().ok());
        let size = size.ok_or_else(|| FileError::Archive("a size is no number".to_owned()))?;
        once(&mut fields.size, size)?;
    }
    if let Some(path) = seen.remove(b"path".as_slice()) {
        once(&mut fields.path, path)?;
    }
    if let Some(link) = seen.remove(b"linkpath".as_slice()) {
        once(&mut fields.link, link)?;
    }
    Ok(())
}

/// Of two that are said of one entry some readers take the first, some the last, and some those of their own form.
fn once<T>(field: &mut Option<T>, value: T) -> Result<(), FileError> {
    if field.replace(value).is_some() {
        let why =
            "the archive gives an entry two names, links or sizes, one behind the other".to_owned();
        return Err(FileError::Archive(why));
    }
    Ok(())
}

fn long_name(entry: Entry<'_, impl Read>) -> Result<Vec<u8>, FileError> {
    let mut name = bounded(entry)?;
    if name.last() == Some(&0) {
        name.pop(); // GNU tar ends it so
    }
    Ok(name)
}

fn bounded(mut entry: Entry<'_, impl Read>) -> Result<Vec<u8>, FileError> {
    if entry.size() > MAX_FIELDS {
        return Err(FileError::TooMuch(format!(
            "the archive has a name or extended fields of more than {MAX_FIELDS} bytes"
        )));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// What stands in the way of one entry doesn't keep the others out; what the host lacks does.
fn skip_or_fail(report: &mut Unpacked, name: &[u8], error: FileError) -> Result<(), FileError> {
    match error {
        FileError::NotFound { .. }
        | FileError::Occupied { .. }
        | FileError::IsDirectory { .. }
        | FileError::NotDirectory { .. }
        | FileError::NotRegular { .. }
        | FileError::Rooted { .. }
        | FileError::Denied { .. }
        | FileError::NotEmpty { .. } => skip(report, name, error.to_string()),
        error => Err(error),
    }
}

fn skip(report: &mut Unpacked, name: &[u8], reason: String) -> Result<(), FileError> {
    report.skipped_count += 1;
    if report.skipped.len() < MAX_NAMED {
        let path = String::from_utf8_lossy(name).chars().take(256).collect();
        report.skipped.push(SkippedEntry { path, reason });
    }
    Ok(())
}

fn unreadable(error: std::io::Error) -> FileError {
    FileError::Archive(format!("the archive can't be read: {error}"))
}
