//! A walk through a workspace, by descriptors and without recursion: every directory is opened by
//! its name in the one above, through no link and no mount, in the order of the names' bytes.
//!
//! The payload shaped what is walked, so depth, entries, memory and time are bounded.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use std::vec;

use nix::dir::{Dir, Type};
use nix::sys::stat::SFlag;

use super::beneath;
use super::glob::GlobSelection;
use super::path::{MAX_DEPTH, WorkspacePath};
use super::refusal::{Obstacle, Refusal};

/// Entries that one walk looks at: more than a workspace that is meant to be collected from has.
pub const MAX_LOOKED_AT: u64 = 1_000_000;

/// What a walk may cost.
const BOUNDS: Bounds = Bounds {
    entries: MAX_LOOKED_AT,
    // Names are sorted, so a directory's are all held together.
    held_bytes: 32 * 1024 * 1024,
    // Globs and names can be made for each other so that a match takes milliseconds; a million
    // honest ones take a second or two.
    time: Duration::from_secs(30),
};

/// What holding one name costs besides its bytes: its place in a list and its allocation.
const ENTRY_BYTES: usize = 64;

/// Something on the walk. Its path is [`Walk::path`].
#[derive(Debug)]
pub(super) enum Step {
    /// A path that matches and is not a directory; its name in [`Walk::directory`].
    Match(CString),
    /// A path that matches or is on the way to matches, and can't be taken.
    Refused(Refusal),
}

/// A walk that yields the paths that globs match.
pub(super) struct Walk<'w> {
    globs: &'w GlobSelection,
    frames: Vec<Frame>,
    path: Vec<u8>,
    left: Bounds,
    resumed: Instant,
    cut: bool,
}

/// What a walk may cost, or what is left of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    /// Directory entries looked at.
    entries: u64,
    /// Bytes of names held at once.
    held_bytes: usize,
    /// Time spent in the walk itself, not by whoever takes its steps.
    time: Duration,
}

/// A directory that the walk is in.
struct Frame {
    directory: Dir,
    entries: vec::IntoIter<Entry>,
    path_bytes: usize,
    held_bytes: usize,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    name: CString,
    /// A hint only: opening it is what proves it. Some file systems don't say.
    is_directory: Option<bool>,
}

impl<'w> Walk<'w> {
    /// Starts at the workspace's root, which a payload may have made unreadable as well.
    pub(super) fn start(root: BorrowedFd<'_>, globs: &'w GlobSelection) -> Result<Self, Obstacle> {
        Self::start_within(root, globs, BOUNDS)
    }

    fn start_within(
        root: BorrowedFd<'_>,
        globs: &'w GlobSelection,
        left: Bounds,
    ) -> Result<Self, Obstacle> {
        let (frames, path, resumed) = (Vec::new(), Vec::new(), Instant::now());
        let mut walk = Self { globs, frames, path, left, resumed, cut: false };
        walk.push(beneath::open_root(root).map_err(Obstacle::of_open)?)?;
        walk.pause();
        Ok(walk)
    }

    /// Goes on to the next path to be considered; `None` at the end.
    pub(super) fn step(&mut self) -> Result<Option<Step>, Obstacle> {
        self.resumed = Instant::now();
        let step = self.advance();
        self.pause();
        step
    }

    /// The path of the last step, relative to the workspace.
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    /// The directory that the last step's name is in.
    pub(super) fn directory(&self) -> Option<BorrowedFd<'_>> {
        self.frames.last().map(|frame| frame.directory.as_fd())
    }

    /// Whether a bound left entries out.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    fn advance(&mut self) -> Result<Option<Step>, Obstacle> {
        while let Some(frame) = self.frames.last_mut() {
            self.path.truncate(frame.path_bytes);
            let Some(entry) = frame.entries.next() else {
                self.left.held_bytes += frame.held_bytes;
                self.frames.pop();
                continue;
            };
            if self.is_time_up() {
                self.cut = true;
                return Ok(None);
            }
            append(&mut self.path, entry.name.to_bytes());
            let is_directory = match entry.is_directory {
                Some(known) => known,
                None if self.is_directory(&entry.name)? => true,
                None if self.globs.matches(&self.path) => false,
                None => continue,
            };
            if !is_directory {
                return Ok(Some(Step::Match(entry.name)));
            }
            match self.enter(&entry.name) {
                Ok(()) => {}
                Err(Obstacle::Refused(refusal)) => return Ok(Some(Step::Refused(refusal))),
                Err(failed) => return Err(failed),
            }
        }
        Ok(None)
    }

    fn pause(&mut self) {
        self.left.time = self.left.time.saturating_sub(self.resumed.elapsed());
    }

    fn is_time_up(&self) -> bool {
        self.resumed.elapsed() >= self.left.time
    }

    fn is_directory(&self, name: &CStr) -> Result<bool, Obstacle> {
        let Some(parent) = self.directory() else { return Ok(false) };
        match beneath::stat(parent, name).map_err(Obstacle::of_open) {
            Ok(stat) => Ok(beneath::kind_of(&stat) == SFlag::S_IFDIR),
            Err(Obstacle::Refused(_)) => Ok(false),
            Err(failed) => Err(failed),
        }
    }

    fn enter(&mut self, name: &CStr) -> Result<(), Obstacle> {
        if !self.globs.may_match_in(&self.path) {
            return Err(Refusal::NotRegularFile.into());
        }
        WorkspacePath::try_from(self.path.as_slice()).map_err(Refusal::from)?;
        if self.frames.len() >= MAX_DEPTH {
            return Err(Refusal::TooDeep.into());
        }
        let Some(parent) = self.directory() else { return Ok(()) };
        let opened = beneath::open_directory(parent, name).map_err(Obstacle::of_open)?;
        self.push(opened)
    }

    fn push(&mut self, opened: OwnedFd) -> Result<(), Obstacle> {
        let mut directory = Dir::from_fd(opened).map_err(Obstacle::of_open)?;
        let (entries, held_bytes) = self.read(&mut directory)?;
        let (entries, path_bytes) = (entries.into_iter(), self.path.len());
        self.frames.push(Frame { directory, entries, path_bytes, held_bytes });
        Ok(())
    }

    /// Reads a directory: what matches, and the directories on the way to what may, sorted.
    fn read(&mut self, directory: &mut Dir) -> Result<(Vec<Entry>, usize), Obstacle> {
        let (mut entries, mut held_bytes) = (Vec::new(), 0);
        let mut path = self.path.clone();
        for found in directory.iter() {
            let found = found.map_err(Obstacle::of_open)?;
            let name = found.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let held_next = held_bytes + name.to_bytes().len() + ENTRY_BYTES;
            let all_held = held_next > self.left.held_bytes;
            if all_held || self.left.entries == 0 || self.is_time_up() {
                self.cut = true;
                break;
            }
            self.left.entries -= 1;
            append(&mut path, name.to_bytes());
            let kind = found.file_type();
            let may_lead_on = kind.is_none_or(|kind| kind == Type::Directory);
            if self.globs.matches(&path) || (may_lead_on && self.globs.may_match_in(&path)) {
                held_bytes = held_next;
                let is_directory = kind.map(|kind| kind == Type::Directory);
                entries.push(Entry { name: name.to_owned(), is_directory });
            }
            path.truncate(self.path.len());
        }
        self.left.held_bytes -= held_bytes;
        entries.sort_unstable();
        Ok((entries, held_bytes))
    }
}

fn append(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::testing::{Fixture, globs};

    #[test]
    fn a_directory_with_more_entries_than_the_bound_is_cut_and_says_so() {
        let fixture = Fixture::new();
        for name in 0..50 {
            fixture.file(&format!("{name}"), "");
        }
        let few_bytes = 20 * (ENTRY_BYTES + 2);
        for bounds in [Bounds { entries: 20, ..BOUNDS }, Bounds { held_bytes: few_bytes, ..BOUNDS }]
        {
            let globs = globs(&["*"]);
            let root = fixture.root();
            let mut walk = Walk::start_within(root.as_fd(), &globs, bounds).unwrap();
            let mut matches = 0;
            while let Some(step) = walk.step().unwrap() {
                assert!(matches!(step, Step::Match(_)));
                matches += 1;
            }
            assert!((20..23).contains(&matches) && walk.is_cut(), "{matches}");
            assert_eq!(walk.left.held_bytes, bounds.held_bytes, "what was held is given back");
        }
    }

    #[test]
    fn a_walk_whose_time_is_up_ends_and_says_so() {
        let fixture = Fixture::new();
        fixture.file("a", "");
        let (globs, root) = (globs(&["*"]), fixture.root());
        let mut walk = Walk::start(root.as_fd(), &globs).unwrap();
        walk.left.time = Duration::ZERO;
        assert!(matches!(walk.step(), Ok(None)) && walk.is_cut());
        let bounds = Bounds { time: Duration::ZERO, ..BOUNDS };
        let walk = Walk::start_within(root.as_fd(), &globs, bounds).unwrap();
        assert!(walk.frames[0].entries.len() == 0 && walk.is_cut());
    }

    #[test]
    fn a_file_system_that_does_not_tell_types_is_asked_for_them() {
        let fixture = Fixture::new();
        fixture.file("d/a", "");
        let globs = globs(&["**/a"]);
        let root = fixture.root();
        let mut walk = Walk::start(root.as_fd(), &globs).unwrap();
        let entries = walk.frames[0].entries.clone().map(|e| Entry { is_directory: None, ..e });
        walk.frames[0].entries = entries.collect::<Vec<_>>().into_iter();
        assert!(matches!(walk.step(), Ok(Some(Step::Match(_)))));
        assert_eq!(walk.path(), b"d/a");
        assert!(matches!(walk.step(), Ok(None)));
    }
}
