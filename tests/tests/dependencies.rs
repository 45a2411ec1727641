//! What the programs are made of, by the lock file: licences that their own allows, sources that are the
//! registry, nothing that the design keeps out, and no second version that nobody has noticed.
//! Advisories are not looked up here: a database of them changes without a change of ours.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Licences under which code can be a part of programs under Apache-2.0.
const LICENCES: [&str; 10] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that must not come in, not even through others, by the beginning of their names.
const BANNED: [(&str, &str); 11] = [
    ("openssl-sys", "rustls is the one TLS library, ring its one source of cryptography"),
    ("native-tls", "the same"),
    ("aws-lc", "the same"),
    ("boring", "the same"),
    ("libloading", "no program of ours loads code while it runs"),
    ("dlopen", "the same"),
    ("wasmtime", "the same"),
    ("reqwest", "what goes out is dialled with a permit"),
    ("ureq", "the same"),
    ("git2", "repositories are read by programs in sandboxes"),
    ("async-std", "there is one runtime, tokio"),
];

/// Crates of which there are two or more versions, because others ask for them.
const TWICE: [&str; 8] =
    ["base64", "bit-set", "bit-vec", "getrandom", "r-efi", "syn", "synstructure", "windows-sys"];

/// Where every package comes from that is not ours; it is the name that cargo has for its default.
const REGISTRY: &str = "registry+https://github.com/rust-lang/";

struct Package {
    name: String,
    version: String,
    licence: Option<String>,
    source: Option<String>,
}

fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let all: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let text = |package: &Value, field: &str| package[field].as_str().map(str::to_owned);
    let read = |package: &Value| Package {
        name: text(package, "name").expect("a name"),
        version: text(package, "version").expect("a version"),
        licence: text(package, "license"),
        source: text(package, "source"),
    };
    all["packages"].as_array().expect("packages").iter().map(read).collect()
}

/// Whether an expression of SPDX, or the older form with a slash, leaves a way of known licences only.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    either(&mut rest) && rest.is_empty()
}

fn either(words: &mut &[&str]) -> bool {
    let mut allowed = both(words);
    while let ["OR", rest @ ..] = *words {
        *words = rest;
        allowed |= both(words);
    }
    allowed
}

fn both(words: &mut &[&str]) -> bool {
    let mut allowed = one(words);
    while let ["AND", rest @ ..] = *words {
        *words = rest;
        allowed &= one(words);
    }
    allowed
}

fn one(words: &mut &[&str]) -> bool {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let allowed = either(words);
            let [")", rest @ ..] = *words else { panic!("no end of a bracket: {words:?}") };
            *words = rest;
            allowed
        }
        // An exception only ever allows more.
        [licence, "WITH", _, rest @ ..] | [licence, rest @ ..] => {
            *words = rest;
            LICENCES.contains(licence)
        }
        [] => panic!("an expression ends in the middle"),
    }
}

#[test]
fn licences_are_read_as_they_are_meant() {
    for good in [
        "MIT",
        "MIT/GPL-3.0",
        "GPL-3.0 OR MIT",
        "(MIT OR GPL-3.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
    ] {
        assert!(is_allowed(good), "{good}");
    }
    for bad in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND GPL-3.0", "GPL-3.0 OR AGPL-3.0"] {
        assert!(!is_allowed(bad), "{bad}");
    }
}

#[test]
fn every_package_has_a_licence_that_ours_allows() {
    for Package { name, licence, .. } in packages() {
        let licence = licence.unwrap_or_else(|| panic!("{name} names no licence"));
        assert!(is_allowed(&licence), "{name} is under {licence}");
    }
}

#[test]
fn every_package_is_the_registry_s_or_ours() {
    for Package { name, source, .. } in packages() {
        match source {
            Some(source) => assert!(source.starts_with(REGISTRY), "{name} comes from {source}"),
            None => assert!(name.starts_with("supervisor"), "{name} is of no source"),
        }
    }
}

#[test]
fn nothing_comes_in_that_the_design_keeps_out() {
    for Package { name, .. } in packages() {
        let banned = BANNED.iter().find(|(banned, _)| name.starts_with(banned));
        assert!(banned.is_none(), "{name}: {}", banned.map_or("", |(_, reason)| reason));
    }
}

#[test]
fn versions_that_are_there_twice_are_known() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for Package { name, version, .. } in packages() {
        versions.entry(name).or_default().insert(version);
    }
    let twice = versions.into_iter().filter(|(_, versions)| versions.len() > 1);
    let twice: Vec<String> = twice.map(|(name, _)| name).collect();
    assert_eq!(twice, TWICE);
}
