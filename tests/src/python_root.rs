//! A root with an interpreter in it, for images of a test's own.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The host's Python and what it needs, as a root of its own. Gives the directory of its modules there.
#[track_caller]
pub fn copy_python(root: &Path) -> PathBuf {
    std::fs::create_dir_all(root).unwrap();
    let copy = "set -e; program=$(readlink -f /usr/bin/python3); modules=/usr/lib/${program##*/}; \
                cp -L --parents /usr/bin/python3 $(ldd $program | grep -o '/[^ ]*') \"$1\"; \
                tar -cf - --exclude=test --exclude=__pycache__ $modules 2>/dev/null | tar -xf - -C \"$1\"; \
                echo -n \"$1$modules\"";
    let copied = Command::new("sh").args(["-c", copy, "copy"]).arg(root).output().unwrap();
    assert!(copied.status.success(), "python3 is needed by this test");
    PathBuf::from(String::from_utf8(copied.stdout).expect("a path"))
}
