//! Policies without a daemon.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::program::{self, Ended};

fn ctl(directory: &TempDir, arguments: &[&str]) -> Ended {
    let nowhere = Path::new("/nowhere");
    program::command(nowhere, directory.path(), arguments).output().expect("started").into()
}

fn with_files(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        fs::write(directory.path().join(name), text).expect("written");
    }
    directory
}

/// A built-in policy as text, under another name.
fn stand_alone(directory: &TempDir, name: &str) -> String {
    let text = ctl(directory, &["policy", "show", "default", "--resolved"]).stdout;
    text.replacen("name = \"default\"", &format!("name = \"{name}\""), 1)
}

#[test]
fn a_built_in_policy_is_shown_with_the_origin_of_every_line() {
    let directory = with_files(&[]);
    let ended = ctl(&directory, &["policy", "show", "default", "--resolved"]);
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("# from built-in/default.toml:"), "{}", ended.stdout);
    let ended = ctl(&directory, &["policy", "show", "default"]);
    assert!(ended.stdout.contains("memory_max"), "{}", ended.stdout);
    let shown = ctl(&directory, &["policy", "show", "default", "--json"]).json();
    assert_eq!(shown["name"], "default");
    assert!(shown["maximum"]["memory_max"].is_u64());
    let ended = ctl(&directory, &["policy", "show", "defualt"]);
    assert_eq!(ended.status, Some(1));
    assert!(ended.stderr.contains("did you mean default?"), "{}", ended.stderr);
}

#[test]
fn files_are_checked_together_and_a_mistake_is_pointed_at() {
    let directory = with_files(&[("child.toml", "name = \"child\"\nextends = \"parent\"\n")]);
    let parent = stand_alone(&directory, "parent");
    fs::write(directory.path().join("parent.toml"), parent).expect("written");
    let ended = ctl(&directory, &["policy", "check", "child.toml", "parent.toml"]);
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(0), "child: valid\nparent: valid\n"));
    assert_eq!(ctl(&directory, &["policy", "check", "."]).status, Some(0));
    let ended = ctl(&directory, &["policy", "check", "child.toml"]);
    assert_eq!(ended.status, Some(1));
    assert!(ended.stderr.contains("child.toml:2:"), "{}", ended.stderr);
    let found = ctl(&directory, &["policy", "check", "--json", "child.toml"]).json();
    assert_eq!((&found["valid"], &found["diagnostics"][0]["line"]), (&false.into(), &2.into()));
}

#[test]
fn a_file_is_shown_with_what_it_extends_from_the_named_directory_only() {
    let directory = with_files(&[("child.toml", "name = \"child\"\nextends = \"parent\"\n")]);
    let parent = stand_alone(&directory, "parent");
    fs::write(directory.path().join("parent.toml"), parent).expect("written");
    let ended = ctl(&directory, &["policy", "show", "child.toml", "--resolved"]);
    assert_eq!(ended.status, Some(1));
    let arguments = ["policy", "show", "child.toml", "--resolved", "--directory", "."];
    let ended = ctl(&directory, &arguments);
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("parent.toml:"), "{}", ended.stdout);
}

#[test]
fn a_floor_among_the_files_bounds_the_others() {
    let floor = "name = \"floor\"\n[limits.max]\npids_max = 3\n";
    let directory = with_files(&[("floor.toml", floor)]);
    let one = stand_alone(&directory, "one");
    fs::write(directory.path().join("one.toml"), one).expect("written");
    let shown = ctl(&directory, &["policy", "show", "one", "--directory", ".", "--json"]).json();
    assert_eq!(shown["maximum"]["pids_max"], 3);
}

#[test]
fn a_file_that_is_not_there_is_told_apart_from_one_that_is_wrong() {
    let directory = with_files(&[("bad.toml", "\x1b[2J = 1")]);
    let ended = ctl(&directory, &["policy", "check", "none.toml"]);
    assert_eq!(ended.status, Some(1));
    assert!(ended.stderr.contains("cannot open none.toml"), "{}", ended.stderr);
    let ended = ctl(&directory, &["policy", "check", "bad.toml"]);
    assert_eq!(ended.status, Some(1));
    assert!(!ended.stderr.contains('\x1b'), "{}", ended.stderr);
}
