//! A workspace and a store for tests.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, geteuid, setfsuid};
use tempfile::TempDir;

use super::glob::GlobSelection;

/// A uid without rights over what root owns.
const NOBODY: Uid = Uid::from_raw(65534);

/// A workspace, a store and a directory outside of both with a canary in it. They lie two levels
/// deep in a place of their own, so that a test that fails does not write anywhere else.
pub(super) struct Fixture {
    place: TempDir,
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self::beneath(&std::env::temp_dir())
    }

    /// One whose syncs cost nothing, for many rounds.
    pub(super) fn in_memory() -> Self {
        Self::beneath(Path::new("/dev/shm"))
    }

    fn beneath(place: &Path) -> Self {
        let fixture = Self { place: tempfile::tempdir_in(place).unwrap() };
        for directory in ["workspace", "store", "outside"] {
            fs::create_dir_all(fixture.place(directory)).unwrap();
        }
        fs::write(fixture.canary(), "canary").unwrap();
        fixture
    }

    fn place(&self, directory: &str) -> PathBuf {
        self.place.path().join("two/levels").join(directory)
    }

    pub(super) fn root(&self) -> File {
        File::open(self.place("workspace")).unwrap()
    }

    pub(super) fn store(&self) -> File {
        File::open(self.place("store")).unwrap()
    }

    pub(super) fn outside(&self) -> PathBuf {
        self.place("outside")
    }

    pub(super) fn canary(&self) -> PathBuf {
        self.outside().join("canary")
    }

    /// A path in the workspace.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.place("workspace").join(path)
    }

    /// A path in the store.
    pub(super) fn in_store(&self, name: &str) -> PathBuf {
        self.place("store").join(name)
    }

    /// How many files the store holds.
    pub(super) fn stored(&self) -> usize {
        names(&self.place("store")).len()
    }

    /// Makes the store as empty as it was.
    pub(super) fn empty_store(&self) {
        for name in names(&self.place("store")) {
            fs::remove_file(self.place("store").join(name)).unwrap();
        }
    }

    /// Plants a link in the workspace, unless something is in its way. No link is followed.
    pub(super) fn plant(&self, path: &str, target: impl AsRef<Path>) {
        let mut at = self.at("");
        for component in path.split('/') {
            if fs::symlink_metadata(&at).is_err() {
                fs::create_dir(&at).unwrap();
            }
            if !fs::symlink_metadata(&at).unwrap().is_dir() {
                return;
            }
            at.push(component);
        }
        if fs::symlink_metadata(&at).is_err() {
            symlink(target, at).unwrap();
        }
    }

    /// Writes a file and the directories that lead to it.
    pub(super) fn file(&self, path: &str, content: impl AsRef<[u8]>) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), content).unwrap();
    }

    pub(super) fn set_mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.at(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(super) fn mode_of(&self, path: &str) -> u32 {
        fs::symlink_metadata(self.at(path)).unwrap().permissions().mode() & 0o7777
    }

    /// What lies outside is as it was made.
    pub(super) fn assert_outside_untouched(&self) {
        assert_eq!(names(self.place.path()), ["two"]);
        assert_eq!(names(&self.place.path().join("two")), ["levels"]);
        assert_eq!(names(&self.place("")), ["outside", "store", "workspace"]);
        assert_eq!(names(&self.outside()), ["canary"]);
        assert_eq!(fs::read(self.canary()).unwrap(), b"canary");
    }
}

impl Drop for Fixture {
    /// Directories that were shut could not be removed.
    fn drop(&mut self) {
        open_up(self.place.path());
    }
}

fn open_up(directory: &Path) {
    // Where the path gets too long for this, nothing is shut.
    if fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).is_ok() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                open_up(&entry.path());
            }
        }
    }
}

/// The names in a directory, sorted.
pub(super) fn names(directory: &Path) -> Vec<OsString> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

pub(super) fn globs(globs: &[&str]) -> GlobSelection {
    GlobSelection::new(&globs.iter().map(|glob| glob.to_string()).collect::<Vec<_>>()).unwrap()
}

/// Runs as somebody whom permissions hold, as they hold the daemon: root's threads give up the
/// capabilities that override them.
pub(super) fn as_ordinary_user<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            if geteuid().is_root() {
                setfsuid(NOBODY);
                assert_eq!(setfsuid(NOBODY), NOBODY);
            }
            run()
        });
        running.join().unwrap()
    })
}
