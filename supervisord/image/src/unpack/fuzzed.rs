//! What holds for all archives: a target of the fuzzer (tests/fuzz), and of ordinary tests.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::apply::{Place, apply};
use super::archive::Archive;
use super::entries;
use super::finish::{self, Kept};
use super::layers::merge;
use super::merged::{Kind, ROOT, Tree};
use super::registry::find;
use crate::{Bounds, IDS, MAX_DEPTH, MAX_NAME, MAX_PATH};
use checksums::repaired;

#[path = "../../../../tests/fuzz/checksums.rs"]
mod checksums;
#[cfg(test)]
#[path = "../../../../tests/fuzz/mutations.rs"]
mod mutations;

/// Small ones, so that they are reached.
const BOUNDS: Bounds = Bounds { bytes: 1 << 20, entries: 500, layers: 5 };

/// An archive of any format. The tree that is made of it is one: plain names, no identity or permission that
/// an image can't have, no more of anything than is allowed.
pub fn archives(bytes: &[u8]) {
    let (Ok(file), Ok(spool)) = (file(&repaired(bytes)), file(b"")) else { return };
    let Ok(mut archive) = Archive::open(file, spool, &BOUNDS) else { return };
    let Ok(image) = find(&mut archive, None, &BOUNDS) else { return };
    assert!(image.layers.len() as u64 <= BOUNDS.layers);
    let Ok(mut merged) = merge(&archive, &image, &BOUNDS) else { return };
    assert!(merged.tree.made() <= BOUNDS.entries + 1);
    check(&merged.tree, ROOT, 0, 0);
    if finish::finish(&mut merged.tree, &merged.kept).is_ok() {
        check(&merged.tree, ROOT, 0, 0);
    }
}

/// The entries of a layer, and of another one above it that says the same. What they say is within its bounds,
/// and the tree that is made of them is one.
pub fn entries(bytes: &[u8]) {
    let bytes = repaired(bytes);
    let (mut tree, mut kept) = (Tree::new(), Kept::default());
    for layer in 0..2 {
        let (mut number, mut count) = (0, 0);
        let each = |entry: &entries::Entry, bytes: &mut dyn Read| {
            number += 1;
            assert_eq!(entry.mode & !0o1777, 0, "{:o}", entry.mode);
            assert!(entry.what == entries::What::File || entry.size == 0);
            let place = Place { layer, entry: number, layered: true };
            apply(&mut tree, entry, place)?;
            kept.look(entry, place, bytes)
        };
        let count = || {
            count += 1;
            assert!(count <= bytes.len() / 512);
            Ok(())
        };
        if entries::read(bytes.as_slice(), each, count).is_err() {
            break;
        }
    }
    check(&tree, ROOT, 0, 0);
    if finish::finish(&mut tree, &kept).is_ok() {
        check(&tree, ROOT, 0, 0);
    }
}

fn file(bytes: &[u8]) -> std::io::Result<File> {
    let memory: OwnedFd = memfd_create("archive", MFdFlags::MFD_CLOEXEC)?;
    let mut file = File::from(memory);
    file.write_all(bytes)?;
    Ok(file)
}

fn check(tree: &Tree, directory: usize, depth: usize, path: usize) {
    assert!(depth <= MAX_DEPTH);
    for (name, at) in tree.children(directory).into_iter().flatten() {
        assert!(!matches!(&**name, b"" | b"." | b".."));
        assert!(!name.contains(&b'/') && !name.contains(&0));
        assert!(name.len() <= MAX_NAME && path + name.len() <= MAX_PATH + MAX_NAME);
        let Some(node) = tree.get(at.node) else { continue };
        assert_eq!(node.mode & !0o1777, 0, "{:o}", node.mode);
        assert!(u32::from(node.user) < IDS && u32::from(node.group) < IDS);
        match &node.kind {
            Kind::Directory(_) => check(tree, at.node, depth + 1, path + name.len() + 1),
            Kind::Link(target) => {
                assert!(!target.is_empty() && target.len() <= MAX_PATH && !target.contains(&0));
            }
            Kind::File(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_archive_makes_a_tree_that_is_none() {
        mutations::hold("image_archives", 1_000, archives);
        mutations::hold("image_entries", 2_000, entries);
    }
}
