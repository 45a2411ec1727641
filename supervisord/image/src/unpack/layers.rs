//! From the layers of an archive to the tree: they are looked at, merged, and then read once more for the
//! files that are left.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use crate::{Bounds, Dropped, Unpacked, Wanted};

use crate::unpack::apply::{Place, apply};
use crate::unpack::archive::Archive;
use crate::unpack::compression::{Compression, Counted, Padded};
use crate::unpack::entries::{self, Entry, What};
use crate::unpack::finish::{self, Kept};
use crate::unpack::merged::{ROOT, Tree};
use crate::unpack::refusal::{Refusal, shown};
use crate::unpack::registry::{self, Image, Layer};
use crate::unpack::write::Writer;

/// How many of what was left out are named; the others are counted.
const MAX_NAMED: usize = 200;

/// Bytes of an archive around those of its files: heads of entries, and what tools put behind the end.
const AROUND: u64 = 2048;

/// Unpacks an archive into an empty directory.
pub fn unpack(
    archive: File,
    root: &OwnedFd,
    spool: File,
    wanted: &Wanted,
) -> Result<Unpacked, Refusal> {
    let bounds = &wanted.bounds;
    let mut archive = Archive::open(archive, spool, bounds)?;
    let image = registry::find(&mut archive, wanted.select.as_deref(), bounds)?;
    let mut merged = merge(&archive, &image, bounds)?;
    if !image.layered && merged.tree.children(ROOT).is_none_or(BTreeMap::is_empty) {
        return Err(Refusal::new(
            "it has no manifest of an image, and as a root directory it is empty",
        ));
    }
    let written = finish::finish(&mut merged.tree, &merged.kept)?;
    let mut writer = Writer::begin(root, &merged.tree)?;
    for (number, (layer, plain)) in image.layers.iter().zip(&merged.plain).enumerate() {
        let number = number as u32;
        let again = pass(&archive, layer, bounds, &mut |place, entry, bytes| {
            if entry.what == What::File {
                writer.file(number, place, entry.size, bytes)?;
            }
            Ok(())
        })?;
        if again != *plain {
            return Err(Refusal::new("the archive was changed while it was read"));
        }
    }
    writer.finish()?;
    let verified = image.layers.iter().map(Layer::digests).sum::<u64>();
    Ok(Unpacked {
        format: image.format.to_owned(),
        references: image.references,
        manifest_digest: image.manifest_digest,
        layers: image.layers.len() as u64,
        verified_digests: image.verified + verified,
        config: image.config,
        dropped_counts: merged.counts,
        dropped: merged.dropped,
        written,
    })
}

/// What the layers make together.
pub struct Merged {
    /// All of it.
    pub tree: Tree,
    /// What is needed to finish it.
    pub kept: Kept,
    counts: BTreeMap<String, u64>,
    dropped: Vec<Dropped>,
    /// The digests of the layers, decompressed.
    plain: Vec<[u8; 32]>,
}

impl Merged {
    fn drop(&mut self, name: &[u8], what: &str) {
        *self.counts.entry(what.to_owned()).or_default() += 1;
        if self.dropped.len() < MAX_NAMED {
            self.dropped.push(Dropped { path: shown(name), what: what.to_owned() });
        }
    }
}

/// Reads the layers of an image, and makes the tree of them in memory.
pub fn merge(archive: &Archive, image: &Image, bounds: &Bounds) -> Result<Merged, Refusal> {
    let mut merged = Merged {
        tree: Tree::new(),
        kept: Kept::default(),
        counts: BTreeMap::new(),
        dropped: Vec::new(),
        plain: Vec::new(),
    };
    let mut left = *bounds;
    for (number, layer) in image.layers.iter().enumerate() {
        let place = format!("layer {}", number + 1);
        let plain = look_at(archive, image.layered, number as u32, layer, &mut left, &mut merged);
        merged.plain.push(plain.map_err(|refusal| refusal.within(place))?);
    }
    Ok(merged)
}

fn look_at(
    archive: &Archive,
    layered: bool,
    number: u32,
    layer: &Layer,
    left: &mut Bounds,
    merged: &mut Merged,
) -> Result<[u8; 32], Refusal> {
    if let Some(expected) = &layer.digest {
        let found = Counted::new(archive.reader(layer.range), u64::MAX).finish();
        same(expected, &found.map_err(Refusal::of("read it"))?, "its digest")?;
    }
    let bounds = *left;
    let plain = pass(archive, layer, &bounds, &mut |entry_number, entry, bytes| {
        let over = |what: &str| Refusal::new(format!("there are more {what} than were allowed"));
        left.bytes =
            left.bytes.checked_sub(entry.size).ok_or_else(|| over("bytes (--max-bytes)"))?;
        let place = Place { layer: number, entry: entry_number, layered };
        let before = merged.tree.made();
        if let Some(what) = apply(&mut merged.tree, entry, place)? {
            merged.drop(&entry.name, what);
        }
        // An entry may make all the directories that lead to it, which count as well.
        let made = merged.tree.made().saturating_sub(before).max(1);
        left.entries =
            left.entries.checked_sub(made).ok_or_else(|| over("entries (--max-entries)"))?;
        for what in &entry.without {
            merged.drop(&entry.name, what);
        }
        merged.kept.look(entry, place, bytes)
    })?;
    if let Some(expected) = &layer.plain_digest {
        same(expected, &plain, "its digest once it is decompressed")?;
    }
    Ok(plain)
}

/// What is done with an entry, by its number, and its bytes.
type Each<'a> = &'a mut dyn FnMut(u64, &Entry, &mut dyn Read) -> Result<(), Refusal>;

/// Reads a layer to its end: every entry with its number and its bytes. Tells the digest of the whole.
fn pass(
    archive: &Archive,
    layer: &Layer,
    bounds: &Bounds,
    each: Each<'_>,
) -> Result<[u8; 32], Refusal> {
    let compression = Compression::of(&archive.head(layer.range)?)?;
    let most = bounds.bytes.saturating_add(bounds.entries.saturating_mul(AROUND));
    let mut plain = Counted::new(compression.reader(archive.reader(layer.range)), most);
    let (mut number, mut heads) = (0, 0);
    let count = || {
        heads += 1;
        // A name, a link and fields may stand before each entry.
        match heads > bounds.entries.saturating_mul(4) {
            true => Err(Refusal::new("there are more entries than were allowed (--max-entries)")),
            false => Ok(()),
        }
    };
    let each = |entry: &Entry, bytes: &mut dyn Read| {
        number += 1;
        each(number, entry, bytes)
    };
    match layer.plain_digest {
        Some(_) => entries::read(Padded::new(&mut plain), each, count)?,
        None => entries::read(&mut plain, each, count)?,
    }
    plain.finish().map_err(Refusal::of("read the end of the archive"))
}

fn same(expected: &str, found: &[u8; 32], what: &str) -> Result<(), Refusal> {
    let found: String = found.iter().map(|byte| format!("{byte:02x}")).collect();
    if expected == found {
        return Ok(());
    }
    Err(Refusal::new(format!("{what} is to be sha256:{expected}, and is sha256:{found}")))
}

impl Layer {
    fn digests(&self) -> u64 {
        u64::from(self.digest.is_some()) + u64::from(self.plain_digest.is_some())
    }
}
