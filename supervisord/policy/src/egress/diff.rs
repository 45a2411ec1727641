//! What changes from one policy to another, in requests. Both rule sets cut the space of requests into
//! parts; one request of each part is put to both, and where the answers differ, it is an example.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::egress::Egress;
use crate::egress::decision::{Decision, Treatment};
use crate::egress::host::{Destination, Host, HostName};
use crate::egress::path::PathPattern;
use crate::egress::pattern::HostPattern;
use crate::egress::question::Question;
use crate::egress::rule::{Protocol, Rule, Verdict};
use crate::egress::witness;

/// Questions that are put to both sides. Beyond, the answer says that it isn't complete.
const MAX_QUESTIONS: usize = 400_000;

/// Examples kept of one kind of change, which is one pair of rules.
const MAX_EXAMPLES: usize = 3;

/// Patterns of paths of one host that are also combined with one another.
const MAX_COMBINED: usize = 40;

/// A label that stands for any other name; a longer one is taken where a policy has it.
const ANY: &str = "any";

/// What changes.
#[derive(Debug, Clone, Default)]
pub struct Difference {
    /// The changes, by what they were decided by before and after.
    pub changes: Vec<Change>,
    /// Questions that were put to both.
    pub compared: usize,
    /// Whether a request of every part was among them.
    pub complete: bool,
}

/// Requests that are decided otherwise for the same reason.
#[derive(Debug, Clone)]
pub struct Change {
    /// Some of the requests.
    pub examples: Vec<Question>,
    /// How many were found.
    pub count: usize,
    /// The decision before.
    pub old: Decision,
    /// The decision after.
    pub new: Decision,
}

/// What of a decision makes a difference: besides the verdict and the credentials, how long a person has
/// to answer, and whether TLS is looked into.
type Outcome = (Verdict, Vec<String>, Option<Duration>, Option<Treatment>);

impl Egress {
    /// What changes from these rules to others.
    pub fn difference(&self, new: &Egress) -> Difference {
        let mut found = Difference { complete: true, ..Difference::default() };
        let mut known: BTreeMap<(String, String, Outcome, Outcome, bool), usize> = BTreeMap::new();
        for question in questions(self, new, &mut found.complete) {
            found.compared += 1;
            let (before, after) = (question.put_to(self), question.put_to(new));
            let (one, two) = (outcome(&before), outcome(&after));
            // Whether a connection may be made at all is told by what may be asked for on it.
            let is_told =
                matches!(question, Question::Connect(_, Protocol::Https)) && one.0 != two.0;
            if one == two || is_told {
                continue;
            }
            let dials = matches!(question, Question::Dial(..));
            let key = (before.rule().to_string(), after.rule().to_string(), one, two, dials);
            let at = *known.entry(key).or_insert(found.changes.len());
            match found.changes.get_mut(at) {
                Some(change) => {
                    change.count += 1;
                    if change.examples.len() < MAX_EXAMPLES {
                        change.examples.push(question);
                    }
                }
                None => found.changes.push(Change {
                    examples: vec![question],
                    count: 1,
                    old: before,
                    new: after,
                }),
            }
        }
        found
    }
}

fn outcome(decision: &Decision) -> Outcome {
    let bindings = decision.prospect().map(|permit| permit.bindings()).unwrap_or_default();
    let names = bindings.iter().map(|binding| binding.credential().to_owned());
    (decision.verdict(), names.collect(), decision.patience(), decision.treatment())
}

/// A question for each part of the space that the rules of both sides cut.
fn questions(old: &Egress, new: &Egress, complete: &mut bool) -> Vec<Question> {
    let mut questions = Vec::new();
    for host in hosts(old, new) {
        let named = |rule: &&Rule| rule.names(&host);
        let rules: Vec<&Rule> = old.rules.iter().chain(&new.rules).filter(named).collect();
        if let Host::Name(name) = &host {
            questions.push(Question::LookUp(name.clone()));
        }
        let mut places: BTreeSet<(u16, Protocol)> = BTreeSet::from([(443, Protocol::Https)]);
        for rule in &rules {
            for port in &rule.ports {
                places.extend(rule.protocols.iter().map(|protocol| (*port, *protocol)));
            }
        }
        let addresses = addresses(&host, &rules);
        let requests = Parts::of(&rules, old, new, &host);
        for (port, protocol) in places {
            let destination = Destination { host: host.clone(), port };
            let dial = |address| Question::Dial(destination.clone(), protocol, address);
            questions.extend(addresses.iter().copied().map(dial));
            if protocol == Protocol::Tcp {
                questions.push(Question::Connect(destination, protocol));
                continue;
            }
            if protocol == Protocol::Https {
                questions.push(Question::Connect(destination.clone(), protocol));
            }
            if questions.len().saturating_add(requests.count()) > MAX_QUESTIONS {
                *complete = false;
                continue;
            }
            requests.ask(&destination, protocol, &mut questions);
        }
    }
    questions
}

/// A host of each part: each name and network, and something else below each name.
fn hosts(old: &Egress, new: &Egress) -> BTreeSet<Host> {
    let rules = old.rules.iter().chain(&new.rules);
    let bindings = old.bindings.iter().chain(&new.bindings);
    let patterns: BTreeSet<&HostPattern> = rules
        .flat_map(|rule| &rule.hosts)
        .chain(bindings.flat_map(|binding| binding.hosts()))
        .collect();
    let mut any = ANY.to_owned();
    while patterns.iter().any(|pattern| pattern.to_string().contains(&any)) {
        any.push_str("-other");
    }
    let below = |parent: &str| {
        let names = [format!("{any}.{parent}"), format!("{any}.{any}.{parent}")];
        names.into_iter().filter_map(|name| HostName::parse(&name).ok().map(Host::Name))
    };
    let mut hosts: BTreeSet<Host> = below("example").collect();
    for pattern in patterns {
        match pattern {
            HostPattern::Name(name) => hosts.extend([Host::Name(name.clone())]),
            HostPattern::Child(parent) | HostPattern::Below(parent) => {
                hosts.extend(below(parent.as_str()));
            }
            HostPattern::Everything => {}
            HostPattern::Network(network) => {
                // Where one network ends, another part may begin.
                let ends = [network.network(), network.broadcast()];
                let after = witness::next_address(network.broadcast());
                hosts.extend(ends.into_iter().chain(after).map(Host::Address));
            }
        }
    }
    hosts
}

/// Addresses of a name that rules of it open: one of each part.
fn addresses(host: &Host, rules: &[&Rule]) -> BTreeSet<IpAddr> {
    if matches!(host, Host::Address(_)) {
        return BTreeSet::new(); // its only one is itself
    }
    let networks = rules.iter().flat_map(|rule| &rule.addresses);
    networks
        .flat_map(|network| {
            let after = witness::next_address(network.broadcast());
            [network.network(), network.broadcast()].into_iter().chain(after)
        })
        .collect()
}

/// What requests to one host can differ in.
struct Parts {
    methods: BTreeSet<String>,
    paths: BTreeSet<String>,
    bodies: BTreeSet<u64>,
    websocket: bool,
}

impl Parts {
    fn of(rules: &[&Rule], old: &Egress, new: &Egress, host: &Host) -> Self {
        let bindings = || {
            let all = old.bindings.iter().chain(&new.bindings);
            all.filter(|known| known.hosts().iter().any(|pattern| pattern.matches(host)))
        };
        let mut methods: BTreeSet<String> =
            ["GET", "POST", "OTHER"].into_iter().map(str::to_owned).collect();
        methods.extend(rules.iter().flat_map(|rule| rule.methods.iter().flatten()).cloned());
        methods.extend(bindings().flat_map(|known| known.methods.iter().flatten()).cloned());
        let own = rules.iter().flat_map(|rule| rule.paths.iter().flatten());
        let bound = bindings().flat_map(|known| known.paths.iter().flatten());
        let mut patterns: Vec<&PathPattern> = own.chain(bound).collect();
        patterns.sort_by_key(|pattern| pattern.as_str());
        patterns.dedup();
        let mut paths = BTreeSet::from(["/".to_owned(), "/any".to_owned()]);
        paths.extend(patterns.iter().flat_map(|pattern| witness::of(pattern)));
        if patterns.len() <= MAX_COMBINED {
            for (at, one) in patterns.iter().enumerate() {
                paths.extend(
                    patterns.iter().skip(at + 1).filter_map(|two| witness::of_both(one, two)),
                );
            }
        }
        let bounds = rules.iter().filter_map(|rule| rule.max_body);
        let mut bodies = BTreeSet::from([0]);
        bodies.extend(bounds.flat_map(|most| [most, most.saturating_add(1)]));
        let websocket = rules.iter().any(|rule| rule.websocket == Some(true));
        Self { methods, paths, bodies, websocket }
    }

    fn count(&self) -> usize {
        let kinds = self.bodies.len() + usize::from(self.websocket);
        self.methods.len().saturating_mul(self.paths.len()).saturating_mul(kinds)
    }

    fn ask(&self, destination: &Destination, protocol: Protocol, questions: &mut Vec<Question>) {
        for target in &self.paths {
            for method in &self.methods {
                let mut push = |websocket, body| {
                    questions.push(Question::Request {
                        destination: destination.clone(),
                        protocol,
                        method: method.clone(),
                        target: target.clone(),
                        websocket,
                        body: Some(body),
                    });
                };
                for body in &self.bodies {
                    push(false, *body);
                }
                if self.websocket {
                    push(true, 0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
        let two =
            "hosts = [\"b.test\", \"a.test\"]\nmethods = [\"POST\", \"GET\"]\nports = [443]\n";
        assert_eq!(difference(one, two), Vec::<String>::new());
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
}
