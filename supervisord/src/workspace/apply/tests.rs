use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::symlink;

use nix::unistd::mkfifo;
use proptest::prelude::*;

use super::commit::{clear, place, placed_before};
use super::*;
use crate::workspace::testing::Fixture;
use crate::workspace::{Differences, copy};

const ENOUGH: u64 = 1 << 20;

fn name() -> WorkspacePath {
    WorkspacePath::try_from(".replacement-ffffffffffffffffffffffffffffffff").unwrap()
}

/// A workspace, what stood in it, and a copy of it with what stood in that.
struct Held {
    own: Fixture,
    origin: Manifest,
    copy: Fixture,
    before: Manifest,
}

impl Held {
    fn of(own: Fixture, copied: Fixture) -> Self {
        copy(own.root().as_fd(), copied.root().as_fd(), &|| true).unwrap();
        let origin = Manifest::take(own.root().as_fd(), 0).unwrap();
        let before = Manifest::take(copied.root().as_fd(), ENOUGH).unwrap();
        Self { own, origin, copy: copied, before }
    }

    fn changes(&self) -> Vec<PathChange> {
        Differences::since(&self.before, self.copy.root().as_fd(), ENOUGH).unwrap().changes
    }

    fn conflicts(&self) -> Vec<String> {
        let found = conflicts(self.own.root().as_fd(), &self.changes(), &self.origin).unwrap();
        found.into_iter().map(|each| each.path).collect()
    }

    fn stage(&self) {
        let (own, copied) = (self.own.root(), self.copy.root());
        stage(own.as_fd(), copied.as_fd(), &self.changes(), &name()).unwrap();
    }

    fn commit(&self) {
        commit(self.own.root().as_fd(), &self.changes(), &name()).unwrap();
    }

    fn unstage(&self) {
        unstage(self.own.root().as_fd(), &name()).unwrap();
    }

    /// What the workspace holds is what the copy holds.
    fn assert_same(&self) {
        let now = Manifest::take(self.own.root().as_fd(), ENOUGH).unwrap();
        let wanted = Manifest::take(self.copy.root().as_fd(), ENOUGH).unwrap();
        let told = |manifest: &Manifest| -> Vec<_> {
            let entries =
                manifest.entries.iter().filter(|(_, entry)| entry.kind != FileKind::Other);
            let told = entries.map(|(path, entry)| {
                let mode = entry.mode & 0o777;
                (path.clone(), entry.kind, mode, entry.sha256.clone(), entry.target.clone())
            });
            told.collect()
        };
        assert_eq!(told(&now), told(&wanted));
    }
}

fn held() -> Held {
    let own = Fixture::new();
    own.file("kept", "kept");
    own.file("changed", "one");
    own.file("gone", "gone");
    own.file("d/e/file", "file");
    own.file("becomes/a/directory", "");
    own.file("was", "a file");
    symlink("kept", own.at("link")).unwrap();
    Held::of(own, Fixture::new())
}

fn change_all(copied: &Fixture) {
    copied.file("changed", "two");
    fs::remove_file(copied.at("gone")).unwrap();
    fs::remove_dir_all(copied.at("d")).unwrap();
    fs::remove_dir_all(copied.at("becomes")).unwrap();
    copied.file("becomes", "a file");
    fs::remove_file(copied.at("was")).unwrap();
    copied.file("was/in", "it");
    fs::remove_file(copied.at("link")).unwrap();
    symlink("/etc/passwd", copied.at("link")).unwrap();
    copied.file("new/er/file", "new");
    copied.set_mode("kept", 0o755);
    copied.file("shut/file", "in it");
    copied.set_mode("shut", 0o555);
}

#[test]
fn what_was_changed_on_the_copy_is_so_in_the_workspace_afterwards() {
    let held = held();
    change_all(&held.copy);
    assert_eq!(held.conflicts(), Vec::<String>::new());
    held.stage();
    assert_eq!(fs::read_to_string(held.own.at("changed")).unwrap(), "one", "nothing yet");
    held.commit();
    held.unstage();
    held.assert_same();
    assert!(!held.own.at(name().as_str()).exists());
}

#[test]
fn a_commit_that_was_cut_off_is_gone_on_with() {
    for cut in 0..16 {
        let held = held();
        change_all(&held.copy);
        held.stage();
        let changes = held.changes();
        let (root, staging) = (held.own.root(), held.own.at(name().as_str()));
        for change in changes.iter().rev() {
            clear(root.as_fd(), change).unwrap();
        }
        let staged = fs::File::open(&staging).unwrap();
        for (number, change) in changes.iter().enumerate().take(cut) {
            place(root.as_fd(), staged.as_fd(), number, change).unwrap();
            if cut % 2 == 0 {
                fs::remove_file(staging.join(number.to_string())).ok(); // it was on disk by then
            }
        }
        held.commit();
        held.commit();
        held.unstage();
        held.assert_same();
    }
}

#[test]
fn what_a_commit_that_was_cut_off_has_put_in_its_place_is_told_by_its_bytes() {
    let held = held();
    change_all(&held.copy);
    held.copy.file("same/length", "two");
    held.stage();
    let (root, changes) = (held.own.root(), held.changes());
    for change in changes.iter().rev() {
        clear(root.as_fd(), change).unwrap();
    }
    let staged = fs::File::open(held.own.at(name().as_str())).unwrap();
    let found = || placed_before(root.as_fd(), staged.as_fd(), &changes).unwrap();
    assert_eq!(found(), Vec::<usize>::new());
    let half = changes.iter().position(|change| change.path == "new/er/file").unwrap();
    let mut expected = Vec::new();
    for (number, change) in changes.iter().enumerate().take(half) {
        place(root.as_fd(), staged.as_fd(), number, change).unwrap();
        let kind = change.after.as_ref().map(|after| after.kind);
        if matches!(kind, Some(FileKind::File | FileKind::SymbolicLink)) {
            expected.push(number);
        }
    }
    assert!(expected.len() > 2, "{expected:?}");
    // It was being put there once more.
    let last = *expected.last().unwrap();
    held.own.file(&format!(".replacement-{last:032x}"), "a part of it");
    fs::create_dir_all(held.own.at("same")).unwrap();
    held.own.file("same/length", "one");
    assert_eq!(found(), expected);
    held.commit();
    held.unstage();
    held.assert_same();
}

#[test]
fn what_is_not_staged_is_not_taken_for_done() {
    let held = held();
    change_all(&held.copy);
    let (root, changes) = (held.own.root(), held.changes());
    let refused = commit(root.as_fd(), &changes, &name()).unwrap_err();
    assert!(matches!(refused, FileError::NotFound { .. }), "{refused}");
    assert_eq!(fs::read_to_string(held.own.at("gone")).unwrap(), "gone");
}

#[test]
fn what_was_changed_in_the_workspace_meanwhile_is_a_conflict_by_name() {
    let held = held();
    change_all(&held.copy);
    held.own.file("changed", "three");
    held.own.file("d/e/more", "new there");
    held.own.file("new", "in the way");
    fs::remove_file(held.own.at("link")).unwrap();
    let mut found = held.conflicts();
    found.sort();
    assert_eq!(found, ["changed", "d/e", "link", "new"]);
    // What says the same as before is no conflict, whoever wrote it.
    let held = self::held();
    change_all(&held.copy);
    held.own.file("changed", "one");
    held.own.file("new/er/file", "new");
    held.own.file("kept", "kept");
    assert_eq!(held.conflicts(), Vec::<String>::new());
}

#[test]
fn what_is_in_the_way_is_told_with_its_path_and_by_whose_doing() {
    let held = held();
    for name in ["changed", "kept"] {
        fs::remove_file(held.copy.at(name)).unwrap();
    }
    mkfifo(&held.copy.at("changed"), Mode::S_IRWXU).unwrap();
    mkfifo(&held.copy.at("new"), Mode::S_IRWXU).unwrap();
    held.copy.file("kept", "changed in the copy");
    held.own.file("kept", "changed in the session");
    let found = conflicts(held.own.root().as_fd(), &held.changes(), &held.origin).unwrap();
    let told: Vec<_> = found.iter().map(|each| (each.path.as_str(), each.why)).collect();
    let fifo = "the execution put a FIFO, a socket or a device in its place, which is not applied";
    assert_eq!(told, [("changed", fifo), ("kept", "it has changed in the session since")]);
}

#[test]
fn a_link_in_the_way_leads_nowhere() {
    let held = held();
    held.copy.file("d/e/file", "changed");
    fs::remove_dir_all(held.own.at("d/e")).unwrap();
    symlink(held.own.outside(), held.own.at("d/e")).unwrap();
    assert_eq!(held.conflicts(), ["d/e/file"]);
    held.own.assert_outside_untouched();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever a payload makes of a tree: without a conflict, the workspace is like the copy afterwards.
    #[test]
    fn any_tree_becomes_any_other(
        before in prop::collection::vec(("[ab]{1,2}(/[ab.-]{1,2}){0,2}", 0u8..4), 0..8),
        after in prop::collection::vec(("[ab]{1,2}(/[ab.-]{1,2}){0,2}", 0u8..4), 0..8),
    ) {
        let own = Fixture::in_memory();
        lay(&own, &before);
        let held = Held::of(own, Fixture::in_memory());
        lay(&held.copy, &after);
        prop_assert_eq!(held.conflicts(), Vec::<String>::new());
        held.stage();
        held.commit();
        held.unstage();
        held.assert_same();
        held.own.assert_outside_untouched();
    }
}

/// Makes what is asked for of each path, as far as that can be done.
fn lay(fixture: &Fixture, wanted: &[(String, u8)]) {
    for (path, kind) in wanted {
        let Ok(path) = WorkspacePath::try_from(path.as_str()) else { continue };
        let at = fixture.at(path.as_str());
        if let Some(parent) = at.parent()
            && fs::create_dir_all(parent).is_err()
        {
            continue;
        }
        let is_directory = fs::symlink_metadata(&at).is_ok_and(|found| found.is_dir());
        drop(if is_directory { fs::remove_dir_all(&at) } else { fs::remove_file(&at) });
        drop(match kind {
            0 => fs::write(&at, format!("{path} {}", wanted.len())),
            1 => symlink("nowhere/else", &at),
            2 => fs::create_dir(&at),
            _ => Ok(()),
        });
    }
}
