//! The tree that the layers make together, in memory. Links in it are words: what an entry is written
//! through is looked up here, where nothing leads out.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::MAX_DEPTH;

use crate::unpack::refusal::{Refusal, shown};

/// A node's number.
pub type Id = usize;

/// The root's.
pub const ROOT: Id = 0;

/// Links that are followed on the way to an entry; as many as the kernel follows.
const MAX_LINKS: usize = 40;

/// A directory, file or link.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Permission bits and the sticky bit.
    pub mode: u16,
    /// Its user.
    pub user: u16,
    /// Its group.
    pub group: u16,
    /// When it was modified, in seconds since 1970.
    pub modified: i64,
}

/// What a node is.
#[derive(Debug, Clone)]
pub enum Kind {
    Directory(BTreeMap<Box<[u8]>, Name>),
    File(Content),
    Link(Box<[u8]>),
}

/// A name in a directory.
#[derive(Debug, Clone, Copy)]
pub struct Name {
    /// What it names.
    pub node: Id,
    /// The layer that has said so last.
    pub layer: u32,
}

/// Where a file's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// In the archive: which entry of which layer.
    Entry { layer: u32, entry: u64 },
    /// Here.
    Bytes(Vec<u8>),
}

/// The tree.
#[derive(Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    /// Directories and the layer by which each was cleared last: in it nothing is older.
    cleared: HashMap<Id, u32>,
}

impl Node {
    /// A directory as tools make those that an archive leaves out.
    pub fn directory(mode: u16) -> Self {
        let kind = Kind::Directory(BTreeMap::new());
        Self { kind, mode, user: 0, group: 0, modified: 0 }
    }

    /// A file of ours.
    pub fn written(bytes: &[u8]) -> Self {
        let kind = Kind::File(Content::Bytes(bytes.to_vec()));
        Self { kind, mode: 0o644, user: 0, group: 0, modified: 0 }
    }

    /// A link of ours.
    pub fn link(target: &[u8]) -> Self {
        Self { kind: Kind::Link(target.into()), mode: 0o777, user: 0, group: 0, modified: 0 }
    }
}

impl Tree {
    /// An empty root.
    pub fn new() -> Self {
        Self { nodes: vec![Node::directory(0o755)], cleared: HashMap::new() }
    }

    /// A node.
    pub fn get(&self, id: Id) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// A node, to change.
    pub fn get_mut(&mut self, id: Id) -> Option<&mut Node> {
        self.nodes.get_mut(id)
    }

    /// What a directory holds; nothing where it is none.
    pub fn children(&self, id: Id) -> Option<&BTreeMap<Box<[u8]>, Name>> {
        match &self.nodes.get(id)?.kind {
            Kind::Directory(children) => Some(children),
            _ => None,
        }
    }

    /// The same, to change.
    pub fn children_mut(&mut self, id: Id) -> Option<&mut BTreeMap<Box<[u8]>, Name>> {
        match &mut self.nodes.get_mut(id)?.kind {
            Kind::Directory(children) => Some(children),
            _ => None,
        }
    }

    /// What a name in a directory stands for.
    pub fn child(&self, directory: Id, name: &[u8]) -> Option<Name> {
        self.children(directory)?.get(name).copied()
    }

    /// Nodes that were ever made.
    pub fn made(&self) -> u64 {
        self.nodes.len() as u64
    }

    /// A node that has no name yet.
    pub fn add(&mut self, node: Node) -> Id {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Gives a node a name, in the place of what has it.
    pub fn name(&mut self, directory: Id, name: &[u8], node: Id, layer: u32) {
        if let Some(children) = self.children_mut(directory) {
            children.insert(name.into(), Name { node, layer });
        }
    }

    /// The directory that these names lead to from the root, links on the way followed within it. `None` if
    /// it isn't there and is not to be made.
    pub fn directory(&mut self, names: &[&[u8]], make: Option<u32>) -> Result<Option<Id>, Refusal> {
        let mut left: VecDeque<Box<[u8]>> = names.iter().map(|name| Box::from(*name)).collect();
        let (mut way, mut links) = (vec![ROOT], 0);
        while let Some(name) = left.pop_front() {
            let here = way.last().copied().unwrap_or(ROOT);
            match name.as_ref() {
                b"" | b"." => continue,
                b".." => {
                    way.truncate(way.len().max(2) - 1); // the root is above itself
                    continue;
                }
                _ if way.len() > MAX_DEPTH => {
                    return Err(Refusal::new("directories are nested too deeply"));
                }
                _ => {}
            }
            let found = self.child(here, &name).map(|name| name.node);
            let Some(found) = found else {
                let Some(layer) = make else { return Ok(None) };
                let made = self.add(Node::directory(0o755));
                self.name(here, &name, made, layer);
                way.push(made);
                continue;
            };
            match self.get(found).map(|node| &node.kind) {
                Some(Kind::Directory(_)) => way.push(found),
                Some(Kind::Link(target)) => {
                    links += 1;
                    if links > MAX_LINKS {
                        let why = format!("too many links on the way over {}", shown(&name));
                        return Err(Refusal::new(why));
                    }
                    if target.starts_with(b"/") {
                        way.truncate(1);
                    }
                    for name in target.split(|byte| *byte == b'/').rev() {
                        left.push_front(name.into());
                    }
                }
                _ => {
                    let why = format!("{} is a file and no directory", shown(&name));
                    return Err(Refusal::new(why));
                }
            }
        }
        Ok(way.last().copied())
    }

    /// Takes from a directory what layers before this one have put there. Whether anything of this layer
    /// is left in it. Each directory is gone through once for a layer, however often the layer says so.
    pub fn clear(&mut self, directory: Id, layer: u32) -> bool {
        let Some(children) = self.children(directory) else { return false };
        if self.cleared.get(&directory) == Some(&layer) {
            return !children.is_empty();
        }
        let children: Vec<_> = children.iter().map(|(name, at)| (name.clone(), *at)).collect();
        self.cleared.insert(directory, layer);
        let mut left = false;
        for (name, at) in children {
            let beneath = self.clear(at.node, layer);
            if beneath || at.layer >= layer {
                left = true;
            } else if let Some(children) = self.children_mut(directory) {
                children.remove(&name);
            }
        }
        left
    }
}
