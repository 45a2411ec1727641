//! Runs of a test program's own tests against programs that lack a layer, by the lines of `MUTATIONS.md`.

use std::collections::BTreeMap;
use std::process::Command;

/// One line of the list.
#[derive(Debug, Clone)]
pub struct Mutation {
    /// Layers that are left out, as the programs know them.
    pub without: String,
    /// The case of `ATTACKS.md`.
    pub case: String,
    /// The end of the path of the file with the test.
    pub file: String,
    /// The test's name.
    pub test: String,
    /// Whether the test fails then.
    pub red: bool,
    /// What holds, or `nothing`.
    pub holds: String,
    /// What the test says then, among other things.
    pub seen: Vec<String>,
}

/// The whole list.
pub fn mutations() -> Vec<Mutation> {
    include_str!("../MUTATIONS.md").lines().filter_map(read).collect()
}

fn read(line: &str) -> Option<Mutation> {
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    let [_, without, case, test, colour, holds, seen, _] = cells.as_slice() else { return None };
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let (without, names): (Vec<String>, Vec<String>) = (quoted(without), quoted(test));
    let ([without], [file, test]) = (without.as_slice(), names.as_slice()) else { return None };
    assert!(["red", "green"].contains(colour), "{line}");
    Some(Mutation {
        without: without.clone(),
        case: (*case).to_owned(),
        file: file.clone(),
        test: test.clone(),
        red: *colour == "red",
        holds: (*holds).to_owned(),
        seen: quoted(seen),
    })
}

/// Runs the tests of the list that are in files with one of these beginnings. They have to be in this test program; each
/// is run as it is, by the same program, with the layers left out, and comes to what its line says.
#[track_caller]
pub fn check(files: &[&str]) {
    let mut runs: BTreeMap<String, Vec<Mutation>> = BTreeMap::new();
    let here = |each: &Mutation| files.iter().any(|start| each.file.starts_with(start));
    for each in mutations().into_iter().filter(here) {
        runs.entry(each.without.clone()).or_default().push(each);
    }
    assert!(!runs.is_empty(), "no line is about {files:?}");
    let names = run(&["--list"], "");
    let wrong: Vec<String> = runs.iter().flat_map(|run| differences(&names, run)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn differences(names: &str, (without, lines): (&String, &Vec<Mutation>)) -> Vec<String> {
    let names: Vec<String> = lines.iter().map(|line| full_name(names, &line.test)).collect();
    let mut words = vec!["--exact", "--show-output", "--test-threads=2"];
    words.extend(names.iter().map(String::as_str));
    let said = run(&words, without);
    let judge = |(line, name): (&Mutation, &String)| {
        let (ended, red) = (format!("test {name} ... "), if line.red { "FAILED" } else { "ok" });
        let told = section(&said, name).replace('\t', " ");
        let missing: Vec<_> = line.seen.iter().filter(|seen| !told.contains(*seen)).collect();
        let as_told = said.contains(&(ended + red)) && missing.is_empty();
        let words = || format!("without {without}: {name} is not {red} with {missing:?}:\n{told}");
        (!as_told).then(words)
    };
    lines.iter().zip(&names).filter_map(judge).collect()
}

/// The name by which a test is run.
#[track_caller]
fn full_name(names: &str, test: &str) -> String {
    let end = format!("::{test}");
    let mut found = names
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .filter(|name| *name == test || name.ends_with(&end));
    match (found.next(), found.next()) {
        (Some(name), None) => name.to_owned(),
        other => panic!("{test} is not one test here: {other:?}"),
    }
}

/// What a test has said.
fn section<'a>(said: &'a str, name: &str) -> &'a str {
    let after = said.split(&format!("---- {name} stdout ----\n")).nth(1).unwrap_or_default();
    let end =
        ["\n---- ", "\nsuccesses:\n", "\nfailures:\n"].iter().filter_map(|end| after.find(end));
    after.get(..end.min().unwrap_or(after.len())).unwrap_or_default()
}

#[track_caller]
fn run(words: &[&str], without: &str) -> String {
    let own = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(own);
    command.args(words).env("RUST_BACKTRACE", "0").env("SUPERVISORD_WITHOUT", without);
    let output = command.output().expect("this program runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
