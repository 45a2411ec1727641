//! Package clients that a rule can name in place of hosts: `hosts = { from = "pip" }`. Which hosts
//! these are stands in the client's own configuration on this host; whoever loads policies asks it
//! first and hands the answers in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::egress::host::Destination;
use crate::egress::rule::Protocol;

/// A package client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Client {
    /// Python's pip.
    Pip,
    /// Node's npm.
    Npm,
    /// Rust's cargo.
    Cargo,
    /// Debian's apt.
    Apt,
}

/// Where each client's configuration on this host sends it. A client that wasn't asked goes nowhere,
/// and a rule for it matches nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientOrigins {
    origins: BTreeMap<Client, BTreeSet<(Protocol, Destination)>>,
}

impl Client {
    /// Every client, in the order of the documentation.
    pub const ALL: &[Client] = &[Client::Pip, Client::Npm, Client::Cargo, Client::Apt];

    /// The name as it stands in policy files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Client::Pip => "pip",
            Client::Npm => "npm",
            Client::Cargo => "cargo",
            Client::Apt => "apt",
        }
    }

    /// The client of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|client| client.as_str() == name)
    }
}

impl ClientOrigins {
    /// Adds one place that a client fetches from.
    pub fn insert(&mut self, client: Client, protocol: Protocol, destination: Destination) {
        self.origins.entry(client).or_default().insert((protocol, destination));
    }

    /// The places of a client, by protocol and host.
    pub fn of(&self, client: Client) -> impl Iterator<Item = (Protocol, &Destination)> {
        let known = self.origins.get(&client).into_iter().flatten();
        known.map(|(protocol, destination)| (*protocol, destination))
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
