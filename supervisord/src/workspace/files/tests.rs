use std::fs;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use proptest::prelude::*;
use supervisor_api::FileKind;
use tar::{Builder, EntryType, Header};

use super::*;
use crate::workspace::testing::{Fixture, as_ordinary_user};

mod archives;

const BOUNDS: UnpackBounds = UnpackBounds { entries: 1000, bytes: 1 << 20 };

/// More bytes than are written at once.
const CHUNKS: usize = 200_000;

fn path(text: &str) -> WorkspacePath {
    WorkspacePath::try_from(text).unwrap()
}

fn put(fixture: &Fixture, at: &str, content: &str) -> Result<(), FileError> {
    let root = fixture.root();
    let mut file = Replacement::begin(root.as_fd(), &path(at), false)?;
    file.write(content.as_bytes())?;
    file.finish()
}

/// An archive of entries: name, type, link name, content, mode.
fn archive(entries: &[(&str, EntryType, &str, &str, u32)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, kind, link, content, mode) in entries {
        let mut header = Header::new_gnu();
        // The library refuses to write such names; whoever attacks does not use the library.
        let field = &mut header.as_old_mut().name;
        field[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(*mode);
        header.set_cksum();
        builder.append(&header, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn unpack_into(fixture: &Fixture, bytes: &[u8]) -> Result<Unpacked, FileError> {
    unpack(fixture.root().as_fd(), bytes, BOUNDS)
}

#[test]
fn a_file_is_replaced_only_when_it_is_whole() {
    let fixture = Fixture::new();
    put(&fixture, "a/b/c", "first").unwrap();
    let root = fixture.root();
    let mut second = Replacement::begin(root.as_fd(), &path("a/b/c"), true).unwrap();
    second.write(b"sec").unwrap();
    assert_eq!(fs::read_to_string(fixture.at("a/b/c")).unwrap(), "first");
    drop(second);
    assert_eq!(fs::read_dir(fixture.at("a/b")).unwrap().count(), 1, "nothing is left of it");
    let mut second = Replacement::begin(root.as_fd(), &path("a/b/c"), true).unwrap();
    second.write(b"second").unwrap();
    second.finish().unwrap();
    assert_eq!(fs::read_to_string(fixture.at("a/b/c")).unwrap(), "second");
    assert_eq!(fs::metadata(fixture.at("a/b/c")).unwrap().permissions().mode() & 0o777, 0o755);
}

#[test]
fn no_operation_goes_through_a_link() {
    let fixture = Fixture::new();
    symlink(fixture.outside(), fixture.at("link")).unwrap();
    symlink(fixture.canary(), fixture.at("file")).unwrap();
    let root = fixture.root();
    let root = root.as_fd();
    for result in [
        open(root, &path("link/canary")).map(drop),
        open(root, &path("file")).map(drop),
        put(&fixture, "link/canary", "spoilt"),
        put(&fixture, "link/new", "spoilt"),
        look(root, &path("link/canary")).map(drop),
        list(root, Some(&path("link")), &FilePage::default()).map(drop),
        remove(root, &path("link/canary"), true),
        rename(root, &path("link/canary"), &path("taken"), true),
        rename(root, &path("file"), &path("link/x"), true),
        make_directory(root, &path("link/new")),
        pack(root, Some(&path("link")), Vec::new()),
    ] {
        assert!(matches!(result, Err(FileError::NotDirectory { .. })), "{result:?}");
    }
    put(&fixture, "file", "mine").unwrap(); // the link itself is replaced
    assert!(fs::symlink_metadata(fixture.at("file")).unwrap().is_file());
    remove(root, &path("link"), true).unwrap(); // the link itself is removed
    fixture.assert_outside_untouched();
}

#[test]
fn entries_are_told_as_they_are_and_in_order() {
    let fixture = Fixture::new();
    fixture.file("d/file", "abc");
    symlink("/etc/passwd", fixture.at("d/link")).unwrap();
    mkfifo(&fixture.at("d/fifo"), Mode::S_IRWXU).unwrap();
    fs::create_dir(fixture.at("d/sub")).unwrap();
    fs::write(fixture.at("d/bad\nname"), "").unwrap();
    let root = fixture.root();
    let listing = list(root.as_fd(), Some(&path("d")), &FilePage::default()).unwrap();
    let told: Vec<_> = listing.entries.iter().map(|each| (each.path.as_str(), each.kind)).collect();
    let expected = [
        ("d/fifo", FileKind::Other),
        ("d/file", FileKind::File),
        ("d/link", FileKind::SymbolicLink),
        ("d/sub", FileKind::Directory),
    ];
    assert_eq!((told.as_slice(), listing.truncated), (expected.as_slice(), true));
    assert_eq!(listing.entries[1].size, 3);
    assert_eq!(listing.entries[2].target.as_deref(), Some("/etc/passwd"));
    assert!(matches!(open(root.as_fd(), &path("d/fifo")), Err(FileError::NotRegular { .. })));
    assert!(matches!(open(root.as_fd(), &path("d")), Err(FileError::IsDirectory { .. })));
    assert!(matches!(look(root.as_fd(), &path("no")), Err(FileError::NotFound { .. })));
}

#[test]
fn moving_overwrites_only_when_it_was_asked_to() {
    let fixture = Fixture::new();
    fixture.file("a", "a");
    fixture.file("b", "b");
    let root = fixture.root();
    let moved = rename(root.as_fd(), &path("a"), &path("b"), false);
    assert!(matches!(moved, Err(FileError::Occupied { .. })), "{moved:?}");
    rename(root.as_fd(), &path("a"), &path("b"), true).unwrap();
    assert_eq!(fs::read_to_string(fixture.at("b")).unwrap(), "a");
    rename(root.as_fd(), &path("b"), &path("new/place"), false).unwrap();
    let within = rename(root.as_fd(), &path("new"), &path("new/within"), false);
    assert!(matches!(within, Err(FileError::Rooted { .. })), "{within:?}");
    let gone = rename(root.as_fd(), &path("b"), &path("c"), false);
    assert!(matches!(gone, Err(FileError::NotFound { .. })), "{gone:?}");
}

#[test]
fn a_full_directory_goes_only_when_all_of_it_is_to_go() {
    let fixture = Fixture::new();
    fixture.file("d/e/f", "");
    symlink(fixture.outside(), fixture.at("d/e/link")).unwrap();
    let root = fixture.root();
    let kept = remove(root.as_fd(), &path("d"), false);
    assert!(matches!(kept, Err(FileError::NotEmpty { .. })), "{kept:?}");
    remove(root.as_fd(), &path("d"), true).unwrap();
    assert!(!fixture.at("d").exists());
    fixture.assert_outside_untouched();
}

#[test]
fn a_payload_that_swaps_directories_for_links_gains_nothing() {
    let fixture = Fixture::in_memory();
    fixture.file("d/canary", "benign");
    symlink(fixture.outside(), fixture.at("e")).unwrap();
    let (one, other) = (fixture.at("d"), fixture.at("e"));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let flags = RenameFlags::RENAME_EXCHANGE;
                renameat2(AT_FDCWD, &one, AT_FDCWD, &other, flags).unwrap();
            }
        });
        let root = fixture.root();
        for round in 0..3000 {
            if let Ok(mut file) = open(root.as_fd(), &path("d/canary")) {
                let mut text = String::new();
                file.read_to_string(&mut text).unwrap();
                assert_eq!(text, "benign");
            }
            match round % 4 {
                0 => drop(put(&fixture, "d/canary", "benign")),
                1 => drop(remove(root.as_fd(), &path("d/new"), true)),
                2 => drop(make_directory(root.as_fd(), &path("d/new/x"))),
                _ => drop(unpack_into(
                    &fixture,
                    &archive(&[("d/canary", EntryType::Regular, "", "benign", 0o644)]),
                )),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    fixture.assert_outside_untouched();
}

#[test]
fn a_tree_that_was_packed_unpacks_to_the_same_tree() {
    let fixture = Fixture::new();
    fixture.file("d/file", "content");
    fixture.file(&format!("{}/{}", "deep".repeat(30), "name".repeat(30)), "long path");
    fs::write(fixture.at("run"), "#!").unwrap();
    fixture.set_mode("run", 0o755);
    symlink("d/file", fixture.at("link")).unwrap();
    mkfifo(&fixture.at("fifo"), Mode::S_IRWXU).unwrap();
    let mut bytes = Vec::new();
    pack(fixture.root().as_fd(), None, &mut bytes).unwrap();
    let other = Fixture::new();
    let report = unpack_into(&other, &bytes).unwrap();
    assert_eq!((report.files, report.links, report.skipped_count), (3, 1, 0), "{report:?}");
    assert_eq!(fs::read_to_string(other.at("d/file")).unwrap(), "content");
    assert_eq!(fs::read_link(other.at("link")).unwrap().to_str(), Some("d/file"));
    assert_eq!(fs::metadata(other.at("run")).unwrap().permissions().mode() & 0o777, 0o755);
    assert!(!other.at("fifo").exists());
}

#[test]
fn an_archive_that_other_tools_made_is_unpacked() {
    let fixture = Fixture::new();
    let source = Fixture::new();
    let long = format!("{}/{}", "p".repeat(200), "ü".repeat(100));
    source.file(&long, "utf-8 and long");
    for format in ["gnu", "posix", "ustar"] {
        let output = std::process::Command::new("tar")
            .args(["--format", format, "-cf", "-", "-C"])
            .arg(source.at(""))
            .arg(".")
            .output()
            .unwrap();
        let name = fixture.at(&long);
        drop(fs::remove_file(&name));
        let report = unpack_into(&fixture, &output.stdout);
        if format != "ustar" {
            assert_eq!(report.unwrap().files, 1, "{format}");
            assert_eq!(fs::read_to_string(&name).unwrap(), "utf-8 and long", "{format}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_bytes_of_an_archive_reach_outside_or_make_the_reader_panic(
        mut bytes in Just(archive(&[
            ("a/b", EntryType::Regular, "", "content", 0o644),
            ("l", EntryType::Symlink, "a", "", 0o777),
            ("d", EntryType::Directory, "", "", 0o755),
        ])),
        changes in prop::collection::vec((0usize..2048, any::<u8>()), 0..12),
        repair in any::<bool>(),
    ) {
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        if repair {
            let mut header = Header::from_byte_slice(&bytes[..512]).clone();
            header.set_cksum();
            bytes[..512].copy_from_slice(header.as_bytes());
        }
        let fixture = Fixture::in_memory();
        drop(unpack_into(&fixture, &bytes));
        fixture.assert_outside_untouched();
    }
}

#[test]
fn what_is_written_is_what_is_read() {
    let fixture = Fixture::new();
    put(&fixture, "x", "").unwrap();
    let root = fixture.root();
    let mut file = Replacement::begin(root.as_fd(), &path("x"), false).unwrap();
    for part in ["one ", "two"] {
        file.write(part.as_bytes()).unwrap();
    }
    file.finish().unwrap();
    let mut text = String::new();
    open(root.as_fd(), &path("x")).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "one two");
}

#[test]
fn an_archive_that_breaks_off_does_not_look_whole() {
    let fixture = Fixture::new();
    fixture.file("a", "content");
    fs::create_dir_all(fixture.at(&"d/".repeat(70))).unwrap();
    let mut bytes = Vec::new();
    pack(fixture.root().as_fd(), None, &mut bytes).unwrap_err();
    assert!(!bytes.is_empty() && !bytes.ends_with(&[0; 1024]));
}

#[test]
fn a_tree_as_deep_as_paths_can_be_is_packed_and_a_deeper_one_is_told_by_its_path() {
    let fixture = Fixture::new();
    fs::create_dir_all(fixture.at(&"d/".repeat(64))).unwrap();
    let root = fixture.root();
    assert_eq!(obstacles(root.as_fd()).unwrap(), Vec::<String>::new());
    pack(root.as_fd(), None, Vec::new()).unwrap();
    fs::create_dir_all(fixture.at(&"d/".repeat(65))).unwrap();
    let told = obstacles(root.as_fd()).unwrap();
    let refused = pack(root.as_fd(), None, Vec::new()).unwrap_err().to_string();
    for words in [&told.concat(), &refused] {
        assert!(words.starts_with("\"d/d/") && words.contains("64"), "{words}");
    }
}

#[test]
fn what_was_not_finished_is_removed_and_nothing_else() {
    let fixture = Fixture::new();
    let half = format!(".replacement-{:032x}", 7);
    fixture.file(&format!("a/b/{half}"), "half");
    symlink(fixture.canary(), fixture.at(&half)).unwrap();
    fixture.file(&format!("c/{half}/kept"), "a directory of that name is somebody's");
    fixture.file(".replacement-mine", "kept");
    symlink(fixture.outside(), fixture.at("link")).unwrap();
    fs::write(fixture.outside().join(&half), "").unwrap();
    assert_eq!(remove_unfinished(fixture.root().as_fd()).unwrap(), 2);
    assert_eq!(fs::read_dir(fixture.at("a/b")).unwrap().count(), 0);
    assert!(fixture.at(&format!("c/{half}/kept")).exists());
    assert!(fixture.at(".replacement-mine").exists());
    fs::remove_file(fixture.outside().join(&half)).unwrap();
    fixture.assert_outside_untouched();
}

#[test]
fn what_can_not_be_packed_is_named_and_never_left_out_in_silence() {
    let fixture = as_ordinary_user(|| {
        let fixture = Fixture::new();
        fixture.file("d/one", "content");
        fs::hard_link(fixture.at("d/one"), fixture.at("two")).unwrap();
        fixture.file("fine", "");
        let root = fixture.root();
        assert_eq!(obstacles(root.as_fd()).unwrap(), Vec::<String>::new());
        fixture.set_mode("two", 0o000); // a second name keeps its permissions from being given back
        fs::write(fixture.at("bad\nname"), "").unwrap();
        let told = obstacles(root.as_fd()).unwrap();
        assert_eq!(told.len(), 3, "{told:?}");
        for words in ["\"bad\\nname\"", "\"d/one\"", "\"two\""] {
            assert!(told.iter().any(|each| each.starts_with(words)), "{words} in {told:?}");
        }
        let mut bytes = Vec::new();
        pack(root.as_fd(), None, &mut bytes).unwrap_err();
        assert!(!bytes.ends_with(&[0; 1024]), "it must not look whole");
        fixture
    });
    fixture.assert_outside_untouched();
}

#[test]
fn pages_of_a_directory_have_every_name_once_and_in_order() {
    let fixture = Fixture::new();
    let names: Vec<String> = (0..25).map(|number| format!("{number:02}")).collect();
    names.iter().rev().for_each(|name| fixture.file(name, ""));
    let root = fixture.root();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = FilePage { after: after.take(), limit: 10 };
        let listing = list(root.as_fd(), None, &page).unwrap();
        assert!(listing.entries.len() <= 10);
        assert_eq!(listing.truncated, listing.next.is_some());
        seen.extend(listing.entries.into_iter().map(|entry| entry.path));
        after = listing.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, names);
}

#[test]
fn what_nobody_wants_removed_any_more_stays() {
    let fixture = Fixture::new();
    fixture.file("d/e/file", "");
    let root = fixture.root();
    let looks = std::cell::Cell::new(0);
    let is_wanted = || {
        looks.set(looks.get() + 1);
        looks.get() < 2
    };
    let cut = remove_while(root.as_fd(), &path("d"), true, &is_wanted);
    assert!(matches!(cut, Err(FileError::TooMuch(_))), "{cut:?}");
    assert!(fixture.at("d/e/file").exists());
    remove_while(root.as_fd(), &path("d"), true, &|| true).unwrap();
    assert!(!fixture.at("d").exists());
}
