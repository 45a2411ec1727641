//! One entry of a layer, applied to what the layers before it have made (OCI image specification,
//! "Applying changesets"). Whiteouts take away what earlier layers have, wherever in the layer they stand.

use crate::MAX_PATH;

use crate::unpack::entries::{Entry, What};
use crate::unpack::merged::{Content, Kind, Node, Tree};
use crate::unpack::names::components;
use crate::unpack::refusal::{Refusal, shown};

/// What makes the name of a whiteout.
const WHITEOUT: &[u8] = b".wh.";

/// Names of whiteouts that are no entry's: of a whole directory, and of tools' own business.
const RESERVED: &[u8] = b".wh..wh.";

/// The whiteout of all that a directory has.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Where an entry stands.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Its layer.
    pub layer: u32,
    /// Its number in it.
    pub entry: u64,
    /// Whether names can be whiteouts: in layers, not in an archive of a whole root.
    pub layered: bool,
}

/// Applies an entry; what is not in the tree because it may not be is returned in words.
pub fn apply(
    tree: &mut Tree,
    entry: &Entry,
    place: Place,
) -> Result<Option<&'static str>, Refusal> {
    let names = components(&entry.name)?;
    let Some((name, parents)) = names.split_last() else {
        return root(tree, entry).map(|()| None);
    };
    if place.layered && name.starts_with(WHITEOUT) {
        return whiteout(tree, parents, name, place.layer).map(|()| None);
    }
    let missing = || Refusal::new("a directory was lost");
    let parent = tree.directory(parents, Some(place.layer))?.ok_or_else(missing)?;
    let before = tree.child(parent, name);
    let kind = match &entry.what {
        What::Directory => {
            let keeps = before.filter(|before| tree.children(before.node).is_some());
            if let Some(before) = keeps {
                set(tree, before.node, entry);
                tree.name(parent, name, before.node, place.layer);
                return Ok(None);
            }
            Kind::Directory(Default::default())
        }
        What::File => Kind::File(Content::Entry { layer: place.layer, entry: place.entry }),
        What::Link(target) => Kind::Link(link_target(&entry.name, target)?.into()),
        What::SameAs(other) => {
            let node = same_as(tree, &entry.name, other)?;
            tree.name(parent, name, node, place.layer);
            return Ok(None);
        }
        What::Special(what) => {
            if let Some(children) = tree.children_mut(parent) {
                children.remove(*name);
            }
            return Ok(Some(what));
        }
    };
    let node = tree.add(Node { kind, mode: 0, user: 0, group: 0, modified: 0 });
    set(tree, node, entry);
    tree.name(parent, name, node, place.layer);
    Ok(None)
}

fn root(tree: &mut Tree, entry: &Entry) -> Result<(), Refusal> {
    if entry.what != What::Directory {
        return Err(Refusal::new("the root of the image is no directory"));
    }
    set(tree, crate::unpack::merged::ROOT, entry);
    Ok(())
}

fn set(tree: &mut Tree, node: usize, entry: &Entry) {
    if let Some(node) = tree.get_mut(node) {
        (node.mode, node.user, node.group) = (entry.mode, entry.user, entry.group);
        node.modified = entry.modified;
    }
}

fn link_target<'a>(name: &[u8], target: &'a [u8]) -> Result<&'a [u8], Refusal> {
    if target.is_empty() || target.len() > MAX_PATH || target.contains(&0) {
        let why = format!("the link {} leads to no path", shown(name));
        return Err(Refusal::new(why));
    }
    Ok(target)
}

/// The file that is to have another name. It must be there already.
fn same_as(tree: &mut Tree, name: &[u8], other: &[u8]) -> Result<usize, Refusal> {
    let refuse = |why: &str| {
        let words = format!("{} is to be the same file as {}, {why}", shown(name), shown(other));
        Refusal::new(words)
    };
    let names = components(other)?;
    let (last, parents) = names.split_last().ok_or_else(|| refuse("which is the root"))?;
    let parent = tree.directory(parents, None)?;
    let found = parent.and_then(|parent| tree.child(parent, last));
    let found = found.ok_or_else(|| refuse("which is not there"))?.node;
    match tree.children(found) {
        Some(_) => Err(refuse("which is a directory")),
        None => Ok(found),
    }
}

fn whiteout(tree: &mut Tree, parents: &[&[u8]], name: &[u8], layer: u32) -> Result<(), Refusal> {
    let hidden = name.strip_prefix(WHITEOUT).unwrap_or_default();
    if !name.starts_with(RESERVED) && [&b""[..], b".", b".."].contains(&hidden) {
        return Err(Refusal::new(format!("the whiteout {} hides no name", shown(name))));
    }
    let Some(directory) = tree.directory(parents, None)? else { return Ok(()) };
    if name == OPAQUE {
        tree.clear(directory, layer);
        return Ok(());
    }
    if name.starts_with(RESERVED) {
        return Ok(());
    }
    let Some(found) = tree.child(directory, hidden) else { return Ok(()) };
    let beneath = tree.clear(found.node, layer);
    if !beneath
        && found.layer < layer
        && let Some(children) = tree.children_mut(directory)
    {
        children.remove(hidden);
    }
    Ok(())
}
