//! The archive as a file with members that can be read in any order. A compressed one is made plain
//! first.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use crate::{Bounds, MAX_JSON};
use tar::{Archive as Tar, EntryType};

use crate::unpack::compression::{Compression, Counted};
use crate::unpack::names::components;
use crate::unpack::refusal::{Refusal, shown};

/// Members of an archive of layers at the most: blobs, and three for each layer in the oldest kind.
pub const MAX_MEMBERS: usize = 4096;

/// Links that are followed from one member to another.
const MAX_LINKS: usize = 8;

/// An archive.
#[derive(Debug)]
pub struct Archive {
    file: File,
    members: HashMap<String, Member>,
}

/// What a member is.
#[derive(Debug, Clone)]
enum Member {
    Bytes(Range),
    /// The same as another one.
    Link(String),
}

/// A part of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
}

impl Archive {
    /// Opens an archive; `spool` is an empty file for what a compressed one holds.
    pub fn open(file: File, mut spool: File, bounds: &Bounds) -> Result<Self, Refusal> {
        let reading = "read the archive";
        let mut head = [0; 6];
        let read = file.read_at(&mut head, 0).map_err(Refusal::of(reading))?;
        let compression = Compression::of(head.get(..read).unwrap_or_default())?;
        if compression == Compression::Plain {
            return Ok(Self { file, members: HashMap::new() });
        }
        let mut plain = Counted::new(compression.reader(file), bounds.bytes);
        io::copy(&mut plain, &mut spool).map_err(Refusal::of("decompress the archive"))?;
        spool.seek(SeekFrom::Start(0)).map_err(Refusal::of(reading))?;
        Ok(Self { file: spool, members: HashMap::new() })
    }

    /// Learns the members of an archive of layers, and whether that is all of them: an archive of a root directory
    /// has more. Of those past the bound only what tells an archive of layers from that is learnt.
    pub fn index(&mut self) -> Result<bool, Refusal> {
        let reading = || Refusal::of("read the archive");
        let mut reader = &self.file;
        reader.seek(SeekFrom::Start(0)).map_err(reading())?;
        let mut tar = Tar::new(reader);
        let entries = tar.entries_with_seek().map_err(reading())?.raw(true);
        let mut is_all = true;
        for entry in entries {
            let entry = entry.map_err(reading())?;
            // Names of such members are short; one that is not is no member that we look for.
            let name = entry.path_bytes();
            let Some(name) = canonical(&name) else { continue };
            if self.members.len() >= MAX_MEMBERS && !tells_its_kind(&name) {
                is_all = false;
                continue;
            }
            let link = || entry.link_name_bytes().map(|link| link.into_owned());
            let member = match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => {
                    Member::Bytes(Range { offset: entry.raw_file_position(), length: entry.size() })
                }
                EntryType::Symlink => match link().and_then(|link| beside(&name, &link)) {
                    Some(target) => Member::Link(target),
                    None => continue,
                },
                EntryType::Link => match link().and_then(|link| canonical(&link)) {
                    Some(target) => Member::Link(target),
                    None => continue,
                },
                _ => continue,
            };
            if self.members.insert(name.clone(), member).is_some() && is_document(&name) {
                return Err(Refusal::new(format!("the archive has {name} twice")));
            }
        }
        Ok(is_all)
    }

    /// Whether there is such a member.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Where a member is.
    pub fn find(&self, name: &str) -> Option<Range> {
        let mut name = name;
        for _ in 0..MAX_LINKS {
            match self.members.get(name)? {
                Member::Bytes(range) => return Some(*range),
                Member::Link(target) => name = target,
            }
        }
        None
    }

    /// All of a document.
    pub fn document(&self, name: &str) -> Result<Vec<u8>, Refusal> {
        let missing = || Refusal::new(format!("the archive has no {}", shown(name.as_bytes())));
        let range = self.find(name).ok_or_else(missing)?;
        if range.length > MAX_JSON {
            return Err(Refusal::new(format!("{} is too long", shown(name.as_bytes()))));
        }
        let mut bytes = Vec::new();
        let reading = Refusal::of(format!("read {}", shown(name.as_bytes())));
        self.reader(range).read_to_end(&mut bytes).map_err(reading)?;
        Ok(bytes)
    }

    /// The bytes of a part.
    pub fn reader(&self, range: Range) -> impl Read + '_ {
        Part { file: &self.file, range }
    }

    /// The first bytes of a part.
    pub fn head(&self, range: Range) -> Result<Vec<u8>, Refusal> {
        let mut head = Vec::new();
        let read = self.reader(range).take(6).read_to_end(&mut head);
        read.map_err(Refusal::of("read the archive"))?;
        Ok(head)
    }

    /// All of it.
    pub fn whole(&self) -> Result<Range, Refusal> {
        let metadata = self.file.metadata().map_err(Refusal::of("read the archive"))?;
        Ok(Range { offset: 0, length: metadata.len() })
    }
}

/// Documents by which others are found: two of one name would be two archives.
fn is_document(name: &str) -> bool {
    ["manifest.json", "index.json", "oci-layout"].contains(&name)
}

/// Names that tell an archive of layers from one of a root directory.
fn tells_its_kind(name: &str) -> bool {
    is_document(name) || name == "version"
}

/// A member's name without what archivers put around it.
fn canonical(name: &[u8]) -> Option<String> {
    let names = components(name).ok()?;
    String::from_utf8(names.join(&b'/')).ok().filter(|name| !name.is_empty())
}

/// Where a link of one member leads to.
fn beside(name: &str, target: &[u8]) -> Option<String> {
    let mut way: Vec<&str> = name.split('/').collect();
    way.pop();
    for part in std::str::from_utf8(target).ok()?.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(way.pop()?),
            other => way.push(other),
        }
    }
    Some(way.join("/"))
}

/// A part of a file, wherever others read in it.
struct Part<'a> {
    file: &'a File,
    range: Range,
}

impl Read for Part<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.range.length).unwrap_or(usize::MAX).min(to.len());
        let Some(to) = to.get_mut(..most).filter(|to| !to.is_empty()) else { return Ok(0) };
        match self.file.read_at(to, self.range.offset)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.range.offset += count as u64;
                self.range.length -= count as u64;
                Ok(count)
            }
        }
    }
}
