//! What callers ask of a workspace's files while a payload renames them: whatever is asked, it is never of a file
//! outside.

use std::fs;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use supervisor_api::{FileKind, PathChange};
use tar::Archive;

use super::*;
use crate::workspace::testing::{Fixture, as_ordinary_user};
use crate::workspace::{Differences, Manifest, commit, stage};

/// Rounds of every operation at the most, and how long they may take together. A machine that is slow has fewer.
const ROUNDS: usize = 600;
const PATIENCE: Duration = Duration::from_secs(2);

/// What stands in the workspace, and never outside.
const BENIGN: &str = "benign";

/// Nothing is kept of more bytes of one workspace.
const ENOUGH: u64 = 1 << 20;

/// A workspace in which a directory and a link out of it change places all the time, and so do a file and a link.
struct Stage {
    fixture: Fixture,
    swapped: [(PathBuf, PathBuf); 2],
}

/// Ends the other thread even if this one ends by a failed assertion.
struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Stage {
    fn set() -> Self {
        let fixture = Fixture::in_memory();
        fixture.file("d/canary", BENIGN);
        fixture.file("d/inside", BENIGN);
        fixture.file("f", BENIGN);
        symlink(fixture.outside(), fixture.at("e")).unwrap();
        symlink(fixture.canary(), fixture.at("g")).unwrap();
        let swapped = [("d", "e"), ("f", "g")].map(|(a, b)| (fixture.at(a), fixture.at(b)));
        Self { fixture, swapped }
    }

    /// Does something again and again while the names change places. What is outside has to be as it was then.
    fn hold(&self, each: impl Fn(&Fixture)) {
        let (goes_on, started) = (AtomicBool::new(true), Instant::now());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while goes_on.load(Ordering::Relaxed) {
                    for (one, other) in &self.swapped {
                        // One of them may just be on its way elsewhere.
                        let flags = RenameFlags::RENAME_EXCHANGE;
                        renameat2(AT_FDCWD, one, AT_FDCWD, other, flags).ok();
                    }
                }
            });
            let _until_here = StopWhenDropped(&goes_on);
            for _ in 0..ROUNDS {
                each(&self.fixture);
                if started.elapsed() > PATIENCE {
                    break;
                }
            }
        });
        self.fixture.assert_outside_untouched();
    }

    /// Fails where a regular file anywhere in a workspace says what only the one outside says.
    fn expect_benign(fixture: &Fixture) {
        let manifest = Manifest::take(fixture.root().as_fd(), ENOUGH).unwrap();
        for (path, entry) in manifest.entries {
            if entry.kind == FileKind::File {
                assert_ne!(fs::read(fixture.at(&path)).unwrap(), b"canary", "{path}");
            }
        }
    }
}

/// AR-02. Lists and digests.
#[test]
fn what_is_listed_while_names_are_swapped_is_the_workspaces_own() {
    let stage = Stage::set();
    let canary = Manifest::take(fs::File::open(stage.fixture.outside()).unwrap().as_fd(), ENOUGH);
    let canary = canary.unwrap().entries["canary"].sha256.clone();
    assert!(canary.is_some());
    stage.hold(|fixture| {
        let root = fixture.root();
        if let Ok(listing) = list(root.as_fd(), Some(&path("d")), &FilePage::default()) {
            let told: Vec<_> = listing.entries.iter().map(|entry| entry.path.as_str()).collect();
            assert_eq!(told, ["d/canary", "d/inside"]);
        }
        if let Ok(manifest) = Manifest::take(root.as_fd(), ENOUGH) {
            assert!(manifest.entries.values().all(|entry| entry.sha256 != canary));
        }
    });
}

/// AR-02. Opens up what a program has shut, and nothing that has its name meanwhile.
#[test]
fn what_is_opened_up_while_names_are_swapped_is_the_workspaces_own() {
    let shut = |path: &PathBuf, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    as_ordinary_user(|| {
        Stage::set().hold(|fixture| {
            // What stands at the first two may be what is outside, or just be on its way elsewhere.
            for path in [fixture.at("d/canary"), fixture.at("f"), fixture.canary()] {
                shut(&path, 0o000).ok();
            }
            for name in ["d/canary", "f"] {
                drop(open(fixture.root().as_fd(), &path(name)));
            }
            let outside = fs::metadata(fixture.canary()).unwrap().permissions().mode() & 0o777;
            shut(&fixture.canary(), 0o600).unwrap();
            assert_eq!(outside, 0o000);
        });
    });
}

/// AR-02. Packs, whole and in part.
#[test]
fn what_is_packed_while_names_are_swapped_is_the_workspaces_own() {
    let part = path("d");
    Stage::set().hold(|fixture| {
        for beneath in [None, Some(&part)] {
            let mut bytes = Vec::new();
            if pack(fixture.root().as_fd(), beneath, &mut bytes).is_err() {
                continue;
            }
            for entry in Archive::new(bytes.as_slice()).entries().unwrap() {
                let mut entry = entry.unwrap();
                let mut text = String::new();
                entry.read_to_string(&mut text).unwrap();
                assert!(["", BENIGN].contains(&text.as_str()), "{:?}: {text}", entry.path());
            }
        }
    });
}

/// AR-02. Copies of the whole, as forks and snapshots are made.
#[test]
fn what_is_copied_while_names_are_swapped_is_the_workspaces_own() {
    Stage::set().hold(|fixture| {
        let copied = Fixture::in_memory();
        // One that is broken off is removed; what it holds until then counts as well.
        drop(copy(fixture.root().as_fd(), copied.root().as_fd(), &|| true));
        Stage::expect_benign(&copied);
        copied.assert_outside_untouched();
    });
}

/// AR-02. Moves, by a name and, as between directories under Landlock, by a copy.
#[test]
fn what_is_moved_while_names_are_swapped_is_the_workspaces_own() {
    let moves = [("d/canary", "moved"), ("moved", "d/canary"), ("f", "h"), ("h", "f")];
    Stage::set().hold(|fixture| {
        let root = fixture.root();
        for (from, to) in moves {
            drop(rename(root.as_fd(), &path(from), &path(to), true));
        }
        let (own, flags) = (root.as_fd(), RenameFlags::empty());
        drop(elsewhere::carry((own, "f"), (own, "carried"), flags));
        drop(elsewhere::carry((own, "carried"), (own, "f"), flags));
        for moved in ["moved", "carried"] {
            if let Ok(mut file) = open(root.as_fd(), &path(moved)) {
                let mut text = String::new();
                file.read_to_string(&mut text).unwrap();
                assert_eq!(text, BENIGN, "{moved}");
            }
        }
    });
}

/// AR-02. Applies changes that were held back; nothing runs then, but if something did.
#[test]
fn changes_that_are_applied_while_names_are_swapped_stay_in_the_workspace() {
    let stage_of = Stage::set();
    let held = Fixture::in_memory();
    copy(stage_of.fixture.root().as_fd(), held.root().as_fd(), &|| true).unwrap();
    let before = Manifest::take(held.root().as_fd(), ENOUGH).unwrap();
    held.file("d/canary", "changed");
    held.file("d/new/file", "new");
    fs::remove_file(held.at("d/inside")).unwrap();
    held.file("f", "changed");
    let found = Differences::since(&before, held.root().as_fd(), ENOUGH).unwrap();
    let changes: Vec<PathChange> = found.changes;
    assert!(changes.len() >= 4, "{changes:?}");
    let name = path(".replacement-ffffffffffffffffffffffffffffffff");
    stage_of.hold(|fixture| {
        let (root, copied) = (fixture.root(), held.root());
        if stage(root.as_fd(), copied.as_fd(), &changes, &name).is_ok() {
            drop(commit(root.as_fd(), &changes, &name));
        }
    });
    Stage::expect_benign(&stage_of.fixture);
}

fn path(text: &str) -> WorkspacePath {
    WorkspacePath::try_from(text).unwrap()
}
