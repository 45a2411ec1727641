//! The egress sections of a policy, its parents and the floor, as one.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use crate::diagnostic::Diagnostic;
use crate::egress::address::AddressClass;
use crate::egress::check::BudgetsGiven;
use crate::egress::client::ClientOrigins;
use crate::egress::pattern::HostPattern;
use crate::egress::rule::{Rule, Verdict};
use crate::floor::Floor;

/// Ports that all rules of a policy may open together. A sandbox listens on far fewer; each rule that denies
/// is looked up by each of them.
const MAX_OPEN_PORTS: usize = 66;

/// Networks that a policy opens although the floor doesn't let any.
pub(crate) fn unopenable(rules: &[Rule], floor: &Floor) -> Vec<Diagnostic> {
    let mut wrong = Vec::new();
    let openable = &floor.openable;
    for rule in rules.iter().filter(|rule| rule.verdict() != Verdict::Deny) {
        let opened = |pattern: &HostPattern| match pattern {
            HostPattern::Network(network) => Some((*network, "hosts")),
            _ => None,
        };
        let hosts = rule.hosts().iter().filter_map(opened);
        for (network, key) in rule.addresses.iter().map(|known| (*known, "addresses")).chain(hosts)
        {
            let class = AddressClass::of(network.network());
            let open = class == AddressClass::Public || openable.value.contains(&class);
            // A wider network holds others as well; those of a closed class stay closed in it.
            if open || is_mixed(network) {
                continue;
            }
            let origin = rule.places.get(key).unwrap_or(&rule.source.origin);
            let message = format!("{network} is {class}, which the floor opens to no policy");
            let hint = if class.can_be_opened() {
                format!(
                    "root can add \"{class}\" to `openable` of `[addresses]` in the floor ({})",
                    openable.origin
                )
            } else {
                "nothing can be sent there".to_owned()
            };
            wrong.push(origin.diagnostic(message).with_hint(hint));
        }
    }
    wrong
}

/// Whether a network visibly holds addresses of several classes.
fn is_mixed(network: IpNet) -> bool {
    // An eighth is as fine as IPv6 needs: all its public addresses are one.
    let finer = network.prefix_len().saturating_add(3).min(network.max_prefix_len());
    let eighths = network.subnets(finer).ok();
    let mut ends =
        eighths.into_iter().flatten().flat_map(|part| [part.network(), part.broadcast()]);
    let class = AddressClass::of(network.network());
    ends.any(|address| AddressClass::of(address) != class)
}

/// The floor's rules and the policy's, with the hosts of clients filled in.
pub(crate) fn rules(
    own: Vec<Rule>,
    floor: &Floor,
    clients: &ClientOrigins,
) -> Result<Vec<Rule>, Vec<Diagnostic>> {
    let mut rules: Vec<Rule> = floor.rules.clone();
    let mut names: BTreeMap<String, usize> =
        rules.iter().enumerate().map(|(at, rule)| (rule.name().to_owned(), at)).collect();
    let mut wrong = Vec::new();
    for rule in own {
        match names.get(rule.name()).and_then(|at| rules.get(*at)) {
            // The resolved form of a policy holds the floor's rules too, and loads again.
            Some(known) if known.source.holder() == "the floor" && known.text() == rule.text() => {}
            Some(known) => {
                let message = format!("there is another rule of this name: {}", known.source);
                let hint = "a rule can't be replaced; give this one a name of its own";
                wrong.push(rule.source.origin.diagnostic(message).with_hint(hint));
            }
            None => {
                names.insert(rule.name().to_owned(), rules.len());
                rules.extend(rule.expand(clients));
            }
        }
    }
    wrong.extend(widen(&mut rules));
    if wrong.is_empty() { Ok(rules) } else { Err(wrong) }
}

/// Makes the rules that deny be about every port that any rule opens, unless those are too many.
fn widen(rules: &mut [Rule]) -> Option<Diagnostic> {
    let mut open = BTreeSet::from([80, 443]);
    for rule in rules.iter().filter(|rule| rule.verdict() != Verdict::Deny) {
        open.extend(rule.ports());
        if open.len() > MAX_OPEN_PORTS {
            let message = format!("with this rule, more than {MAX_OPEN_PORTS} ports are open");
            let hint = "no sandbox has so many; name the ports that are needed";
            return Some(rule.source.origin.diagnostic(message).with_hint(hint));
        }
    }
    for rule in rules {
        rule.widen(&open);
    }
    None
}

/// Budgets as the policy gives them, and the floor's where those are smaller.
pub(crate) fn bounded_budgets(mut own: BudgetsGiven, floor: &BudgetsGiven) -> BudgetsGiven {
    for (name, bound) in floor {
        let known = own.entry(name).or_insert_with(|| bound.clone());
        if known.value > bound.value {
            *known = bound.clone();
        }
    }
    own
}
