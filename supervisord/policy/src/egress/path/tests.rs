//! Paths in the spellings that programs disagree on.

use proptest::prelude::*;

use super::*;

#[test]
fn a_path_is_judged_by_what_it_means() {
    for (path, canonical) in [
        ("/", "/"),
        ("/public/../secret", "/secret"),
        ("/../../secret", "/secret"),
        ("/secret/.", "/secret/"),
        ("/a/b/..", "/a/"),
        ("/./a", "/a"),
        ("/%73ecret", "/secret"),
        ("/%7euser", "/~user"),
        ("/secret%20", "/secret%20"),
        ("/%e4%b8%ad", "/%E4%B8%AD"),
        ("/100%25", "/100%25"),
        ("/...", "/..."),
        ("/.git/config", "/.git/config"),
    ] {
        assert_eq!(canonical_path(path).as_deref(), Ok(canonical), "{path}");
    }
}

#[test]
fn a_path_that_can_be_read_in_two_ways_is_refused() {
    for path in [
        "",
        "secret",
        "*",
        "//secret",
        "/public//../secret",
        "/public/%2e%2e/secret",
        "/%2e",
        "/public/%2E%2e%2fsecret",
        "/a%2Fb",
        "/public/..;/secret",
        "/a;b",
        "/a%3Bb",
        "/a\\b",
        "/a%5cb",
        "/public/%252e%252e/secret",
        "/public/%c0%ae%c0%ae/secret",
        "/a%00",
        "/a%0a",
        "/a%",
        "/a%4",
        "/a%zz",
        "/a#b",
        "/a b",
        "/public/\u{1}",
        "/é",
        "/.%2e/x",
        "/a/..%23/x",
        "/a/.%2e%3fb",
        "/a/..%20/x",
        "/a/.%20",
        "/a/%25%32%65%25%32%65/x",
        "/a/%25%32%66x",
        "/a/%252%65",
        "/a?b",
    ] {
        assert!(canonical_path(path).is_err(), "{path}");
    }
}

#[test]
fn patterns_mean_what_they_say() {
    for (pattern, yes, no) in [
        ("/ok", vec!["/ok"], vec!["/", "/ok/", "/okay", "/OK"]),
        ("/**", vec!["/", "/a", "/a/b/"], vec![]),
        ("/public/**", vec!["/public/", "/public/a", "/public/a/b"], vec!["/public", "/p"]),
        ("/a/*/c", vec!["/a/b/c"], vec!["/a/c", "/a//c", "/a/b/b/c"]),
        ("/a/*", vec!["/a/b"], vec!["/a/", "/a", "/a/b/"]),
        ("/**/info/refs", vec!["/info/refs", "/a/b/info/refs"], vec!["/a/info/refs/x"]),
        ("/v*/x", vec!["/v1/x", "/v/x"], vec!["/w/x"]),
        ("/*.git/a*b*c", vec!["/x.git/abc", "/.git/a1b2c"], vec!["/git/abc", "/x.git/acb"]),
        ("/**/a/**/b", vec!["/a/b", "/x/a/a/y/b"], vec!["/b/a", "/a"]),
    ] {
        let parsed = PathPattern::parse(pattern).unwrap();
        assert!(yes.iter().all(|path| parsed.matches(path)), "{pattern}");
        assert!(!no.iter().any(|path| parsed.matches(path)), "{pattern}");
    }
    let long = "/a".repeat(MAX_SEGMENTS + 1);
    for bad in ["", "a", "/a**", "/a/***", "/a/../b", "/%61", "//", "/a%2fb", &long] {
        assert!(PathPattern::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_holds_back_from_all_below_a_directory_holds_back_from_the_directory() {
    let of = |text| PathPattern::parse(text).unwrap();
    for (pattern, directory) in [("/a/**", "/a"), ("/a/*/**", "/a/*"), ("/**/a/**", "/**/a")] {
        let (below, all) = (of(pattern), of(pattern).holding_back());
        let itself = directory.replace('*', "a");
        assert!(!below.matches(&itself) && all.matches(&itself), "{pattern}");
        assert!(all.covers(&below) && all.covers(&of(directory)), "{pattern}");
        assert!(!below.covers(&all), "{pattern}");
        assert_eq!(all.as_str(), pattern);
    }
    assert!(of("/a/**/**").holding_back().matches("/a"));
    assert!(of("/a/b/c/**").holding_back().covers(&of("/a/b/c/d")));
    assert!(!of("/a/b/**").holding_back().covers(&of("/a/*")));
    for same in ["/**", "/**/**", "/", "/a/"] {
        assert_eq!(of(same).holding_back(), of(same));
    }
}

#[test]
fn what_holds_back_from_a_path_holds_back_from_it_with_a_last_slash() {
    let of = |text: &str| PathPattern::parse(text).unwrap();
    for (pattern, path) in
        [("/admin", "/admin"), ("/x/*.env", "/x/prod.env"), ("/**/a", "/a"), ("/*", "/b")]
    {
        let (own, held) = (of(pattern), of(pattern).holding_back());
        let slashed = format!("{path}/");
        assert!(own.matches(path) && !own.matches(&slashed), "{pattern}");
        assert!(held.matches(path) && held.matches(&slashed), "{pattern}");
        assert!(!held.matches(&format!("{path}/c")) || pattern == "/**/a", "{pattern}");
        assert!(held.covers(&own) && held.covers(&of(&format!("{pattern}/"))), "{pattern}");
        assert!(held.covers(&held) && !own.covers(&held), "{pattern}");
    }
    assert!(!of("/*").holding_back().matches("/"));
    assert!(of("/a/**").holding_back().covers(&of("/a").holding_back()));
    assert!(!of("/a/**").covers(&of("/a").holding_back()));
}

proptest! {
    #[test]
    fn what_holds_back_is_what_is_below_and_the_directory(
        pattern in prop::collection::vec(prop::sample::select(vec!["a", "b", "*", "**", "a*"]), 1..5),
        path in prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "c"]), 1..6),
    ) {
        prop_assume!(pattern.last() != Some(&"**"));
        let spelt = |parts: &[&str]| parts.iter().flat_map(|part| ["/", part]).collect::<String>();
        let text = format!("{}/**", spelt(&pattern));
        let (own, below) = (PathPattern::parse(&spelt(&pattern)).unwrap(), PathPattern::parse(&text).unwrap());
        let held = below.clone().holding_back();
        let path = spelt(&path);
        let either = own.matches(&path) || below.matches(&path);
        prop_assert_eq!(held.matches(&path), either, "{} {}", text, path);
        let (slashed, held) = (format!("{path}/"), own.clone().holding_back());
        prop_assert_eq!(held.matches(&path), own.matches(&path), "{} {}", own, path);
        prop_assert_eq!(held.matches(&slashed), own.matches(&path), "{} {}", own, slashed);
    }

    #[test]
    fn canonical_paths_are_canonical(path in "/[a-c./%2356eE;\\\\*-]{0,30}") {
        if let Ok(canonical) = canonical_path(&path) {
            let again = canonical_path(&canonical);
            prop_assert_eq!(again.as_deref(), Ok(&*canonical));
            let dots = canonical.split('/').any(|segment| segment == "." || segment == "..");
            prop_assert!(!dots && !canonical.contains("//"));
        }
    }

    #[test]
    fn no_text_breaks_paths_or_patterns(text in any::<String>(), path in "/[ab*/.]{0,20}") {
        prop_assert!(canonical_path(&text).is_err() || text.starts_with('/'));
        if let Ok(pattern) = PathPattern::parse(&path) {
            prop_assert!(!pattern.matches(&text) || text.starts_with('/'));
        }
    }

    #[test]
    fn matching_is_what_the_definition_says(
        pattern in prop::collection::vec(prop::sample::select(vec!["a", "b", "*", "**", "a*"]), 1..6),
        path in prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "c"]), 1..7),
    ) {
        let text: String = pattern.iter().flat_map(|segment| ["/", segment]).collect();
        let spelt: String = path.iter().flat_map(|segment| ["/", segment]).collect();
        let parsed = PathPattern::parse(&text).unwrap();
        prop_assert_eq!(parsed.matches(&spelt), defined(&pattern, &path), "{} {}", text, spelt);
    }
}

/// The meaning of a pattern, by recursion.
fn defined(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**"], []) | ([], _) => false,
        (["**"], _) => true,
        (["**", rest @ ..], _) => (0..=path.len()).any(|taken| defined(rest, &path[taken..])),
        (_, []) => false,
        (["*", rest @ ..], [_, after @ ..]) => defined(rest, after),
        (["a*", rest @ ..], [first, after @ ..]) => first.starts_with('a') && defined(rest, after),
        ([wanted, rest @ ..], [first, after @ ..]) => wanted == first && defined(rest, after),
    }
}
