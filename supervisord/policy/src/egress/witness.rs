//! A path that a pattern means, and one that two patterns mean together: representatives of the parts
//! into which patterns cut all paths.

use std::net::IpAddr;

use crate::egress::path::{PathPattern, Segment};

/// A segment that stands for any other.
const ANY: &str = "any";

/// Steps after which looking for a common path is given up.
const MAX_STEPS: usize = 20_000;

/// Paths that a pattern means: with nothing for its `**` and behind its last slash, and with something.
pub(super) fn of(pattern: &PathPattern) -> Vec<String> {
    let filled = |deep: &[&str]| -> String {
        let segments = pattern.segments().iter().flat_map(|segment| match segment {
            Segment::Literal(text) => vec![text.to_string()],
            Segment::Glob(glob) => vec![fill(glob)],
            Segment::One => vec![ANY.to_owned()],
            Segment::End => deep.first().map(|_| String::new()).into_iter().collect(),
            Segment::Deep => deep.iter().map(|text| (*text).to_owned()).collect(),
        });
        segments.flat_map(|segment| ["/".to_owned(), segment]).collect()
    };
    let mut found = vec![filled(&[]), filled(&[ANY, ANY])];
    found.dedup();
    found
}

/// A path that both patterns mean, if one was found.
pub(super) fn of_both(one: &PathPattern, two: &PathPattern) -> Option<String> {
    let mut steps = MAX_STEPS;
    let mut segments = common(one.segments(), two.segments(), &mut steps)?;
    segments.reverse();
    Some(segments.iter().flat_map(|segment| ["/", segment]).collect())
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

/// The common segments, the last one first.
fn common(one: &[Segment], two: &[Segment], steps: &mut usize) -> Option<Vec<String>> {
    *steps = steps.checked_sub(1)?;
    let (first, second) = match (one, two) {
        ([] | [Segment::End], [] | [Segment::End]) => return Some(Vec::new()),
        ([Segment::Deep, rest @ ..], _) => return deep(one, rest, two, steps),
        (_, [Segment::Deep, rest @ ..]) => return deep(two, rest, one, steps),
        ([first, ..], [second, ..]) => (first, second),
        _ => return None,
    };
    let segment = meet(first, second)?;
    let mut found = common(one.get(1..)?, two.get(1..)?, steps)?;
    found.push(segment);
    Some(found)
}

/// `**` takes nothing, or what stands first in the other pattern.
fn deep(
    own: &[Segment],
    rest: &[Segment],
    other: &[Segment],
    steps: &mut usize,
) -> Option<Vec<String>> {
    if let Some(found) = common(rest, other, steps) {
        return Some(found);
    }
    let (first, after) = other.split_first()?;
    if *first == Segment::Deep {
        return common(own, after, steps);
    }
    let mut found = common(own, after, steps)?;
    found.push(meet(&Segment::One, first)?);
    Some(found)
}

/// A segment that both mean.
fn meet(one: &Segment, two: &Segment) -> Option<String> {
    let text = |segment: &Segment| match segment {
        Segment::Literal(text) => text.to_string(),
        Segment::Glob(glob) => fill(glob),
        Segment::One | Segment::Deep => ANY.to_owned(),
        Segment::End => String::new(),
    };
    let mut candidates = vec![text(one), text(two)];
    if let (Segment::Glob(one), Segment::Glob(two)) = (one, two) {
        let ends = |glob: &str| {
            let (before, _) = glob.split_once('*').unwrap_or((glob, ""));
            let (_, after) = glob.rsplit_once('*').unwrap_or(("", glob));
            (before.to_owned(), after.to_owned())
        };
        let ((a, b), (c, d)) = (ends(one), ends(two));
        candidates.extend([format!("{a}{ANY}{d}"), format!("{c}{ANY}{b}")]);
    }
    candidates.into_iter().find(|text| one.takes(text) && two.takes(text))
}

/// A glob with something for its stars.
fn fill(glob: &str) -> String {
    glob.replace('*', ANY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> PathPattern {
        PathPattern::parse(text).unwrap()
    }

    #[test]
    fn a_witness_is_meant_by_its_patterns() {
        let all = [
            "/",
            "/a",
            "/a/",
            "/*/",
            "/a/**",
            "/**",
            "/*/b",
            "/**/b",
            "/a/*/c",
            "/v*",
            "/*v",
            "/**/a/**/b",
        ];
        let held = || all.map(|text| pattern(text).holding_back());
        for one in all.map(pattern).into_iter().chain(held()) {
            assert!(of(&one).iter().all(|path| one.matches(path)), "{one}");
            for two in all.map(pattern).into_iter().chain(held()) {
                if let Some(path) = of_both(&one, &two) {
                    assert!(one.matches(&path) && two.matches(&path), "{one} {two} {path}");
                }
            }
        }
        assert_eq!(of_both(&pattern("/a/**"), &pattern("/**/b")).as_deref(), Some("/a/b"));
        assert_eq!(of_both(&pattern("/v*"), &pattern("/*v")).as_deref(), Some("/vanyv"));
        assert_eq!(of_both(&pattern("/a/b"), &pattern("/b/**")), None);
    }
}
