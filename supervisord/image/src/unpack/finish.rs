//! What every sandbox's root has, added to the tree: places for what is mounted, and the few files that say
//! what holds inside.

use std::collections::HashMap;
use std::io::{self, Read};

use crate::unpack::apply::Place;
use crate::unpack::entries::{Entry, What};
use crate::unpack::merged::{Content, Id, Kind, Node, ROOT, Tree};
use crate::unpack::names::components;
use crate::unpack::refusal::{Refusal, shown};

/// Directories over which something is mounted, or which programs expect.
const PLACES: [(&str, u16); 8] = [
    ("dev", 0o755),
    ("etc", 0o755),
    ("proc", 0o755),
    ("run", 0o755),
    ("sys", 0o755),
    ("tmp", 0o1777),
    ("var", 0o755),
    ("workspace", 0o755),
];

/// Files of /etc that say what holds in a sandbox, whatever the image says.
const WRITTEN: [(&str, &str); 3] = [
    ("hostname", include_str!("../../../../rootfs/default/etc/hostname")),
    ("hosts", include_str!("../../../../rootfs/default/etc/hosts")),
    ("resolv.conf", include_str!("../../../../rootfs/default/etc/resolv.conf")),
];

/// Accounts: ours are added to the image's, unless it has their id.
const ACCOUNTS: [(&str, &str); 2] = [
    ("passwd", include_str!("../../../../rootfs/default/etc/passwd")),
    ("group", include_str!("../../../../rootfs/default/etc/group")),
];

/// Bytes of an image's file of accounts; a longer one stays as it is.
const MAX_ACCOUNTS: u64 = 256 << 10;

/// The session's authority, where OpenSSL looks it up by the hash of its name.
const AUTHORITY: (&str, &str) = ("7ec1afff.0", "/run/authority.pem");

/// The bytes of the few files that are added to.
#[derive(Debug, Default)]
pub struct Kept(HashMap<(u32, u64), Vec<u8>>);

impl Kept {
    /// Keeps an entry's bytes if it may be one of them.
    pub fn look(
        &mut self,
        entry: &Entry,
        place: Place,
        bytes: &mut dyn Read,
    ) -> Result<(), Refusal> {
        let names = components(&entry.name)?;
        let is_one = |(name, _): &(&str, &str)| names.last() == Some(&name.as_bytes());
        if entry.what != What::File || entry.size > MAX_ACCOUNTS || names.len() > 3 {
            return Ok(());
        }
        if ACCOUNTS.iter().any(is_one) && self.0.len() < 64 {
            let mut content = Vec::new();
            let read = bytes.read_to_end(&mut content);
            read.map_err(Refusal::of(format!("read {}", shown(&entry.name))))?;
            self.0.insert((place.layer, place.entry), content);
        }
        Ok(())
    }
}

/// Adds what is missing; tells what was made or written over.
pub fn finish(tree: &mut Tree, kept: &Kept) -> Result<Vec<String>, Refusal> {
    let mut written = Vec::new();
    if let Some(root) = tree.get_mut(ROOT) {
        // Whatever directory it was packed from: payloads have to get in.
        (root.mode, root.user, root.group) = (0o755, 0, 0);
    }
    for (name, mode) in PLACES {
        place(tree, name, mode, &mut written)?;
    }
    let missing = || Refusal::new("/etc was lost");
    let etc = tree.directory(&[b"etc"], None)?.ok_or_else(missing)?;
    for (name, text) in WRITTEN {
        put(tree, etc, name, Node::written(text.as_bytes()));
        written.push(format!("/etc/{name}"));
    }
    for (name, ours) in ACCOUNTS {
        if let Some(text) = accounts(tree, etc, name, ours, kept) {
            put(tree, etc, name, Node::written(&text));
            written.push(format!("/etc/{name}"));
        }
    }
    temporary(tree, &mut written)?;
    if let Ok(Some(certificates)) = tree.directory(&[b"etc", b"ssl", b"certs"], None) {
        let (name, target) = AUTHORITY;
        put(tree, certificates, name, Node::link(target.as_bytes()));
    }
    Ok(written)
}

fn put(tree: &mut Tree, directory: Id, name: &str, node: Node) {
    let node = tree.add(node);
    tree.name(directory, name.as_bytes(), node, u32::MAX);
}

/// A directory of the root that is one: what is mounted over a link would be mounted elsewhere.
fn place(tree: &mut Tree, name: &str, mode: u16, written: &mut Vec<String>) -> Result<(), Refusal> {
    let Some(there) = tree.child(ROOT, name.as_bytes()) else {
        put(tree, ROOT, name, Node::directory(mode));
        written.push(format!("/{name}"));
        return Ok(());
    };
    match tree.children(there.node) {
        Some(_) => Ok(()),
        None => Err(Refusal::new(format!("/{name} is no directory, and every sandbox needs one"))),
    }
}

/// The image's accounts and ours.
fn accounts(tree: &Tree, etc: Id, name: &str, ours: &str, kept: &Kept) -> Option<Vec<u8>> {
    let Some(there) = tree.child(etc, name.as_bytes()) else { return Some(ours.into()) };
    let Kind::File(Content::Entry { layer, entry }) = tree.get(there.node)?.kind else {
        return None;
    };
    let mut text = kept.0.get(&(layer, entry))?.clone();
    let id = |line: &[u8]| line.split(|byte| *byte == b':').nth(2).map(<[u8]>::to_vec);
    let before = text.clone();
    let taken = |ours: &str| {
        before.split(|byte| *byte == b'\n').any(|line| id(line) == id(ours.as_bytes()))
    };
    let mut missing = ours.lines().filter(|line| !taken(line)).peekable();
    missing.peek()?;
    if text.last().is_some_and(|last| *last != b'\n') {
        text.push(b'\n');
    }
    for line in missing {
        text.extend(line.as_bytes());
        text.push(b'\n');
    }
    Some(text)
}

/// /var/tmp, which is written like /tmp and would else be read-only.
fn temporary(tree: &mut Tree, written: &mut Vec<String>) -> Result<(), Refusal> {
    let Some(var) = tree.directory(&[b"var"], None)? else { return Ok(()) };
    let there = tree.child(var, b"tmp").and_then(|there| tree.get(there.node));
    let free = there
        .is_none_or(|node| matches!(&node.kind, Kind::Directory(children) if children.is_empty()));
    if free {
        put(tree, var, "tmp", Node::link(b"/tmp"));
        written.push("/var/tmp".to_owned());
    }
    Ok(())
}

/// The bytes that a file of ours has.
pub fn reader(content: &Content) -> Option<impl Read + '_> {
    match content {
        Content::Bytes(bytes) => Some(io::Cursor::new(bytes)),
        Content::Entry { .. } => None,
    }
}
