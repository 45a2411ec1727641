//! Requests as people write them down, in examples, on the command line and in records:
//! `GET https://api.example.com/v1/items`, `connect host:443`, `tcp host:22`, `dns host`; and whether a
//! connection may go to one of the addresses of its host: `connect host:443 at 10.0.0.1`.

use std::fmt;
use std::net::IpAddr;

use crate::egress::Egress;
use crate::egress::ask::Ask;
use crate::egress::decision::{Decision, Outcome};
use crate::egress::host::{Destination, Host, HostName, InvalidHost};
use crate::egress::overriding::methods_in_query;
use crate::egress::rule::Protocol;

/// Something to ask the rules.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Question {
    /// May this name be looked up?
    LookUp(HostName),
    /// May this connection be made?
    Connect(Destination, Protocol),
    /// May it go to this address, if its host has that?
    Dial(Destination, Protocol, IpAddr),
    /// May this request be forwarded?
    Request {
        /// Where it goes.
        destination: Destination,
        /// HTTP with or without TLS.
        protocol: Protocol,
        /// The method.
        method: String,
        /// Path and query.
        target: String,
        /// Whether it wants to become a WebSocket.
        websocket: bool,
        /// Bytes of the body, where known.
        body: Option<u64>,
    },
}

/// Why a text is not a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidQuestion {
    /// It has another shape.
    Shape,
    /// The URL's scheme is none of http, https, ws and wss.
    Scheme,
    /// The host or the port isn't one.
    Host(InvalidHost),
    /// What stands after `at` is no address.
    Address,
}

impl Question {
    /// Reads a question. A request has no body, as far as the text says.
    ///
    /// # Errors
    /// When it has none of the shapes.
    pub fn parse(text: &str) -> Result<Self, InvalidQuestion> {
        let (verb, object) = text.trim().split_once(' ').ok_or(InvalidQuestion::Shape)?;
        let object = object.trim_start();
        let protocol = match verb {
            "dns" => {
                return HostName::parse(object).map(Self::LookUp).map_err(InvalidQuestion::Host);
            }
            "tcp" => Protocol::Tcp,
            "http" => Protocol::Http,
            "connect" => Protocol::Https,
            method => return Self::request(method, object),
        };
        let (place, address) = match object.split_once(" at ") {
            Some((place, address)) => (place, Some(address.trim())),
            None => (object, None),
        };
        let destination =
            Destination::parse(place, protocol.default_port()).map_err(InvalidQuestion::Host)?;
        match address.map(str::parse::<IpAddr>) {
            None => Ok(Self::Connect(destination, protocol)),
            Some(Ok(address)) => Ok(Self::Dial(destination, protocol, address)),
            Some(Err(_)) => Err(InvalidQuestion::Address),
        }
    }

    fn request(method: &str, url: &str) -> Result<Self, InvalidQuestion> {
        let (scheme, rest) = url.split_once("://").ok_or(InvalidQuestion::Shape)?;
        let (protocol, websocket) = match scheme {
            "https" => (Protocol::Https, false),
            "http" => (Protocol::Http, false),
            "wss" => (Protocol::Https, true),
            "ws" => (Protocol::Http, true),
            _ => return Err(InvalidQuestion::Scheme),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let destination = Destination::parse(authority, protocol.default_port())
            .map_err(InvalidQuestion::Host)?;
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let (method, body) = (method.to_owned(), Some(0));
        Ok(Self::Request { destination, protocol, method, target, websocket, body })
    }

    /// The host that it is about.
    pub fn host(&self) -> Host {
        match self {
            Self::LookUp(name) => Host::Name(name.clone()),
            Self::Connect(destination, _)
            | Self::Dial(destination, ..)
            | Self::Request { destination, .. } => destination.host.clone(),
        }
    }

    /// Asks the rules.
    pub fn put_to(&self, egress: &Egress) -> Decision {
        match self {
            Self::LookUp(name) => egress.look_up(name),
            Self::Connect(destination, protocol) => egress.connect(destination, *protocol),
            Self::Dial(destination, protocol, address) => {
                let decision = egress.connect(destination, *protocol);
                match decision.prospect().map(|permit| egress.address(permit, *address)) {
                    Some(Err(refusal)) => Decision(Outcome::Deny(refusal)),
                    Some(Ok(_)) | None => decision,
                }
            }
            Self::Request { destination, protocol, method, target, websocket, body } => {
                let (protocol, websocket, body) = (*protocol, *websocket, *body);
                let ask = Ask { destination, protocol, method, target, websocket, body };
                let decision = egress.request(&ask);
                // As the proxy has it: what servers may take it for has to be allowed as freely.
                if decision.prospect().is_none() {
                    return decision;
                }
                let less_free = methods_in_query(target).find_map(|method| {
                    let other = egress.request(&Ask { method: &method, ..ask });
                    let is_as_free = other.is_as_free_as(&decision, body);
                    (!is_as_free).then(|| other.taken_otherwise(&method))
                });
                less_free.unwrap_or(decision)
            }
        }
    }

    /// The request in it, if it is one.
    pub fn ask(&self) -> Option<Ask<'_>> {
        let Self::Request { destination, protocol, method, target, websocket, body } = self else {
            return None;
        };
        let (protocol, websocket, body) = (*protocol, *websocket, *body);
        Some(Ask { destination, protocol, method, target, websocket, body })
    }
}

impl InvalidQuestion {
    /// How to write it instead.
    pub const fn hint(self) -> &'static str {
        match self {
            InvalidQuestion::Shape | InvalidQuestion::Scheme => {
                "write \"GET https://host/path\" (or http, wss, ws), \"connect host:443\", \
                 \"tcp host:22\", \"http host:80\" or \"dns host\""
            }
            InvalidQuestion::Host(invalid) => invalid.hint(),
            InvalidQuestion::Address => "write it like \"connect host:443 at 10.0.0.1\"",
        }
    }
}

impl fmt::Display for InvalidQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidQuestion::Shape => f.write_str("this is not a request"),
            InvalidQuestion::Scheme => f.write_str("this URL has another scheme"),
            InvalidQuestion::Host(invalid) => invalid.fmt(f),
            InvalidQuestion::Address => f.write_str("what stands after `at` is no address"),
        }
    }
}

impl std::error::Error for InvalidQuestion {}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LookUp(name) => write!(f, "dns {name}"),
            Self::Connect(destination, protocol) => write!(f, "{} {destination}", verb(*protocol)),
            Self::Dial(destination, protocol, address) => {
                write!(f, "{} {destination} at {address}", verb(*protocol))
            }
            Self::Request { destination, protocol, method, target, websocket, body } => {
                let scheme = match (protocol, websocket) {
                    (Protocol::Http, true) => "ws",
                    (Protocol::Http, false) => "http",
                    (_, true) => "wss",
                    (_, false) => "https",
                };
                let Destination { host, port } = destination;
                write!(f, "{method} {scheme}://{host}")?;
                if protocol.default_port() != Some(*port) {
                    write!(f, ":{port}")?;
                }
                f.write_str(target)?;
                match body {
                    Some(0) => Ok(()),
                    Some(bytes) => write!(f, " with a body of {bytes} B"),
                    None => f.write_str(" with a body of unknown size"),
                }
            }
        }
    }
}

const fn verb(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Http => "http",
        Protocol::Https => "connect",
    }
}
