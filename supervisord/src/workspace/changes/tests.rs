use std::fs;

use super::told::MAX_TOLD;
use super::*;
use crate::elsewhere::NOBODY;
use crate::session::Open;
use crate::workspace::testing::Fixture;

fn watch(fixture: &Fixture) -> Watcher {
    let root = Root::new(NOBODY, Open::of(fixture.root().into(), None));
    let (watcher, changes) = Watcher::start(Arc::new(root)).unwrap();
    assert_eq!(changes, []);
    watcher
}

fn told(watcher: &mut Watcher) -> Vec<(FileChangeKind, String)> {
    let changes = watcher.read().unwrap();
    changes.into_iter().map(|change| (change.kind, change.path)).collect()
}

#[test]
fn what_happens_in_new_and_moved_directories_is_told_by_its_present_path() {
    let fixture = Fixture::new();
    fixture.file("old/file", "");
    let mut watcher = watch(&fixture);
    fs::create_dir_all(fixture.at("new/deep")).unwrap();
    let changes = told(&mut watcher);
    for path in ["new", "new/deep"] {
        assert!(changes.contains(&(FileChangeKind::Created, path.to_owned())), "{changes:?}");
    }
    fs::rename(fixture.at("old"), fixture.at("new/deep/er")).unwrap();
    let moved = watcher.read().unwrap();
    let to = Some("new/deep/er".to_owned());
    let expected = Change { kind: FileChangeKind::Moved, path: "old".to_owned(), to };
    assert!(moved.contains(&expected), "{moved:?}");
    fs::write(fixture.at("new/deep/er/file"), "x").unwrap();
    let path = "new/deep/er/file".to_owned();
    assert!(told(&mut watcher).contains(&(FileChangeKind::Modified, path.clone())));
    fs::remove_file(fixture.at(&path)).unwrap();
    assert!(told(&mut watcher).contains(&(FileChangeKind::Removed, path)));
}

#[test]
fn a_directory_that_moves_too_deep_is_watched_no_further_and_told_as_lost() {
    let fixture = Fixture::new();
    let deep = ["d"; 40].join("/");
    fixture.file(&format!("one/{deep}/file"), "");
    fs::create_dir_all(fixture.at(&format!("two/{deep}"))).unwrap();
    let mut watcher = watch(&fixture);
    let watched = watcher.paths.len();
    let bytes = |watcher: &Watcher| watcher.paths.values().map(String::len).sum::<usize>();
    let to = format!("two/{deep}/one");
    fs::rename(fixture.at("one"), fixture.at(&to)).unwrap();
    let changes = told(&mut watcher);
    assert!(changes.contains(&(FileChangeKind::Lost, to.clone())), "{changes:?}");
    assert!(changes.contains(&(FileChangeKind::Moved, "one".to_owned())), "{changes:?}");
    assert!(watcher.paths.len() < watched);
    for path in watcher.paths.values().filter(|path| !path.is_empty()) {
        assert!(WorkspacePath::try_from(path.as_str()).is_ok(), "{path}");
    }
    assert_eq!(watcher.path_bytes, bytes(&watcher));
    fs::rename(fixture.at(&to), fixture.at("back")).unwrap();
    told(&mut watcher);
    fs::write(fixture.at("back/file"), "").unwrap();
    let path = "back/file".to_owned();
    assert!(told(&mut watcher).contains(&(FileChangeKind::Created, path)));
    assert_eq!(watcher.path_bytes, bytes(&watcher));
    fs::remove_dir_all(fixture.at("two")).unwrap();
    told(&mut watcher);
    assert_eq!(watcher.path_bytes, bytes(&watcher));
}

#[test]
fn paths_have_room_for_so_many_bytes_and_what_has_none_is_told_as_lost() {
    let fixture = Fixture::new();
    fixture.file("a/b/file", "");
    let mut watcher = watch(&fixture);
    watcher.path_bytes += MAX_PATHS - 10; // as if others were watched
    fs::create_dir(fixture.at("larger_than_there_is_room_for")).unwrap();
    let path = "larger_than_there_is_room_for".to_owned();
    assert!(told(&mut watcher).contains(&(FileChangeKind::Lost, path.clone())));
    fs::rename(fixture.at("a"), fixture.at(&format!("{path}2"))).unwrap();
    assert!(told(&mut watcher).contains(&(FileChangeKind::Lost, format!("{path}2"))));
    assert_eq!(watcher.path_bytes, MAX_PATHS - 10);
}

#[test]
fn a_look_tells_so_many_bytes_at_the_most() {
    let mut told = Told::default();
    for number in 0..100_000 {
        told.tell(FileChangeKind::Created, format!("{number:0>100}"));
        assert!(told.bytes <= MAX_TOLD);
    }
    assert_eq!(told.changes.first().map(|first| first.kind), Some(FileChangeKind::Lost));
    assert_eq!(told.changes.last().map(|last| last.path.len()), Some(100));
    assert_eq!(told.bytes, told.changes.iter().map(Change::weight).sum::<usize>());
}

#[test]
fn links_lead_nowhere_and_what_is_outside_is_not_told() {
    let fixture = Fixture::new();
    let outside = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), fixture.at("link")).unwrap();
    let mut watcher = watch(&fixture);
    fs::write(outside.path().join("secret"), "").unwrap();
    assert_eq!(told(&mut watcher), []);
    fixture.file("d/file", "");
    told(&mut watcher);
    // A directory that left the workspace is not watched any more.
    fs::rename(fixture.at("d"), outside.path().join("d")).unwrap();
    assert_eq!(told(&mut watcher), [(FileChangeKind::Removed, "d".to_owned())]);
    fs::write(outside.path().join("d/file"), "changed").unwrap();
    assert_eq!(told(&mut watcher), []);
}

#[test]
fn more_than_the_kernel_holds_is_told_as_lost_and_watching_goes_on() {
    let fixture = Fixture::new();
    fixture.file("d/file", "");
    let mut watcher = watch(&fixture);
    let most: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    // Two names in turn, for the kernel makes one of equal events.
    for number in 0..=most {
        let name = if number % 2 == 0 { "one" } else { "two" };
        fs::write(fixture.at(name), "").unwrap();
    }
    let changes = told(&mut watcher);
    assert!(changes.contains(&(FileChangeKind::Lost, String::new())), "{}", changes.len());
    fs::write(fixture.at("d/file"), "again").unwrap();
    let path = "d/file".to_owned();
    assert!(told(&mut watcher).contains(&(FileChangeKind::Modified, path)));
}

#[test]
fn a_tree_that_is_told_of_as_new_again_and_again_is_looked_at_within_one_bound() {
    let fixture = Fixture::new();
    let mut watcher = watch(&fixture);
    let mut told = Told::default();
    for number in 0..1000 {
        fixture.file(&format!("tree/{number}"), "");
    }
    let mut looks = 0;
    while !told.is_enough() {
        told.lose(); // what is told has a bound of its own
        watcher.take_up("tree", &mut told);
        looks += 1;
    }
    assert_eq!(looks, 200);
    watcher.take_up("tree", &mut told);
    assert_eq!(told.changes.last().map(|last| last.kind), Some(FileChangeKind::Lost));
}
