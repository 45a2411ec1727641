//! Requests as people write them down, in examples, on the command line and in records:
//! `GET https://api.example.com/v1/items`, `connect host:443`, `tcp host:22`, `dns host`.

use std::fmt;

use crate::egress::Egress;
use crate::egress::ask::Ask;
use crate::egress::decision::Decision;
use crate::egress::host::{Destination, Host, HostName, InvalidHost};
use crate::egress::rule::Protocol;

/// Something to ask the rules.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Question {
    /// May this name be looked up?
    LookUp(HostName),
    /// May this connection be made?
    Connect(Destination, Protocol),
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
}

impl Question {
    /// Reads a question. A request has no body, as far as the text says.
    ///
    /// # Errors
    /// When it has none of the four shapes.
    pub fn parse(text: &str) -> Result<Self, InvalidQuestion> {
        let (verb, object) = text.trim().split_once(' ').ok_or(InvalidQuestion::Shape)?;
        let object = object.trim_start();
        let destination = |default| Destination::parse(object, default);
        let question = match verb {
            "dns" => HostName::parse(object).map(Self::LookUp),
            "tcp" => destination(None).map(|found| Self::Connect(found, Protocol::Tcp)),
            "connect" => {
                let https = Protocol::Https;
                destination(https.default_port()).map(|found| Self::Connect(found, https))
            }
            method => return Self::request(method, object),
        };
        question.map_err(InvalidQuestion::Host)
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
            Self::Connect(destination, _) | Self::Request { destination, .. } => {
                destination.host.clone()
            }
        }
    }

    /// Asks the rules.
    pub fn put_to(&self, egress: &Egress) -> Decision {
        match self {
            Self::LookUp(name) => egress.look_up(name),
            Self::Connect(destination, protocol) => egress.connect(destination, *protocol),
            Self::Request { destination, protocol, method, target, websocket, body } => {
                let (protocol, websocket, body) = (*protocol, *websocket, *body);
                egress.request(&Ask { destination, protocol, method, target, websocket, body })
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
                 \"tcp host:22\" or \"dns host\""
            }
            InvalidQuestion::Host(invalid) => invalid.hint(),
        }
    }
}

impl fmt::Display for InvalidQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidQuestion::Shape => f.write_str("this is not a request"),
            InvalidQuestion::Scheme => f.write_str("this URL has another scheme"),
            InvalidQuestion::Host(invalid) => invalid.fmt(f),
        }
    }
}

impl std::error::Error for InvalidQuestion {}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LookUp(name) => write!(f, "dns {name}"),
            Self::Connect(destination, Protocol::Tcp) => write!(f, "tcp {destination}"),
            Self::Connect(destination, _) => write!(f, "connect {destination}"),
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
                    Some(bytes) => write!(f, " with a body of {bytes} bytes"),
                    None => f.write_str(" with a body of unknown size"),
                }
            }
        }
    }
}
