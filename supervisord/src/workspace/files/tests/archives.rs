//! What archives may not do.

use super::*;

#[test]
fn hostile_archives_change_nothing_outside_and_say_what_was_skipped() {
    use EntryType::{Char, Directory, Fifo, Link, Regular, Symlink};
    for (entries, skipped) in [
        (vec![("../x", Regular, "", "1", 0o644)], 1),
        (vec![("/tmp/x", Regular, "", "1", 0o644)], 1),
        (vec![("a/../../x", Regular, "", "1", 0o644)], 1),
        (vec![("", Regular, "", "1", 0o644)], 1),
        (vec![("d", Symlink, "/root", "", 0o777), ("d/x", Regular, "", "1", 0o644)], 1),
        (vec![("h", Link, "/etc/passwd", "", 0o644)], 1),
        (vec![("s", Symlink, "../../etc", "", 0o777), ("h", Link, "s/passwd", "", 0o644)], 2),
        (vec![("n", Char, "", "", 0o666)], 1),
        (vec![("p", Fifo, "", "", 0o666)], 1),
        (vec![("a", Regular, "", "1", 0o644), ("a/b", Regular, "", "1", 0o644)], 1),
        (vec![("l", Symlink, "d", "", 0o777), ("l/x", Regular, "", "1", 0o644)], 1),
        (vec![(".", Directory, "", "", 0o777), ("..", Directory, "", "", 0o777)], 1),
    ] {
        let fixture = Fixture::new();
        let report = unpack_into(&fixture, &archive(&entries)).unwrap();
        assert_eq!(report.skipped_count, skipped, "{entries:?} {report:?}");
        assert_eq!(report.skipped.len() as u64, skipped);
        fixture.assert_outside_untouched();
    }
}

#[test]
fn a_hard_link_of_an_archive_is_a_copy_of_a_file_that_it_brought() {
    use EntryType::{Directory, Link, Regular, Symlink};
    let fixture = Fixture::new();
    fixture.file("mine", "not of the archive");
    let entries = [
        ("d/", Directory, "", "", 0o755),
        ("d/run", Regular, "", "#!", 0o755),
        ("./e/run", Link, "./d/run", "", 0o644),
        ("again", Link, "e/run", "", 0o644),
        ("d/run", Link, "d/run", "", 0o644),
        ("s", Symlink, "d/run", "", 0o777),
        ("no1", Link, "mine", "", 0o644),
        ("no2", Link, "s", "", 0o644),
        ("no3", Link, "d", "", 0o644),
        ("no4", Link, "../outside/canary", "", 0o644),
        ("no5", Link, "gone", "", 0o644),
        ("mine/no6", Link, "again", "", 0o644),
    ];
    let report = unpack_into(&fixture, &archive(&entries)).unwrap();
    let skipped: Vec<_> = report.skipped.iter().map(|each| each.path.as_str()).collect();
    assert_eq!(skipped, ["no1", "no2", "no3", "no4", "no5", "mine/no6"], "{report:?}");
    assert_eq!((report.files, report.bytes), (4, 8), "{report:?}");
    for name in ["d/run", "e/run", "again"] {
        assert_eq!(fs::read_to_string(fixture.at(name)).unwrap(), "#!", "{name}");
        let found = fs::metadata(fixture.at(name)).unwrap();
        assert_eq!((found.permissions().mode() & 0o777, found.nlink()), (0o755, 1), "{name}");
    }
    fixture.assert_outside_untouched();
    // What a link takes of the workspace counts as what a file takes.
    let large = "x".repeat(600);
    let twice = archive(&[("a", Regular, "", &large, 0o644), ("b", Link, "a", "", 0o644)]);
    let bounds = UnpackBounds { entries: 10, bytes: 1000 };
    let refused = unpack(fixture.root().as_fd(), twice.as_slice(), bounds);
    assert!(matches!(refused, Err(FileError::TooMuch(_))), "{refused:?}");
    assert!(!fixture.at("b").exists());
}

#[test]
fn what_is_no_file_and_has_a_size_hides_nothing_behind_it() {
    use EntryType::{Block, Char, Directory, Fifo, Link, Regular, Symlink};
    let hidden = archive(&[("hidden", Regular, "", "x", 0o644)]);
    let hidden = std::str::from_utf8(&hidden[..1024]).unwrap();
    for kind in [Directory, Symlink, Link, Char, Block, Fifo] {
        let fixture = Fixture::new();
        let bytes = archive(&[("b", kind, "a", hidden, 0o644), ("c", Regular, "", "x", 0o644)]);
        let refused = unpack_into(&fixture, &bytes).unwrap_err();
        assert!(matches!(&refused, FileError::Archive(why) if why.contains(" b ")), "{refused}");
        assert!(!fixture.at("c").exists());
    }
}

#[test]
fn modes_of_an_archive_are_two_and_a_name_twice_is_the_last() {
    let fixture = Fixture::new();
    let entries = [
        ("su", EntryType::Regular, "", "x", 0o6755),
        ("a", EntryType::Regular, "", "1", 0o000),
        ("a", EntryType::Symlink, "su", "", 0o777),
        ("./a", EntryType::Regular, "", "2", 0o644),
    ];
    let report = unpack_into(&fixture, &archive(&entries)).unwrap();
    assert_eq!((report.files, report.links, report.skipped_count), (3, 1, 0), "{report:?}");
    assert_eq!(fs::metadata(fixture.at("su")).unwrap().permissions().mode() & 0o7777, 0o755);
    assert_eq!(fs::read_to_string(fixture.at("a")).unwrap(), "2");
    assert_eq!(fs::read_to_string(fixture.at("su")).unwrap(), "x");
}

#[test]
fn an_archive_is_held_to_its_bounds_before_it_is_written() {
    let fixture = Fixture::new();
    let large = "x".repeat(4096);
    let bytes = archive(&[("a", EntryType::Regular, "", &large, 0o644)]);
    let bounds = UnpackBounds { entries: 10, bytes: 4095 };
    let refused = unpack(fixture.root().as_fd(), bytes.as_slice(), bounds);
    assert!(matches!(refused, Err(FileError::TooMuch(_))), "{refused:?}");
    assert!(!fixture.at("a").exists());
    let many = archive(&[("a", EntryType::Directory, "", "", 0o755); 11]);
    let refused = unpack(fixture.root().as_fd(), many.as_slice(), bounds);
    assert!(matches!(refused, Err(FileError::TooMuch(_))), "{refused:?}");
    // A long name of a terabyte is not read.
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(1 << 40);
    header.set_cksum();
    let endless = header.as_bytes().chain(std::io::repeat(b'a'));
    let refused = unpack(fixture.root().as_fd(), endless, BOUNDS);
    assert!(matches!(refused, Err(FileError::TooMuch(_))), "{refused:?}");
}

#[test]
fn an_archive_that_breaks_off_in_a_file_leaves_what_stood_there() {
    let fixture = Fixture::new();
    put(&fixture, "d/a", "before").unwrap();
    let large = "x".repeat(CHUNKS);
    let whole = archive(&[
        ("b", EntryType::Regular, "", "whole", 0o644),
        ("d/a", EntryType::Regular, "", &large, 0o644),
    ]);
    // Behind its header, within its first and its last piece, and a byte before its end.
    for length in [1536, 1537, 1536 + CHUNKS / 2, 1536 + CHUNKS - 1] {
        let cut = unpack_into(&fixture, whole.get(..length).unwrap()).unwrap_err();
        assert!(cut.to_string().contains("breaks off in d/a"), "{cut}");
        assert_eq!(fs::read_to_string(fixture.at("d/a")).unwrap(), "before", "{length}");
        assert_eq!(fs::read_dir(fixture.at("d")).unwrap().count(), 1, "half of it stayed");
        assert_eq!(fs::read_to_string(fixture.at("b")).unwrap(), "whole");
    }
    unpack_into(&fixture, &whole).unwrap();
    assert_eq!(fs::read_to_string(fixture.at("d/a")).unwrap(), large);
}

/// Some readers take the blocks behind such heads for a map or for fields, others for the next entries.
#[test]
fn what_readers_of_archives_disagree_about_is_not_read_on() {
    use EntryType::{GNUSparse, Regular, XGlobalHeader};
    let hidden = archive(&[("hidden", Regular, "", "x", 0o644)]);
    let hidden = std::str::from_utf8(&hidden[..1024]).unwrap();
    let after = ("after", Regular, "", "x", 0o644);
    let mut sparse = archive(&[("s", GNUSparse, "", "", 0o644), after]);
    sparse[482] = 1; // its map goes on in the next block
    sparse.splice(512..512, [0; 512]);
    sparse.splice(1024..1024, hidden.bytes());
    let mut header = Header::from_byte_slice(&sparse[..512]).clone();
    header.set_size(1024);
    header.set_cksum();
    sparse.splice(..512, header.as_bytes().iter().copied());
    let (named, long) = (
        ("x", EntryType::XHeader, "", "10 path=a\n", 0o644),
        ("L", EntryType::GNULongName, "", "b\0", 0o644),
    );
    let global = |fields| archive(&[("g", XGlobalHeader, "", fields, 0o644), after]);
    for (bytes, why) in [
        (sparse, "a sparse file in an old form"),
        (archive(&[("x", EntryType::new(b'X'), "", "13 size=1024\n", 0o644), after]), "of Solaris"),
        (global("13 size=1024\n"), "one name or size"),
        (global("10 path=a\n"), "one name or size"),
        (global("14 linkpath=a\n"), "one name or size"),
        (global("20 GNU.sparse.size=\n"), "one name or size"),
        (archive(&[named, long, after]), "two names"),
        (archive(&[long, named, after]), "two names"),
        (archive(&[named, named, after]), "two names"),
        (archive(&[("d/", Regular, "", "a member's head", 0o644), after]), "gives d a size"),
    ] {
        let fixture = Fixture::new();
        let refused = unpack_into(&fixture, &bytes).unwrap_err();
        assert!(matches!(&refused, FileError::Archive(said) if said.contains(why)), "{refused}");
        assert_eq!(fs::read_dir(fixture.at(".")).unwrap().count(), 0, "{why}");
    }
    // A directory as it was marked before there was a kind for it.
    let fixture = Fixture::new();
    unpack_into(&fixture, &archive(&[("d/", Regular, "", "", 0o644), after])).unwrap();
    assert!(fixture.at("d").is_dir() && fixture.at("after").is_file());
    // What git writes, and a sparse file whose map is in its head.
    let fixture = Fixture::new();
    unpack_into(&fixture, &global("13 comment=a\n")).unwrap();
    assert!(fixture.at("after").exists());
    let report =
        unpack_into(&fixture, &archive(&[("s", GNUSparse, "", "x", 0o644), after])).unwrap();
    assert_eq!((report.files, report.skipped_count), (1, 1), "{report:?}");
}
