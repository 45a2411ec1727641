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

/// A method that stands for any other; a longer one is taken where a policy has it.
const OTHER: &str = "OTHER";

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

/// What of a decision makes a difference: besides the verdict and the credentials with their places, how long a
/// person has to answer, and whether TLS is looked into.
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
    let mut uses: Vec<String> = bindings.iter().map(|binding| binding.in_words()).collect();
    uses.sort_unstable();
    (decision.verdict(), uses, decision.patience(), decision.treatment())
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
        let (requests, all_paths) = Parts::of(&rules, old, new, &host);
        *complete &= all_paths;
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
    /// Whether the paths stand for all others is said as well.
    fn of(rules: &[&Rule], old: &Egress, new: &Egress, host: &Host) -> (Self, bool) {
        let bindings = || {
            let all = old.bindings.iter().chain(&new.bindings);
            all.filter(|known| known.hosts().iter().any(|pattern| pattern.matches(host)))
        };
        let mut methods: BTreeSet<String> =
            ["GET", "POST"].into_iter().map(str::to_owned).collect();
        methods.extend(rules.iter().flat_map(|rule| rule.methods.iter().flatten()).cloned());
        methods.extend(bindings().flat_map(|known| known.methods.iter().flatten()).cloned());
        let mut other = OTHER.to_owned();
        while methods.contains(&other) {
            other.push_str("-X");
        }
        methods.insert(other);
        let own = rules.iter().flat_map(|rule| rule.paths.iter().flatten());
        let bound = bindings().flat_map(|known| known.paths.iter().flatten());
        let mut patterns: Vec<&PathPattern> = own.chain(bound).collect();
        patterns.sort_by_key(|pattern| pattern.as_str());
        patterns.dedup(); // the same text in a rule that holds back is another one
        let paths = witness::of(&patterns);
        let bounds = rules.iter().filter_map(|rule| rule.max_body);
        let mut bodies = BTreeSet::from([0]);
        bodies.extend(bounds.flat_map(|most| [most, most.saturating_add(1)]));
        let websocket = rules.iter().any(|rule| rule.websocket == Some(true));
        (Self { methods, paths: paths.paths, bodies, websocket }, paths.complete)
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
mod tests;
