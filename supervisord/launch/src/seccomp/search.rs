//! Finding a number among ranges, as a part of a program.
//!
//! When a filter is installed the kernel walks it once for every call number, to remember those
//! that are always allowed; a chain of comparisons takes it half as long as all the rest of a
//! launch, a balanced search a fortieth.

use crate::seccomp::assembler::{Assembler, Comparison, Label};

/// About the number of the newest call.
const CALLS: u32 = 480;
/// A chain of more comparisons takes longer than a search.
const MAX_CHAIN: usize = 3;

/// Numbers of one fate, or for which the program goes on at one place.
#[derive(Debug, Clone, Copy)]
pub struct Range<T> {
    pub first: u32,
    pub last: u32,
    pub to: T,
}

impl<T> Range<T> {
    fn is_single(&self) -> bool {
        self.first == self.last
    }

    /// How often the range will be looked for: the kernel asks for each call number once.
    fn weight(&self) -> u32 {
        self.last.min(CALLS).saturating_sub(self.first) + 1
    }
}

/// Cuts the 32-bit numbers into ranges: these points in ascending order, and `otherwise` between.
pub fn partition<T: Copy + PartialEq>(
    otherwise: T,
    points: impl Iterator<Item = (u32, T)>,
) -> Vec<Range<T>> {
    let mut ranges: Vec<Range<T>> = Vec::new();
    let mut append = |first: u32, last: u32, to: T| match ranges.last_mut() {
        Some(range) if range.to == to => range.last = last,
        _ => ranges.push(Range { first, last, to }),
    };
    let mut next = Some(0);
    for (point, to) in points {
        if let Some(gap) = next.filter(|next| *next < point) {
            append(gap, point - 1, otherwise);
        }
        append(point, point, to);
        next = point.checked_add(1);
    }
    if let Some(gap) = next {
        append(gap, u32::MAX, otherwise);
    }
    ranges
}

/// Goes on where these points in ascending order say, and at `otherwise` for any other number.
pub fn search_points(
    assembler: &mut Assembler,
    otherwise: Label,
    points: impl Iterator<Item = (u32, Label)>,
) -> Label {
    search(assembler, &partition(otherwise, points))
}

/// Goes on at the place of the range in which the loaded word is.
pub fn search(assembler: &mut Assembler, ranges: &[Range<Label>]) -> Label {
    if let Some(around) = surrounding(ranges) {
        let singles = ranges.iter().filter(|range| range.to != around);
        return singles.rev().fold(around, |other, single| {
            assembler.branch(Comparison::Equal(single.first), single.to, other)
        });
    }
    let (lower, upper) = ranges.split_at(middle(ranges));
    let start = upper.first().map_or(0, |range| range.first);
    let upper = search(assembler, upper);
    let lower = search(assembler, lower);
    assembler.branch(Comparison::AtLeast(start), upper, lower)
}

/// The place of all ranges but at most [`MAX_CHAIN`] single numbers, if there is one: a comparison
/// for each of those is less than the two that cut a number out of a range.
fn surrounding(ranges: &[Range<Label>]) -> Option<Label> {
    let around = ranges.iter().find(|range| !range.is_single()).or(ranges.first())?.to;
    let mut others = ranges.iter().filter(|range| range.to != around);
    let singles = others.by_ref().take(MAX_CHAIN).all(Range::is_single);
    (singles && others.next().is_none()).then_some(around)
}

/// Where to cut ranges in two, so that the program is about as long for either half. There are at
/// least two.
fn middle(ranges: &[Range<Label>]) -> usize {
    let half = ranges.iter().map(Range::weight).sum::<u32>() / 2;
    let mut before = 0;
    let cut = ranges.iter().take_while(|range| {
        before += range.weight();
        before <= half
    });
    cut.count().min(ranges.len() - 1).max(1)
}
