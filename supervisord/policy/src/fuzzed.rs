//! What holds for all texts of policies and of requests: targets of the fuzzer (tests/fuzz), and of ordinary
//! tests.

use std::sync::LazyLock;

use crate::diagnostic::{Diagnostics, is_deceptive};
use crate::egress::{Destination, Host, HostName, Question, canonical_path};
use crate::floor::Floor;
use crate::set::PolicySet;

#[cfg(test)]
#[path = "../../../tests/fuzz/mutations.rs"]
mod mutations;

const BASE: &str = include_str!("../../../policies/default.toml");

/// Bytes that diagnostics may take for some kilobytes of hostile text.
const MAX_REPORT: usize = 1 << 20;

static FLOOR: LazyLock<Result<Floor, Diagnostics>> = LazyLock::new(Floor::builtin);
static POLICIES: LazyLock<Result<PolicySet, Diagnostics>> = LazyLock::new(PolicySet::builtin);

/// A policy file, and root's floor. What loads is printed in two forms, each of which loads as the same
/// policy; what doesn't is refused in words that show on a terminal what they are.
pub fn policies(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let files = [("default.toml", BASE), ("x.toml", text.as_ref())];
    let files = files.map(|(file, text)| (file.to_owned(), text.to_owned()));
    let Ok(floor) = FLOOR.clone() else { return };
    match PolicySet::load(files, floor.clone()) {
        Err(wrong) => check_words(&wrong),
        Ok(set) => {
            for resolved in set.iter().filter(|resolved| resolved.name() != "default") {
                for form in [resolved.show_resolved(), resolved.canonical()] {
                    let file = format!("{}.toml", resolved.name());
                    let again = PolicySet::load([(file, form.clone())], floor.clone());
                    let again = again.map(|again| {
                        again.resolve(resolved.name()).map(|policy| policy.canonical())
                    });
                    assert_eq!(again.ok(), Some(Some(resolved.canonical())), "{form}");
                    assert!(form.chars().all(|c| c == '\n' || !is_deceptive(c)), "{form:?}");
                }
            }
        }
    }
    if let Err(wrong) = Floor::load("floor.toml", &text) {
        check_words(&wrong);
    }
}

fn check_words(wrong: &Diagnostics) {
    let shown = wrong.to_string();
    assert!(!shown.is_empty() && shown.len() < MAX_REPORT);
    assert!(shown.chars().all(|c| c == '\n' || !is_deceptive(c)), "{shown:?}");
}

/// A request as people write it, and the names, destinations and paths in it. What is read has one form; its
/// explanation by every policy of ours says what the policy decides.
pub fn questions(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(host) = Host::parse(&text) {
        assert_eq!(Host::parse(&host.to_string()), Ok(host));
    }
    if let Ok(name) = HostName::parse(&text) {
        assert_eq!(Host::parse(name.as_str()), Ok(Host::Name(name)));
    }
    if let Ok(destination) = Destination::parse(&text, Some(443)) {
        assert_ne!(destination.port, 0);
        assert_eq!(Destination::parse(&destination.to_string(), None), Ok(destination));
    }
    if let Ok(path) = canonical_path(&text) {
        assert_eq!(canonical_path(&path).as_deref(), Ok(path.as_ref()));
        let segments: Vec<&str> = path.split('/').collect();
        assert!(segments.iter().all(|segment| ![".", ".."].contains(segment)), "{path}");
    }
    let (Ok(question), Ok(policies)) = (Question::parse(&text), &*POLICIES) else { return };
    assert_eq!(Question::parse(&question.to_string()).as_ref(), Ok(&question));
    for policy in policies.iter() {
        let explained = policy.egress().explain(&question);
        let decision = question.put_to(policy.egress());
        assert_eq!(explained.decision.verdict(), decision.verdict());
        assert_eq!(explained.decision.reason(), decision.reason());
        let matched = explained.considered.iter().filter(|rule| rule.matched.is_ok());
        let strongest = matched.map(|rule| rule.verdict).max();
        if decision.prospect().is_some() {
            assert_eq!(strongest, Some(decision.verdict()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_a_policy_or_a_request_of_two_readings() {
        mutations::hold("policies", 400, policies);
        mutations::hold("questions", 10_000, questions);
    }
}
