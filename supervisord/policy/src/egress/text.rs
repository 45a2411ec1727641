//! Rules, bindings and budgets as policy text again.

use std::fmt::Display;

use crate::document::Origin;
use crate::egress::binding::{Binding, Location};
use crate::egress::rule::{Rule, Tls, Verdict};
use crate::quantity::Unit;
use crate::show::quote;

/// A key, its value as TOML, and where it was given; `None` where it was left out.
pub(crate) type Line<'a> = (&'static str, String, Option<&'a Origin>);

impl Rule {
    /// The lines of its `[[egress]]`, of what isn't as it is anyway.
    pub(crate) fn lines(&self) -> Vec<Line<'_>> {
        let mut lines = vec![("name", quote(self.name()), Some(&self.source.origin))];
        let mut add = |key, value| lines.push((key, value, self.places.get(key)));
        if let Some(description) = &self.description {
            add("description", quote(description));
        }
        if self.verdict != Verdict::Allow {
            add("verdict", quote(self.verdict.as_str()));
        }
        match self.from {
            Some(client) if self.hosts.is_empty() => {
                add("hosts", format!("{{ from = \"{client}\" }}"));
            }
            _ => add("hosts", list(&self.hosts)),
        }
        if !self.addresses.is_empty() {
            add("addresses", list(&self.addresses));
        }
        if !(self.hosts.is_empty() && self.from.is_some()) {
            // What a rule that denies leaves out depends on the rules it is among.
            let told = |key| self.verdict != Verdict::Deny || self.is_given(key);
            let (protocols, ports) = (told("protocols"), told("ports"));
            if protocols {
                add("protocols", list(&self.protocols));
            }
            if ports {
                add("ports", bare_list(&self.ports));
            }
        }
        if let Some(methods) = &self.methods {
            add("methods", list(methods));
        }
        if let Some(paths) = &self.paths {
            add("paths", list(paths));
        }
        if self.tls != Tls::Auto {
            add("tls", quote(self.tls.as_str()));
        }
        if let Some(most) = self.max_body {
            add("max_body", most.to_string());
        }
        if let Some(wait) = self.ask_timeout {
            let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            add("ask_timeout", quote(&Unit::Time.show(millis)));
        }
        if let Some(websocket) = self.websocket {
            add("websocket", websocket.to_string());
        }
        lines
    }

    /// The rule as policy text, without places.
    pub(crate) fn text(&self) -> String {
        let lines = self.lines();
        lines.iter().map(|(key, value, _)| format!("{key} = {value}\n")).collect()
    }
}

/// Keys of a `[[credential]]` that say which requests it is for.
const SUBJECT: [&str; 5] = ["name", "hosts", "ports", "methods", "paths"];

impl Binding {
    /// The credential, and how it is used: its place in a request, its placeholder and its budgets.
    pub fn in_words(&self) -> String {
        let lines = self.lines().into_iter().filter(|(key, ..)| !SUBJECT.contains(key));
        let uses: Vec<String> = lines.map(|(key, value, _)| format!("{key} = {value}")).collect();
        format!("{} ({})", self.credential, uses.join(", "))
    }

    /// The lines of its `[[credential]]`.
    pub(crate) fn lines(&self) -> Vec<Line<'_>> {
        let given = Some(&self.source.origin);
        let mut lines = vec![("name", quote(&self.credential), given)];
        let mut add = |key, value| lines.push((key, value, given));
        add("hosts", list(&self.hosts));
        add("ports", bare_list(&self.ports));
        if let Some(methods) = &self.methods {
            add("methods", list(methods));
        }
        if let Some(paths) = &self.paths {
            add("paths", list(paths));
        }
        match &self.location {
            Location::Header { name, before, after } => {
                add("header", quote(name));
                add("template", quote(&format!("{before}{{}}{after}")));
            }
            Location::Query { name } => add("query", quote(name)),
            Location::Basic { user } => add("basic", quote(user)),
            Location::SigV4 { service, region } => add(
                "sigv4",
                format!("{{ service = {}, region = {} }}", quote(service), quote(region)),
            ),
        }
        if let Some(variable) = &self.placeholder {
            add("placeholder", quote(variable));
        }
        let budgets: Vec<_> =
            self.budgets.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        if !budgets.is_empty() {
            add("budgets", format!("{{ {} }}", budgets.join(", ")));
        }
        lines
    }
}

fn list(entries: &[impl Display]) -> String {
    let quoted: Vec<_> = entries.iter().map(|entry| quote(&entry.to_string())).collect();
    format!("[{}]", quoted.join(", "))
}

fn bare_list(entries: &[impl Display]) -> String {
    let bare: Vec<_> = entries.iter().map(ToString::to_string).collect();
    format!("[{}]", bare.join(", "))
}
