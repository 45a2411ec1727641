//! Refusals in words: what was asked for, why not, and what to do.

use std::net::IpAddr;
use std::sync::Arc;

use crate::egress::Egress;
use crate::egress::ask::Ask;
use crate::egress::decision::{Decision, Outcome, Reason, Refusal};
use crate::egress::host::{Destination, Host};
use crate::egress::rule::{Mismatch, Protocol, RuleSource};

/// Characters of a target that are repeated in a refusal.
const MAX_TARGET: usize = 200;

/// What is being denied, for sentences about it.
pub(super) struct Denial {
    what: String,
    example: String,
}

impl Denial {
    pub fn of_host(host: &Host) -> Self {
        Self { what: format!("the name {host}"), example: format!("hosts = [\"{}\"]", bare(host)) }
    }

    pub fn of_connection(destination: &Destination, protocol: Protocol) -> Self {
        let Destination { host, port } = destination;
        Self {
            what: format!("{protocol} to {destination}"),
            example: format!(
                "hosts = [\"{}\"], protocols = [\"{protocol}\"], ports = [{port}]",
                bare(host)
            ),
        }
    }

    pub fn of_address(destination: &Destination, address: IpAddr) -> Self {
        let known = format!("the address {address} of {destination}");
        Self { what: known, example: String::new() }
    }

    pub fn of_request(ask: &Ask<'_>) -> Self {
        let path = ask.target.split('?').next().unwrap_or_default();
        let path: String = path.chars().take(MAX_TARGET).collect();
        let connection = Self::of_connection(ask.destination, ask.protocol);
        let (protocol, destination) = (ask.protocol, ask.destination);
        let method: String = ask.method.chars().take(MAX_TARGET).collect();
        Self {
            what: format!("{method} {protocol}://{destination}{path}"),
            example: format!("{}, methods = [\"{method}\"]", connection.example),
        }
    }
}

impl Egress {
    pub(super) fn refusal(
        &self,
        reason: Reason,
        rule: &Arc<RuleSource>,
        cause: String,
        remedy: String,
    ) -> Refusal {
        Refusal { reason, rule: Arc::clone(rule), cause, remedy }
    }

    /// A rule denies it.
    pub(super) fn denied(&self, number: u32, denial: &Denial) -> Refusal {
        let rule = self.source(Some(number));
        let said = self.rule(number).map(|rule| rule.description()).unwrap_or_default();
        let why = if said.is_empty() { String::new() } else { format!(": {said}") };
        let name = rule.rule().unwrap_or_default().to_owned();
        self.refusal(
            Reason::DeniedByRule,
            &rule,
            format!("the rule {name} denies {}{why}", denial.what),
            format!(
                "Do without it; deny wins, so only a change of the rule {name} would allow it."
            ),
        )
    }

    pub(super) fn deny_by(&self, number: u32, denial: &Denial) -> Decision {
        Decision(Outcome::Deny(self.denied(number, denial)))
    }

    /// A rule asks a person.
    pub(super) fn approval(&self, number: u32, denial: &Denial) -> Refusal {
        let rule = self.source(Some(number));
        let name = rule.rule().unwrap_or_default().to_owned();
        self.refusal(
            Reason::ApprovalNeeded,
            &rule,
            format!("the rule {name} lets a person decide about {}", denial.what),
            "Ask an administrator to approve it (supervisorctl approvals).".to_owned(),
        )
    }

    /// No rule allows it.
    pub(super) fn refuse(&self, miss: Mismatch, denial: &Denial) -> Decision {
        let what = &denial.what;
        let (reason, cause) = match miss {
            Mismatch::Host => (Reason::HostNotAllowed, format!("no rule names {what}")),
            Mismatch::Port => (Reason::PortNotAllowed, format!("{what}: rules name other ports")),
            Mismatch::Protocol => {
                (Reason::ProtocolNotAllowed, format!("{what}: rules name other protocols"))
            }
            Mismatch::Path => (Reason::PathNotAllowed, format!("{what}: rules name other paths")),
            Mismatch::Method => {
                (Reason::MethodNotAllowed, format!("{what}: rules name other methods"))
            }
            Mismatch::WebSocket => {
                (Reason::WebSocketNotAllowed, format!("{what}: no rule lets it become a WebSocket"))
            }
            Mismatch::Body => (
                Reason::BodyTooLarge,
                format!("{what}: the body is larger than any rule lets through"),
            ),
        };
        let remedy = match miss {
            Mismatch::Body => {
                "Send less, or ask an administrator for a larger max_body.".to_owned()
            }
            Mismatch::WebSocket => {
                "Use plain requests, or ask an administrator for websocket = true.".to_owned()
            }
            _ => format!(
                "Use what {} allows, or ask an administrator for a rule with {}.",
                self.default.holder(),
                denial.example
            ),
        };
        Decision(Outcome::Deny(self.refusal(reason, &self.default, cause, remedy)))
    }

    /// An address can't be dialled.
    pub(super) fn refuse_address(&self, address: IpAddr, cause: &str) -> Refusal {
        self.refusal(
            Reason::AddressNotAllowed,
            &self.default,
            format!("{address} can't be dialled: {cause}"),
            "Use a public address; an administrator can open others by `addresses` in a rule, as far \
             as the floor's `addresses.openable` goes."
                .to_owned(),
        )
    }
}

/// A host without the brackets of URLs.
fn bare(host: &Host) -> String {
    match host {
        Host::Name(name) => name.to_string(),
        Host::Address(address) => address.to_string(),
    }
}
