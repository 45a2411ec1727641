//! What may leave a sandbox: the rules of one resolved policy, and what they say to a name, a
//! connection, a request, an address.
//!
//! Nothing is allowed unless a rule says so, and what one rule denies no other allows. A name is
//! judged before it is resolved ([`Egress::look_up`]), a connection before it is accepted
//! ([`Egress::connect`]), each request by itself ([`Egress::request`]), and each address before it is
//! dialled ([`Egress::address`]).

mod address;
mod ask;
mod binding;
mod budget;
pub(crate) mod check;
mod client;
pub(crate) mod compose;
mod decision;
mod diff;
pub(crate) mod example;
mod explain;
mod host;
mod index;
mod learn;
mod lint;
mod overriding;
mod path;
mod pattern;
mod question;
pub(crate) mod raw;
mod record;
mod rule;
pub(crate) mod text;
mod witness;
mod words;

#[cfg(test)]
mod promises;
#[cfg(test)]
mod properties;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub use self::address::{AddressClass, carried};
pub use self::ask::{ASK_TIMEOUT, Ask};
pub use self::binding::{Binding, Location};
pub use self::budget::Budgets;
pub use self::client::{Client, ClientOrigins};
pub use self::decision::{CheckedAddress, Decision, Grant, Permit, Reason, Refusal, Treatment};
pub use self::diff::{Change, Difference};
pub use self::explain::{Considered, Explanation};
pub use self::host::{Destination, Host, HostName, InvalidHost};
pub use self::learn::Learnt;
pub use self::overriding::methods_in_query;
pub use self::path::{InvalidTarget, PathPattern, canonical_path};
pub use self::pattern::{HostPattern, InvalidHostPattern};
pub use self::question::{InvalidQuestion, Question};
pub use self::record::{Recorded, Replay, Reversal};
pub use self::rule::{Mismatch, Protocol, Rule, RuleSource, Tls, Verdict};

use ipnet::IpNet;

use self::decision::Outcome;
use self::index::{Bucket, Found, Index, Summary};
use self::words::Denial;

/// Bytes of a method: WebDAV's longest is 16.
const MAX_METHOD: usize = 32;

/// Methods that are never forwarded: they reflect the request, or open a tunnel past the rules.
const NEVER: [&str; 3] = ["TRACE", "TRACK", "CONNECT"];

/// The egress rules of a resolved policy.
#[derive(Debug, Clone)]
pub struct Egress {
    rules: Vec<Rule>,
    index: Index,
    bindings: Vec<Arc<Binding>>,
    budgets: Budgets,
    openable: Vec<AddressClass>,
    /// The policy as a whole, which denies what no rule allows.
    default: Arc<RuleSource>,
}

impl Egress {
    pub(crate) fn new(
        rules: Vec<Rule>,
        bindings: Vec<Arc<Binding>>,
        budgets: Budgets,
        openable: Vec<AddressClass>,
        default: Arc<RuleSource>,
    ) -> Self {
        let index = Index::new(&rules);
        Self { rules, index, bindings, budgets, openable, default }
    }

    /// Whether nothing can ever be allowed, so that the sandbox needs no listeners.
    pub fn is_empty(&self) -> bool {
        !self.rules.iter().any(|rule| rule.verdict != Verdict::Deny && !rule.hosts.is_empty())
    }

    /// TCP ports besides 80 and 443 that something may be allowed on, in ascending order.
    pub fn ports(&self) -> Vec<u16> {
        let open = self.rules.iter().filter(|rule| rule.verdict != Verdict::Deny);
        let mut ports: Vec<u16> = open.flat_map(|rule| rule.ports.iter().copied()).collect();
        // 53 and 3128 are the supervisor's own inside a sandbox; what a client's configuration names
        // there is reached through the explicit proxy.
        ports.retain(|port| !matches!(port, 53 | 80 | 443 | 3128));
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// The protocols that something may be allowed with at a destination, so that who accepts a
    /// connection knows what to expect of its first bytes.
    pub fn protocols(&self, destination: &Destination) -> Vec<Protocol> {
        let buckets = self.index.buckets(&destination.host);
        let open =
            |protocol: &&Protocol| summarise(&buckets, destination.port, **protocol).is_open();
        Protocol::ALL.iter().filter(open).copied().collect()
    }

    /// The rules: the floor's, then the eldest parent's to the policy's own.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The credential bindings.
    pub fn bindings(&self) -> &[Arc<Binding>] {
        &self.bindings
    }

    /// What one session may use.
    pub fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// Whether a name may be asked for at all. It is to be asked before anything is resolved.
    pub fn look_up(&self, name: &HostName) -> Decision {
        let host = Host::Name(name.clone());
        let buckets = self.index.buckets(&host);
        let open = buckets.iter().flat_map(|bucket| bucket.open());
        let (mut allowed, mut denied): (Option<u32>, Option<u32>) = (None, None);
        for (port, protocol) in open {
            let summary = summarise(&buckets, port, protocol);
            let (first, rule) = match summary.deny {
                Some(rule) => (&mut denied, Some(rule)),
                None => (&mut allowed, summary.allow.or(summary.ask)),
            };
            *first = first.iter().copied().chain(rule).min();
        }
        match (allowed, denied) {
            (Some(rule), _) => {
                let grant = Grant::LookUp(name.clone());
                let permit = permit(grant, self.source(Some(rule)), Treatment::Pass);
                Decision(Outcome::Allow(permit))
            }
            (None, Some(rule)) => self.deny_by(rule, &Denial::of_host(&host)),
            (None, None) => self.refuse(Mismatch::Host, &Denial::of_host(&host)),
        }
    }

    /// Whether to connect, and whether to look inside. Where it says [`Treatment::Inspect`], each
    /// request is still to be decided.
    pub fn connect(&self, destination: &Destination, protocol: Protocol) -> Decision {
        let denial = || Denial::of_connection(destination, protocol);
        let summary = self.summary(destination, protocol);
        if let Some(rule) = summary.deny {
            return self.deny_by(rule, &denial());
        }
        let Some(first) = summary.allow.into_iter().chain(summary.ask).min() else {
            return self.refuse(self.connection_miss(destination, protocol), &denial());
        };
        let grant = Grant::Connect(destination.clone(), protocol);
        let treatment = match protocol {
            Protocol::Tcp => Treatment::Pass,
            Protocol::Http => Treatment::Inspect,
            Protocol::Https => self.treatment(destination, &summary),
        };
        match (protocol, summary.ask) {
            (Protocol::Tcp, Some(rule)) => {
                let permit = permit(grant, self.source(Some(rule)), treatment);
                let ask_timeout = self.rule(rule).and_then(|rule| rule.ask_timeout);
                let permit = Permit { ask_timeout, ..permit };
                Decision(Outcome::Ask(permit, self.approval(rule, &denial())))
            }
            _ => {
                let unseen = summary.allow_unseen.filter(|_| treatment == Treatment::Pass);
                let rule = self.source(unseen.or(Some(first)));
                Decision(Outcome::Allow(permit(grant, rule, treatment)))
            }
        }
    }

    /// Whether a request may be forwarded.
    pub fn request(&self, ask: &Ask<'_>) -> Decision {
        if ask.protocol == Protocol::Tcp {
            return self.connect(ask.destination, ask.protocol);
        }
        let canonical = match self.judge_form(ask) {
            Ok(canonical) => canonical,
            Err(decision) => return *decision,
        };
        let buckets = self.index.buckets(&ask.destination.host);
        let segments = canonical.segments();
        let mut found = Found::default();
        for bucket in &buckets {
            bucket.ask(&self.rules, ask, &segments, &mut found);
        }
        self.conclude(ask, &canonical, found)
    }

    /// Whether a rule that isn't about every host lets something be said to a destination. Others are only
    /// resolved for a request that is permitted.
    pub fn names(&self, destination: &Destination) -> bool {
        let buckets = self.index.buckets(&destination.host);
        let named = buckets.iter().skip(1).filter_map(|bucket| bucket.at(destination.port));
        named
            .into_iter()
            .any(|bucket| Protocol::ALL.iter().any(|protocol| bucket.summary(*protocol).is_open()))
    }

    /// Whether an address may be dialled for a permit: the one that the destination names, or one
    /// that its name was resolved to.
    ///
    /// # Errors
    /// When the permit is for no connection, the address is another one than the destination names,
    /// a rule denies its network, or it isn't public and no rule names it.
    pub fn address(&self, permit: &Permit, address: IpAddr) -> Result<CheckedAddress, Refusal> {
        let (Grant::Connect(destination, protocol) | Grant::Request(destination, protocol)) =
            &permit.grant
        else {
            return Err(self.refuse_address(address, "a look-up permits no connection"));
        };
        if let Host::Address(named) = destination.host
            && named != address
        {
            return Err(self.refuse_address(address, "the destination names another address"));
        }
        for judged in std::iter::once(address).chain(carried(address).into_iter().map(IpAddr::V4)) {
            self.judge_address(destination, *protocol, judged)?;
        }
        Ok(CheckedAddress(SocketAddr::new(address, destination.port)))
    }

    /// Whether a rule opens this very address to a permit's destination, and not a network that it is in.
    pub fn names_alone(&self, permit: &Permit, address: IpAddr) -> bool {
        let (Grant::Connect(destination, protocol) | Grant::Request(destination, protocol)) =
            &permit.grant
        else {
            return false;
        };
        let alone = IpNet::from(address);
        let is_host = |pattern: &HostPattern| match pattern {
            HostPattern::Network(network) => *network == alone,
            _ => false,
        };
        let named = matches!(destination.host, Host::Address(_));
        let opens = |rule: &Rule| {
            (rule.addresses.contains(&alone) || (named && rule.hosts.iter().any(is_host)))
                && rule.verdict != Verdict::Deny
                && rule.ports.contains(&destination.port)
                && rule.protocols.contains(protocol)
                && rule.names(&destination.host)
        };
        self.rules.iter().any(opens)
    }

    fn judge_address(
        &self,
        destination: &Destination,
        protocol: Protocol,
        address: IpAddr,
    ) -> Result<(), Refusal> {
        let named = matches!(destination.host, Host::Address(_));
        for bucket in self.index.networks_of(address) {
            let Some(bucket) = bucket.at(destination.port) else { continue };
            let summary = bucket.summary(protocol);
            // Where the request named the address itself, what is denied of it was seen to.
            let some = summary.deny_some.filter(|_| !named);
            if let Some(rule) = summary.deny.or(some) {
                return Err(self.denied(rule, &Denial::of_address(destination, address)));
            }
        }
        let class = AddressClass::of(address);
        if class == AddressClass::Public {
            return Ok(());
        }
        if !class.can_be_opened() || !self.openable.contains(&class) {
            let cause = format!("the address is {class}, which no policy here can open");
            return Err(self.refuse_address(address, &cause));
        }
        let buckets = self.index.buckets(&destination.host);
        let openers = buckets.iter().filter_map(|bucket| bucket.at(destination.port));
        let mut openers =
            openers.flat_map(|bucket| bucket.openers()).filter_map(|at| self.rule(*at));
        if openers.any(|rule| {
            rule.protocols.contains(&protocol) && rule.opens(&destination.host, address)
        }) {
            return Ok(());
        }
        let cause = format!("the address is {class}, and no rule for {destination} names it");
        Err(self.refuse_address(address, &cause))
    }

    /// Checks method and target. The answer is the target as it will be compared and forwarded.
    fn judge_form<'a>(&self, ask: &Ask<'a>) -> Result<Target<'a>, Box<Decision>> {
        let refuse = |reason, cause: &str, remedy: &str| {
            let refusal = self.refusal(reason, &self.default, cause.to_owned(), remedy.to_owned());
            Err(Box::new(Decision(Outcome::Deny(refusal))))
        };
        if !is_method(ask.method) {
            let remedy = "Use a method of HTTP in capitals, such as GET or POST.";
            return refuse(Reason::InvalidMethod, "the method is never forwarded", remedy);
        }
        let target = |invalid: InvalidTarget| {
            let remedy = "Send a target with a plain path.";
            refuse(Reason::InvalidTarget, &invalid.to_string(), remedy)
        };
        let (path, query) = match path::split(ask.target) {
            Ok(parts) => parts,
            Err(invalid) => return target(invalid),
        };
        if !self.compares_paths(ask.destination, ask.protocol) {
            return Ok(Target { path: path.into(), query, compared: false });
        }
        match canonical_path(path) {
            Ok(path) => Ok(Target { path, query, compared: true }),
            Err(invalid) => target(invalid),
        }
    }

    /// Whether paths decide anything about a destination.
    fn compares_paths(&self, destination: &Destination, protocol: Protocol) -> bool {
        self.summary(destination, protocol).paths
            || self
                .bindings
                .iter()
                .any(|binding| binding.paths.is_some() && binding.reaches(destination, protocol))
    }

    fn conclude(&self, ask: &Ask<'_>, target: &Target<'_>, found: Found) -> Decision {
        let denial = || Denial::of_request(ask);
        if let Some(rule) = found.deny {
            return self.deny_by(rule, &denial());
        }
        let (rule, max_body) = match (found.ask, found.allow) {
            (Some(rule), _) => (rule, self.rule(rule).and_then(|rule| rule.max_body)),
            (None, Some(allowed)) => allowed,
            (None, None) => return self.refuse(found.miss, &denial()),
        };
        let bound = self.bindings.iter().filter(|binding| binding.matches(ask, &target.path));
        let permit = Permit {
            grant: Grant::Request(ask.destination.clone(), ask.protocol),
            rule: self.source(Some(rule)),
            treatment: Treatment::Inspect,
            max_body,
            ask_timeout: found.ask.and_then(|rule| self.rule(rule)?.ask_timeout),
            target: target.compared.then(|| target.whole()),
            bindings: bound.cloned().collect(),
        };
        Decision(match found.ask {
            Some(rule) => Outcome::Ask(permit, self.approval(rule, &denial())),
            None => Outcome::Allow(permit),
        })
    }

    /// Whether TLS to a destination that isn't denied has to be looked into.
    fn treatment(&self, destination: &Destination, summary: &Summary) -> Treatment {
        let bound = self.bindings.iter().any(|known| known.reaches(destination, Protocol::Https));
        let counted = self.budgets.counts_requests() && summary.pass.is_none();
        let needed = summary.deny_some.is_some()
            || summary.ask.is_some()
            || summary.inspect.is_some()
            || summary.allow_unseen.is_none();
        if needed || bound || counted { Treatment::Inspect } else { Treatment::Pass }
    }

    fn summary(&self, destination: &Destination, protocol: Protocol) -> Summary {
        summarise(&self.index.buckets(&destination.host), destination.port, protocol)
    }

    fn connection_miss(&self, destination: &Destination, protocol: Protocol) -> Mismatch {
        let buckets = self.index.buckets(&destination.host);
        let here = |known: Protocol| summarise(&buckets, destination.port, known).is_open();
        if Protocol::ALL.iter().any(|known| *known != protocol && here(*known)) {
            Mismatch::Protocol
        } else if buckets.iter().any(|bucket| bucket.is_open()) {
            Mismatch::Port
        } else {
            Mismatch::Host
        }
    }

    fn rule(&self, number: u32) -> Option<&Rule> {
        self.rules.get(usize::try_from(number).ok()?)
    }

    fn source(&self, number: Option<u32>) -> Arc<RuleSource> {
        let rule = number.and_then(|number| self.rule(number));
        Arc::clone(rule.map_or(&self.default, |rule| &rule.source))
    }
}

/// A target, apart and checked.
struct Target<'a> {
    path: std::borrow::Cow<'a, str>,
    query: Option<&'a str>,
    compared: bool,
}

impl Target<'_> {
    /// The segments of the path; none where no path is compared.
    fn segments(&self) -> Vec<&str> {
        if self.compared { self.path.split('/').skip(1).collect() } else { Vec::new() }
    }

    fn whole(&self) -> String {
        match self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone().into_owned(),
        }
    }
}

fn permit(grant: Grant, rule: Arc<RuleSource>, treatment: Treatment) -> Permit {
    let (max_body, ask_timeout, target, bindings) = (None, None, None, Vec::new());
    Permit { grant, rule, treatment, max_body, ask_timeout, target, bindings }
}

fn summarise(buckets: &[&Bucket], port: u16, protocol: Protocol) -> Summary {
    let mut summary = Summary::default();
    for bucket in buckets.iter().filter_map(|bucket| bucket.at(port)) {
        summary.merge(bucket.summary(protocol));
    }
    summary
}

/// Whether a method can be forwarded: a token (RFC 9110 §5.6.2) without small letters, because servers
/// differ on whether they mean the same.
fn is_method(method: &str) -> bool {
    let token = |byte: u8| {
        byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
    };
    (1..=MAX_METHOD).contains(&method.len())
        && method.bytes().all(token)
        && !NEVER.contains(&method)
}
