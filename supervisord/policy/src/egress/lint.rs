//! What is allowed in a policy file and yet probably not meant: rules about too much, rules that
//! another one makes void, credentials that nothing can use.

use crate::diagnostic::Diagnostic;
use crate::document::Origin;
use crate::egress::Egress;
use crate::egress::decision::Treatment;
use crate::egress::host::{Destination, Host, HostName};
use crate::egress::pattern::HostPattern;
use crate::egress::rule::{Protocol, Rule, Tls, Verdict};

/// Rules among which void ones are looked for. Each is compared with every other.
const MAX_COMPARED: usize = 1_000;

/// Prefixes of IPv4 and IPv6 below which a network is more than one organisation's.
const WIDE: [u8; 2] = [8, 16];

/// Names below which hosts of many owners have the same servers. Which of them is meant stands inside TLS,
/// where a program can name another one than in the server name (domain fronting).
const SHARED_FRONTS: [&str; 24] = [
    "akamaiedge.net",
    "akamaized.net",
    "amazonaws.com",
    "appspot.com",
    "azureedge.net",
    "azurefd.net",
    "b-cdn.net",
    "blob.core.windows.net",
    "cdn.cloudflare.net",
    "cloudfront.net",
    "cloudfunctions.net",
    "edgekey.net",
    "edgesuite.net",
    "fastly.net",
    "fastlylb.net",
    "github.io",
    "googleapis.com",
    "herokuapp.com",
    "netlify.app",
    "pages.dev",
    "r2.dev",
    "run.app",
    "vercel.app",
    "workers.dev",
];

impl Egress {
    /// What is suspicious, each at its place.
    pub(crate) fn warnings(&self) -> Vec<Diagnostic> {
        let own = self.rules.iter().filter(|rule| rule.verdict != Verdict::Deny);
        let mut warnings: Vec<_> = own.flat_map(|rule| self.broad(rule)).collect();
        if self.rules.len() <= MAX_COMPARED {
            warnings.extend(self.void_rules());
        } else if let Some(rule) = self.rules.get(MAX_COMPARED) {
            let message = format!("void rules aren't looked for among more than {MAX_COMPARED}");
            warnings.push(Diagnostic::warning(rule.source.origin.diagnostic(message)));
        }
        warnings.extend(self.unusable_bindings());
        warnings
    }

    fn broad(&self, rule: &Rule) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let mut warn = |key, message: String, hint: &str| {
            let diagnostic = place(rule, key).diagnostic(message).with_hint(hint);
            found.push(Diagnostic::warning(diagnostic));
        };
        for pattern in &rule.hosts {
            let top = |name: &str| !name.contains('.');
            let message = match pattern {
                HostPattern::Everything => "this rule is about every host".to_owned(),
                HostPattern::Child(name) | HostPattern::Below(name) if top(name.as_str()) => {
                    format!("{pattern} is everything below a top-level name")
                }
                _ => continue,
            };
            let hint = "name the hosts; whatever can be reached can be told anything";
            warn("hosts", message, hint);
        }
        for network in &rule.addresses {
            let [v4, v6] = WIDE;
            let least = if network.addr().is_ipv4() { v4 } else { v6 };
            if network.prefix_len() < least {
                let message = format!("{network} is more than one network");
                warn("addresses", message, "name the networks that the hosts are in");
            }
        }
        if rule.from.is_some() && rule.hosts.is_empty() {
            let message =
                "nobody has asked this client where it fetches from: the rule matches nothing";
            warn("hosts", message.to_owned(), "see `supervisorctl policy hosts`");
        }
        let narrow = |other: &&Rule| {
            other.protocols.contains(&Protocol::Https)
                && (other.looks_inside() || other.tls == Tls::Inspect)
                && other.ports.iter().any(|port| rule.ports.contains(port))
                && overlap(&other.hosts, &rule.hosts)
        };
        if rule.protocols.contains(&Protocol::Tcp)
            && let Some(other) = self.rules.iter().find(narrow)
        {
            let message = format!("plain TCP goes past what {} looks at", other.source);
            warn("protocols", message, "leave tcp out, or name another port");
        }
        if let Some(pattern) = self.fronted(rule) {
            let message = format!(
                "{pattern} is behind a front that many hosts share, and TLS to it is passed on: a \
                 program can ask for any of them there"
            );
            warn("hosts", message, "say `tls = \"inspect\"`, or allow only some methods or paths");
        }
        if rule.tls == Tls::Pass {
            let needs = |other: &&Rule| {
                !std::ptr::eq(*other, rule)
                    && other.protocols.contains(&Protocol::Https)
                    && (other.verdict != Verdict::Allow && other.looks_inside()
                        || other.tls == Tls::Inspect)
                    && other.ports.iter().any(|port| rule.ports.contains(port))
                    && overlap(&other.hosts, &rule.hosts)
            };
            if let Some(other) = self.rules.iter().find(needs) {
                let message = format!("TLS is inspected nevertheless, because of {}", other.source);
                warn("tls", message, "leave `tls` out, or let the rules agree");
            }
        }
        found
    }

    /// A host of the rule behind a shared front whose TLS nobody looks into.
    fn fronted<'a>(&self, rule: &'a Rule) -> Option<&'a HostPattern> {
        if rule.verdict == Verdict::Deny || !rule.protocols.contains(&Protocol::Https) {
            return None;
        }
        rule.hosts.iter().find(|pattern| {
            let name = match pattern {
                HostPattern::Name(name) => Ok(name.clone()),
                HostPattern::Child(parent) | HostPattern::Below(parent) => {
                    HostName::parse(&format!("any.{parent}"))
                }
                HostPattern::Everything | HostPattern::Network(_) => return false,
            };
            let Ok(name) = name else { return false };
            let below = |front: &str| {
                let parent = name.as_str().strip_suffix(front);
                parent.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            };
            let host = Host::Name(name.clone());
            SHARED_FRONTS.iter().any(|front| below(front))
                && rule.ports.iter().any(|port| {
                    let destination = Destination { host: host.clone(), port: *port };
                    let decision = self.connect(&destination, Protocol::Https);
                    decision.treatment() == Some(Treatment::Pass)
                })
        })
    }

    /// Rules that change nothing, because another one says as much or more about all that they match.
    fn void_rules(&self) -> Vec<Diagnostic> {
        let numbered = || self.rules.iter().enumerate();
        let void = numbered().filter_map(|(at, rule)| {
            let (_, by) = numbered().find(|(other_at, other)| {
                // Of two that say the same, the later one is void.
                let earlier = *other_at < at || !rule.makes_void(other);
                *other_at != at && earlier && other.makes_void(rule)
            })?;
            let message = format!("this rule changes nothing: {} says as much", by.source);
            let hint = "leave it out, or make it about something else";
            Some(Diagnostic::warning(rule.source.origin.diagnostic(message).with_hint(hint)))
        });
        void.collect()
    }

    fn unusable_bindings(&self) -> Vec<Diagnostic> {
        let usable = |hosts: &[HostPattern], ports: &[u16]| {
            self.rules.iter().any(|rule| {
                rule.verdict != Verdict::Deny
                    && rule.protocols.contains(&Protocol::Https)
                    && rule.ports.iter().any(|port| ports.contains(port))
                    && overlap(&rule.hosts, hosts)
            })
        };
        let unusable = self.bindings.iter().filter(|known| !usable(known.hosts(), known.ports()));
        let warn = |origin: &Origin| {
            let message = "no rule allows a request that this credential could go into";
            let hint = "add an egress rule for its host; a binding allows nothing by itself";
            Diagnostic::warning(origin.diagnostic(message).with_hint(hint))
        };
        unusable.map(|binding| warn(&binding.source().origin)).collect()
    }
}

impl Rule {
    /// Whether this rule leaves nothing for another one to decide.
    fn makes_void(&self, other: &Rule) -> bool {
        let covers = |pattern: &HostPattern| self.hosts.iter().any(|own| own.covers(pattern));
        let within = |all: &Option<Vec<String>>, some: &Option<Vec<String>>| match (all, some) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(all), Some(some)) => some.iter().all(|method| all.contains(method)),
        };
        let paths = match (&self.paths, &other.paths) {
            (None, _) => true,
            (Some(all), None) => all.iter().any(|pattern| pattern.is_everything()),
            (Some(all), Some(some)) => {
                some.iter().all(|one| all.iter().any(|pattern| pattern.covers(one)))
            }
        };
        let roomy = match (self.verdict, self.max_body, other.max_body) {
            (Verdict::Deny, ..) | (_, None, _) => true,
            (_, Some(_), None) => false,
            (_, Some(own), Some(others)) => own >= others,
        };
        let websocket = self.verdict == Verdict::Deny
            || self.websocket == Some(true)
            || other.websocket != Some(true);
        // Passing and inspecting aren't the same, nor is what opens addresses.
        let treatment = self.verdict == Verdict::Deny
            || (self.tls == other.tls && (other.looks_inside() || !self.looks_inside()));
        let addresses = self.verdict == Verdict::Deny
            || other.addresses.iter().all(|network| self.addresses.contains(network));
        !other.hosts.is_empty()
            && self.verdict >= other.verdict
            && other.hosts.iter().all(covers)
            && other.ports.iter().all(|port| self.ports.contains(port))
            && other.protocols.iter().all(|protocol| self.protocols.contains(protocol))
            && within(&self.methods, &other.methods)
            && paths
            && roomy
            && websocket
            && treatment
            && addresses
    }
}

/// Whether some host is meant by a pattern of each list.
fn overlap(one: &[HostPattern], other: &[HostPattern]) -> bool {
    one.iter().any(|a| other.iter().any(|b| a.covers(b) || b.covers(a)))
}

fn place<'a>(rule: &'a Rule, key: &str) -> &'a Origin {
    rule.places.get(key).unwrap_or(&rule.source.origin)
}

#[cfg(test)]
mod tests {
    use crate::egress::properties::load;

    fn warnings(rules: &[&str]) -> Vec<String> {
        let rules: Vec<String> = rules.iter().map(|rule| (*rule).to_owned()).collect();
        load(&rules).warnings().iter().map(|warning| warning.to_string()).collect()
    }

    #[test]
    fn an_ordinary_policy_has_no_warnings() {
        let found = warnings(&[
            "hosts = [\"a.test\", \"*.b.test\"]\nmethods = [\"GET\"]\n",
            "hosts = [\"a.test\"]\nmethods = [\"POST\"]\npaths = [\"/v1/**\"]\n",
            "hosts = [\"a.test\"]\nverdict = \"deny\"\npaths = [\"/v1/admin/**\"]\n",
        ]);
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn rules_about_too_much_are_pointed_at() {
        for (rule, says) in [
            ("hosts = [\"**\"]\n", "about every host"),
            ("hosts = [\"*.com\"]\n", "everything below a top-level name"),
            ("hosts = [\"a.test\"]\naddresses = [\"0.0.0.0/0\"]\n", "more than one network"),
            ("hosts = { from = \"npm\" }\n", "matches nothing"),
        ] {
            let found = warnings(&[rule]);
            assert!(found.iter().any(|warning| warning.contains(says)), "{rule}: {found:?}");
            assert!(found.iter().all(|warning| warning.starts_with("warning: ")), "{found:?}");
        }
        let found = warnings(&[
            "hosts = [\"a.test\"]\npaths = [\"/x\"]\n",
            "hosts = [\"a.test\"]\nprotocols = [\"tcp\"]\nports = [443]\n",
        ]);
        assert!(found.iter().any(|warning| warning.contains("goes past")), "{found:?}");
    }

    #[test]
    fn tls_that_is_passed_to_a_front_of_many_is_pointed_at() {
        for (rule, warned) in [
            ("hosts = [\"d1.cloudfront.net\"]\n", true),
            ("hosts = [\"*.azurefd.net\"]\ntls = \"pass\"\n", true),
            ("hosts = [\"d1.cloudfront.net\"]\ntls = \"inspect\"\n", false),
            ("hosts = [\"d1.cloudfront.net\"]\npaths = [\"/v1/**\"]\n", false),
            ("hosts = [\"d1.cloudfront.net\"]\nprotocols = [\"http\"]\n", false),
            ("hosts = [\"d1.cloudfront.net\"]\nverdict = \"deny\"\n", false),
            ("hosts = [\"notcloudfront.net\", \"a.test\"]\ntls = \"pass\"\n", false),
        ] {
            let found = warnings(&[rule]);
            let says = found.iter().any(|warning| warning.contains("behind a front"));
            assert_eq!(says, warned, "{rule}: {found:?}");
        }
        let inspected = warnings(&[
            "hosts = [\"d1.cloudfront.net\"]\n",
            "hosts = [\"d1.cloudfront.net\"]\nverdict = \"deny\"\npaths = [\"/x\"]\n",
        ]);
        assert_eq!(inspected, Vec::<String>::new());
    }

    #[test]
    fn void_rules_are_pointed_at() {
        for (one, two, void) in [
            ("hosts = [\"a.test\"]\n", "hosts = [\"a.test\"]\n", Some("r1")),
            ("hosts = [\"a.test\"]\n", "hosts = [\"**.test\"]\n", Some("r0")),
            ("hosts = [\"a.test\"]\nmethods = [\"GET\"]\n", "hosts = [\"a.test\"]\n", Some("r0")),
            ("hosts = [\"a.test\"]\n", "hosts = [\"**\"]\nverdict = \"deny\"\n", Some("r0")),
            (
                "hosts = [\"a.test\"]\npaths = [\"/a/b\"]\n",
                "hosts = [\"a.test\"]\npaths = [\"/a/**\"]\n",
                Some("r0"),
            ),
            (
                "hosts = [\"a.test\"]\npaths = [\"/a/b\"]\n",
                "hosts = [\"a.test\"]\npaths = [\"/b/**\"]\n",
                None,
            ),
            (
                "hosts = [\"a.test\"]\n",
                "hosts = [\"a.test\"]\nverdict = \"ask\"\nmethods = [\"PUT\"]\n",
                None,
            ),
            ("hosts = [\"a.test\"]\n", "hosts = [\"b.test\"]\n", None),
        ] {
            let found = warnings(&[one, two]);
            let named = |name: &str| {
                found.iter().any(|known| {
                    known.contains("changes nothing")
                        && known.contains(&format!("name = \"{name}\""))
                })
            };
            assert_eq!(named("r0"), void == Some("r0"), "{one}{two}{found:?}");
            assert_eq!(named("r1"), void == Some("r1"), "{one}{two}{found:?}");
        }
    }
}
