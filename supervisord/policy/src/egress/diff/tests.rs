//! Differences between policies, and that none is missed.

use proptest::prelude::*;

use super::*;
use crate::egress::properties::{load, question, rule};

fn difference(old: &str, new: &str) -> Vec<String> {
    let rules = |text: &str| if text.is_empty() { vec![] } else { vec![text.to_owned()] };
    let found = load(&rules(old)).difference(&load(&rules(new)));
    assert!(found.complete);
    let changes = found.changes.iter().flat_map(|change| {
        let verdicts = format!("{}→{}", change.old.verdict(), change.new.verdict());
        change.examples.iter().map(move |question| format!("{verdicts} {question}"))
    });
    changes.collect()
}

#[test]
fn what_a_rule_allows_is_shown_as_requests() {
    let rule = "hosts = [\"a.test\"]\nmethods = [\"GET\"]\npaths = [\"/v1/*\"]\n";
    let found = difference("", rule);
    assert!(found.contains(&"deny→allow GET https://a.test/v1/any".to_owned()), "{found:?}");
    assert!(found.contains(&"deny→allow dns a.test".to_owned()), "{found:?}");
    assert_eq!(difference(rule, rule), Vec::<String>::new());
}

#[test]
fn how_long_a_person_has_to_answer_is_a_difference() {
    let rule = "hosts = [\"a.test\"]\nverdict = \"ask\"\nmethods = [\"GET\"]\n";
    let longer = format!("{rule}ask_timeout = \"10 min\"\n");
    let found = difference(rule, &longer);
    assert!(found.contains(&"ask→ask GET https://a.test/".to_owned()), "{found:?}");
    assert_eq!(difference(&longer, &longer), Vec::<String>::new());
    let allowing = rule.replace("ask", "allow");
    let found = difference(&allowing, &allowing);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn tls_that_is_looked_into_no_more_is_a_difference() {
    let rule = "hosts = [\"a.test\"]\ntls = \"inspect\"\n";
    let found = difference(rule, &rule.replace("inspect", "pass"));
    assert_eq!(found, ["allow→allow connect a.test:443"]);
}

#[test]
fn addresses_that_become_open_are_a_difference() {
    let rule = "hosts = [\"a.test\"]\nprotocols = [\"tcp\"]\nports = [22]\n";
    let opens = |network: &str| format!("{rule}addresses = [\"{network}\"]\n");
    let found = difference(rule, &opens("10.1.0.0/16"));
    let told = ["10.1.0.0", "10.1.255.255"];
    let told = told.map(|address| format!("deny→allow tcp a.test:22 at {address}"));
    assert_eq!(found, told);
    let found = difference(&opens("10.1.0.0/16"), &opens("10.1.0.0/17"));
    assert_eq!(
        found,
        ["allow→deny tcp a.test:22 at 10.1.128.0", "allow→deny tcp a.test:22 at 10.1.255.255"]
    );
    assert_eq!(difference(&opens("10.1.0.0/16"), &opens("10.1.0.0/16")), Vec::<String>::new());
}

#[test]
fn the_same_in_other_words_is_no_difference() {
    let one = "hosts = [\"a.test\", \"b.test\"]\nmethods = [\"GET\", \"POST\"]\n";
    let two = "hosts = [\"b.test\", \"a.test\"]\nmethods = [\"POST\", \"GET\"]\nports = [443]\n";
    assert_eq!(difference(one, two), Vec::<String>::new());
}

#[test]
fn words_that_stand_for_others_stand_for_no_word_of_a_policy() {
    let rule = |rest: &str| format!("hosts = [\"a.test\"]\n{rest}\n");
    let get = |paths: &str| rule(&format!("methods = [\"GET\"]\npaths = {paths}"));
    for (old, new) in [
        (get("[\"/files/a*\"]"), get("[\"/files/*\"]")),
        (get("[\"/files/a*\"]"), get("[\"/files/a*\", \"/files/*.json\"]")),
        (get("[\"/files/a*\"]"), get("[\"/files/a*\", \"/files/*y\"]")),
        (get("[\"/v1/any\"]"), get("[\"/v1/*\"]")),
        (get("[\"/v1/any\", \"/v1/*/x\"]"), get("[\"/v1/*\", \"/v1/*/x\"]")),
        (get("[\"/v1/*\", \"/v1/*/**\"]"), get("[\"/v1/**\"]")), // `/v1/`
        (get("[\"/*a*\", \"/*n*\", \"/other\", \"/else\"]"), get("[\"/*\"]")),
        (rule("methods = [\"GET\", \"POST\", \"OTHER\"]"), rule("")),
        (rule("methods = [\"GET\", \"POST\", \"OTHER\", \"OTHER-X\"]"), rule("")),
    ] {
        let found = difference(&old, &new);
        assert!(found.iter().any(|line| line.starts_with("deny→allow")), "{old}{new}{found:?}");
        let back = difference(&new, &old);
        assert!(back.iter().any(|line| line.starts_with("allow→deny")), "{old}{new}{back:?}");
    }
}

#[test]
fn where_a_credential_goes_is_a_difference() {
    let policy = |rest: &str| {
        let rule = "hosts = [\"a.test\"]\ntls = \"inspect\"\n";
        load(&[format!("{rule}[[credential]]\nname = \"key\"\nhosts = [\"a.test\"]\n{rest}\n")])
    };
    let all = [
        "header = \"authorization\"\ntemplate = \"Bearer {}\"",
        "header = \"authorization\"\ntemplate = \"token {}\"",
        "header = \"x-other\"",
        "query = \"key\"",
        "query = \"key\"\nplaceholder = \"KEY\"",
        "query = \"key\"\nbudgets = { requests = 10 }",
    ];
    for (at, one) in all.iter().enumerate() {
        for (other, two) in all.iter().enumerate() {
            let found = policy(one).difference(&policy(two));
            assert_eq!(found.changes.is_empty(), at == other, "{one} {two}");
        }
    }
}

/// Parts of paths in which patterns overlap, and some that the tool itself takes for what stands for others.
const PARTS: [&str; 14] =
    ["a", "b", "ab", "any", "other", "v1", "*", "a*", "*b", "a*b", "any*", "*y", "%C3%A9*", "**"];

/// Parts of paths that are asked for.
const ASKED: [&str; 13] =
    ["a", "b", "ab", "aab", "abb", "any", "anyy", "other", "v1", "x", "xb", "%C3%A9", "%C3%A9a"];

fn overlapping() -> impl Strategy<Value = String> {
    let path = prop::collection::vec(prop::sample::select(&PARTS[..]), 1..4);
    let path = path.prop_map(|parts| format!("/{}", parts.join("/")));
    let methods = prop::option::weighted(
        0.3,
        prop::sample::subsequence(&["GET", "OTHER", "DELETE"][..], 1..=2),
    );
    let kind = prop::sample::select(vec!["allow", "allow", "deny", "ask"]);
    (kind, methods, prop::collection::vec(path, 1..3)).prop_map(|(kind, methods, paths)| {
        let mut text = format!("verdict = \"{kind}\"\nhosts = [\"a.test\"]\npaths = {paths:?}\n");
        text.extend(methods.map(|methods| format!("methods = {methods:?}\n")));
        text
    })
}

fn asked() -> impl Strategy<Value = Question> {
    let parts = prop::collection::vec(prop::sample::select(&ASKED[..]), 0..5);
    let method = prop::sample::select(vec!["GET", "OTHER", "DELETE", "PUT"]);
    (parts, any::<bool>(), method).prop_map(|(parts, slash, method)| {
        let mut path: String = parts.iter().flat_map(|part| ["/", part]).collect();
        if slash || path.is_empty() {
            path.push('/');
        }
        Question::parse(&format!("{method} https://a.test{path}")).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn wherever_two_policies_differ_the_difference_is_told(
        rules in prop::collection::vec(overlapping(), 1..4),
        other in overlapping(),
        at in any::<prop::sample::Index>(),
        questions in prop::collection::vec(asked(), 60),
    ) {
        let mut changed = rules.clone();
        let at = at.index(changed.len());
        changed[at] = other;
        let (old, new) = (load(&rules), load(&changed));
        let found = old.difference(&new);
        prop_assert!(found.complete);
        let told: BTreeSet<_> = found.changes.iter().map(|change| (outcome(&change.old), outcome(&change.new))).collect();
        for question in &questions {
            let pair = (outcome(&question.put_to(&old)), outcome(&question.put_to(&new)));
            prop_assert!(pair.0 == pair.1 || told.contains(&pair), "{}\n{:?}", question, pair);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_difference_is_one_and_none_is_none(
        old in prop::collection::vec(rule(), 0..4),
        new in prop::collection::vec(rule(), 0..4),
        questions in prop::collection::vec(question(), 40),
    ) {
        let (old, new) = (load(&old), load(&new));
        let found = old.difference(&new);
        for change in &found.changes {
            for example in &change.examples {
                let (one, two) = (example.put_to(&old), example.put_to(&new));
                prop_assert_ne!(outcome(&one), outcome(&two));
                prop_assert_eq!(outcome(&one), outcome(&change.old));
            }
        }
        if found.complete && found.changes.is_empty() {
            for question in &questions {
                // Where only one side compares paths, only that side looks at odd ones.
                let (one, two) = (question.put_to(&old), question.put_to(&new));
                let odd = [one.reason(), two.reason()].contains(&crate::egress::Reason::InvalidTarget);
                prop_assert!(odd || outcome(&one) == outcome(&two), "{}", question);
            }
        }
    }
}
