//! Packages of other people, as the tests use them unchanged: from the registries that this host's own pip and
//! npm are configured for, in the versions that a test pins. They are fetched once and kept beside the tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};

/// Makes what is not there yet in a directory of its own, which takes its name when it is complete.
#[track_caller]
fn kept(beside: &str, kind: &str, pins: &str, make: impl FnOnce(&Path) -> Command) -> PathBuf {
    let digest: String = Sha256::digest(pins).iter().map(|byte| format!("{byte:02x}")).collect();
    let place = Path::new(beside).join(format!("{kind}-{}", &digest[..16]));
    if !place.is_dir() {
        let made = tempfile::tempdir_in(beside).unwrap();
        let mut command = make(made.path());
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{kind} could not fetch {pins}: {words}");
        // Another test may have been faster, with the same.
        if fs::rename(made.path(), &place).is_ok() {
            let _gone = made.keep();
        }
    }
    place
}

/// A directory for PYTHONPATH with these packages (lines of `name==version`); `beside` is
/// `CARGO_TARGET_TMPDIR`.
#[track_caller]
pub fn python_packages(beside: &str, pins: &str) -> PathBuf {
    kept(beside, "pip", pins, |place| {
        fs::write(place.join("pins.txt"), pins).unwrap();
        let mut pip = Command::new("/usr/bin/python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"])
            .args(["--only-binary", ":all:", "--target"])
            .arg(place)
            .arg("-r")
            .arg(place.join("pins.txt"));
        pip
    })
}

/// A directory that has `node_modules` with these packages (a whole `package.json`).
#[track_caller]
pub fn node_packages(beside: &str, pins: &str) -> PathBuf {
    kept(beside, "npm", pins, |place| {
        fs::write(place.join("package.json"), pins).unwrap();
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--ignore-scripts", "--no-package-lock", "--no-audit"])
            .args(["--no-fund", "--prefix"])
            .arg(place);
        npm
    })
}
