//! `ATTACKS.md` says of every known attack which test proves that it comes to nothing. Here is what keeps it
//! true.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics is a test that fails"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use supervisor_tests::{Mutation, mutations};

/// Cases of each kind that the catalogue this list follows has published. Others are defended as classes.
const CASES: [(&str, &[u32]); 13] = [
    ("FS", &[1, 2, 4, 5, 8, 9]),
    ("PR", &[1, 2, 4, 5, 6, 7, 9, 11]),
    ("NS", &[1, 2, 4, 6]),
    ("SY", &[1, 2, 4, 5, 6, 8, 12, 13, 14]),
    ("LL", &[1, 2, 5, 6, 8]),
    ("RS", &[1, 2, 3, 4, 6, 8, 10, 12, 13, 15, 17]),
    ("NT", &[1, 2, 3, 4, 6, 7, 8, 10, 11, 13, 15, 16, 18, 20, 21, 25]),
    ("CR", &[1, 2, 3, 4, 7, 9, 12]),
    ("AR", &[1, 2, 3, 4, 8, 9]),
    ("IS", &[1, 2, 4, 6]),
    ("AP", &[1, 3, 4, 5, 7, 9, 12, 13]),
    ("FT", &[1, 2, 3, 4, 6, 8, 9, 10, 13]),
    ("AU", &[1, 2, 4]),
];

/// Cases that are ours: more of what the catalogue's classes come to here.
const OWN: [(&str, &[u32]); 10] = [
    ("FS", &[31]),
    ("PR", &[31, 32]),
    ("SY", &[31, 32, 33, 34, 35]),
    ("LL", &[31, 32, 33]),
    ("RS", &[31, 32, 33, 34, 35, 36, 37, 38]),
    ("NT", &[31]),
    ("AR", &[31, 32]),
    ("AP", &[31]),
    ("FT", &[31, 32, 33]),
    ("AU", &[31]),
];

/// As many layers have been taken away at the least, to see whether a test notices.
const MUTATIONS: usize = 30;

/// A line of the table.
struct Line {
    /// The layers that are said to hold, one behind the other.
    layers: String,
    /// The layers that have been taken away.
    without: BTreeSet<String>,
    /// File, by the end of its path, and function.
    tests: Vec<(String, String)>,
    /// Steps and programs of the machine.
    machine: Vec<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn table() -> BTreeMap<String, Line> {
    let mut lines = BTreeMap::new();
    for line in include_str!("../ATTACKS.md").lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, case, tried, outcome, first, second, without, tests, runs, _] = cells.as_slice()
        else {
            continue;
        };
        if !case.contains('-') || case.starts_with('-') {
            continue;
        }
        for cell in [tried, outcome, first, second, without, runs] {
            assert!(!cell.is_empty(), "{case} leaves something out");
        }
        let tests = tests.split("<br>").map(|test| {
            let words: Vec<&str> = test.split('`').collect();
            let [_, file, _, function, _] = words.as_slice() else { panic!("{case}: {test}") };
            ((*file).to_owned(), (*function).to_owned())
        });
        let quoted = |cell: &str| -> Vec<String> {
            cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
        };
        let (without, machine) = (quoted(without).into_iter().collect(), quoted(runs));
        let layers = format!("{first}; {second}");
        let line = Line { layers, without, tests: tests.collect(), machine };
        assert!(lines.insert((*case).to_owned(), line).is_none(), "{case} is there twice");
    }
    lines
}

/// Every source file, by its path.
fn sources() -> BTreeMap<String, String> {
    let (mut found, mut directories) = (BTreeMap::new(), vec![root()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("readable").flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                directories.push(path);
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).expect("text");
                found.insert(path.display().to_string(), text);
            }
        }
    }
    found
}

/// The tests of a file, each with the cases that its comment names.
fn tests_of(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let (mut tests, mut cases, mut is_test) = (BTreeMap::new(), BTreeSet::new(), false);
    for line in text.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("///") {
            let words = comment.split(|each: char| !each.is_ascii_alphanumeric() && each != '-');
            cases.extend(words.filter(|word| is_case(word)).map(str::to_owned));
        } else if ["#[test]", "#[tokio::test"].iter().any(|each| line.starts_with(each)) {
            is_test = true;
        } else if let Some(name) = line.split("fn ").nth(1).filter(|_| is_test) {
            let name: String =
                name.chars().take_while(|each| each.is_alphanumeric() || *each == '_').collect();
            tests.insert(name, std::mem::take(&mut cases));
            is_test = false;
        } else if !line.starts_with("#[") {
            cases.clear();
        }
    }
    tests
}

fn is_case(word: &str) -> bool {
    let Some((kind, number)) = word.split_once('-') else { return false };
    CASES.iter().any(|(known, _)| *known == kind)
        && number.len() == 2
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

#[test]
fn every_known_case_has_a_line() {
    let known: BTreeSet<String> = CASES
        .iter()
        .chain(&OWN)
        .flat_map(|(kind, numbers)| numbers.iter().map(move |number| format!("{kind}-{number:02}")))
        .collect();
    let lines: BTreeSet<String> = table().into_keys().collect();
    assert_eq!(lines, known);
}

#[test]
fn every_test_that_the_table_names_is_there() {
    let sources = sources();
    for (case, line) in table() {
        assert!(!line.tests.is_empty(), "{case} has no test");
        for (file, function) in line.tests {
            let found = sources.iter().find(|(path, text)| {
                path.ends_with(&format!("/{file}")) && tests_of(text).contains_key(&function)
            });
            assert!(found.is_some(), "{case}: there is no test {function} in {file}");
        }
        for step in line.machine {
            let places = ["tests/machine/steps", "tests/machine"].map(|each| root().join(each));
            let is_there = places.iter().any(|place| place.join(&step).is_file());
            assert!(is_there, "{case}: there is no step {step} of the machine");
        }
    }
}

#[test]
fn every_test_that_is_for_a_case_stands_in_its_line() {
    let (table, here) = (table(), root().join("tests/tests").display().to_string());
    for (path, text) in sources() {
        let Some(file) = path.strip_prefix(&here) else { continue };
        for (function, cases) in tests_of(&text) {
            for case in cases {
                let line = table.get(&case).unwrap_or_else(|| panic!("{case} of {function}"));
                let named = line.tests.iter().any(|(theirs, name)| {
                    *name == function && file.trim_start_matches('/') == theirs
                });
                assert!(named, "{case} does not name {function} of {file}");
            }
        }
    }
}

/// Whether the lines are those of a program of the machine.
fn is_machine(file: &str) -> bool {
    file == "controllers"
}

/// Layers that a mutation takes away; the rules of a filter are one.
fn layers(without: &str) -> usize {
    let kinds: BTreeSet<_> =
        without.split(',').map(|name| name.split(':').next().unwrap_or(name)).collect();
    kinds.len()
}

#[test]
fn what_would_hold_is_what_held_when_the_first_layer_was_gone() {
    let (mut taken_away, all) = (BTreeMap::<String, BTreeSet<String>>::new(), mutations());
    let different: BTreeSet<_> = all.iter().map(|each| each.without.as_str()).collect();
    assert!(different.len() >= MUTATIONS, "{} mutations", different.len());
    let table = table();
    for Mutation { without, case, file, test, holds, seen, .. } in all {
        let line = table.get(&case).unwrap_or_else(|| panic!("there is no case {case}"));
        let named = line.tests.contains(&(file.clone(), test.clone()));
        assert!(named || is_machine(&file), "{case} does not name {test} of {file}");
        assert!(!seen.is_empty(), "{case} without {without}: nothing shows what came of it");
        let said = line.layers.contains(&holds) || layers(&without) > 1;
        assert!(said, "{case} without {without}: {holds} held, not {}", line.layers);
        taken_away.entry(case).or_default().insert(without);
    }
    for (case, line) in table {
        let taken_away = taken_away.remove(&case).unwrap_or_default();
        assert_eq!(line.without, taken_away, "{case}");
    }
}

#[test]
fn every_mutation_is_run_by_some_test_program() {
    let sources = sources();
    let calls = sources.values().flat_map(|text| text.split("mutations::check(&[").skip(1));
    let calls =
        calls.chain(sources.values().flat_map(|text| text.split("check_mutations(&[").skip(1)));
    let starts: Vec<&str> = calls
        .filter_map(|rest| rest.split(']').next())
        .flat_map(|words| words.split('"').skip(1).step_by(2))
        .collect();
    let machine = include_str!("../machine/controllers");
    for Mutation { file, without, test, .. } in mutations() {
        if is_machine(&file) {
            let line = format!("\nwithout \"{without}\" \"{test}\" ");
            assert!(machine.contains(&line), "the machine does not run {test} without {without}");
            continue;
        }
        assert!(starts.iter().any(|start| file.starts_with(start)), "nothing runs those of {file}");
    }
}

#[test]
fn every_layer_that_can_be_left_out_is_left_out_somewhere() {
    let tried: BTreeSet<String> = mutations()
        .iter()
        .flat_map(|each| each.without.split(',').map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let own = file!();
    for (path, text) in sources().into_iter().filter(|(path, _)| !path.ends_with(own)) {
        let names = text.split("without(\"").skip(1).filter_map(|rest| rest.split('"').next());
        for name in names {
            assert!(tried.contains(name), "{path} can leave out {name}, and nothing does");
        }
    }
}
