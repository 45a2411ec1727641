//! The programs under test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// All of them; each looks for the next one beside itself.
const PROGRAMS: [&str; 5] =
    ["supervisorctl", "supervisord", "supervisor-launcher", "supervisor-init", "supervisor-unpack"];

/// Where a program is.
pub fn program(name: &str) -> PathBuf {
    let path = directory().join(name);
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build --workspace` first, or name the directory of the programs \
         in SUPERVISOR_BIN_DIR",
        path.display()
    );
    path
}

/// Test programs stand in `deps` beneath the directory of the others.
fn directory() -> PathBuf {
    if let Some(named) = std::env::var_os("SUPERVISOR_BIN_DIR") {
        return PathBuf::from(named);
    }
    let own = std::env::current_exe().expect("the kernel knows where this program is");
    let beside = own.parent().expect("a program stands in a directory");
    match beside.file_name() {
        Some(name) if name == "deps" => beside.parent().expect("deps is in a directory").to_owned(),
        _ => beside.to_owned(),
    }
}

/// Copies of all programs in a directory that every account can reach, as installed ones are.
#[derive(Debug)]
pub struct Installed {
    directory: TempDir,
}

impl Installed {
    /// Copies them.
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("supervisor-test-bin-").tempdir().unwrap();
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(directory.path(), mode.clone()).unwrap();
        for name in PROGRAMS {
            let copy = directory.path().join(name);
            fs::copy(program(name), &copy).unwrap();
            fs::set_permissions(&copy, mode.clone()).unwrap();
        }
        Self { directory }
    }

    /// Where a program is.
    pub fn program(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Default for Installed {
    fn default() -> Self {
        Self::new()
    }
}
