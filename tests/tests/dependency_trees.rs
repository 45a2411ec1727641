//! The privileged half and every sandbox's PID 1 link what stands in their lists and nothing else:
//! no runtime, no HTTP or TLS, no store, no D-Bus, no JSON, no policy language.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use std::collections::BTreeSet;
use std::process::Command;

fn linked(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none"])
        .args(["--target", "all", "--format", "{p}", "--package", package])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo tree runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("names are UTF-8");
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn listed(text: &str) -> BTreeSet<String> {
    text.lines().map(str::to_owned).collect()
}

#[test]
fn the_launcher_links_what_is_on_its_list_and_nothing_else() {
    let list = include_str!("../trees/supervisor-launcher.txt");
    assert_eq!(linked("supervisor-launcher"), listed(list));
}

#[test]
fn init_links_what_is_on_its_list_and_nothing_else() {
    let list = include_str!("../trees/supervisor-init.txt");
    assert_eq!(linked("supervisor-init"), listed(list));
}
