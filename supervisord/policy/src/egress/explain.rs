//! Why a decision is as it is: every rule, and what of it the request doesn't fit. Rules are compared
//! one by one here, so that an explanation is a second opinion on what the index finds.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::egress::Egress;
use crate::egress::ask::Ask;
use crate::egress::decision::{Decision, Treatment};
use crate::egress::host::Host;
#[cfg(test)]
use crate::egress::index::Found;
use crate::egress::path::{canonical_path, split};
use crate::egress::question::Question;
use crate::egress::rule::{Mismatch, Protocol, Rule, RuleSource, Verdict};

/// A decision and what led to it.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The decision.
    pub decision: Decision,
    /// The path as it was compared; `None` where no path was.
    pub path: Option<String>,
    /// Every rule that was looked at, in order.
    pub considered: Vec<Considered>,
    /// Why TLS to the destination is inspected or passed; `None` where nothing of it is allowed.
    pub treatment: Option<(Treatment, &'static str)>,
}

/// A rule that was looked at.
#[derive(Debug, Clone)]
pub struct Considered {
    /// The rule.
    pub rule: Arc<RuleSource>,
    /// What it says to what it matches.
    pub verdict: Verdict,
    /// What of it doesn't fit; `Ok` where it matches.
    pub matched: Result<(), Mismatch>,
}

impl Egress {
    /// Decides and tells what led to the decision.
    pub fn explain(&self, question: &Question) -> Explanation {
        let path = question.ask().and_then(|ask| self.compared_path(&ask));
        let host = question.host();
        let reachable = self.reachable(&host);
        let compare = |rule: &Rule| match question {
            Question::LookUp(_) if !rule.names(&host) => Err(Mismatch::Host),
            Question::LookUp(_) => match (rule.verdict, reachable) {
                // Who denies one place of several doesn't deny the name.
                (Verdict::Deny, Some((port, protocol))) => {
                    compare_connection(rule, &host, port, protocol)
                        .and_then(|()| denies_later(rule))
                }
                _ => denies_later(rule),
            },
            Question::Connect(destination, protocol) | Question::Dial(destination, protocol, _) => {
                compare_connection(rule, &destination.host, destination.port, *protocol)
                    .and_then(|()| denies_later(rule))
            }
            Question::Request { target, .. } => {
                let compared = path.as_deref().or(target.split('?').next()).unwrap_or_default();
                question.ask().map_or(Err(Mismatch::Host), |ask| rule.compare(&ask, compared))
            }
        };
        let considered = self.rules.iter().map(|rule| Considered {
            rule: Arc::clone(&rule.source),
            verdict: says(rule.verdict, question),
            matched: compare(rule),
        });
        Explanation {
            considered: considered.collect(),
            treatment: self.explain_treatment(question),
            decision: question.put_to(self),
            path,
        }
    }

    /// A port and a protocol of a host that a rule opens and none denies as a whole.
    fn reachable(&self, host: &Host) -> Option<(u16, Protocol)> {
        let named = || self.rules.iter().filter(|rule| rule.names(host));
        let denies = |rule: &Rule, port, protocol| {
            rule.verdict == Verdict::Deny
                && compare_connection(rule, host, port, protocol)
                    .and_then(|()| denies_later(rule))
                    .is_ok()
        };
        let opened = named().filter(|rule| rule.verdict != Verdict::Deny).flat_map(|rule| {
            let of = |port| rule.protocols.iter().map(move |protocol| (port, *protocol));
            rule.ports.iter().copied().flat_map(of)
        });
        let mut opened = opened.collect::<BTreeSet<_>>().into_iter();
        opened.find(|(port, protocol)| !named().any(|rule| denies(rule, *port, *protocol)))
    }

    /// The canonical path, where paths decide.
    pub(crate) fn compared_path(&self, ask: &Ask<'_>) -> Option<String> {
        if !self.compares_paths(ask.destination, ask.protocol) {
            return None;
        }
        let (path, _) = split(ask.target).ok()?;
        canonical_path(path).ok().map(|path| path.into_owned())
    }

    fn explain_treatment(&self, question: &Question) -> Option<(Treatment, &'static str)> {
        let (Question::Connect(destination, Protocol::Https)
        | Question::Dial(destination, Protocol::Https, _)
        | Question::Request { destination, protocol: Protocol::Https, .. }) = question
        else {
            return None;
        };
        let treatment = self.connect(destination, Protocol::Https).treatment()?;
        let summary = self.summary(destination, Protocol::Https);
        let bound =
            self.bindings.iter().any(|binding| binding.reaches(destination, Protocol::Https));
        let why = match treatment {
            Treatment::Pass => {
                "a rule allows the host whatever is requested; which host is asked for inside isn't seen"
            }
            Treatment::Inspect if bound => "a credential goes to this host",
            Treatment::Inspect if summary.deny_some.is_some() => "a rule denies some requests",
            Treatment::Inspect if summary.ask.is_some() => "a rule asks about requests",
            Treatment::Inspect if summary.inspect.is_some() => "a rule says so",
            Treatment::Inspect if summary.allow_unseen.is_none() => {
                "the rules allow only some requests"
            }
            Treatment::Inspect => "a budget counts requests",
        };
        Some((treatment, why))
    }

    /// What all rules say to a request, one after the other, without the index.
    #[cfg(test)]
    pub(crate) fn found_one_by_one(&self, ask: &Ask<'_>, canonical: &str) -> Found {
        let mut found = Found::default();
        for (number, rule) in (0u32..).zip(&self.rules) {
            found.take(number, rule, rule.compare(ask, canonical), ask);
        }
        found
    }
}

/// What a rule says to what it matches: one that asks about requests asks nobody about a name or a connection that is
/// looked into.
fn says(verdict: Verdict, question: &Question) -> Verdict {
    let asks_later = match question {
        Question::LookUp(_) => true,
        Question::Connect(_, protocol) | Question::Dial(_, protocol, _) => {
            *protocol != Protocol::Tcp
        }
        Question::Request { .. } => false,
    };
    match verdict {
        Verdict::Ask if asks_later => Verdict::Allow,
        verdict => verdict,
    }
}

/// A rule that denies some requests denies no connection for them, and no look-up.
fn denies_later(rule: &Rule) -> Result<(), Mismatch> {
    match rule.verdict {
        Verdict::Deny if rule.paths.is_some() => Err(Mismatch::Path),
        Verdict::Deny if rule.methods.is_some() => Err(Mismatch::Method),
        Verdict::Deny if rule.websocket.is_some() => Err(Mismatch::WebSocket),
        Verdict::Deny if rule.max_body.is_some() => Err(Mismatch::Body),
        _ => Ok(()),
    }
}

fn compare_connection(
    rule: &Rule,
    host: &Host,
    port: u16,
    protocol: Protocol,
) -> Result<(), Mismatch> {
    if !rule.names(host) {
        Err(Mismatch::Host)
    } else if !rule.ports.contains(&port) {
        Err(Mismatch::Port)
    } else if !rule.protocols.contains(&protocol) {
        Err(Mismatch::Protocol)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::properties::load;

    #[test]
    fn a_rule_that_asks_about_requests_asks_nobody_about_a_name() {
        let ask = "verdict = \"ask\"\nhosts = [\"a.test\"]\n".to_owned();
        let deny = "verdict = \"deny\"\nhosts = [\"a.test\"]\nprotocols = [\"http\"]\n".to_owned();
        let egress = load(&[ask, deny]);
        for (question, says) in [
            ("dns a.test", [Ok(Verdict::Allow), Err(Mismatch::Protocol)]),
            ("connect a.test:443", [Ok(Verdict::Allow), Err(Mismatch::Protocol)]),
            ("GET https://a.test/", [Ok(Verdict::Ask), Err(Mismatch::Protocol)]),
        ] {
            let explained = egress.explain(&Question::parse(question).unwrap());
            let found = explained.considered.iter().map(|rule| rule.matched.map(|()| rule.verdict));
            assert_eq!(found.collect::<Vec<_>>(), says, "{question}");
        }
    }
}
