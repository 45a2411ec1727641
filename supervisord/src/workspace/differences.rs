//! Two moments of a workspace held against each other.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;

use serde::{Deserialize, Serialize};
use supervisor_api::{ChangeKind, FileKind, Hazard, PathChange};

use super::hazard::{Repositories, hazards};
use super::manifest::{Entry, Manifest, digest};

/// Changes that are told at the most.
pub const MAX_CHANGES: usize = 10_000;

/// Bytes of their paths and of where links lead, together.
const MAX_CHANGE_BYTES: usize = 2 << 20;

/// What is other than before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Differences {
    /// By path.
    pub changes: Vec<PathChange>,
    /// How many there are of each kind, also of those that are not told.
    pub added: u64,
    /// The same.
    pub modified: u64,
    /// The same.
    pub deleted: u64,
    /// How many have a hazard.
    pub hazardous: u64,
    /// How many names can't be paths of ours.
    pub unnamed: u64,
    /// Whether this is all.
    pub complete: bool,
}

impl Differences {
    /// Looks at a workspace again. `digested_bytes` bounds what is read of files that are other than before.
    pub fn since(before: &Manifest, root: BorrowedFd<'_>, digested_bytes: u64) -> io::Result<Self> {
        let mut now = Manifest::take(root, 0)?;
        let mut told = Self {
            unnamed: now.unnamed,
            // What can't be told of must be as it was.
            complete: !before.truncated
                && !now.truncated
                && before.unnamed_digest == now.unnamed_digest,
            ..Self::default()
        };
        let mut left = digested_bytes;
        for (path, entry) in &mut now.entries {
            let earlier = before.entries.get(path);
            if earlier.is_some_and(|earlier| earlier.is_untouched(entry)) {
                continue;
            }
            if entry.kind == FileKind::File && entry.size <= left {
                left -= entry.size;
                entry.sha256 = digest(root, path, entry)?;
            }
        }
        let both: BTreeMap<&String, (Option<&Entry>, Option<&Entry>)> = {
            let mut both: BTreeMap<_, _> =
                before.entries.iter().map(|(path, entry)| (path, (Some(entry), None))).collect();
            for (path, entry) in &now.entries {
                both.entry(path).or_insert((None, None)).1 = Some(entry);
            }
            both
        };
        let repositories = Repositories::among(now.entries.keys());
        let mut bytes = 0;
        for (path, sides) in both {
            let change = match sides {
                (Some(one), Some(other)) if one.is_untouched(other) || one.is_same(other) => {
                    continue;
                }
                (Some(_), Some(_)) => ChangeKind::Modified,
                (None, _) => ChangeKind::Added,
                (Some(_), None) => ChangeKind::Deleted,
            };
            let in_repository = repositories.run_something_at(path);
            told.add(path, change, (sides, in_repository), &mut bytes);
        }
        Ok(told)
    }

    fn add(
        &mut self,
        path: &str,
        change: ChangeKind,
        ((before, after), in_repository): ((Option<&Entry>, Option<&Entry>), bool),
        bytes: &mut usize,
    ) {
        match change {
            ChangeKind::Added => self.added += 1,
            ChangeKind::Modified => self.modified += 1,
            ChangeKind::Deleted => self.deleted += 1,
        }
        let links = after.map_or(0, |entry| entry.links);
        let (before, after) = (before.map(Entry::facts), after.map(Entry::facts));
        let mut hazards = hazards(path, before.as_ref(), after.as_ref(), links);
        if in_repository && !hazards.contains(&Hazard::GitHook) {
            hazards.push(Hazard::GitHook);
            hazards.sort_unstable();
        }
        self.hazardous += u64::from(!hazards.is_empty());
        let leads = [&before, &after].into_iter().flatten().filter_map(|each| each.target.as_ref());
        *bytes += path.len() + leads.map(String::len).sum::<usize>();
        if self.changes.len() >= MAX_CHANGES || *bytes > MAX_CHANGE_BYTES {
            self.complete = false;
            return;
        }
        self.changes.push(PathChange { path: path.to_owned(), change, before, after, hazards });
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use proptest::prelude::*;

    use super::*;
    use crate::workspace::path::WorkspacePath;
    use crate::workspace::testing::Fixture;

    const ENOUGH: u64 = 1 << 20;

    fn manifest(fixture: &Fixture) -> Manifest {
        Manifest::take(fixture.root().as_fd(), ENOUGH).unwrap()
    }

    fn since(before: &Manifest, fixture: &Fixture) -> Differences {
        Differences::since(before, fixture.root().as_fd(), ENOUGH).unwrap()
    }

    fn told(differences: &Differences) -> Vec<(&str, ChangeKind)> {
        differences.changes.iter().map(|each| (each.path.as_str(), each.change)).collect()
    }

    #[test]
    fn what_was_added_changed_and_removed_is_told_with_digests() {
        let fixture = Fixture::new();
        fixture.file("kept", "kept");
        fixture.file("d/changed", "one");
        fixture.file("d/gone", "gone");
        fixture.file("mode", "");
        symlink("kept", fixture.at("link")).unwrap();
        let before = manifest(&fixture);
        fixture.file("d/changed", "two");
        fs::remove_file(fixture.at("d/gone")).unwrap();
        fixture.set_mode("mode", 0o755);
        fixture.file("new/file", "new");
        fs::remove_file(fixture.at("link")).unwrap();
        symlink("/etc/passwd", fixture.at("link")).unwrap();
        let differences = since(&before, &fixture);
        let expected = [
            ("d/changed", ChangeKind::Modified),
            ("d/gone", ChangeKind::Deleted),
            ("link", ChangeKind::Modified),
            ("mode", ChangeKind::Modified),
            ("new", ChangeKind::Added),
            ("new/file", ChangeKind::Added),
        ];
        assert_eq!(told(&differences), expected);
        assert!(differences.complete);
        let changed = &differences.changes[0];
        let digest = |words: &str| {
            use sha2::{Digest as _, Sha256};
            Some(Sha256::digest(words).iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        };
        assert_eq!(changed.before.as_ref().unwrap().sha256, digest("one"));
        assert_eq!(changed.after.as_ref().unwrap().sha256, digest("two"));
        let link = &differences.changes[2];
        assert_eq!(link.hazards, [Hazard::SymbolicLink, Hazard::LinkLeadsOut]);
        assert_eq!(differences.changes[3].hazards, [Hazard::Executable]);
        assert_eq!((differences.added, differences.modified, differences.deleted), (2, 3, 1));
        assert_eq!(differences.hazardous, 2);
    }

    #[test]
    fn a_change_that_hides_behind_size_and_time_is_told_and_a_touch_is_none() {
        let fixture = Fixture::new();
        fixture.file("same", "bytes");
        fixture.file("hidden", "one");
        let time = fs::metadata(fixture.at("hidden")).unwrap().modified().unwrap();
        let before = manifest(&fixture);
        fs::write(fixture.at("same"), "bytes").unwrap();
        fs::write(fixture.at("hidden"), "two").unwrap();
        fs::File::options()
            .write(true)
            .open(fixture.at("hidden"))
            .unwrap()
            .set_modified(time)
            .unwrap();
        assert_eq!(told(&since(&before, &fixture)), [("hidden", ChangeKind::Modified)]);
    }

    #[test]
    fn what_is_too_much_or_has_no_name_is_counted() {
        let fixture = Fixture::new();
        let before = manifest(&fixture);
        for number in 0..=MAX_CHANGES {
            fs::write(fixture.at(&number.to_string()), "").unwrap();
        }
        fs::write(fixture.at("bad\nname"), "").unwrap();
        let differences = since(&before, &fixture);
        assert_eq!(differences.changes.len(), MAX_CHANGES);
        assert_eq!(differences.added, MAX_CHANGES as u64 + 1);
        assert_eq!((differences.unnamed, differences.complete), (1, false));
    }

    #[test]
    fn what_has_no_name_of_ours_is_as_it_was_or_the_changes_are_not_all_told() {
        let fixture = Fixture::new();
        fixture.file("bad\nname", "");
        fixture.file("bad\ndirectory/in/it", "");
        fixture.set_mode("bad\ndirectory", 0o000);
        let before = manifest(&fixture);
        fixture.file("new", "");
        let differences = since(&before, &fixture);
        assert_eq!((differences.unnamed, differences.complete), (4, true));
        fixture.file("bad\ndirectory/in/it", "other");
        assert!(!since(&before, &fixture).complete);
        let before = manifest(&fixture);
        assert!(since(&before, &fixture).complete);
        fs::rename(fixture.at("bad\nname"), fixture.at("bad\rname")).unwrap();
        let differences = since(&before, &fixture);
        assert_eq!((differences.unnamed, differences.complete), (4, false));
    }

    #[test]
    fn what_git_takes_for_a_repository_has_hazards_under_any_name() {
        let fixture = Fixture::new();
        for path in ["docs/HEAD", "docs/config", "docs/notes", "lib/config", "lib/hooks/x", "Head"]
        {
            fixture.file(path, "one");
        }
        let before = manifest(&fixture);
        for path in
            ["docs/config", "docs/hooks/pre-commit", "docs/notes", "lib/config", "lib/hooks/x"]
        {
            fixture.file(path, "two");
        }
        fixture.file("commondir", "lib");
        let differences = since(&before, &fixture);
        let hazardous = differences.changes.iter().filter(|each| each.hazards == [Hazard::GitHook]);
        let hazardous: Vec<&str> = hazardous.map(|each| each.path.as_str()).collect();
        assert_eq!(hazardous, ["commondir", "docs/config", "docs/hooks", "docs/hooks/pre-commit"]);
        assert_eq!(differences.hazardous, 4);
    }

    #[test]
    fn a_directory_that_was_shut_is_looked_into_and_one_that_is_new_everywhere_is_told() {
        let fixture = Fixture::new();
        fixture.file("shut/file", "");
        fixture.set_mode("shut", 0o000);
        let before = manifest(&fixture);
        assert_eq!(told(&since(&before, &fixture)), []);
        fs::set_permissions(fixture.at("shut"), fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(told(&since(&before, &fixture)), [("shut", ChangeKind::Modified)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever names a payload makes: what is told are paths that can be asked for, each once, in order.
        #[test]
        fn names_of_any_bytes_are_told_as_paths_or_counted(
            names in prop::collection::btree_set(prop::collection::vec(1u8..=255, 1..12), 0..12),
        ) {
            use std::os::unix::ffi::OsStrExt as _;
            let fixture = Fixture::in_memory();
            let before = manifest(&fixture);
            let mut made = 0u64;
            for name in names.iter().filter(|name| !name.contains(&b'/')) {
                let name = std::ffi::OsStr::from_bytes(name);
                if name != "." && name != ".." {
                    fs::write(fixture.at("").join(name), "").unwrap();
                    made += 1;
                }
            }
            let differences = since(&before, &fixture);
            prop_assert_eq!(differences.added + differences.unnamed, made);
            for change in &differences.changes {
                prop_assert!(WorkspacePath::try_from(change.path.as_str()).is_ok());
            }
            prop_assert!(differences.changes.is_sorted_by(|one, other| one.path < other.path));
            fixture.assert_outside_untouched();
        }
    }
}
