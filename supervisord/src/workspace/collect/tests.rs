use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags, renameat2};
use nix::sys::stat::{Mode, mknod};
use nix::unistd::mkfifo;

use super::*;
use crate::workspace::open_artifact;
use crate::workspace::testing::{Fixture, as_ordinary_user, globs};

const ROOM: CollectLimits<'static> =
    CollectLimits { bytes: 1 << 20, count: 1000, room: Space::Bytes(1 << 30) };

fn collected(fixture: &Fixture, patterns: &[&str], limits: CollectLimits<'_>) -> ArtifactList {
    let (root, store) = (fixture.root(), fixture.store());
    collect(root.as_fd(), &globs(patterns), store.as_fd(), limits).unwrap().list
}

fn kept(list: &ArtifactList) -> Vec<&str> {
    list.artifacts.iter().map(|artifact| artifact.path.as_str()).collect()
}

fn refused(list: &ArtifactList) -> Vec<(&str, &str)> {
    list.refused.iter().map(|r| (r.path.as_str(), r.reason.as_str())).collect()
}

#[test]
fn what_the_globs_match_is_kept_with_size_digest_and_media_type() {
    let fixture = Fixture::new();
    fixture.file("out/table.csv", "a,b\n1,2\n");
    fixture.file("out/deep/er/picture", b"\x89PNG\r\n\x1a\n");
    fixture.file("other/table.csv", "no");
    let list = collected(&fixture, &["out/*.csv", "out/**", "**/picture"], ROOM);
    assert_eq!(kept(&list), ["out/deep/er/picture", "out/table.csv"]);
    assert_eq!((list.refused.len(), list.truncated), (0, false));
    let table = &list.artifacts[1];
    assert_eq!((table.size, table.media_type.as_str()), (8, "text/csv"));
    let digest = "492d5ea496056f1a6a6592241032fab764c321596317930b4fa0e1e8bc3b7470";
    assert_eq!(table.sha256, digest);
    assert_eq!(list.artifacts[0].media_type, "image/png");
    let bytes = std::io::read_to_string(open_artifact(fixture.store().as_fd(), 1).unwrap());
    assert_eq!(bytes.unwrap(), "a,b\n1,2\n");
}

#[test]
fn the_same_workspace_gives_the_same_list() {
    let fixture = Fixture::new();
    for path in ["b", "a/z", "a-b", "a/b/c", "B", "é", "a/b-c"] {
        fixture.file(path, "");
    }
    let list = collected(&fixture, &["**"], ROOM);
    assert_eq!(kept(&list), ["B", "a/b/c", "a/b-c", "a/z", "a-b", "b", "é"]);
}

#[test]
fn a_workspace_without_globs_is_not_even_looked_into() {
    let fixture = Fixture::new();
    fixture.file("a", "x");
    let (root, store) = (fixture.root(), fixture.store());
    let collected = collect(root.as_fd(), &globs(&[]), store.as_fd(), ROOM).unwrap();
    assert!(collected.list.artifacts.is_empty() && !collected.list.truncated);
    assert!(collected.used_bytes > 0 && collected.used_inodes > 0);
}

#[test]
fn a_symbolic_link_is_refused_wherever_it_leads() {
    let fixture = Fixture::new();
    let (canary, outside) = (fixture.canary(), fixture.outside());
    fixture.file("out/sub/plain", "plain");
    for (name, target) in [
        ("abs", canary.to_str().unwrap()),
        ("rel", "../../../../../../../../root/canary"),
        ("fd", "/proc/self/fd/0"),
        ("cwd", "/proc/1/cwd/etc/shadow"),
        ("loop", "loop"),
        ("chain", "abs"),
        ("dir", outside.to_str().unwrap()),
        ("self", "/proc/self/environ"),
        ("near", "sub/plain"),
        ("sub/up", outside.to_str().unwrap()),
    ] {
        symlink(target, fixture.at("out").join(name)).unwrap();
    }
    let list = collected(&fixture, &["out/**"], ROOM);
    assert_eq!(kept(&list), ["out/sub/plain"]);
    assert_eq!(list.refused.len(), 10);
    assert!(refused(&list).iter().all(|(_, reason)| *reason == "symbolic_link"));
    assert!(!list.truncated);
}

#[test]
fn a_file_behind_a_linked_directory_is_never_reached() {
    let fixture = Fixture::new();
    fs::create_dir_all(fixture.at("out/sub")).unwrap();
    symlink(fixture.outside(), fixture.at("out/dir")).unwrap();
    symlink(fixture.outside(), fixture.at("out/sub/up")).unwrap();
    let list = collected(&fixture, &["out/dir/canary", "out/sub/up/canary", "**/canary"], ROOM);
    assert!(list.artifacts.is_empty() && list.refused.is_empty());
    assert_eq!(fixture.stored(), 0);
}

#[test]
fn a_file_with_a_second_name_is_refused_under_both() {
    let fixture = Fixture::new();
    fixture.file("out/x", "1");
    fs::hard_link(fixture.at("out/x"), fixture.at("out/y")).unwrap();
    fixture.file("hidden", "1");
    fs::hard_link(fixture.at("hidden"), fixture.at("out/z")).unwrap();
    let list = collected(&fixture, &["out/*"], ROOM);
    let expected = [("out/x", "hard_link"), ("out/y", "hard_link"), ("out/z", "hard_link")];
    assert_eq!(refused(&list), expected);
    assert!(list.artifacts.is_empty());
}

#[test]
fn a_fifo_a_socket_a_device_and_a_directory_are_refused_without_waiting() {
    let fixture = Fixture::new();
    fs::create_dir_all(fixture.at("out/adir")).unwrap();
    mkfifo(&fixture.at("out/fifo"), Mode::S_IRWXU).unwrap();
    let socket = UnixListener::bind(fixture.at("out/sock")).unwrap();
    // Device 0:0 is the one that nobody needs a capability for.
    mknod(&fixture.at("out/null"), SFlag::S_IFCHR, Mode::S_IRWXU, 0).unwrap();
    let start = Instant::now();
    let list = collected(&fixture, &["out/*"], ROOM);
    assert!(start.elapsed() < Duration::from_secs(1));
    drop(socket);
    let reason = "not_regular_file";
    let expected = ["out/adir", "out/fifo", "out/null", "out/sock"].map(|path| (path, reason));
    assert_eq!(refused(&list), expected);
}

#[test]
fn a_sparse_file_of_a_tebibyte_is_refused_before_a_byte_is_read() {
    let fixture = Fixture::new();
    for name in ["out/a-sparse", "out/far"] {
        fixture.file(name, "");
        fs::OpenOptions::new()
            .write(true)
            .open(fixture.at(name))
            .unwrap()
            .set_len(1 << 40)
            .unwrap();
    }
    fixture.file("out/b", "small");
    let start = Instant::now();
    let list = collected(&fixture, &["out/*"], ROOM);
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!(kept(&list), ["out/b"]);
    let expected = [("out/a-sparse", "artifact_bytes"), ("out/far", "artifact_bytes")];
    assert_eq!(refused(&list), expected);
    assert!(list.truncated);
    assert_eq!(fixture.stored(), 1);
}

#[test]
fn what_the_disk_has_no_room_for_is_left_out_by_name_and_without_any_room_so_is_an_empty_file() {
    let fixture = Fixture::new();
    for (name, size) in [("a", 4096), ("b", 4097), ("c", 0)] {
        fixture.file(name, vec![b'x'; size]);
    }
    let block = CollectLimits { room: Space::Bytes(4096), ..ROOM };
    let list = collected(&fixture, &["*"], block);
    assert_eq!((kept(&list), refused(&list)), (vec!["a", "c"], vec![("b", "no_room")]));
    assert!(list.truncated);

    fixture.empty_store();
    let list = collected(&fixture, &["*"], CollectLimits { room: Space::Bytes(0), ..ROOM });
    assert_eq!(kept(&list), [""; 0]);
    assert_eq!(refused(&list), ["a", "b", "c"].map(|name| (name, "no_room")));
}

#[test]
fn the_limits_on_bytes_and_count_hold_to_the_byte() {
    let fixture = Fixture::new();
    for (name, size) in [("a", 4), ("b", 7), ("c", 6), ("d", 0), ("e", 1)] {
        fixture.file(name, vec![b'x'; size]);
    }
    let list = collected(&fixture, &["*"], CollectLimits { bytes: 10, ..ROOM });
    assert_eq!(kept(&list), ["a", "c", "d"]);
    assert_eq!(refused(&list), [("b", "artifact_bytes"), ("e", "artifact_bytes")]);
    assert!(list.truncated);

    fixture.empty_store();
    let list = collected(&fixture, &["*"], CollectLimits { count: 4, ..ROOM });
    assert_eq!(kept(&list), ["a", "b", "c", "d"]);
    assert_eq!(refused(&list), [("e", "artifact_count")]);
    assert!(list.truncated);
    assert_eq!(fixture.stored(), 4);
}

#[test]
fn at_most_a_hundred_refusals_are_listed_and_the_rest_is_admitted() {
    let fixture = Fixture::new();
    for name in 0..101 {
        symlink("x", fixture.at(&format!("link{name:03}"))).unwrap();
    }
    fixture.file("z", "kept all the same");
    let list = collected(&fixture, &["*"], ROOM);
    assert_eq!((list.refused.len(), kept(&list), list.truncated), (100, vec!["z"], true));
    fs::remove_file(fixture.at("z")).unwrap();
    let none = CollectLimits { count: 0, ..ROOM };
    fixture.empty_store();
    let list = collected(&fixture, &["*"], none);
    assert_eq!((list.refused.len(), list.artifacts.len(), list.truncated), (100, 0, true));
}

#[test]
fn a_name_that_cannot_be_written_down_is_refused_and_replaced() {
    let fixture = Fixture::new();
    for name in [&b"new\nline"[..], b"bell\x07", b"latin\xe9", b"dir\x1b[2J/inside"] {
        let path = fixture.at("out").join(std::ffi::OsStr::from_bytes(name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    let list = collected(&fixture, &["**"], ROOM);
    assert!(list.artifacts.is_empty());
    let expected = [
        ("out/bell\u{fffd}", "invalid_name"),
        ("out/dir\u{fffd}[2J", "invalid_name"),
        ("out/latin\u{fffd}", "invalid_name"),
        ("out/new\u{fffd}line", "invalid_name"),
    ];
    assert_eq!(refused(&list), expected);
    assert!(!list.truncated);
}

#[test]
fn a_directory_deeper_than_the_bound_is_not_entered() {
    let fixture = Fixture::new();
    let levels = |count: usize| "d/".repeat(count);
    fixture.file(&(levels(63) + "bottom"), "kept");
    fixture.file(&(levels(70) + "bottom"), "too deep");
    let list = collected(&fixture, &["**/bottom"], ROOM);
    assert_eq!(kept(&list), [levels(63) + "bottom"]);
    assert_eq!(refused(&list), [(levels(64).trim_end_matches('/'), "too_deep")]);
    assert!(list.truncated);
}

#[test]
fn a_path_longer_than_the_bound_is_too_deep() {
    let fixture = Fixture::new();
    let name = "n".repeat(255);
    let mut open: OwnedFd = fixture.root().into();
    for _ in 0..17 {
        nix::sys::stat::mkdirat(&open, name.as_str(), Mode::S_IRWXU).unwrap();
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY;
        let next = beneath::open(open.as_fd(), name.as_str(), flags, Mode::empty()).unwrap();
        open = next;
    }
    let list = collected(&fixture, &["**"], ROOM);
    assert_eq!(list.refused.len(), 1);
    assert_eq!((list.refused[0].reason.as_str(), list.truncated), ("too_deep", true));
    assert!(list.refused[0].path.len() > 4096);
}

#[test]
fn a_mode_of_000_hides_nothing_from_the_collector() {
    let fixture = as_ordinary_user(|| {
        let fixture = Fixture::new();
        fixture.file("shut/er/a", "a");
        fixture.file("unsearchable/b", "b");
        fixture.file("c", "c");
        for path in ["shut/er/a", "shut/er", "shut", "c"] {
            fixture.set_mode(path, 0o000);
        }
        fixture.set_mode("unsearchable", 0o600);
        let list = collected(&fixture, &["**"], ROOM);
        assert_eq!(kept(&list), ["c", "shut/er/a", "unsearchable/b"]);
        assert!(list.refused.is_empty());
        fixture
    });
    assert_eq!(fixture.stored(), 3);
}

#[test]
fn a_root_of_mode_000_is_opened_again_through_its_descriptor() {
    as_ordinary_user(|| {
        for flags in [OFlag::O_RDONLY, OFlag::O_PATH] {
            let fixture = Fixture::new();
            fixture.file("a", "a");
            let mut root = fs::OpenOptions::new();
            let root = root.read(true).custom_flags(flags.bits()).open(fixture.at("")).unwrap();
            fixture.set_mode("", 0o000);
            let store = fixture.store();
            let list = collect(root.as_fd(), &globs(&["*"]), store.as_fd(), ROOM).unwrap().list;
            assert_eq!((kept(&list), refused(&list)), (vec!["a"], vec![]), "{flags:?}");
        }
    });
}

#[test]
fn a_root_that_cannot_be_walked_is_refused_as_a_whole() {
    let fixture = Fixture::new();
    fixture.file("a", "a");
    let root = File::open(fixture.at("a")).unwrap();
    let store = fixture.store();
    let list = collect(root.as_fd(), &globs(&["*"]), store.as_fd(), ROOM).unwrap().list;
    assert_eq!((kept(&list), refused(&list)), (vec![], vec![(".", "changed")]));
}

#[test]
fn a_file_of_somebody_else_is_not_kept() {
    let fixture = Fixture::new();
    fixture.file("a", "a");
    let (root, store) = (fixture.root(), fixture.store());
    let collection = Collection::new(store.as_fd(), ROOM);
    let stat = beneath::stat(root.as_fd(), "a").unwrap();
    assert_eq!(collection.check(&stat, stat.st_uid), Ok(1));
    assert_eq!(collection.check(&stat, stat.st_uid + 1), Err(Refusal::Unreadable));
}

#[test]
fn a_store_that_is_not_empty_ends_collecting_with_an_error_that_says_where() {
    let fixture = Fixture::new();
    fixture.file("a", "a");
    fs::write(fixture.in_store("0"), "old").unwrap();
    let (root, store) = (fixture.root(), fixture.store());
    let error = collect(root.as_fd(), &globs(&["*"]), store.as_fd(), ROOM).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(error.to_string(), "creating artifact 0 failed");
    assert!(std::error::Error::source(&error).is_some());
}

/// Ends the other thread even if this one ends by a failed assertion.
struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// AR-02. Nothing runs while the daemon collects; this is what happens if something does.
#[test]
fn swapping_names_while_collecting_never_yields_what_is_outside() {
    const ROUNDS: usize = 10_000;
    const PATIENCE: Duration = Duration::from_secs(20);
    let fixture = Fixture::in_memory();
    fixture.file("out/a", "benign");
    fixture.file("out/d/canary", "benign");
    symlink(fixture.canary(), fixture.at("out/b")).unwrap();
    symlink(fixture.outside(), fixture.at("out/e")).unwrap();
    let before = fs::metadata(fixture.outside()).unwrap().permissions();
    let swap = |one: &str, other: &str| {
        let (one, other) = (fixture.at(one), fixture.at(other));
        renameat2(AT_FDCWD, &one, AT_FDCWD, &other, RenameFlags::RENAME_EXCHANGE).unwrap();
    };
    let (swapping, started) = (AtomicBool::new(true), Instant::now());
    let (root, store, globs) = (fixture.root(), fixture.store(), globs(&["out/a", "out/d/canary"]));
    let (mut rounds, mut benign) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while swapping.load(Ordering::Relaxed) {
                swap("out/a", "out/b");
                swap("out/d", "out/e");
            }
        });
        let _until_here = StopWhenDropped(&swapping);
        while rounds < ROUNDS && started.elapsed() < PATIENCE {
            rounds += 1;
            let list = collect(root.as_fd(), &globs, store.as_fd(), ROOM).unwrap().list;
            for (index, artifact) in list.artifacts.iter().enumerate() {
                let read = std::io::read_to_string(open_artifact(store.as_fd(), index).unwrap());
                assert_eq!(read.unwrap(), "benign", "{}", artifact.path);
                fs::remove_file(fixture.in_store(&index.to_string())).unwrap();
                benign += 1;
            }
        }
    });
    assert!(rounds >= 2000, "{rounds} rounds in {PATIENCE:?}");
    assert!(benign > 0, "nothing was ever kept, so nothing was tested");
    assert_eq!(fs::metadata(fixture.outside()).unwrap().permissions(), before);
    fixture.assert_outside_untouched();
}
