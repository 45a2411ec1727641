//! One segment of a path for each set of a pattern's segments that it can fit at once.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::egress::path::{PathPattern, Segment, canonical_path};

/// Words that stand for any other, those that read best first.
const OTHERS: [&str; 3] = ["any", "other", "else"];

/// Characters that one is made of where all of those could mean something.
const CHARACTERS: &str =
    "xyzqwjkvbghfupmdclrstnoiaeXYZQWJKVBGHFUPMDCLRSTNOIAE0123456789-_~!$&'()+,=:@";

/// Places in globs that are followed at once. Real policies have a handful of globs.
const MAX_STATES: usize = 5_000;

/// The segments of all patterns, and words for them.
pub(super) struct Segments<'a> {
    /// Each that is text or a glob.
    known: Vec<&'a Segment>,
    numbers: BTreeMap<(bool, &'a str), usize>,
    /// A word of each kind, one that fits as little as possible first.
    pub words: Vec<Word>,
    /// Whether there is one of every kind.
    pub complete: bool,
}

/// A segment of a path.
#[derive(Debug)]
pub(super) struct Word {
    pub text: String,
    /// Which segments of patterns it fits, by their numbers.
    pub fits: Vec<usize>,
}

/// A place in a glob: its number among the globs, and how much of it has been taken.
type Place = (usize, usize);

impl<'a> Segments<'a> {
    pub fn of(patterns: &[&'a PathPattern]) -> Self {
        let mut known: Vec<&Segment> = Vec::new();
        let mut numbers = BTreeMap::new();
        for segment in patterns.iter().flat_map(|pattern| pattern.segments()) {
            if let Some(key) = key(segment)
                && let Entry::Vacant(free) = numbers.entry(key)
            {
                free.insert(known.len());
                known.push(segment);
            }
        }
        let fresh = fresh(&known);
        let mut found = Self { known, numbers, words: Vec::new(), complete: fresh.is_some() };
        let fresh = fresh.unwrap_or_else(|| OTHERS[0].to_owned());
        let mut kinds: BTreeMap<Vec<usize>, String> = BTreeMap::new();
        found.add(&mut kinds, fresh.clone());
        for literal in found.literals() {
            found.add(&mut kinds, literal);
        }
        found.follow(&fresh, &mut kinds);
        let first = kinds.iter().find(|(_, text)| **text == fresh).map(|(fits, _)| fits.clone());
        let mut words: Vec<Word> =
            kinds.into_iter().map(|(fits, text)| Word { text, fits }).collect();
        words.sort_by_key(|word| Some(&word.fits) != first.as_ref());
        Self { words, ..found }
    }

    /// The word that fits nothing but what fits everything.
    pub fn fresh(&self) -> &str {
        self.words.first().map_or(OTHERS[0], |word| &word.text)
    }

    /// The number of a pattern's segment; `None` where every word fits it, or the empty one only.
    pub fn number(&self, segment: &Segment) -> Option<usize> {
        self.numbers.get(&key(segment)?).copied()
    }

    fn literals(&self) -> Vec<String> {
        let text = |segment: &&Segment| match segment {
            Segment::Literal(text) => Some(text.to_string()),
            _ => None,
        };
        self.known.iter().filter_map(text).collect()
    }

    fn add(&self, kinds: &mut BTreeMap<Vec<usize>, String>, text: String) {
        let fits = self.known.iter().enumerate().filter(|(_, segment)| segment.takes(&text));
        kinds.entry(fits.map(|(at, _)| at).collect()).or_insert(text);
    }

    /// Follows all globs at once, character by character: each set of places that can be reached.
    fn follow(&mut self, fresh: &str, kinds: &mut BTreeMap<Vec<usize>, String>) {
        let literals: BTreeSet<String> = self.literals().into_iter().collect();
        let globs: Vec<Vec<&str>> = globs(&self.known).map(tokens).collect();
        let start = spread(&globs, (0..globs.len()).map(|glob| (glob, 0)).collect());
        let mut seen: BTreeSet<(Vec<Place>, bool, bool)> = BTreeSet::new();
        let mut queue = VecDeque::from([(start, String::new())]);
        while let Some((places, text)) = queue.pop_front() {
            let mut next: Vec<&str> = places.iter().filter_map(|at| wanted(&globs, *at)).collect();
            next.retain(|token| *token != "*");
            next.push(fresh);
            next.sort_unstable();
            next.dedup();
            for more in next {
                let longer = format!("{text}{more}");
                // What no path can have, whatever comes after it.
                if !is_canonical(&longer) && !is_canonical(&format!("{longer}{fresh}")) {
                    continue;
                }
                let after = tokens(more)
                    .into_iter()
                    .fold(places.clone(), |at, token| step(&globs, &at, token));
                let (is_one, is_literal) = (is_canonical(&longer), literals.contains(&longer));
                if !seen.insert((after.clone(), is_one, is_literal)) {
                    continue;
                }
                if seen.len() > MAX_STATES {
                    self.complete = false;
                    return;
                }
                if is_one {
                    self.add(kinds, longer.clone());
                }
                queue.push_back((after, longer));
            }
        }
    }
}

/// What tells segments apart that are text or a glob. An empty one stands last only, which is seen to there.
fn key(segment: &Segment) -> Option<(bool, &str)> {
    match segment {
        Segment::Literal(text) => (!text.is_empty()).then_some((false, text)),
        Segment::Glob(glob) => Some((true, glob)),
        Segment::One | Segment::Deep | Segment::End => None,
    }
}

/// A word that no text has in it, and with no character that a glob has.
fn fresh(known: &[&Segment]) -> Option<String> {
    let in_globs: BTreeSet<char> = globs(known).flat_map(str::chars).collect();
    let is_free = |word: &str| {
        !word.chars().any(|character| in_globs.contains(&character))
            && !known
                .iter()
                .any(|segment| matches!(segment, Segment::Literal(text) if text.contains(word)))
    };
    let longest = known.iter().map(|segment| match segment {
        Segment::Literal(text) => text.len(),
        _ => 0,
    });
    let longest = longest.max().unwrap_or_default();
    // One that is longer than every text is in none.
    let made = CHARACTERS.chars().flat_map(|character| {
        let word = move |length| std::iter::repeat_n(character, length).collect::<String>();
        [1, 2, 3, longest + 1].map(word)
    });
    OTHERS.into_iter().map(str::to_owned).chain(made).find(|word| is_free(word))
}

fn globs<'a>(known: &[&'a Segment]) -> impl Iterator<Item = &'a str> {
    known.iter().filter_map(|segment| match segment {
        Segment::Glob(glob) => Some(&**glob),
        _ => None,
    })
}

/// The characters of a glob or a word: `*`, a plain one, or the escapes of one character together.
fn tokens(text: &str) -> Vec<&str> {
    let is_continued = |at: usize| {
        let byte = text.get(at + 1..at + 3).and_then(|two| u8::from_str_radix(two, 16).ok());
        text.get(at..=at) == Some("%") && byte.is_some_and(|byte| (0x80..0xC0).contains(&byte))
    };
    let mut found = Vec::new();
    let mut start = 0;
    while let Some(first) = text.get(start..=start) {
        let mut end = start + if first == "%" { 3 } else { 1 };
        while first == "%" && is_continued(end) {
            end += 3;
        }
        found.extend(text.get(start..end.min(text.len())));
        start = end;
    }
    found
}

fn is_canonical(segment: &str) -> bool {
    let path = format!("/{segment}");
    canonical_path(&path).is_ok_and(|canonical| canonical == path)
}

fn wanted<'a>(globs: &[Vec<&'a str>], (glob, at): Place) -> Option<&'a str> {
    globs.get(glob)?.get(at).copied()
}

/// The places after one more token.
fn step(globs: &[Vec<&str>], places: &[Place], token: &str) -> Vec<Place> {
    let moved = places.iter().filter_map(|(glob, at)| match wanted(globs, (*glob, *at)) {
        Some("*") => Some((*glob, *at)),
        Some(own) if own == token => Some((*glob, at + 1)),
        _ => None,
    });
    spread(globs, moved.collect())
}

/// With the places behind stars, which may take nothing.
fn spread(globs: &[Vec<&str>], mut places: Vec<Place>) -> Vec<Place> {
    let mut at = 0;
    while let Some((glob, place)) = places.get(at).copied() {
        if wanted(globs, (glob, place)) == Some("*") {
            places.push((glob, place + 1));
        }
        at += 1;
    }
    places.sort_unstable();
    places.dedup();
    places
}
