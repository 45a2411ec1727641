//! The entries of one tar archive (POSIX.1-2001 pax and GNU long names), each as it is meant or refused.
//! Where an archive says two things of an entry it is not read on: two readers of it would see two trees.

use std::io::Read;

use crate::{IDS, MAX_FIELDS};
use tar::{Archive, EntryType, PaxExtensions};

use crate::unpack::refusal::{Refusal, shown};

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name, as it stands in the archive.
    pub name: Vec<u8>,
    /// What it is.
    pub what: What,
    /// Permission bits and the sticky bit.
    pub mode: u16,
    /// Its user.
    pub user: u16,
    /// Its group.
    pub group: u16,
    /// When it was modified, in whole seconds since 1970.
    pub modified: i64,
    /// Bytes of the file; 0 for anything else, or it is refused.
    pub size: u64,
    /// What it had that an image doesn't have, in words.
    pub without: Vec<&'static str>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Directory,
    File,
    /// A symbolic link and where it leads.
    Link(Vec<u8>),
    /// Another name of this one.
    SameAs(Vec<u8>),
    /// What no image has, in words.
    Special(&'static str),
}

impl What {
    /// Whether nothing of it stands behind its head.
    fn has_no_bytes(&self) -> bool {
        !matches!(self, What::File)
    }
}

/// What was said of an entry before it.
#[derive(Debug, Default)]
struct Fields {
    extended: bool,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    user: Option<u64>,
    group: Option<u64>,
    modified: Option<i64>,
    without: Vec<&'static str>,
}

/// Hands every entry to `each`, with the bytes of its file; entries that only say something of others
/// count as well.
pub fn read(
    from: impl Read,
    mut each: impl FnMut(&Entry, &mut dyn Read) -> Result<(), Refusal>,
    mut count: impl FnMut() -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let mut archive = Archive::new(from);
    // Raw: the library would hold names and fields of any length in memory.
    let entries = archive.entries().map_err(Refusal::of("read the archive"))?.raw(true);
    let mut fields = Fields::default();
    for entry in entries {
        let mut entry = entry.map_err(Refusal::of("read the archive"))?;
        count()?;
        match entry.header().entry_type() {
            EntryType::XHeader => extend(&mut entry, &mut fields)?,
            EntryType::XGlobalHeader => only_comments(&mut entry)?,
            EntryType::GNULongName => long(&mut entry, &mut fields.name)?,
            EntryType::GNULongLink => long(&mut entry, &mut fields.link)?,
            _ => {
                let meant = meant(&entry, std::mem::take(&mut fields))?;
                each(&meant, &mut entry)?;
            }
        }
    }
    if fields.extended || fields.name.is_some() || fields.link.is_some() {
        return Err(Refusal::new("the archive ends before an entry that it speaks of"));
    }
    Ok(())
}

fn bounded(entry: &mut tar::Entry<'_, impl Read>) -> Result<Vec<u8>, Refusal> {
    if entry.size() > MAX_FIELDS {
        let why = format!("the archive has {} bytes of extended fields for an entry", entry.size());
        return Err(Refusal::new(why));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(Refusal::of("read the archive"))?;
    Ok(bytes)
}

fn long(entry: &mut tar::Entry<'_, impl Read>, to: &mut Option<Vec<u8>>) -> Result<(), Refusal> {
    let mut bytes = bounded(entry)?;
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    once(to, bytes)
}

/// Said once, or not believed.
fn once<T>(to: &mut Option<T>, value: T) -> Result<(), Refusal> {
    match to.replace(value) {
        None => Ok(()),
        Some(_) => Err(Refusal::new("the archive says the same of an entry twice")),
    }
}

fn only_comments(entry: &mut tar::Entry<'_, impl Read>) -> Result<(), Refusal> {
    let bytes = bounded(entry)?;
    for field in PaxExtensions::new(&bytes) {
        let field = field.map_err(Refusal::of("read an extended field"))?;
        if field.key_bytes() != b"comment" {
            let why = format!("the field {} for all entries", shown(field.key_bytes()));
            return Err(Refusal::new(format!("the archive has {why}, which is not understood")));
        }
    }
    Ok(())
}

fn extend(entry: &mut tar::Entry<'_, impl Read>, fields: &mut Fields) -> Result<(), Refusal> {
    if std::mem::replace(&mut fields.extended, true) {
        return Err(Refusal::new("the archive has two sets of extended fields for one entry"));
    }
    let bytes = bounded(entry)?;
    for field in PaxExtensions::new(&bytes) {
        let field = field.map_err(Refusal::of("read an extended field"))?;
        let value = field.value_bytes();
        match field.key_bytes() {
            b"path" => once(&mut fields.name, value.to_vec())?,
            b"linkpath" => once(&mut fields.link, value.to_vec())?,
            b"size" => once(&mut fields.size, number(value)?)?,
            b"uid" => once(&mut fields.user, number(value)?)?,
            b"gid" => once(&mut fields.group, number(value)?)?,
            b"mtime" => once(&mut fields.modified, seconds(value)?)?,
            key if key.starts_with(b"GNU.sparse.") => {
                return Err(Refusal::new("the archive has a sparse file, which is not unpacked"));
            }
            b"SCHILY.xattr.security.capability" => fields.without.push("file capabilities"),
            key if key.starts_with(b"SCHILY.xattr.") || key.starts_with(b"LIBARCHIVE.xattr.") => {
                fields.without.push("an extended attribute");
            }
            key if key.starts_with(b"SCHILY.acl.") => fields.without.push("an access control list"),
            _ => {} // times of access and change, names of accounts, comments
        }
    }
    Ok(())
}

fn text(value: &[u8]) -> Result<&str, Refusal> {
    let wrong = |_| Refusal::new(format!("the field {} is no number", shown(value)));
    std::str::from_utf8(value).map_err(wrong)
}

fn number(value: &[u8]) -> Result<u64, Refusal> {
    let wrong = |_| Refusal::new(format!("the field {} is no number", shown(value)));
    text(value)?.parse().map_err(wrong)
}

/// Seconds, and perhaps a fraction of one, which an image doesn't have.
fn seconds(value: &[u8]) -> Result<i64, Refusal> {
    let wrong = |_| Refusal::new(format!("the field {} is no time", shown(value)));
    let whole = text(value)?.split('.').next().unwrap_or_default();
    whole.parse().map_err(wrong)
}

fn meant(entry: &tar::Entry<'_, impl Read>, mut fields: Fields) -> Result<Entry, Refusal> {
    let header = entry.header();
    let name = fields.name.unwrap_or_else(|| header.path_bytes().into_owned());
    let refuse = |why: &str| Refusal::new(format!("the entry {} {why}", shown(&name)));
    let wrong = |what: &'static str| {
        let name = shown(&name);
        move |error| Refusal::of(format!("read the {what} of {name}"))(error)
    };
    let link = fields.link.or_else(|| header.link_name_bytes().map(|link| link.into_owned()));
    let kind = header.entry_type();
    let what = match kind {
        // Archives older than POSIX.1-1988 mark a directory by its name alone.
        EntryType::Regular if name.ends_with(b"/") => What::Directory,
        EntryType::Regular | EntryType::Continuous => What::File,
        EntryType::Directory => What::Directory,
        EntryType::Symlink => What::Link(link.unwrap_or_default()),
        EntryType::Link => What::SameAs(link.unwrap_or_default()),
        EntryType::Char | EntryType::Block => What::Special("a device"),
        EntryType::Fifo => What::Special("a named pipe"),
        EntryType::GNUSparse => return Err(refuse("is a sparse file, which is not unpacked")),
        _ => return Err(refuse("is of no known kind")),
    };
    let size = header.entry_size().map_err(wrong("size"))?;
    if fields.size.is_some_and(|other| other != size) {
        return Err(refuse("has two sizes, or one above 8 GiB"));
    }
    // Most readers go on right behind such an entry, and this library behind the bytes that it is said to have.
    if what.has_no_bytes() && size != 0 {
        return Err(refuse(&format!("is no file and has a size of {size} bytes")));
    }
    let mode = header.mode().map_err(wrong("mode"))?;
    if mode & 0o4000 != 0 && what == What::File {
        fields.without.push("the set-user-id bit");
    }
    if mode & 0o2000 != 0 && what == What::File {
        fields.without.push("the set-group-id bit");
    }
    let own = |said: Option<u64>, id: std::io::Result<u64>, what: &'static str| {
        let id = said.map_or_else(|| id.map_err(wrong(what)), Ok)?;
        let above = || refuse(&format!("has the {what} {id}; an image has ids below {IDS}"));
        u16::try_from(id).map_err(|_| above())
    };
    Ok(Entry {
        user: own(fields.user, header.uid(), "user")?,
        group: own(fields.group, header.gid(), "group")?,
        mode: (mode & 0o1777) as u16,
        modified: match fields.modified {
            Some(seconds) => seconds,
            None => i64::try_from(header.mtime().map_err(wrong("time"))?)
                .map_err(|_| refuse("has no time"))?,
        },
        size,
        without: fields.without,
        what,
        name,
    })
}
