//! Package clients that a rule can name in place of hosts: `hosts = { from = "pip" }`. Which hosts
//! these are stands in the client's own configuration on this host; whoever loads policies asks it
//! first and hands the answers in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;
use toml::Spanned;

use crate::diagnostic::Diagnostics;
use crate::document::Document;
use crate::egress::host::Destination;
use crate::egress::rule::Protocol;
use crate::raw;
use crate::show::quote;

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

/// The file with the answers of clients.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "the answers of package clients")]
struct RawOrigins {
    #[serde(default)]
    pip: Vec<Spanned<String>>,
    #[serde(default)]
    npm: Vec<Spanned<String>>,
    #[serde(default)]
    cargo: Vec<Spanned<String>>,
    #[serde(default)]
    apt: Vec<Spanned<String>>,
}

impl ClientOrigins {
    /// Reads a file that [`ClientOrigins::show`] has written: for each client a list of `https://host`
    /// or `http://host:port`.
    ///
    /// # Errors
    /// When it has an unknown key or something that is no such place.
    pub fn load(file: &str, text: &str) -> Result<Self, Diagnostics> {
        let holder = "the clients' answers".to_owned();
        let document = Document::new(holder, file.to_owned(), text.to_owned());
        let raw: RawOrigins = raw::read(&document)?;
        let (mut origins, mut wrong) = (Self::default(), Vec::new());
        let lists = [
            (Client::Pip, raw.pip),
            (Client::Npm, raw.npm),
            (Client::Cargo, raw.cargo),
            (Client::Apt, raw.apt),
        ];
        for (client, list) in lists {
            for url in list {
                match place(url.get_ref()) {
                    Some((protocol, destination)) => origins.insert(client, protocol, destination),
                    None if Diagnostics::enough(&wrong) => {}
                    None => {
                        let message = "this is not where a client can fetch from";
                        let hint = "write https://host or http://host:port";
                        wrong.push(document.diagnostic(url.span(), message).with_hint(hint));
                    }
                }
            }
        }
        if wrong.is_empty() { Ok(origins) } else { Err(wrong.into()) }
    }

    /// The text that [`ClientOrigins::load`] reads.
    pub fn show(&self) -> String {
        let mut text =
            "# Where the package clients of this host fetch from, by their own account.\n\
                        # Made by `supervisorctl policy hosts`.\n"
                .to_owned();
        for client in Client::ALL {
            let quoted: Vec<_> = self.urls(*client).iter().map(|url| quote(url)).collect();
            if !quoted.is_empty() {
                text.push_str(&format!("{client} = [{}]\n", quoted.join(", ")));
            }
        }
        text
    }

    /// The places of a client as `https://host:port`.
    pub fn urls(&self, client: Client) -> Vec<String> {
        self.of(client).map(|(protocol, place)| format!("{protocol}://{place}")).collect()
    }

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

fn place(url: &str) -> Option<(Protocol, Destination)> {
    let (scheme, authority) = url.split_once("://")?;
    let protocol = match Protocol::from_name(scheme)? {
        Protocol::Tcp => return None,
        http => http,
    };
    Some((protocol, Destination::parse(authority, protocol.default_port()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_again() {
        let text = "pip = [\"https://a.test\", \"http://b.test:8080\"]\napt = [\"http://[2001:db8::1]\"]\n";
        let origins = ClientOrigins::load("clients.toml", text).unwrap();
        assert_eq!(origins.urls(Client::Pip), ["http://b.test:8080", "https://a.test:443"]);
        assert_eq!(ClientOrigins::load("clients.toml", &origins.show()).unwrap(), origins);
        for wrong in [
            "pipp = []",
            "pip = [\"a.test\"]",
            "pip = [\"ftp://a.test\"]",
            "npm = [\"https://a.test/x\"]",
        ] {
            assert!(ClientOrigins::load("clients.toml", wrong).is_err(), "{wrong}");
        }
    }
}
