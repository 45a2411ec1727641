//! From raw to checked: rules, bindings, budgets. Everything is reported at its place.

mod binding;
mod budget;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;

pub(crate) use budget::{BudgetsGiven, budgets};

use crate::check::Checker;
use crate::document::Origin;
use crate::egress::client::Client;
use crate::egress::decision::Reason;
use crate::egress::example::RequestExample;
use crate::egress::is_method;
use crate::egress::path::{InvalidPattern, PathPattern};
use crate::egress::pattern::{HostPattern, InvalidHostPattern, parse_network};
use crate::egress::raw::{RawHosts, RawRule};
use crate::egress::rule::{Protocol, Rule, RuleSource, Tls, Verdict};
use crate::name::{NAME_RULE, is_name};
use crate::quantity::Unit;
use crate::raw::{Amount, RawExpect};

/// Rules in a file: far more than anybody reads, few enough to be loaded in well under a second.
const MAX_RULES: usize = 20_000;

/// Entries of one of a rule's lists.
const MAX_ENTRIES: usize = 20_000;

/// Ports in a rule. Each is a listening socket in every sandbox of the policy.
const MAX_PORTS: usize = 64;

/// Milliseconds that a request may wait for a person: clients have given up long before.
const MAX_PATIENCE: u64 = 3_600_000;

type List = Option<Spanned<Vec<Spanned<String>>>>;
type Ports = Option<Spanned<Vec<Spanned<i64>>>>;

impl Checker {
    /// The rules of a file.
    pub fn rules(&mut self, raw: &[Spanned<RawRule>]) -> Vec<Rule> {
        if let Some(over) = raw.get(MAX_RULES) {
            self.refuse_plainly(over.span(), format!("a file can't hold over {MAX_RULES} rules"));
        }
        let mut names: BTreeMap<&str, Origin> = BTreeMap::new();
        let mut rules = Vec::new();
        for raw in raw.iter().take(MAX_RULES) {
            let raw = raw.get_ref();
            let origin = self.document().origin(raw.name.span());
            if let Some(first) = names.insert(raw.name.get_ref(), origin) {
                let message = format!("there is another rule of this name: {first}");
                self.refuse(raw.name.span(), message, "give each rule a name of its own");
            }
            rules.extend(self.rule(raw));
        }
        rules
    }

    /// The rules of the floor, which can only deny.
    pub fn rules_of_floor(&mut self, raw: &[Spanned<RawRule>]) -> Vec<Rule> {
        let rules = self.rules(raw);
        for rule in &rules {
            if rule.verdict != Verdict::Deny {
                let message = "the floor allows nothing; its rules deny";
                let hint = "add `verdict = \"deny\"`, or write the rule into a policy";
                self.report_at(&rule.source.origin, message, hint);
            }
        }
        rules
    }

    fn rule(&mut self, raw: &RawRule) -> Option<Rule> {
        if !is_name(raw.name.get_ref()) {
            self.refuse(raw.name.span(), "this is not a name of a rule", NAME_RULE);
        }
        let verdict = self.word(&raw.verdict, "verdict", Verdict::ALL, Verdict::as_str);
        let verdict = verdict.unwrap_or(Verdict::Allow);
        let tls = self.word(&raw.tls, "treatment of TLS", Tls::ALL, Tls::as_str);
        let origin = self.document().origin(raw.name.span());
        let source = RuleSource::new(Some(raw.name.get_ref().clone()), origin);
        let (hosts, from) = match raw.hosts.get_ref() {
            RawHosts::List(list) => (hosts_meant(verdict, self.hosts(list)), None),
            RawHosts::Client(client) => (Vec::new(), self.client(&client.from)),
        };
        let protocols = self.protocols(&raw.protocols);
        let rule = Rule {
            source: Arc::new(source),
            description: raw
                .description
                .clone()
                .and_then(|text| self.description(text))
                .map(|text| text.value),
            verdict,
            hosts,
            from,
            addresses: self.networks(&raw.addresses),
            ports: self.ports_of(&raw.ports, &protocols, raw),
            protocols,
            methods: self.methods(&raw.methods),
            paths: self.paths(&raw.paths).map(|paths| meant(verdict, paths)),
            tls: tls.unwrap_or_default(),
            max_body: raw
                .max_body
                .as_ref()
                .and_then(|raw| self.count("max_body", Unit::Bytes, raw)),
            ask_timeout: raw.ask_timeout.as_ref().and_then(|raw| self.patience(raw)),
            websocket: raw.websocket.as_ref().map(|flag| *flag.get_ref()),
            places: self.places(raw),
        };
        self.consistent(raw, &rule);
        Some(rule)
    }

    /// Refuses what makes no sense together.
    fn consistent(&mut self, raw: &RawRule, rule: &Rule) {
        if let RawHosts::List(list) = raw.hosts.get_ref()
            && list.is_empty()
        {
            self.refuse(raw.hosts.span(), "this rule is about no host", "name a host");
        }
        if matches!(raw.hosts.get_ref(), RawHosts::Client(_)) {
            let spans =
                [raw.ports.as_ref().map(Spanned::span), raw.protocols.as_ref().map(Spanned::span)];
            for span in spans.into_iter().flatten() {
                let message = "the client's configuration tells protocols and ports as well";
                self.refuse(span, message, "leave this out");
            }
            if rule.verdict == Verdict::Deny {
                let message = "a rule that denies can't take its hosts from a client";
                let hint = "if the client weren't there, nothing would be denied; name the hosts";
                self.refuse(raw.hosts.span(), message, hint);
            }
        }
        let inside = [
            ("methods", raw.methods.as_ref().map(Spanned::span)),
            ("paths", raw.paths.as_ref().map(Spanned::span)),
            ("max_body", raw.max_body.as_ref().map(Spanned::span)),
            ("websocket", raw.websocket.as_ref().map(Spanned::span)),
        ];
        for (key, span) in inside {
            let Some(span) = span else { continue };
            if rule.protocols.contains(&Protocol::Tcp) {
                let hint = "write one rule for tcp and another one for https";
                self.refuse(span.clone(), format!("plain TCP has no {key} to look at"), hint);
            }
            if rule.tls == Tls::Pass {
                let message = format!("{key} can't be seen in TLS that is passed");
                self.refuse(span.clone(), message, "write tls = \"inspect\", or leave it out");
            }
            if rule.verdict == Verdict::Deny && matches!(key, "max_body" | "websocket") {
                let message = format!("{key} is for rules that allow or ask");
                self.refuse(
                    span,
                    message,
                    "leave it out; a rule that denies denies whatever it is about",
                );
            }
        }
        if let (Verdict::Deny, Some(list)) = (rule.verdict, &raw.addresses) {
            let hint = "to deny networks, write them in `hosts`";
            self.refuse(list.span(), "`addresses` opens addresses", hint);
        }
        if let (Some(wait), true) = (&raw.ask_timeout, rule.verdict != Verdict::Ask) {
            let hint = "write verdict = \"ask\", or leave it out";
            self.refuse(wait.span(), "`ask_timeout` is for rules that ask", hint);
        }
        if let (Some(tls), true) = (&raw.tls, rule.verdict != Verdict::Allow) {
            self.refuse_plainly(tls.span(), "`tls` is for rules that allow");
        }
    }

    /// How long a rule has its requests wait for a person.
    fn patience(&mut self, raw: &Spanned<Amount>) -> Option<Duration> {
        let millis = self.count("ask_timeout", Unit::Time, raw)?;
        if (1_000..=MAX_PATIENCE).contains(&millis) {
            return Some(Duration::from_millis(millis));
        }
        let hint = "no client waits for longer, and nobody answers faster";
        self.refuse(raw.span(), "ask_timeout is from 1 s to 1 h", hint);
        None
    }

    fn hosts(&mut self, list: &[Spanned<String>]) -> Vec<HostPattern> {
        self.entries(list, |text| {
            HostPattern::parse(text).map_err(|invalid: InvalidHostPattern| {
                (invalid.to_string(), invalid.hint().to_owned())
            })
        })
    }

    fn client(&mut self, raw: &Spanned<String>) -> Option<Client> {
        let found = Client::from_name(raw.get_ref());
        if found.is_none() {
            let known: Vec<_> = Client::ALL.iter().map(|known| known.as_str()).collect();
            self.unknown("client", raw, &known);
        }
        found
    }

    fn networks(&mut self, raw: &List) -> Vec<IpNet> {
        let list = raw.as_ref().map(|list| list.get_ref().as_slice()).unwrap_or_default();
        self.entries(list, |text| {
            let network = match HostPattern::parse(text) {
                Ok(HostPattern::Network(network)) => Ok(network),
                Ok(_) => Err(InvalidHostPattern::Network),
                Err(_) => parse_network(text),
            };
            network.map_err(|invalid| (invalid.to_string(), invalid.hint().to_owned()))
        })
    }

    fn protocols(&mut self, raw: &List) -> Vec<Protocol> {
        let Some(list) = raw else { return vec![Protocol::Https] };
        let known: Vec<_> = Protocol::ALL.iter().map(|known| known.as_str()).collect();
        let mut protocols = Vec::new();
        for name in list.get_ref() {
            match Protocol::from_name(name.get_ref()) {
                Some(protocol) if protocols.contains(&protocol) => {}
                Some(protocol) => protocols.push(protocol),
                None => self.unknown("protocol", name, &known),
            }
        }
        if list.get_ref().is_empty() {
            self.refuse(list.span(), "this rule is about no protocol", "name one, or leave it out");
        }
        protocols
    }

    fn ports_of(&mut self, raw: &Ports, protocols: &[Protocol], rule: &RawRule) -> Vec<u16> {
        if raw.is_none() {
            // A rule that denies needs none: it is about every port.
            let denies = rule.verdict.as_ref().is_some_and(|word| word.get_ref() == "deny");
            if protocols.contains(&Protocol::Tcp) && !denies {
                let place = rule.protocols.as_ref().map_or(rule.name.span(), Spanned::span);
                self.refuse(place, "plain TCP has no usual port", "add `ports = [ … ]`");
            }
            return protocols.iter().filter_map(|protocol| protocol.default_port()).collect();
        }
        self.ports(raw)
    }

    fn ports(&mut self, raw: &Ports) -> Vec<u16> {
        let Some(list) = raw else { return Vec::new() };
        let mut ports = Vec::new();
        for raw in list.get_ref() {
            match u16::try_from(*raw.get_ref()) {
                Ok(0) | Err(_) => {
                    self.refuse(raw.span(), "this is not a port", "write a number from 1 to 65535");
                }
                // The sandbox's own resolver and proxy are there.
                Ok(53 | 3128) => {
                    let hint = "names are resolved by the supervisor, whatever the rules say";
                    self.refuse(
                        raw.span(),
                        "this port is the supervisor's own inside a sandbox",
                        hint,
                    );
                }
                Ok(port) if ports.contains(&port) => {}
                Ok(port) => ports.push(port),
            }
        }
        if list.get_ref().is_empty() || ports.len() > MAX_PORTS {
            let message = format!("a rule has from one to {MAX_PORTS} ports");
            self.refuse_plainly(list.span(), message);
        }
        ports.sort_unstable();
        ports
    }

    fn methods(&mut self, raw: &List) -> Option<Vec<String>> {
        let list = raw.as_ref()?;
        if list.get_ref().is_empty() {
            self.refuse(list.span(), "this is about no method", "name one, or leave it out");
        }
        Some(self.entries(list.get_ref(), |text| {
            if is_method(text) {
                return Ok(text.to_owned());
            }
            let message = "this is not a method that is ever forwarded".to_owned();
            Err((
                message,
                "methods are written in capitals; TRACE and CONNECT never pass".to_owned(),
            ))
        }))
    }

    fn paths(&mut self, raw: &List) -> Option<Vec<PathPattern>> {
        let list = raw.as_ref()?;
        if list.get_ref().is_empty() {
            self.refuse(list.span(), "this is about no path", "name one, or leave it out");
        }
        Some(self.entries(list.get_ref(), |text| {
            PathPattern::parse(text).map_err(|invalid| match invalid {
                InvalidPattern::Target(target) => (target.to_string(), target.hint().to_owned()),
                InvalidPattern::NotCanonical(form) => {
                    let message =
                        "paths are compared in their canonical form, which is another one";
                    (message.to_owned(), format!("write \"{form}\""))
                }
                InvalidPattern::Stars => (
                    "two stars are a segment of their own, and 32 segments are the most".to_owned(),
                    "write `**` between slashes".to_owned(),
                ),
            })
        }))
    }

    fn places(&self, raw: &RawRule) -> BTreeMap<&'static str, Origin> {
        let keys = [
            ("description", raw.description.as_ref().map(Spanned::span)),
            ("verdict", raw.verdict.as_ref().map(Spanned::span)),
            ("hosts", Some(raw.hosts.span())),
            ("addresses", raw.addresses.as_ref().map(Spanned::span)),
            ("protocols", raw.protocols.as_ref().map(Spanned::span)),
            ("ports", raw.ports.as_ref().map(Spanned::span)),
            ("methods", raw.methods.as_ref().map(Spanned::span)),
            ("paths", raw.paths.as_ref().map(Spanned::span)),
            ("tls", raw.tls.as_ref().map(Spanned::span)),
            ("max_body", raw.max_body.as_ref().map(Spanned::span)),
            ("ask_timeout", raw.ask_timeout.as_ref().map(Spanned::span)),
            ("websocket", raw.websocket.as_ref().map(Spanned::span)),
        ];
        let given = keys.into_iter().filter_map(|(key, span)| Some((key, span?)));
        given.map(|(key, span)| (key, self.document().origin(span))).collect()
    }

    /// An example of a request.
    pub fn request_example(
        &mut self,
        raw: &RawExpect,
        request: &Spanned<String>,
    ) -> Option<RequestExample> {
        if let Some(limit) = &raw.limit {
            self.refuse_plainly(limit.span(), "a request isn't refused for a limit");
        }
        let verdict = Some(raw.verdict.clone());
        let verdict = self.word(&verdict, "verdict", Verdict::ALL, Verdict::as_str)?;
        let reason = self.word(&raw.reason, "reason", Reason::ALL, Reason::as_str);
        let text = |raw: &Option<Spanned<String>>| raw.as_ref().map(|text| text.get_ref().clone());
        let body = raw.body.as_ref().and_then(|raw| self.count("body", Unit::Bytes, raw));
        let example = RequestExample {
            text: request.get_ref().clone(),
            websocket: raw.websocket.as_ref().is_some_and(|flag| *flag.get_ref()),
            body,
            verdict,
            rule: text(&raw.rule),
            reason,
            credential: text(&raw.credential),
            origin: self.document().origin(request.span()),
        };
        if let Err(invalid) = example.check() {
            self.refuse(request.span(), invalid.to_string(), invalid.hint());
            return None;
        }
        Some(example)
    }

    /// One of a few words, or nothing where nothing was written.
    fn word<T: Copy>(
        &mut self,
        raw: &Option<Spanned<String>>,
        what: &str,
        all: &[T],
        name: impl Fn(T) -> &'static str,
    ) -> Option<T> {
        let raw = raw.as_ref()?;
        let found = all.iter().copied().find(|known| name(*known) == raw.get_ref());
        if found.is_none() {
            let known: Vec<_> = all.iter().map(|known| name(*known)).collect();
            self.unknown(what, raw, &known);
        }
        found
    }

    /// Each entry of a list, read; the answer to a bad one is what is wrong and a hint.
    fn entries<T>(
        &mut self,
        list: &[Spanned<String>],
        read: impl Fn(&str) -> Result<T, (String, String)>,
    ) -> Vec<T> {
        if let Some(over) = list.get(MAX_ENTRIES) {
            self.refuse_plainly(
                over.span(),
                format!("a list can't have over {MAX_ENTRIES} entries"),
            );
        }
        let mut found = Vec::new();
        for raw in list.iter().take(MAX_ENTRIES) {
            match read(raw.get_ref()) {
                Ok(entry) => found.push(entry),
                Err((message, hint)) => self.refuse(raw.span(), message, hint),
            }
        }
        found
    }
}

/// A rule's hosts as its verdict means them: what holds back `**.name` holds back `name` too, which is written for
/// all of a domain by whoever doesn't think of its apex.
fn hosts_meant(verdict: Verdict, hosts: Vec<HostPattern>) -> Vec<HostPattern> {
    let mut meant = hosts;
    if verdict != Verdict::Allow {
        let apexes: Vec<_> = meant.iter().filter_map(HostPattern::apex).collect();
        for apex in apexes {
            if !meant.contains(&apex) {
                meant.push(apex);
            }
        }
    }
    meant
}

/// A rule's paths as its verdict means them.
fn meant(verdict: Verdict, paths: Vec<PathPattern>) -> Vec<PathPattern> {
    match verdict {
        Verdict::Allow => paths,
        Verdict::Ask | Verdict::Deny => paths.into_iter().map(PathPattern::holding_back).collect(),
    }
}
