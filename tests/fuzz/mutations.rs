//! Runs a target of the fuzzer as an ordinary test: over its seeds, and over copies of them that are damaged
//! in ways that parsers trip over. Nothing guides it but the seeds, and nothing is left to chance: the same
//! copies are made everywhere, every time.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

/// Bytes and texts that mean something to one parser or another.
const TELLING: &[&[u8]] = &[
    b"\0",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"/",
    b"..",
    b"/../",
    b"%",
    b"%2e",
    b"%2F",
    b"%00",
    b"\\",
    b"\"",
    b"'",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b";",
    b"=",
    b"&",
    b"?",
    b"#",
    b"*",
    b"**",
    b"-",
    b"-1",
    b"0",
    b"18446744073709551616",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xff\xff",
    b"\xff\xff\xff\xff",
    b"\xc0\x0c",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xae",
    b"\xed\xa0\x80",
];

/// Bytes that no damaged copy exceeds.
const MAX_BYTES: usize = 64 << 10;

/// Marsaglia's xorshift64: good enough to choose places.
struct Choices(u64);

/// Runs the target over its seeds, and over as many damaged copies of them as is said.
pub fn hold(target: &str, copies: usize, run: impl Fn(&[u8])) {
    let seeds = seeds(target);
    let mut choices = Choices(0x9e37_79b9_7f4a_7c15);
    for seed in &seeds {
        check(target, seed, &run);
    }
    for _ in 0..copies {
        let mut bytes = choices.of(&seeds).clone();
        for _ in 0..=choices.below(4) {
            damage(&mut bytes, &seeds, &mut choices);
        }
        bytes.truncate(MAX_BYTES);
        check(target, &bytes, &run);
    }
}

/// The seeds of a target, in the order of their names.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut at = above.map(|directory| directory.join("tests/fuzz/seeds").join(target));
    let directory = at.find(|directory| directory.is_dir());
    let directory = directory.unwrap_or_else(|| panic!("tests/fuzz/seeds has nothing of {target}"));
    let entries = fs::read_dir(&directory).expect("the seeds can be listed");
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a seed can be listed").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{target} has no seeds");
    paths.iter().map(|path| fs::read(path).expect("a seed can be read")).collect()
}

fn check(target: &str, bytes: &[u8], run: &impl Fn(&[u8])) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(bytes))) {
        eprintln!("{target} fails on b\"{}\"", bytes.escape_ascii());
        resume_unwind(panic);
    }
}

fn damage(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], choices: &mut Choices) {
    let at = choices.below(bytes.len() + 1);
    let length = choices.below(16).min(bytes.len() - at);
    let part = at..at + length;
    match choices.below(8) {
        0 if at < bytes.len() => bytes[at] ^= 1 << choices.below(8),
        1 if at < bytes.len() => bytes[at] = choices.below(256) as u8,
        2 => drop(bytes.splice(at..at, choices.of(TELLING).iter().copied())),
        3 => drop(bytes.splice(part, choices.of(TELLING).iter().copied())),
        4 => drop(bytes.drain(part)),
        5 => drop(bytes.splice(at..at, bytes[part].to_vec())),
        6 => bytes.truncate(at),
        _ => {
            let other = choices.of(seeds);
            let from = choices.below(other.len() + 1);
            bytes.splice(at.., other[from..].iter().copied());
        }
    }
}

impl Choices {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}
