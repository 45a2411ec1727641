//! Loads, and what comes of them.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use super::client::{Connection, dial, trusting, tunnel};
use super::door::{Door, Whose};
use super::upstream::Addresses;
use crate::failure::Failure;

/// What clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Load {
    /// Requests of plain HTTP on connections that are kept.
    Plain,
    /// The same on one connection, for the time that each takes.
    PlainAlone,
    /// TLS handshakes with the upstream, on a new connection each, that nobody looks into.
    Handshake,
    /// Requests on kept connections of TLS that the proxy looks into.
    Inspected,
    /// The same on one connection.
    InspectedAlone,
    /// One such request on a new connection each.
    InspectedNew,
    /// Large answers on one connection that nobody looks into.
    Bulk,
}

impl Load {
    /// All of them, in the order of the tables.
    pub const ALL: [Self; 7] = [
        Self::Plain,
        Self::PlainAlone,
        Self::Handshake,
        Self::Inspected,
        Self::InspectedAlone,
        Self::InspectedNew,
        Self::Bulk,
    ];

    /// What it is.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Plain => "plain HTTP, 32 kept connections",
            Self::PlainAlone => "plain HTTP, one kept connection",
            Self::Handshake => "TLS handshakes through a tunnel, 4 at once",
            Self::Inspected => "inspected TLS, 32 kept connections",
            Self::InspectedAlone => "inspected TLS, one kept connection",
            Self::InspectedNew => "inspected TLS, a connection for each request, 4 at once",
            Self::Bulk => "64 MiB at a time through a tunnel, one connection",
        }
    }

    /// Clients at once.
    const fn clients(self) -> usize {
        match self {
            Self::Plain | Self::Inspected => 32,
            Self::Handshake | Self::InspectedNew => 4,
            Self::PlainAlone | Self::InspectedAlone | Self::Bulk => 1,
        }
    }

    const fn is_inspected(self) -> bool {
        matches!(self, Self::Inspected | Self::InspectedAlone | Self::InspectedNew)
    }

    /// Whether somebody can do it at all. Large answers don't get through mitmproxy's tunnel.
    pub const fn is_for(self, whose: Whose) -> bool {
        match whose {
            Whose::Tinyproxy => !self.is_inspected(),
            Whose::Mitmproxy => !matches!(self, Self::Bulk),
            Whose::Direct | Whose::Squid | Whose::Ours => true,
        }
    }
}

/// What came of one load.
#[derive(Debug, Clone, Default)]
pub struct Slice {
    /// From its begin to its end.
    pub took: Duration,
    /// Processor time of the proxy.
    pub used: Duration,
    /// Bytes of bodies.
    pub bytes: u64,
    /// How long each request or connection took.
    pub each: Vec<Duration>,
}

/// Loads a door for a time.
pub fn run(
    door: &Door,
    load: Load,
    at: Addresses,
    roots: &Arc<ClientConfig>,
    length: Duration,
) -> Result<Slice, Failure> {
    let (begun, used) = (Instant::now(), door.used()?);
    let client = || -> io::Result<(Vec<Duration>, u64)> {
        door.enter()?;
        let mut client = Client { door, load, at, tls: roots, kept: None };
        let (mut each, mut bytes) = (Vec::new(), 0);
        while begun.elapsed() < length {
            let asked = Instant::now();
            bytes += client.once()? as u64;
            each.push(asked.elapsed());
        }
        Ok((each, bytes))
    };
    let ended: io::Result<Vec<_>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..load.clients()).map(|_| scope.spawn(client)).collect();
        let lost = |_| Err(io::Error::other("a thread of the benchmark panicked"));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(lost)).collect()
    });
    let ended = ended.map_err(Failure::of(format!("load {}: {}", door.whose, load.title())))?;
    let took = begun.elapsed();
    let mut slice = Slice { took, used: door.used()? - used, ..Slice::default() };
    for (each, bytes) in ended {
        slice.bytes += bytes;
        slice.each.extend(each);
    }
    Ok(slice)
}

/// The TLS of clients that trust the upstream's authority and a door's own.
pub fn trust(
    door: &Door,
    upstream: &rustls_pki_types::CertificateDer<'static>,
) -> Result<Arc<ClientConfig>, Failure> {
    let roots: Vec<_> = door.authority.iter().cloned().chain([upstream.clone()]).collect();
    trusting(&roots).map_err(Failure::of("set up TLS"))
}

struct Client<'a> {
    door: &'a Door,
    load: Load,
    at: Addresses,
    tls: &'a Arc<ClientConfig>,
    kept: Option<Connection>,
}

impl Client<'_> {
    /// Does once what the load is about; the bytes of the answer's body.
    fn once(&mut self) -> io::Result<usize> {
        let Addresses { plain, passed, inspected, bulk } = self.at;
        let (door, tls) = (self.door, self.tls);
        match self.load {
            Load::Plain | Load::PlainAlone => {
                let open = || Ok(Connection::plain(dial(door.proxy.unwrap_or(plain))?));
                let target = door.proxy.map_or_else(String::new, |_| format!("http://{plain}"));
                let request = format!("GET {target}/small HTTP/1.1\r\nHost: {plain}\r\n\r\n");
                self.kept(open)?.ask(request.as_bytes())
            }
            Load::Handshake => {
                let stream = match door.proxy {
                    Some(proxy) => tunnel(proxy, passed)?,
                    None => dial(passed)?,
                };
                Connection::secure(stream, passed, tls).map(|_| 0)
            }
            Load::Inspected | Load::InspectedAlone => {
                self.kept(|| look_into(door, inspected, tls))?.ask(small(inspected).as_bytes())
            }
            Load::InspectedNew => look_into(door, inspected, tls)?.ask(small(inspected).as_bytes()),
            Load::Bulk => {
                let open = || match door.proxy {
                    Some(proxy) => tunnel(proxy, bulk).map(Connection::plain),
                    None => dial(bulk).map(Connection::plain),
                };
                let request = format!("GET /large HTTP/1.1\r\nHost: {bulk}\r\n\r\n");
                self.kept(open)?.ask(request.as_bytes())
            }
        }
    }

    fn kept(
        &mut self,
        open: impl FnOnce() -> io::Result<Connection>,
    ) -> io::Result<&mut Connection> {
        let lasts = self.load == Load::Bulk || self.door.whose.keeps_connections();
        let kept = match self.kept.take().filter(|_| lasts) {
            Some(kept) => kept,
            None => open()?,
        };
        Ok(self.kept.insert(kept))
    }
}

fn small(to: std::net::SocketAddr) -> String {
    format!("GET /small HTTP/1.1\r\nHost: {to}\r\n\r\n")
}

fn look_into(
    door: &Door,
    to: std::net::SocketAddr,
    tls: &Arc<ClientConfig>,
) -> io::Result<Connection> {
    let stream = match door.inspecting {
        Some(proxy) => tunnel(proxy, to)?,
        None => dial(to)?,
    };
    Connection::secure(stream, to, tls)
}
