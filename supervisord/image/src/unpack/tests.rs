//! Hostile archives against the tree that they make in memory, where nothing is written yet.

use std::io::{Read, Write};

use proptest::prelude::*;
use tar::{Builder, EntryType, Header};

use crate::Bounds;
use crate::unpack::apply::{Place, apply};
use crate::unpack::archive::{Archive, MAX_MEMBERS};
use crate::unpack::entries;
use crate::unpack::finish::{self, Kept};
use crate::unpack::merged::{Kind, Node, ROOT, Tree};
use crate::unpack::refusal::Refusal;
use crate::unpack::registry;

/// An archive of entries whose names and links are written as they are, which a good tool refuses to.
#[derive(Default)]
struct Tape(Vec<u8>);

impl Tape {
    fn header(&mut self, kind: EntryType, name: &[u8], link: &[u8], bytes: &[u8]) {
        let mut header = Header::new_gnu();
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name);
        old.linkname[..link.len()].copy_from_slice(link);
        header.set_entry_type(kind);
        header.set_mode(0o4755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    fn file(mut self, name: &str) -> Self {
        self.header(EntryType::Regular, name.as_bytes(), b"", b"x");
        self
    }

    fn directory(mut self, name: &str) -> Self {
        self.header(EntryType::Directory, name.as_bytes(), b"", b"");
        self
    }

    fn link(mut self, name: &str, target: &str) -> Self {
        self.header(EntryType::Symlink, name.as_bytes(), target.as_bytes(), b"");
        self
    }

    fn same(mut self, name: &str, target: &str) -> Self {
        self.header(EntryType::Link, name.as_bytes(), target.as_bytes(), b"");
        self
    }

    fn other(mut self, kind: EntryType, name: &str, bytes: &[u8]) -> Self {
        self.header(kind, name.as_bytes(), b"", bytes);
        self
    }

    fn pax(self, fields: &[(&str, &str)]) -> Self {
        let mut bytes = Vec::new();
        for (key, value) in fields {
            let rest = key.len() + value.len() + 3;
            let length = (rest..).find(|all| *all == rest + all.to_string().len()).unwrap();
            bytes.extend(format!("{length} {key}={value}\n").into_bytes());
        }
        self.other(EntryType::XHeader, "fields", &bytes)
    }
}

/// Merges layers, and lists what is in the tree.
fn merged(layers: &[Tape]) -> Result<Vec<String>, Refusal> {
    let mut tree = Tree::new();
    for (layer, tape) in layers.iter().enumerate() {
        add(&mut tree, layer as u32, &tape.0)?;
    }
    let mut listed = Vec::new();
    list(&tree, ROOT, "", &mut listed);
    Ok(listed)
}

fn add(tree: &mut Tree, layer: u32, bytes: &[u8]) -> Result<(), Refusal> {
    let mut number = 0;
    let each = |entry: &entries::Entry, _: &mut dyn Read| {
        number += 1;
        apply(tree, entry, Place { layer, entry: number, layered: true }).map(drop)
    };
    entries::read(bytes, each, || Ok(()))
}

fn list(tree: &Tree, directory: usize, path: &str, listed: &mut Vec<String>) {
    for (name, at) in tree.children(directory).unwrap() {
        let path = format!("{path}/{}", String::from_utf8_lossy(name));
        let node = tree.get(at.node).unwrap();
        assert_eq!(node.mode & 0o6000, 0, "{path}");
        match &node.kind {
            Kind::Directory(_) => {
                listed.push(format!("{path}/"));
                list(tree, at.node, &path, listed);
            }
            Kind::File(_) => listed.push(path),
            Kind::Link(target) => {
                listed.push(format!("{path} -> {}", String::from_utf8_lossy(target)))
            }
        }
    }
}

fn refused(layers: &[Tape], why: &str) {
    let refusal = merged(layers).expect_err(why).to_string();
    assert!(refusal.contains(why), "{refusal}");
}

fn one() -> Tape {
    Tape::default()
}

#[test]
fn what_is_no_file_and_has_a_size_hides_nothing_behind_it() {
    use EntryType::{Block, Char, Directory, Fifo, Link, Symlink};
    let hidden = one().file("hidden").0;
    for kind in [Directory, Symlink, Link, Char, Block, Fifo] {
        let tape = one().file("a").other(kind, "b", &hidden).file("c");
        refused(&[tape], "the entry b is no file and has a size of 1024 bytes");
    }
    let old = one().other(EntryType::Regular, "directory/", &hidden);
    refused(&[old], "has a size of 1024 bytes");
}

#[test]
fn a_name_stays_beneath_the_root_or_is_refused() {
    assert_eq!(
        merged(&[one().file("/etc/a").file("./b//c")]).unwrap(),
        ["/b/", "/b/c", "/etc/", "/etc/a"]
    );
    for up in ["../a", "a/../../b", "/..", "a/.."] {
        refused(&[one().file(up)], "leads upwards");
    }
    refused(&[one().pax(&[("path", "../../etc/passwd")]).file("a")], "leads upwards");
    refused(
        &[one().other(EntryType::GNULongName, "././@LongLink", b"../a\0").file("a")],
        "leads upwards",
    );
    refused(&[one().pax(&[("path", "a\0b")]).file("a")], "NUL");
    let long = "x".repeat(256);
    refused(&[one().pax(&[("path", &long)]).file("a")], "255 bytes");
    let deep = "d/".repeat(300) + "f";
    refused(&[one().pax(&[("path", &deep)]).file("a")], "too deeply");
    let long = "d/".repeat(2100) + "f";
    refused(&[one().pax(&[("path", &long)]).file("a")], "longer than a path");
}

#[test]
fn what_is_written_through_a_link_stays_beneath_the_root() {
    let tape = one().link("out", "../../../etc").file("out/passwd");
    assert_eq!(merged(&[tape]).unwrap(), ["/etc/", "/etc/passwd", "/out -> ../../../etc"]);
    let tape = one().link("out", "/").file("out/a");
    assert_eq!(merged(&[tape]).unwrap(), ["/a", "/out -> /"]);
    let later = [one().directory("usr/lib").link("lib", "usr/lib"), one().file("lib/new")];
    assert_eq!(merged(&later).unwrap(), ["/lib -> usr/lib", "/usr/", "/usr/lib/", "/usr/lib/new"]);
    refused(&[one().link("a", "b").link("b", "a").file("a/x")], "too many links");
    refused(&[one().file("a").file("a/b")], "is a file and no directory");
    refused(&[one().link("a", "")], "leads to no path");
}

#[test]
fn another_name_is_one_of_a_file_that_is_there() {
    assert_eq!(merged(&[one().file("a").same("d/b", "/a")]).unwrap(), ["/a", "/d/", "/d/b"]);
    refused(&[one().same("b", "a")], "not there");
    refused(&[one().same("b", "../../etc/shadow")], "leads upwards");
    refused(&[one().directory("d").same("b", "d")], "is a directory");
    refused(&[one().same("b", "/")], "is the root");
    // Of a link itself, never of what it leads to.
    let tape = one().link("out", "/etc/shadow").same("b", "out");
    assert_eq!(merged(&[tape]).unwrap(), ["/b -> /etc/shadow", "/out -> /etc/shadow"]);
    let removed = [one().file("a"), one().file(".wh.a"), one().same("b", "a")];
    refused(&removed, "not there");
}

#[test]
fn whiteouts_hide_what_earlier_layers_have_and_nothing_of_their_own() {
    let base = || one().file("d/a").file("d/b").file("e/c");
    assert_eq!(merged(&[base(), one().file("d/.wh.a")]).unwrap(), ["/d/", "/d/b", "/e/", "/e/c"]);
    assert_eq!(merged(&[base(), one().file(".wh.d")]).unwrap(), ["/e/", "/e/c"]);
    let opaque = one().file("d/new").file("d/.wh..wh..opq");
    assert_eq!(merged(&[base(), opaque]).unwrap(), ["/d/", "/d/new", "/e/", "/e/c"]);
    let again = one().file("d/a").file("d/.wh.a");
    assert_eq!(merged(&[one().file("d/a"), again]).unwrap(), ["/d/", "/d/a"]);
    let replaced = one().file("d/x/new").file(".wh.d");
    assert_eq!(merged(&[base(), replaced]).unwrap(), ["/d/", "/d/x/", "/d/x/new", "/e/", "/e/c"]);
    assert_eq!(merged(&[base(), one().file("no/.wh.thing")]).unwrap().len(), 5);
    assert_eq!(merged(&[base(), one().file("d/.wh..wh.plnk")]).unwrap().len(), 5);
    for nothing in [".wh.", ".wh..", ".wh..."] {
        refused(&[one().file(nothing)], "hides no name");
    }
}

#[test]
fn a_later_entry_takes_the_place_of_an_earlier_one() {
    assert_eq!(
        merged(&[one().file("a"), one().directory("a").file("a/b")]).unwrap(),
        ["/a/", "/a/b"]
    );
    assert_eq!(merged(&[one().directory("a").file("a/b").file("a")]).unwrap(), ["/a"]);
    assert_eq!(merged(&[one().file("a").file("A").file("a")]).unwrap(), ["/A", "/a"]);
    assert_eq!(
        merged(&[one().directory("a").file("a/b"), one().directory("a")]).unwrap(),
        ["/a/", "/a/b"]
    );
    refused(&[one().file("./.")], "root of the image is no directory");
}

#[test]
fn directories_that_an_archive_leaves_out_are_counted() {
    let mut tree = Tree::new();
    let path = ["d/"; 200].concat() + "file";
    add(&mut tree, 0, &one().pax(&[("path", &path)]).file("x").0).unwrap();
    assert_eq!(tree.made(), 1 + 200 + 1);
}

#[test]
fn devices_and_pipes_are_left_out_and_sparse_and_unknown_entries_refused() {
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo] {
        assert!(merged(&[one().file("a").other(kind, "a", b"")]).unwrap().is_empty());
    }
    refused(&[one().other(EntryType::GNUSparse, "a", b"")], "sparse");
    refused(&[one().pax(&[("GNU.sparse.major", "1")]).file("a")], "sparse");
    refused(&[one().other(EntryType::new(b'Q'), "a", b"")], "no known kind");
}

#[test]
fn an_archive_that_says_two_things_of_an_entry_is_refused() {
    refused(&[one().pax(&[("path", "a")]).pax(&[("path", "b")]).file("c")], "two sets");
    refused(&[one().pax(&[("path", "a"), ("path", "b")]).file("c")], "twice");
    let names = one().other(EntryType::GNULongName, "l", b"a\0").pax(&[("path", "b")]);
    refused(&[names.file("c")], "twice");
    refused(&[one().pax(&[("size", "9999")]).file("c")], "two sizes");
    refused(&[one().pax(&[("uid", "4000000")]).file("c")], "has the user 4000000");
    refused(&[one().pax(&[("uid", "-1")]).file("c")], "no number");
    refused(
        &[one().other(EntryType::XGlobalHeader, "g", b"10 path=a\n").file("c")],
        "not understood",
    );
    assert!(
        merged(&[one().other(EntryType::XGlobalHeader, "g", b"13 comment=a\n").file("c")]).is_ok()
    );
    refused(&[one().pax(&[("path", "a")])], "ends before an entry");
    let huge = vec![b'x'; 300 << 10];
    refused(
        &[one().other(EntryType::XHeader, "fields", &huge).file("c")],
        "bytes of extended fields",
    );
}

#[test]
fn every_root_has_its_places_and_says_what_holds_inside() {
    let mut tree = Tree::new();
    let mut builder = Builder::new(Vec::new());
    for (name, text) in [("etc/passwd", "root:x:0:0::/:/bin/sh"), ("etc/hosts", "8.8.8.8 theirs\n")]
    {
        let mut header = Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        builder.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    let bytes = builder.into_inner().unwrap();
    let (mut kept, mut number) = (Kept::default(), 0);
    let each = |entry: &entries::Entry, bytes: &mut dyn Read| {
        number += 1;
        let place = Place { layer: 0, entry: number, layered: false };
        apply(&mut tree, entry, place)?;
        kept.look(entry, place, bytes)
    };
    entries::read(bytes.as_slice(), each, || Ok(())).unwrap();
    let written = finish::finish(&mut tree, &kept).unwrap();
    assert!(written.contains(&"/etc/passwd".to_owned()), "{written:?}");
    let text = |name: &str| {
        let etc = tree.child(ROOT, b"etc").unwrap().node;
        match &tree.get(tree.child(etc, name.as_bytes()).unwrap().node).unwrap().kind {
            Kind::File(crate::unpack::merged::Content::Bytes(bytes)) => {
                String::from_utf8(bytes.clone()).unwrap()
            }
            other => panic!("{other:?}"),
        }
    };
    assert!(text("passwd").starts_with("root:x:0:0::/:/bin/sh\nsandbox:x:1000:"));
    assert!(!text("passwd").contains("nologin\nroot"));
    assert!(!text("hosts").contains("theirs"));
    let mut listed = Vec::new();
    list(&tree, ROOT, "", &mut listed);
    for place in ["/dev/", "/proc/", "/sys/", "/tmp/", "/workspace/", "/var/tmp -> /tmp"] {
        assert!(listed.contains(&place.to_owned()), "{place} {listed:?}");
    }
}

#[test]
fn a_place_that_is_a_link_is_refused() {
    for name in ["dev", "proc", "tmp", "workspace", "etc"] {
        let mut tree = Tree::new();
        add(&mut tree, 0, &one().link(name, "/elsewhere").0).unwrap();
        let refusal = finish::finish(&mut tree, &Kept::default()).unwrap_err().to_string();
        assert!(refusal.contains(&format!("/{name} is no directory")), "{refusal}");
    }
}

proptest! {
    #[test]
    fn no_sequence_of_entries_makes_a_name_that_leads_out(
        steps in prop::collection::vec((0..5u8, "[abw./]{1,9}", "[ab./]{0,7}"), 1..40),
        layers in 1..4usize,
    ) {
        let mut tapes: Vec<Tape> = (0..layers).map(|_| one()).collect();
        for (at, (kind, name, target)) in steps.iter().enumerate() {
            let tape = &mut tapes[at % layers];
            let name = name.replace('w', ".wh.");
            *tape = match (kind, std::mem::take(tape)) {
                (0, tape) => tape.file(&name),
                (1, tape) => tape.directory(&name),
                (2, tape) => tape.link(&name, target),
                (3, tape) => tape.same(&name, target),
                (_, tape) => tape.other(EntryType::Char, &name, b""),
            };
        }
        let mut tree = Tree::new();
        for (layer, tape) in tapes.iter().enumerate() {
            if add(&mut tree, layer as u32, &tape.0).is_err() {
                break;
            }
        }
        let mut listed = Vec::new();
        list(&tree, ROOT, "", &mut listed);
        for path in listed {
            let name = path.split(" -> ").next().unwrap();
            prop_assert!(name.split('/').all(|part| part != ".." && part != "."), "{}", path);
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        let tape = one().pax(&[("path", "a/b"), ("mtime", "1.5")]).file("c").same("d", "c").0;
        add(&mut Tree::new(), 0, &bytes).ok();
        // And with a beginning that is one.
        let cut = bytes.len() % (tape.len() + 1);
        bytes.splice(0..0, tape[..cut].iter().copied());
        add(&mut Tree::new(), 0, &bytes).ok();
    }
}

/// A layer that says so after each of its files, whose time would grow with the square of them.
#[test]
fn a_directory_that_is_made_opaque_again_and_again_is_gone_through_once() {
    const FILES: u32 = 30_000;
    let mut tree = Tree::new();
    let directory = tree.add(Node::directory(0o755));
    tree.name(ROOT, b"d", directory, 1);
    let file = tree.add(Node::written(b"x"));
    tree.name(directory, b"old", file, 1);
    for number in 0..FILES {
        tree.name(directory, number.to_string().as_bytes(), file, 2);
        assert!(tree.clear(directory, 2) && tree.clear(ROOT, 2));
    }
    let kept = tree.children(directory).map(|children| children.len());
    assert_eq!(kept, Some(FILES as usize));
    assert!(!tree.clear(directory, 3));
    assert_eq!(tree.children(directory).map(|children| children.len()), Some(0));
}

/// Taken for a root directory, its layers would be files of an image, and no digest would be compared.
#[test]
fn an_archive_of_layers_with_too_many_members_is_refused_and_is_no_root_directory() {
    let found = |tape: Tape| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&tape.0).unwrap();
        let spool = tempfile::tempfile().unwrap();
        let mut archive = Archive::open(file, spool, &Bounds::default()).unwrap();
        registry::find(&mut archive, None, &Bounds::default()).map(|image| image.format)
    };
    let many =
        |tape| (0..=MAX_MEMBERS).fold(tape, |tape: Tape, at| tape.file(&format!("blob-{at}")));
    assert_eq!(found(many(one())), Ok("root"));
    for documents in [["oci-layout", "index.json"], ["version", "manifest.json"]] {
        let behind = documents.into_iter().fold(many(one()), Tape::file);
        let before = many(documents.into_iter().fold(one(), Tape::file));
        for tape in [before, behind] {
            let refusal = found(tape).unwrap_err().to_string();
            assert!(refusal.contains("more than 4096 members"), "{refusal}");
        }
    }
}
