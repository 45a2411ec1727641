//! Which paths of a workspace a caller wants kept.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use super::path::MOUNT_POINT;

/// Globs of one submission. They are compiled together and asked about every file.
pub const MAX_GLOBS: usize = 64;

/// Bytes of one glob: with [`MAX_GLOBS`] this keeps what they compile to small.
pub const MAX_GLOB_BYTES: usize = 1024;

/// What begins something else than a literal name. Braces may go across slashes, so a component
/// with any of these ends a [`Reach`]'s prefix.
const SPECIAL: &[char] = &['*', '?', '[', ']', '{', '}', '\\'];

/// Globs over paths relative to the workspace; `*` stops at `/`, `**` doesn't.
#[derive(Debug, Clone)]
pub struct GlobSelection {
    set: GlobSet,
    reaches: Vec<Reach>,
}

/// A glob that can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidGlob {
    /// Which one, counted from 0.
    pub index: usize,
    /// Why.
    pub message: String,
}

/// Where matches of one glob can be.
#[derive(Debug, Clone)]
struct Reach {
    /// The directories that every match is in, outermost first.
    prefix: Vec<String>,
    /// The most slashes a match can have, unless `**` makes them unbounded.
    slashes: Option<usize>,
}

impl GlobSelection {
    /// Compiles the globs of a submission. The largest take a tenth of a second, so this blocks.
    pub fn new(globs: &[String]) -> Result<Self, InvalidGlob> {
        let invalid = |index, message: String| InvalidGlob { index, message };
        if globs.len() > MAX_GLOBS {
            return Err(invalid(MAX_GLOBS, format!("there are more than {MAX_GLOBS} globs")));
        }
        let mut compiled = Vec::with_capacity(globs.len());
        for (index, glob) in globs.iter().enumerate() {
            compiled.push(compile(glob).map_err(|message| invalid(index, message))?);
        }
        let Ok(set) = together(&compiled) else {
            let alone = |glob| together(std::slice::from_ref(glob)).is_err();
            let index = compiled.iter().position(alone).unwrap_or(globs.len().saturating_sub(1));
            return Err(invalid(index, "the glob is nested too deeply or too large".to_owned()));
        };
        Ok(Self { set, reaches: globs.iter().map(|glob| Reach::of(glob)).collect() })
    }

    /// Whether nothing can match.
    pub fn is_empty(&self) -> bool {
        self.reaches.is_empty()
    }

    /// Whether a path is wanted.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        self.set.is_match(Path::new(OsStr::from_bytes(path)))
    }

    /// Whether a directory can hold a match, at any depth. Never wrongly false.
    pub(super) fn may_match_in(&self, directory: &[u8]) -> bool {
        self.reaches.iter().any(|reach| reach.covers(directory))
    }
}

impl Reach {
    fn of(glob: &str) -> Self {
        let (directories, _) = glob.rsplit_once('/').unwrap_or(("", glob));
        let literal = |component: &&str| !component.contains(SPECIAL) && !component.is_empty();
        let prefix = directories.split('/').take_while(literal).map(str::to_owned).collect();
        // A class such as `[!a]` matches a slash too.
        let slashes = glob.matches(['/', '[']).count();
        Self { prefix, slashes: (!glob.contains("**")).then_some(slashes) }
    }

    fn covers(&self, directory: &[u8]) -> bool {
        let names = directory.split(|&byte| byte == b'/').filter(|name| !name.is_empty());
        let depth = names.clone().count();
        self.slashes.is_none_or(|most| depth <= most)
            && self.prefix.iter().zip(names).all(|(literal, name)| literal.as_bytes() == name)
    }
}

impl fmt::Display for InvalidGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for InvalidGlob {}

fn compile(glob: &str) -> Result<Glob, String> {
    if glob.is_empty() {
        return Err("the glob is empty".to_owned());
    }
    if glob.len() > MAX_GLOB_BYTES {
        return Err(format!("the glob is longer than {MAX_GLOB_BYTES} bytes"));
    }
    if glob.starts_with('/') {
        return Err(format!("the glob is absolute; write it relative to {MOUNT_POINT}"));
    }
    if glob.chars().any(char::is_control) {
        return Err("the glob holds a control character; no path of an artifact has one".to_owned());
    }
    if glob.split('/').any(|component| matches!(component, "" | "." | "..")) {
        return Err("a component of the glob is empty, `.` or `..`; no path has one".to_owned());
    }
    let compiled = GlobBuilder::new(glob).literal_separator(true).build();
    compiled.map_err(|error| error.kind().to_string())
}

fn together(globs: &[Glob]) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(glob.clone());
    }
    set.build()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn selection(globs: &[&str]) -> GlobSelection {
        GlobSelection::new(&globs.iter().map(|glob| glob.to_string()).collect::<Vec<_>>()).unwrap()
    }

    fn complaint(globs: &[&str]) -> InvalidGlob {
        GlobSelection::new(&globs.iter().map(|g| g.to_string()).collect::<Vec<_>>()).unwrap_err()
    }

    #[test]
    fn one_star_stops_at_a_slash_and_two_do_not() {
        let one = selection(&["out/*.csv"]);
        assert!(one.matches(b"out/a.csv") && !one.matches(b"out/x/a.csv"));
        let two = selection(&["out/**/*.csv", "**/b"]);
        assert!(two.matches(b"out/a.csv") && two.matches(b"out/x/y/a.csv") && two.matches(b"b"));
        assert!(!two.matches(b"in/a.csv"));
    }

    #[test]
    fn a_glob_matches_names_that_are_not_utf8() {
        assert!(selection(&["out/*"]).matches(b"out/\xff"));
    }

    #[test]
    fn no_glob_matches_nothing() {
        let none = selection(&[]);
        assert!(none.is_empty() && !none.matches(b"a") && !none.may_match_in(b""));
    }

    #[test]
    fn a_glob_that_cannot_be_used_is_named_by_its_index() {
        for wrong in [
            "",
            "/etc/*",
            "../*",
            "a/./b",
            "a//b",
            "a/",
            "[",
            "{a",
            "a}",
            "a\0b",
            "*\n",
            &"a".repeat(1025),
        ] {
            assert_eq!(complaint(&["ok", wrong]).index, 1, "{wrong:.20}");
        }
        assert_eq!(complaint(&["a"; 65]).index, 64);
    }

    #[test]
    fn directories_that_cannot_hold_a_match_are_told() {
        let globs = selection(&["*.png", "out/*.csv", "data/**/x", "a/b[!c]d"]);
        for directory in ["", "out", "data", "data/1/2/3", "a", "a/bx"] {
            assert!(globs.may_match_in(directory.as_bytes()), "{directory}");
        }
        for directory in ["node_modules", "out/sub", "a/b/c/d"] {
            assert!(!globs.may_match_in(directory.as_bytes()), "{directory}");
        }
    }

    #[test]
    fn a_glob_nested_too_deeply_is_refused_without_overflowing_the_stack() {
        let nested = "{a,".repeat(MAX_GLOB_BYTES / 4) + &"}".repeat(MAX_GLOB_BYTES / 4);
        let refused = complaint(&["*", &nested, "**"]);
        assert_eq!((refused.index, refused.message.contains("nested")), (1, true));
    }

    #[test]
    fn a_glob_of_the_largest_size_can_be_used() {
        let glob = "*a*b".repeat(MAX_GLOB_BYTES / 4);
        let globs = GlobSelection::new(&vec![glob; 4]).unwrap();
        assert!(globs.matches("ab".repeat(256).as_bytes()) && !globs.matches(b"ab"));
    }

    proptest! {
        #[test]
        fn every_match_is_in_directories_that_may_hold_one(
            glob in "([ab*?/]|\\*\\*/|\\[!a\\]|\\{a,b/a\\}|\\\\a){1,8}",
            path in "([ab]{1,2}/){0,4}[ab]{1,2}",
        ) {
            let Ok(globs) = GlobSelection::new(&[glob]) else { return Ok(()) };
            if globs.matches(path.as_bytes()) {
                for (end, _) in path.match_indices('/') {
                    prop_assert!(globs.may_match_in(&path.as_bytes()[..end]));
                }
                prop_assert!(globs.may_match_in(b""));
            }
        }
    }
}
