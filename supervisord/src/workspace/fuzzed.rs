//! What holds for all names and archives that callers and payloads make: targets of the fuzzer (tests/fuzz), and
//! of ordinary tests.

use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};

use super::files::{UnpackBounds, pack, unpack};
use super::glob::GlobSelection;
use super::path::{
    MAX_COMPONENT_BYTES, MAX_DEPTH, MAX_PATH_BYTES, WorkingDirectory, WorkspacePath,
};

#[path = "../../../tests/fuzz/checksums.rs"]
mod checksums;

use checksums::repaired;

const BOUNDS: UnpackBounds = UnpackBounds { entries: 200, bytes: 1 << 20 };

/// Paths of files and artifacts, working directories and globs. What is accepted is made of plain names, and
/// nothing that a glob selects lies where it wasn't looked for.
pub fn names(bytes: &[u8]) {
    let (glob, path) = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(at) => (bytes.get(..at), bytes.get(at + 1..).unwrap_or_default()),
        None => (None, bytes),
    };
    if let Ok(directory) = WorkingDirectory::try_from(&*String::from_utf8_lossy(path)) {
        let again = WorkingDirectory::try_from(directory.absolute().as_str());
        assert_eq!(again.map(|again| again.absolute()), Ok(directory.absolute()));
        directory.path().into_iter().for_each(plain);
    }
    let Ok(path) = WorkspacePath::try_from(path) else { return };
    plain(&path);
    let globs = glob.map(|glob| vec![String::from_utf8_lossy(glob).into_owned()]);
    let Ok(selection) = GlobSelection::new(&globs.unwrap_or_default()) else { return };
    if selection.matches(path.as_str().as_bytes()) {
        for ancestor in path.ancestors() {
            assert!(selection.may_match_in(ancestor.as_bytes()), "{ancestor}");
        }
    }
}

fn plain(path: &WorkspacePath) {
    let (parents, name) = path.split();
    let names: Vec<&str> = parents.chain([name]).collect();
    assert_eq!(names.join("/"), path.as_str());
    assert!(names.len() <= MAX_DEPTH && path.as_str().len() <= MAX_PATH_BYTES);
    for name in names {
        assert!(!["", ".", ".."].contains(&name) && name.len() <= MAX_COMPONENT_BYTES);
        assert!(!name.contains(|c: char| c == '/' || c.is_control()), "{name:?}");
    }
}

/// An archive that is unpacked into a workspace in which links lead out of it. Nothing outside is touched; and
/// what came of it packs as an archive that unpacks as the same.
pub fn archives(bytes: &[u8]) {
    let place = Place::make();
    assert!(place.is_ok(), "{place:?}");
    let Ok(place) = place else { return };
    let unpacked = unpack_into(&place.at("workspace"), &repaired(bytes));
    assert!(place.is_untouched(), "something was written outside");
    if unpacked.is_err() {
        return;
    }
    let packed = packed(&place.at("workspace"));
    let again = unpack_into(&place.at("copy"), &packed);
    assert!(again.is_ok(), "{again:?}");
    if again.is_ok_and(|report| report.skipped_count == 0) {
        assert_eq!(self::packed(&place.at("copy")).len(), packed.len());
    }
}

fn unpack_into(root: &Path, bytes: &[u8]) -> io::Result<super::files::Unpacked> {
    let root = fs::File::open(root)?;
    unpack(root.as_fd(), bytes, BOUNDS).map_err(io::Error::other)
}

fn packed(root: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let packed = fs::File::open(root)
        .and_then(|root| pack(root.as_fd(), None, &mut bytes).map_err(io::Error::other));
    assert!(packed.is_ok(), "{packed:?}");
    bytes
}

/// A workspace, room for a copy of it, and what must not change, in memory.
#[derive(Debug)]
struct Place(PathBuf);

const CANARY: &str = "nobody wrote this";

impl Place {
    fn make() -> io::Result<Self> {
        let name =
            format!("supervisor-fuzz-{}-{:?}", std::process::id(), std::thread::current().id());
        let place = Self(Path::new("/dev/shm").join(name));
        // What an input before this one left.
        match fs::remove_dir_all(&place.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        for directory in ["workspace", "copy", "outside"] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(place.at(directory))?;
        }
        fs::write(place.at("outside/canary"), CANARY)?;
        symlink(place.at("outside"), place.at("workspace/out"))?;
        symlink("../outside/canary", place.at("workspace/canary"))?;
        Ok(place)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn is_untouched(&self) -> bool {
        let names = |directory: &Path| {
            let entries = fs::read_dir(directory).into_iter().flatten();
            entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).count()
        };
        fs::read_to_string(self.at("outside/canary")).is_ok_and(|text| text == CANARY)
            && names(&self.at("outside")) == 1
            && names(&self.0) == 3
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What can't be removed is there for the next one to fail on.
        fs::remove_dir_all(&self.0).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::damaged_seeds;

    #[test]
    fn no_name_or_archive_leads_out_of_a_workspace() {
        damaged_seeds::hold("workspace_names", 10_000, names);
        damaged_seeds::hold("workspace_archives", 500, archives);
    }
}
