//! One egress rule, checked: what it is about and what it says to that.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::document::Origin;
use crate::egress::ask::Ask;
use crate::egress::client::{Client, ClientOrigins};
use crate::egress::host::Host;
use crate::egress::path::PathPattern;
use crate::egress::pattern::HostPattern;

/// What is spoken with a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// HTTP without TLS.
    Http,
    /// TLS, and HTTP in it where it is inspected.
    Https,
    /// Bytes that nobody looks at.
    Tcp,
}

/// What a rule says, and what came of asking all of them. The later wins over the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It may go.
    Allow,
    /// It may go if a person agrees.
    Ask,
    /// It may not go.
    Deny,
}

/// What a rule says about TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Tls {
    /// Inspected where something needs it, else passed.
    #[default]
    Auto,
    /// Always inspected.
    Inspect,
    /// Passed, unless another rule or a credential needs to look inside.
    Pass,
}

/// Who says something: a rule and its place.
#[derive(Debug, Clone)]
pub struct RuleSource {
    /// The rule's name; none where it is the policy as a whole, which denies what no rule allows.
    pub(crate) rule: Option<String>,
    pub(crate) origin: Origin,
    /// All of it in words, which every decision is recorded with.
    words: Box<str>,
}

/// A rule.
#[derive(Debug, Clone)]
pub struct Rule {
    pub(crate) source: Arc<RuleSource>,
    pub(crate) description: Option<String>,
    pub(crate) verdict: Verdict,
    pub(crate) hosts: Vec<HostPattern>,
    pub(crate) from: Option<Client>,
    pub(crate) addresses: Vec<IpNet>,
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) ports: Vec<u16>,
    pub(crate) methods: Option<Vec<String>>,
    pub(crate) paths: Option<Vec<PathPattern>>,
    pub(crate) tls: Tls,
    pub(crate) max_body: Option<u64>,
    pub(crate) ask_timeout: Option<Duration>,
    pub(crate) websocket: Option<bool>,
    pub(crate) places: BTreeMap<&'static str, Origin>,
}

/// What of a rule a request doesn't fit, from the nearest miss to the farthest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mismatch {
    /// The body is larger than the rule lets through.
    Body,
    /// It is a WebSocket, which the rule doesn't let through.
    WebSocket,
    /// Another method.
    Method,
    /// Another path.
    Path,
    /// Another protocol.
    Protocol,
    /// Another port.
    Port,
    /// Another host.
    Host,
}

impl Protocol {
    /// Every protocol, in the order of the documentation.
    pub const ALL: &[Protocol] = &[Protocol::Https, Protocol::Http, Protocol::Tcp];

    /// The name as it stands in policy files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::Https => "https",
            Protocol::Tcp => "tcp",
        }
    }

    /// The protocol of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|protocol| protocol.as_str() == name)
    }

    /// Its port where none is given.
    pub const fn default_port(self) -> Option<u16> {
        match self {
            Protocol::Http => Some(80),
            Protocol::Https => Some(443),
            Protocol::Tcp => None,
        }
    }
}

impl Verdict {
    /// Every verdict, in the order of the documentation.
    pub const ALL: &[Verdict] = &[Verdict::Allow, Verdict::Ask, Verdict::Deny];

    /// The name as it stands in policy files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verdict::Allow => "allow",
            Verdict::Ask => "ask",
            Verdict::Deny => "deny",
        }
    }

    /// The verdict of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|verdict| verdict.as_str() == name)
    }
}

impl Tls {
    /// Every treatment, in the order of the documentation.
    pub const ALL: &[Tls] = &[Tls::Auto, Tls::Inspect, Tls::Pass];

    /// The name as it stands in policy files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Tls::Auto => "auto",
            Tls::Inspect => "inspect",
            Tls::Pass => "pass",
        }
    }

    /// The treatment of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|tls| tls.as_str() == name)
    }
}

impl RuleSource {
    pub(crate) fn new(rule: Option<String>, origin: Origin) -> Self {
        let words = match &rule {
            Some(rule) => format!("egress rule {rule} of {} ({origin})", origin.holder()),
            None => format!("the default of {} ({origin})", origin.holder()),
        };
        Self { rule, origin, words: words.into() }
    }

    /// The rule's name; none where the policy as a whole decided, because no rule did.
    pub fn rule(&self) -> Option<&str> {
        self.rule.as_deref()
    }

    /// Whose file it stands in: "policy NAME" or "the floor".
    pub fn holder(&self) -> &str {
        self.origin.holder()
    }

    /// File and line, as `FILE:LINE`.
    pub fn place(&self) -> String {
        self.origin.to_string()
    }
}

impl fmt::Display for RuleSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl Rule {
    /// Its name.
    pub fn name(&self) -> &str {
        self.source.rule().unwrap_or_default()
    }

    /// Its name and place.
    pub fn source(&self) -> &Arc<RuleSource> {
        &self.source
    }

    /// What its author says about it; empty if nothing.
    pub fn description(&self) -> &str {
        self.description.as_deref().unwrap_or_default()
    }

    /// What it says to what it matches.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The hosts it is about.
    pub fn hosts(&self) -> &[HostPattern] {
        &self.hosts
    }

    /// The client whose configuration told the hosts.
    pub fn client(&self) -> Option<Client> {
        self.from
    }

    /// The ports it is about.
    pub fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// The protocols it is about.
    pub fn protocols(&self) -> &[Protocol] {
        &self.protocols
    }

    /// The methods it is about; all if `None`.
    pub fn methods(&self) -> Option<&[String]> {
        self.methods.as_deref()
    }

    /// The paths it is about; all if `None`.
    pub fn paths(&self) -> Option<&[PathPattern]> {
        self.paths.as_deref()
    }

    /// Bytes that a body may have; any number if `None`.
    pub fn max_body(&self) -> Option<u64> {
        self.max_body
    }

    /// How long a request waits for a person, where the rule asks and says so.
    pub fn ask_timeout(&self) -> Option<Duration> {
        self.ask_timeout
    }

    /// The rule with the hosts of its client filled in: a rule for each protocol and port.
    pub(crate) fn expand(self, clients: &ClientOrigins) -> Vec<Rule> {
        let Some(client) = self.from else { return vec![self] };
        let mut groups: BTreeMap<(Protocol, u16), Vec<HostPattern>> = BTreeMap::new();
        for (protocol, destination) in clients.of(client) {
            let pattern = match &destination.host {
                Host::Name(name) => HostPattern::Name(name.clone()),
                Host::Address(address) => HostPattern::Network((*address).into()),
            };
            groups.entry((protocol, destination.port)).or_default().push(pattern);
        }
        if groups.is_empty() {
            return vec![Rule { ports: Vec::new(), ..self }];
        }
        let expanded = groups.into_iter().zip(1..).map(|(((protocol, port), hosts), number)| {
            let mut rule =
                Rule { hosts, protocols: vec![protocol], ports: vec![port], ..self.clone() };
            if number > 1 {
                let name = format!("{}-{number}", self.name());
                let origin = self.source.origin.clone();
                rule.source = Arc::new(RuleSource::new(Some(name), origin));
            }
            rule
        });
        expanded.collect()
    }

    /// Makes a rule that denies be about every protocol and port that it doesn't narrow itself to: who
    /// forbids a host means all its doors. `open` are the ports that other rules open.
    pub(crate) fn widen(&mut self, open: &BTreeSet<u16>) {
        if self.verdict != Verdict::Deny {
            return;
        }
        if !self.is_given("protocols") {
            let seen = |protocol: &&Protocol| **protocol != Protocol::Tcp || !self.looks_inside();
            self.protocols = Protocol::ALL.iter().filter(seen).copied().collect();
        }
        if !self.is_given("ports") {
            self.ports = open.iter().copied().collect();
        }
    }

    /// Whether its text says this key, or it is as it is where that is left out.
    pub(crate) fn is_given(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    /// Whether a host is meant.
    pub(crate) fn names(&self, host: &Host) -> bool {
        self.hosts.iter().any(|pattern| pattern.matches(host))
    }

    /// Whether an address may be dialled for a host of the rule though it isn't public. A host that is
    /// an address itself was named by being a host.
    pub(crate) fn opens(&self, host: &Host, address: IpAddr) -> bool {
        let named = |pattern: &HostPattern| match pattern {
            HostPattern::Network(network) => network.contains(&address),
            _ => false,
        };
        self.addresses.iter().any(|network| network.contains(&address))
            || (matches!(host, Host::Address(_)) && self.hosts.iter().any(named))
    }

    /// Whether it can be told apart only by looking at requests.
    pub(crate) fn looks_inside(&self) -> bool {
        self.methods.is_some()
            || self.paths.is_some()
            || self.max_body.is_some()
            || self.websocket.is_some()
    }

    /// Whether a request fits it, and what doesn't where it doesn't. `canonical` is the path that the
    /// paths are compared with.
    pub(crate) fn compare(&self, ask: &Ask<'_>, canonical: &str) -> Result<(), Mismatch> {
        if !self.names(&ask.destination.host) {
            return Err(Mismatch::Host);
        }
        if !self.ports.contains(&ask.destination.port) {
            return Err(Mismatch::Port);
        }
        if !self.protocols.contains(&ask.protocol) {
            return Err(Mismatch::Protocol);
        }
        if ask.protocol == Protocol::Tcp {
            return Ok(());
        }
        let path = |known: &[PathPattern]| known.iter().any(|pattern| pattern.matches(canonical));
        if !self.paths.as_deref().is_none_or(path) {
            return Err(Mismatch::Path);
        }
        self.compare_rest(ask)
    }

    /// As [`Rule::compare`], once host, port, protocol and path are known to fit.
    pub(crate) fn compare_rest(&self, ask: &Ask<'_>) -> Result<(), Mismatch> {
        if ask.protocol == Protocol::Tcp {
            return Ok(());
        }
        let method = |known: &[String]| known.iter().any(|method| method == ask.method);
        if !self.methods.as_deref().is_none_or(method) {
            return Err(Mismatch::Method);
        }
        // What forbids forbids a WebSocket as well; what allows has to say so.
        if ask.websocket && self.verdict != Verdict::Deny && self.websocket != Some(true) {
            return Err(Mismatch::WebSocket);
        }
        match (self.max_body, ask.body) {
            (Some(most), Some(body)) if body > most => Err(Mismatch::Body),
            _ => Ok(()),
        }
    }
}

macro_rules! display_as_str {
    ($($type:ty)*) => {
        $(impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        })*
    };
}

display_as_str!(Protocol Verdict Tls);
