//! Finding the rules that can be about a request without looking at the others: by host, then by
//! port, then by the literal beginning of the path.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::egress::ask::Ask;
use crate::egress::host::Host;
use crate::egress::path::PathPattern;
use crate::egress::pattern::HostPattern;
use crate::egress::rule::{Mismatch, Protocol, Rule, Tls, Verdict};

/// Leading segments of paths that are looked up. It bounds the work on a path of many segments; rules
/// that differ only behind them are compared one by one.
const DEPTH: usize = 4;

/// The rules by host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    names: HashMap<Box<str>, Bucket>,
    children: HashMap<Box<str>, Bucket>,
    below: HashMap<Box<str>, Bucket>,
    everything: Bucket,
    networks: HashMap<IpNet, Bucket>,
    /// Lengths of prefixes that occur in `networks`, for IPv4 and IPv6.
    lengths: [Vec<u8>; 2],
}

/// The rules of one host pattern, by port.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bucket {
    ports: HashMap<u16, PortBucket>,
    open: bool,
}

/// The rules of one host pattern and port.
#[derive(Debug, Clone, Default)]
pub(crate) struct PortBucket {
    https: Summary,
    http: Summary,
    tcp: Summary,
    anywhere: Vec<u32>,
    paths: PathIndex,
    /// Rules that open addresses.
    openers: Vec<u32>,
}

/// Patterns of paths by how they begin. A beginning is up to [`DEPTH`] segments, each literal or `*`.
#[derive(Debug, Clone, Default)]
struct PathIndex {
    entries: HashMap<Box<str>, Vec<PathEntry>>,
    /// The shapes of beginnings that occur.
    shapes: Vec<Shape>,
}

/// A number of segments, and which of them are `*`, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    length: usize,
    stars: u8,
}

/// A rule and one of its paths.
#[derive(Debug, Clone)]
struct PathEntry {
    rule: u32,
    pattern: PathPattern,
}

/// What is known of a host pattern, port and protocol without looking at a request: the first rule of
/// each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Denies whatever is requested.
    pub deny: Option<u32>,
    /// Denies some requests.
    pub deny_some: Option<u32>,
    /// Asks a person for some requests or all.
    pub ask: Option<u32>,
    /// Allows some requests or all.
    pub allow: Option<u32>,
    /// Allows without looking at requests.
    pub allow_unseen: Option<u32>,
    /// Says to pass TLS.
    pub pass: Option<u32>,
    /// Says to inspect TLS.
    pub inspect: Option<u32>,
    /// Compares paths.
    pub paths: bool,
}

/// What the rules say to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub deny: Option<u32>,
    pub ask: Option<u32>,
    /// The rule that allows, and how many bytes it lets a body have.
    pub allow: Option<(u32, Option<u64>)>,
    /// Where nothing matches: what the nearest rule misses.
    pub miss: Mismatch,
}

impl Index {
    pub fn new(rules: &[Rule]) -> Self {
        let mut index = Self::default();
        for (number, rule) in (0u32..).zip(rules) {
            for pattern in &rule.hosts {
                let bucket = index.bucket(pattern);
                bucket.open |= rule.verdict != Verdict::Deny;
                for port in &rule.ports {
                    bucket.ports.entry(*port).or_default().add(number, rule);
                }
            }
        }
        index
    }

    fn bucket(&mut self, pattern: &HostPattern) -> &mut Bucket {
        match pattern {
            HostPattern::Name(name) => self.names.entry(name.as_str().into()).or_default(),
            HostPattern::Child(name) => self.children.entry(name.as_str().into()).or_default(),
            HostPattern::Below(name) => self.below.entry(name.as_str().into()).or_default(),
            HostPattern::Everything => &mut self.everything,
            HostPattern::Network(network) => {
                let [v4, v6] = &mut self.lengths;
                let lengths = if network.addr().is_ipv4() { v4 } else { v6 };
                if !lengths.contains(&network.prefix_len()) {
                    lengths.push(network.prefix_len());
                }
                self.networks.entry(*network).or_default()
            }
        }
    }

    /// The buckets of every pattern that means a host, that of every host first.
    pub fn buckets<'a>(&'a self, host: &Host) -> Vec<&'a Bucket> {
        let mut found = vec![&self.everything];
        match host {
            Host::Name(name) => {
                found.extend(self.names.get(name.as_str()));
                found.extend(name.ancestry().nth(1).and_then(|above| self.children.get(above)));
                if !self.below.is_empty() {
                    found.extend(name.ancestry().skip(1).filter_map(|above| self.below.get(above)));
                }
            }
            Host::Address(address) => found.extend(self.networks_of(*address)),
        }
        found
    }

    /// The buckets of every network that an address is in.
    pub fn networks_of(&self, address: IpAddr) -> impl Iterator<Item = &Bucket> {
        let [v4, v6] = &self.lengths;
        let lengths = if address.is_ipv4() { v4 } else { v6 };
        lengths.iter().filter_map(move |length| {
            let network = IpNet::new(address, *length).ok()?;
            self.networks.get(&network.trunc())
        })
    }
}

impl Bucket {
    /// The rules of a port.
    pub fn at(&self, port: u16) -> Option<&PortBucket> {
        self.ports.get(&port)
    }

    /// Whether any rule but those that deny is in it.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Asks the rules about a request, whose canonical path is given as its segments.
    pub fn ask(&self, rules: &[Rule], ask: &Ask<'_>, path: &[&str], found: &mut Found) {
        let port = self.at(ask.destination.port);
        if self.open && !port.is_some_and(PortBucket::is_open) {
            found.near(Mismatch::Port);
        }
        if let Some(port) = port {
            port.ask(rules, ask, path, found);
        }
    }

    /// Every port and protocol that a rule in it allows or asks about.
    pub fn open(&self) -> impl Iterator<Item = (u16, Protocol)> {
        self.ports.iter().flat_map(|(port, bucket)| {
            let open = |protocol: &&Protocol| bucket.summary(**protocol).is_open();
            Protocol::ALL.iter().filter(open).map(|protocol| (*port, *protocol))
        })
    }
}

impl PortBucket {
    fn add(&mut self, number: u32, rule: &Rule) {
        for protocol in &rule.protocols {
            let summary = match protocol {
                Protocol::Https => &mut self.https,
                Protocol::Http => &mut self.http,
                Protocol::Tcp => &mut self.tcp,
            };
            summary.add(number, rule);
        }
        let opens = |pattern: &HostPattern| matches!(pattern, HostPattern::Network(_));
        if rule.verdict != Verdict::Deny
            && (!rule.addresses.is_empty() || rule.hosts.iter().any(opens))
        {
            push_once(&mut self.openers, number);
        }
        let Some(paths) = &rule.paths else { return push_once(&mut self.anywhere, number) };
        for pattern in paths {
            self.paths.add(number, pattern);
        }
    }

    /// What is known of a protocol.
    pub fn summary(&self, protocol: Protocol) -> &Summary {
        match protocol {
            Protocol::Https => &self.https,
            Protocol::Http => &self.http,
            Protocol::Tcp => &self.tcp,
        }
    }

    /// Rules that open addresses.
    pub fn openers(&self) -> &[u32] {
        &self.openers
    }

    fn is_open(&self) -> bool {
        Protocol::ALL.iter().any(|protocol| self.summary(*protocol).is_open())
    }

    fn ask(&self, rules: &[Rule], ask: &Ask<'_>, path: &[&str], found: &mut Found) {
        let summary = self.summary(ask.protocol);
        if summary.is_open() {
            found.near(Mismatch::Path);
        } else if self.is_open() {
            found.near(Mismatch::Protocol);
        }
        if *summary == Summary::default() {
            return;
        }
        for number in &self.anywhere {
            found.weigh(*number, rules, ask);
        }
        for entry in self.paths.matching(path) {
            found.weigh(entry.rule, rules, ask);
        }
    }
}

impl PathIndex {
    fn add(&mut self, number: u32, pattern: &PathPattern) {
        let beginning: Vec<Option<&str>> = pattern.beginning(DEPTH).collect();
        let stars = beginning.iter().zip(0..).filter(|(segment, _)| segment.is_none());
        let stars = stars.fold(0u8, |bits, (_, at)| bits | 1 << at);
        let shape = Shape { length: beginning.len(), stars };
        if !self.shapes.contains(&shape) {
            self.shapes.push(shape);
        }
        let entries = self.entries.entry(key(beginning.into_iter()).into()).or_default();
        let known = |entry: &PathEntry| entry.rule == number && entry.pattern == *pattern;
        if !entries.last().is_some_and(known) {
            entries.push(PathEntry { rule: number, pattern: pattern.clone() });
        }
    }

    /// The entries whose patterns mean a path, given as its segments.
    fn matching<'a>(&'a self, path: &'a [&'a str]) -> impl Iterator<Item = &'a PathEntry> {
        let beginnings = self.shapes.iter().filter_map(|shape| {
            let segments = path.get(..shape.length)?.iter().zip(0..);
            let starred = |at: u8| shape.stars >> at & 1 == 1;
            let key = key(segments.map(|(segment, at)| (!starred(at)).then_some(*segment)));
            self.entries.get(key.as_str())
        });
        beginnings.flatten().filter(|entry| entry.pattern.matches_segments(path))
    }
}

/// A beginning as one text. No segment of a canonical path has the character that stands for `*`.
fn key<'a>(segments: impl Iterator<Item = Option<&'a str>>) -> String {
    segments.flat_map(|segment| ["/", segment.unwrap_or("\u{1}")]).collect()
}

impl Summary {
    fn add(&mut self, number: u32, rule: &Rule) {
        let first = |known: &mut Option<u32>| {
            known.get_or_insert(number);
        };
        self.paths |= rule.paths.is_some();
        match rule.verdict {
            Verdict::Deny if rule.looks_inside() => first(&mut self.deny_some),
            Verdict::Deny => first(&mut self.deny),
            Verdict::Ask => first(&mut self.ask),
            Verdict::Allow => {
                first(&mut self.allow);
                match rule.tls {
                    Tls::Inspect => first(&mut self.inspect),
                    Tls::Pass => first(&mut self.pass),
                    Tls::Auto => {}
                }
                if !rule.looks_inside() && rule.tls != Tls::Inspect {
                    first(&mut self.allow_unseen);
                }
            }
        }
    }

    /// Whether anything is allowed or asked about.
    pub fn is_open(&self) -> bool {
        self.allow.is_some() || self.ask.is_some()
    }

    /// This and another one together.
    pub fn merge(&mut self, other: &Summary) {
        let first = |known: &mut Option<u32>, more: Option<u32>| {
            *known = known.iter().copied().chain(more).min();
        };
        first(&mut self.deny, other.deny);
        first(&mut self.deny_some, other.deny_some);
        first(&mut self.ask, other.ask);
        first(&mut self.allow, other.allow);
        first(&mut self.allow_unseen, other.allow_unseen);
        first(&mut self.pass, other.pass);
        first(&mut self.inspect, other.inspect);
        self.paths |= other.paths;
    }
}

impl Default for Found {
    fn default() -> Self {
        Self { deny: None, ask: None, allow: None, miss: Mismatch::Host }
    }
}

impl Found {
    /// Takes a rule into account that is known to be about host, port and path.
    fn weigh(&mut self, number: u32, rules: &[Rule], ask: &Ask<'_>) {
        let Some(rule) = usize::try_from(number).ok().and_then(|at| rules.get(at)) else { return };
        if rule.protocols.contains(&ask.protocol) {
            self.take(number, rule, rule.compare_rest(ask), ask);
        }
    }

    /// Takes what came of comparing a request with a rule into account.
    pub fn take(
        &mut self,
        number: u32,
        rule: &Rule,
        compared: Result<(), Mismatch>,
        ask: &Ask<'_>,
    ) {
        let first = |known: &mut Option<u32>| {
            *known = Some(known.map_or(number, |known| known.min(number)));
        };
        match (compared, rule.verdict) {
            (Err(_), Verdict::Deny) => {}
            (Err(mismatch), _) => self.near(mismatch),
            (Ok(()), Verdict::Deny) => first(&mut self.deny),
            (Ok(()), Verdict::Ask) => first(&mut self.ask),
            (Ok(()), Verdict::Allow) => {
                let roomy = |most: Option<u64>| most.unwrap_or(u64::MAX);
                let better = self.allow.is_none_or(|(known, most)| {
                    let (own, other) = (roomy(rule.max_body), roomy(most));
                    // Where nobody knows the size yet, the rule with most room bounds it.
                    if ask.body.is_none() && own != other { own > other } else { number < known }
                });
                if better {
                    self.allow = Some((number, rule.max_body));
                }
            }
        }
    }

    pub fn near(&mut self, mismatch: Mismatch) {
        self.miss = self.miss.min(mismatch);
    }
}

fn push_once(list: &mut Vec<u32>, number: u32) {
    if list.last() != Some(&number) {
        list.push(number);
    }
}
