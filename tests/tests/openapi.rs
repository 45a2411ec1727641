//! The OpenAPI document against the daemon that serves it: what its operations answer to requests that were made
//! from the document by somebody else's tool, right ones and wrong ones.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use std::process::Command;

use supervisor_tests::{World, python_packages};

/// Requests of each operation in each of four ways: right or wrong, with the id of what there is or is not.
const EXAMPLES: &str = "5";

#[test]
fn every_operation_answers_as_its_document_says_and_never_fails() {
    let packages = python_packages(env!("CARGO_TARGET_TMPDIR"), include_str!("openapi/python.txt"));
    let world = World::alone();
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", include_str!("openapi/explore.py")]).arg(world.socket()).arg(EXAMPLES);
    let output = python.env("PYTHONPATH", &packages).output().expect("it starts");
    let words = String::from_utf8_lossy(&output.stderr);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}\n{said}\n{words}", output.status);
    // An operation that nothing was asked of would be missing.
    let endless = ["approvals_follow", "events", "watch_files"];
    for operation in supervisor_api::OPERATIONS {
        let told = said.lines().any(|line| line.split(' ').next() == Some(operation.id));
        assert!(told || endless.contains(&operation.id), "{}\n{said}", operation.id);
    }
}
