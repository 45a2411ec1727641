//! Tests that need a process of their own: for its limits, its memory, its mounts, or to be killed.
//!
//! The process runs the same test of the same binary again. The test asks here whose part it takes, so
//! it is one test, which is never left out.

use std::path::PathBuf;
use std::process::Command;

use nix::unistd::geteuid;
use tempfile::TempDir;

/// The test that this process was started for.
const TEST: &str = "SUPERVISORD_TEST_ALONE";

/// A directory for its files.
const DIRECTORY: &str = "SUPERVISORD_TEST_DIRECTORY";

/// How to run the test of this name in a process of its own; nothing in that process.
pub fn child(test: &str) -> Option<Command> {
    again(test, Command::new(own_program()))
}

/// The directory for what the test of this name does in a process of its own. Nothing for the process
/// that started it, once that part has passed.
pub fn in_a_process_of_its_own(test: &str) -> Option<PathBuf> {
    take_part(test, Command::new(own_program()))
}

/// The same, where it may mount what it likes; an ordinary user gets there through a user namespace.
pub fn in_a_mount_namespace_of_its_own(test: &str) -> Option<PathBuf> {
    let mut unshare = Command::new("unshare");
    if !geteuid().is_root() {
        unshare.arg("--map-root-user");
    }
    unshare.arg("--mount").arg(own_program());
    take_part(test, unshare)
}

fn own_program() -> PathBuf {
    std::env::current_exe().expect("the tests' binary")
}

fn again(test: &str, mut program: Command) -> Option<Command> {
    if std::env::var_os(TEST).is_some_and(|alone| alone == test) {
        return None;
    }
    program.args([test, "--exact", "--nocapture"]).env(TEST, test);
    Some(program)
}

fn take_part(test: &str, program: Command) -> Option<PathBuf> {
    let Some(mut child) = again(test, program) else {
        return Some(std::env::var_os(DIRECTORY).expect("a directory").into());
    };
    let directory = TempDir::new().expect("a directory");
    let output = child.env(DIRECTORY, directory.path()).output().expect("a process");
    let [words, errors] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    // A name that no test has is a success with none passed.
    let one = words.contains("test result: ok. 1 passed; 0 failed; 0 ignored;");
    assert!(output.status.success() && one, "{words}\n{errors}");
    None
}

#[test]
#[should_panic(expected = "0 passed")]
fn a_name_that_no_test_has_is_a_failure() {
    in_a_process_of_its_own("alone::no_test_has_this_name");
}
