//! Paths that stand for all others: one for each set of patterns that a path can fit at once. All patterns are
//! followed together, segment by segment, and a path is kept for each set of places that can be reached.

mod segments;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use self::segments::{Segments, Word};
use crate::egress::path::{PathPattern, Segment};

/// Places in patterns that are followed at once. The patterns of one host are rarely over a hundred, most of
/// which part from the others after a segment or two.
const MAX_STATES: usize = 20_000;

/// Steps from one to another: some seconds of work.
const MAX_STEPS: usize = 4_000_000;

/// Paths, and whether they stand for all.
pub(super) struct Witnesses {
    pub paths: BTreeSet<String>,
    pub complete: bool,
}

/// A place in a pattern: its number, and how many of its segments have been taken.
type Place = (usize, usize);

/// Paths for these patterns. Where there are too many kinds, each pattern has one still.
pub(super) fn of(patterns: &[&PathPattern]) -> Witnesses {
    let segments = Segments::of(patterns);
    let mut kept = Kept { patterns, paths: BTreeMap::new() };
    let mut complete = segments.complete;
    for pattern in patterns {
        kept.add(fill(pattern, segments.fresh()));
    }
    let start = spread(patterns, (0..patterns.len()).map(|pattern| (pattern, 0)).collect());
    let mut seen = BTreeSet::from([start.clone()]);
    let mut queue = VecDeque::from([(start, String::new())]);
    let mut steps = 0;
    while let Some((places, path)) = queue.pop_front() {
        if !path.is_empty() {
            kept.add(path.clone());
        }
        kept.add(format!("{path}/"));
        for word in apart(patterns, &segments, &places) {
            steps += places.len() + 1;
            let after = step(patterns, &places, &word.text);
            if seen.insert(after.clone()) {
                queue.push_back((after, format!("{path}/{}", word.text)));
            }
        }
        if seen.len() > MAX_STATES || steps > MAX_STEPS {
            complete = false;
            break;
        }
    }
    Witnesses { paths: kept.paths.into_values().collect(), complete }
}

/// The address after one.
pub(super) fn next_address(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => {
            u32::from(address).checked_add(1).map(|next| IpAddr::V4(next.into()))
        }
        IpAddr::V6(address) => {
            u128::from(address).checked_add(1).map(|next| IpAddr::V6(next.into()))
        }
    }
}

/// A path of each kind, the one that was found first.
struct Kept<'a> {
    patterns: &'a [&'a PathPattern],
    paths: BTreeMap<Vec<usize>, String>,
}

impl Kept<'_> {
    fn add(&mut self, path: String) {
        let fits = self.patterns.iter().enumerate().filter(|(_, pattern)| pattern.matches(&path));
        self.paths.entry(fits.map(|(at, _)| at).collect()).or_insert(path);
    }
}

/// A path that a pattern means, with a word for what it leaves open.
fn fill(pattern: &PathPattern, word: &str) -> String {
    let texts = pattern.segments().iter().filter_map(|segment| match segment {
        Segment::Literal(text) => Some(text.to_string()),
        Segment::Glob(glob) => Some(glob.replace('*', word)),
        Segment::One => Some(word.to_owned()),
        Segment::Deep | Segment::End => None,
    });
    let path: String = texts.flat_map(|text| ["/".to_owned(), text]).collect();
    if path.is_empty() { "/".to_owned() } else { path }
}

/// Words that lead to different places from these.
fn apart<'a>(
    patterns: &[&PathPattern],
    segments: &'a Segments<'_>,
    places: &[Place],
) -> Vec<&'a Word> {
    let wanted: BTreeSet<usize> = places
        .iter()
        .filter_map(|(pattern, at)| patterns.get(*pattern)?.segments().get(*at))
        .filter_map(|segment| segments.number(segment))
        .collect();
    let mut known = BTreeSet::new();
    let is_new = |word: &&Word| {
        let fits: Vec<usize> = word.fits.iter().copied().filter(|at| wanted.contains(at)).collect();
        known.insert(fits)
    };
    segments.words.iter().filter(is_new).collect()
}

/// The places after one more segment, which isn't empty.
fn step(patterns: &[&PathPattern], places: &[Place], text: &str) -> Vec<Place> {
    let moved = places.iter().filter_map(|(pattern, at)| {
        match patterns.get(*pattern)?.segments().get(*at)? {
            Segment::Deep => Some((*pattern, *at)),
            segment => segment.takes(text).then_some((*pattern, at + 1)),
        }
    });
    spread(patterns, moved.collect())
}

/// With the places behind `**`, which may take nothing.
fn spread(patterns: &[&PathPattern], mut places: Vec<Place>) -> Vec<Place> {
    let mut at = 0;
    while let Some((pattern, place)) = places.get(at).copied() {
        let segments = patterns.get(pattern).map(|pattern| pattern.segments());
        if segments.and_then(|all| all.get(place)) == Some(&Segment::Deep) {
            places.push((pattern, place + 1));
        }
        at += 1;
    }
    places.sort_unstable();
    places.dedup();
    places
}
