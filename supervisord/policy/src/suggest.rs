//! "Did you mean": the known name that is nearest to a misspelt one.

/// Typing mistakes a suggestion may be away from what was written.
const MAX_DISTANCE: usize = 2;

/// The nearest of `known`, if it is near enough to be what was meant.
pub(crate) fn nearest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    known
        .into_iter()
        .filter_map(|name| distance(written, name).map(|distance| (distance, name)))
        // Where more than half is wrong, nothing says that this was meant.
        .filter(|(distance, name)| distance * 2 <= name.len().max(written.len()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// A hint for an unknown name: the nearest known one, else all of them.
pub(crate) fn hint(written: &str, known: &[&str]) -> String {
    match nearest(written, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known here: `{}`", known.join("`, `")),
    }
}

/// Insertions, deletions and substitutions from one text to the other; `None` above
/// [`MAX_DISTANCE`], which also bounds the work on hostile text.
fn distance(one: &str, other: &str) -> Option<usize> {
    if one.len().abs_diff(other.len()) > MAX_DISTANCE {
        return None;
    }
    let other = other.as_bytes();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, byte) in one.bytes().enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        let mut next = vec![left];
        for (above, known) in row.iter().skip(1).zip(other) {
            left = (diagonal + usize::from(byte != *known)).min(above + 1).min(left + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
        if row.iter().min().is_none_or(|least| *least > MAX_DISTANCE) {
            return None;
        }
    }
    row.last().copied().filter(|distance| *distance <= MAX_DISTANCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_recognised() {
        let known = ["memory_max", "pids_max", "exec"];
        assert_eq!(nearest("memroy_max", known), Some("memory_max"));
        assert_eq!(nearest("pid_max", known), Some("pids_max"));
        assert_eq!(nearest("exce", known), Some("exec"));
        assert_eq!(nearest("exe", known), Some("exec"));
        assert_eq!(nearest("x", known), None);
        assert_eq!(nearest("network", known), None);
        assert_eq!(hint("network", &["a", "b"]), "known here: `a`, `b`");
    }

    #[test]
    fn the_distance_is_the_one_of_levenshtein() {
        assert_eq!(distance("", ""), Some(0));
        assert_eq!(distance("ab", ""), Some(2));
        assert_eq!(distance("kitten", "sitten"), Some(1));
        assert_eq!(distance("flaw", "lawn"), Some(2));
        assert_eq!(distance("kitten", "sitting"), None);
    }
}
