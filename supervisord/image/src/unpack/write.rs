//! The tree, written: directories, then files as the archive has them, then other names of theirs, then
//! links, then what directories say of themselves. Everything is made anew beneath one descriptor, where
//! nothing was before and no link is as long as something can be written through it.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::MAX_PATH;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, UtimensatFlags, fchmod, futimens, mkdirat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat, linkat, symlinkat};

use crate::unpack::finish::reader;
use crate::unpack::merged::{Content, Id, Kind, Node, ROOT, Tree};
use crate::unpack::refusal::{Refusal, shown};

/// A writer of one tree.
pub struct Writer<'a> {
    root: &'a OwnedFd,
    tree: &'a Tree,
    /// Directories, each before those in it.
    directories: Vec<(Vec<u8>, Id)>,
    /// Files of the archive and the first of their names.
    files: HashMap<(u32, u64), (Vec<u8>, Id)>,
    /// Other names of files, and which they are: of what is at the first of them.
    names: Vec<(Vec<u8>, Vec<u8>)>,
    /// Links, by their names.
    links: Vec<(Vec<u8>, Id)>,
}

impl<'a> Writer<'a> {
    /// Makes all directories, and the files that are not the archive's.
    pub fn begin(root: &'a OwnedFd, tree: &'a Tree) -> Result<Self, Refusal> {
        let mut writer = Self {
            root,
            tree,
            directories: Vec::new(),
            files: HashMap::new(),
            names: Vec::new(),
            links: Vec::new(),
        };
        let mut seen = HashMap::new();
        writer.walk(ROOT, b"", &mut seen)?;
        Ok(writer)
    }

    fn walk(
        &mut self,
        directory: Id,
        path: &[u8],
        seen: &mut HashMap<Id, Vec<u8>>,
    ) -> Result<(), Refusal> {
        self.directories.push((path.to_vec(), directory));
        for (name, at) in self.tree.children(directory).into_iter().flatten() {
            let full = if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() };
            if full.len() > MAX_PATH {
                let why = format!("the path {} is longer than a path may be", shown(&full));
                return Err(Refusal::new(why));
            }
            let Some(node) = self.tree.get(at.node) else { continue };
            match &node.kind {
                Kind::Directory(_) => {
                    let made = mkdirat(self.root, path_of(&full), Mode::S_IRWXU);
                    made.map_err(making(&full))?;
                    self.walk(at.node, &full, seen)?;
                }
                _ if seen.contains_key(&at.node) => {
                    let first = seen.get(&at.node).cloned().unwrap_or_default();
                    self.names.push((full, first));
                }
                Kind::File(content) => {
                    seen.insert(at.node, full.clone());
                    match content {
                        Content::Entry { layer, entry } => {
                            self.files.insert((*layer, *entry), (full, at.node));
                        }
                        written => self.write(&full, node, &mut reader(written), None)?,
                    }
                }
                Kind::Link(_) => {
                    seen.insert(at.node, full.clone());
                    self.links.push((full, at.node));
                }
            }
        }
        Ok(())
    }

    /// Writes a file of the archive, if it is still one of the tree.
    pub fn file(
        &mut self,
        layer: u32,
        entry: u64,
        size: u64,
        mut bytes: &mut dyn Read,
    ) -> Result<(), Refusal> {
        let Some((path, node)) = self.files.remove(&(layer, entry)) else { return Ok(()) };
        let Some(node) = self.tree.get(node) else { return Ok(()) };
        self.write(&path, node, &mut Some(&mut bytes), Some(size))
    }

    fn write(
        &self,
        path: &[u8],
        node: &Node,
        bytes: &mut Option<impl Read>,
        size: Option<u64>,
    ) -> Result<(), Refusal> {
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let mut file = File::from(self.open(
            path,
            flags | OFlag::O_NOFOLLOW,
            Mode::S_IRUSR | Mode::S_IWUSR,
        )?);
        if let Some(bytes) = bytes {
            let written = io::copy(bytes, &mut file).map_err(making(path))?;
            if size.is_some_and(|size| size != written) {
                return Err(making(path)(io::Error::from(io::ErrorKind::UnexpectedEof)));
            }
        }
        describe(&file, node).map_err(making(path))
    }

    /// Opens beneath the root, where neither a link nor a mount leads away.
    fn open(&self, path: &[u8], flags: OFlag, mode: Mode) -> Result<OwnedFd, Refusal> {
        let how = OpenHow::new().flags(flags).mode(mode).resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_MAGICLINKS
                | ResolveFlag::RESOLVE_NO_XDEV,
        );
        openat2(self.root, path_of(path), how).map_err(making(path))
    }

    /// Makes what is no file of its own, and says of directories what is to be said. Every file must have
    /// come.
    pub fn finish(self) -> Result<(), Refusal> {
        if let Some((path, _)) = self.files.values().next() {
            return Err(Refusal::new(format!("the archive no longer has {}", shown(path))));
        }
        let links: HashMap<_, _> =
            self.links.iter().map(|(path, node)| (path.as_slice(), node)).collect();
        for (path, first) in
            self.names.iter().filter(|(_, first)| !links.contains_key(first.as_slice()))
        {
            let linked =
                linkat(self.root, path_of(first), self.root, path_of(path), AtFlags::empty());
            linked.map_err(making(path))?;
        }
        for (path, node) in &self.links {
            self.link(path, *node)?;
        }
        for (path, first) in self.names.iter() {
            // Another name of a link is a link that leads to the same.
            if let Some(node) = links.get(first.as_slice()) {
                self.link(path, **node)?;
            }
        }
        for (path, node) in self.directories.iter().rev() {
            let Some(node) = self.tree.get(*node) else { continue };
            let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
            let path: &[u8] = if path.is_empty() { b"." } else { path };
            let directory = self.open(path, flags, Mode::empty())?;
            describe(&directory, node).map_err(making(path))?;
        }
        Ok(())
    }

    fn link(&self, path: &[u8], node: Id) -> Result<(), Refusal> {
        let Some(Node { kind: Kind::Link(target), user, group, modified, .. }) =
            self.tree.get(node)
        else {
            return Ok(());
        };
        let make = || -> nix::Result<()> {
            symlinkat(path_of(target), self.root, path_of(path))?;
            let time = TimeSpec::new(*modified, 0);
            let at = UtimensatFlags::NoFollowSymlink;
            utimensat(self.root, path_of(path), &time, &time, at)?;
            let (user, group) = (Uid::from_raw((*user).into()), Gid::from_raw((*group).into()));
            let at = AtFlags::AT_SYMLINK_NOFOLLOW;
            fchownat(self.root, path_of(path), Some(user), Some(group), at)
        };
        make().map_err(making(path))
    }
}

/// What a node says of itself besides its content; its owner last, since only the owner may do the rest.
fn describe(file: &impl AsFd, node: &Node) -> io::Result<()> {
    let time = TimeSpec::new(node.modified, 0);
    futimens(file, &time, &time)?;
    fchmod(file, Mode::from_bits_truncate(node.mode.into()))?;
    let (user, group) = (Uid::from_raw(node.user.into()), Gid::from_raw(node.group.into()));
    Ok(fchown(file, Some(user), Some(group))?)
}

fn path_of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn making<E: Into<io::Error>>(path: &[u8]) -> impl FnOnce(E) -> Refusal {
    Refusal::of(format!("make {}", shown(path)))
}
