//! The connections that one session keeps to its upstreams. Sessions never share one: whoever could
//! poison a connection could only poison its own.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use supervisor_policy::egress::{CheckedAddress, Destination, Host, Permit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::sender::{Lease, OutgoingBody, Sender};
use super::socket::Socket;
use super::turns::Turns;
use super::{UpstreamError, addresses, dial};
use crate::http::{Framed, Peer, WireShared};
use crate::limits::{
    HTTP2_NARROW_CONNECTION_WINDOW, HTTP2_NARROW_STREAM_WINDOW, HTTP2_UPSTREAM_CONNECTION_WINDOW,
    HTTP2_UPSTREAM_STREAM_WINDOW, MAX_BUFFER, MAX_FIELDS, MAX_HEAD, MAX_IDLE_PER_DESTINATION,
    WIDE_WINDOWS,
};
use crate::refused::Refused;
use crate::running::OfSession;
use crate::session::Session;
use crate::tls::upstream::{Offer, Roots};

/// What makes two requests fit one connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// Where to.
    pub destination: Destination,
    /// Whether in TLS.
    pub encrypted: bool,
    /// The protocols that are offered in TLS.
    pub offer: Offer,
}

/// One session's ways to its upstreams.
pub struct Upstreams {
    http2_first: Arc<ClientConfig>,
    http1_only: Arc<ClientConfig>,
    idle: Mutex<HashMap<Key, Vec<Idle>>>,
    open: Mutex<HashMap<Key, Open>>,
    turns: Turns,
}

struct Open {
    since: Instant,
    used: Instant,
    sender: http2::SendRequest<OutgoingBody>,
}

struct Idle {
    since: Instant,
    sender: http1::SendRequest<OutgoingBody>,
}

impl Key {
    /// The destination as it stands in a Host field: without the scheme's own port.
    pub fn host_field(&self) -> HeaderValue {
        let host = match &self.destination.host {
            Host::Name(name) => name.as_str().to_owned(),
            Host::Address(IpAddr::V4(address)) => address.to_string(),
            Host::Address(IpAddr::V6(address)) => format!("[{address}]"),
        };
        let usual = if self.encrypted { 443 } else { 80 };
        let text = match self.destination.port {
            port if port == usual => host,
            port => format!("{host}:{port}"),
        };
        // Names and addresses consist of characters that any field can have.
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("invalid"))
    }
}

impl Upstreams {
    /// Nothing is open yet.
    pub fn new(roots: &Roots) -> Self {
        Self {
            http2_first: roots.client(Offer::Http2First),
            http1_only: roots.client(Offer::Http1Only),
            idle: Mutex::default(),
            open: Mutex::default(),
            turns: Turns::default(),
        }
    }

    /// A connection for a permitted request: one that is kept, unless it has to be `fresh`, or a new
    /// one to a checked address.
    ///
    /// # Errors
    ///
    /// When no address may be dialled, or the upstream can't be reached or verified.
    pub async fn lease(
        &self,
        session: &Arc<Session>,
        permit: &Permit,
        key: Key,
        fresh: bool,
    ) -> Result<Lease, Refused> {
        if !fresh && let Some(sender) = self.kept(&key, session.shared.limits.keep_alive) {
            return Ok(Lease { session: session.clone(), key, sender, used_before: true });
        }
        let asked = Instant::now();
        let addresses = addresses(session, permit).await?;
        let sender = match key.encrypted && key.offer == Offer::Http2First {
            true => self.shared(session, &addresses, &key, asked).await?,
            false => self.dialled(session, &addresses, &key).await?,
        };
        Ok(Lease { session: session.clone(), key, sender, used_before: false })
    }

    /// A connection on which many requests may go at once: one is made, and who asks meanwhile gets that
    /// one too, or hears why there is none.
    async fn shared(
        &self,
        session: &Arc<Session>,
        addresses: &[CheckedAddress],
        key: &Key,
        asked: Instant,
    ) -> Result<Sender, Refused> {
        let turn = self.turns.at(key);
        if !turn.is_one_each() {
            let mut failed = turn.failed.lock().await;
            if let Some(sender) = self.opened_since(key, asked) {
                return Ok(sender);
            }
            if let Some((_, refused)) = failed.as_ref().filter(|(at, _)| *at > asked) {
                return Err(refused.clone());
            }
            if !turn.is_one_each() {
                let dialled = self.dialled(session, addresses, key).await;
                match &dialled {
                    Ok(Sender::Http1(_)) => turn.one_each(),
                    Ok(Sender::Http2(_)) => {}
                    Err(refused) => *failed = Some((Instant::now(), refused.clone())),
                }
                return dialled;
            }
        }
        self.dialled(session, addresses, key).await
    }

    async fn dialled(
        &self,
        session: &Arc<Session>,
        addresses: &[CheckedAddress],
        key: &Key,
    ) -> Result<Sender, Refused> {
        let socket = dial(session, addresses).await?;
        if !key.encrypted {
            return Ok(self.http1(session, socket).await?);
        }
        let stream = self.encrypt(session, socket, key).await?;
        Ok(match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => self.http2(session, stream, key).await?,
            _ => self.http1(session, stream).await?,
        })
    }

    fn opened_since(&self, key: &Key, asked: Instant) -> Option<Sender> {
        let open = lock(&self.open);
        let open = open.get(key).filter(|open| open.since >= asked && !open.sender.is_closed())?;
        Some(Sender::Http2(open.sender.clone()))
    }

    /// Closes what is kept unused and, of what is shared, the one that was taken longest ago: somebody
    /// waits for a place.
    pub(super) fn make_room(&self) {
        lock(&self.idle).clear();
        let mut open = lock(&self.open);
        let oldest = open.iter().min_by_key(|(_, open)| open.used).map(|(key, _)| key.clone());
        if let Some(oldest) = oldest {
            drop(open.remove(&oldest));
        }
    }

    /// Keeps a connection whose last response was read to the end.
    pub(super) fn keep(&self, key: Key, sender: http1::SendRequest<OutgoingBody>, since: Instant) {
        let mut idle = lock(&self.idle);
        let kept = match idle.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Vec::with_capacity(1)),
        };
        if kept.len() < MAX_IDLE_PER_DESTINATION {
            kept.push(Idle { since, sender });
        }
    }

    /// Closes what nobody has used for so long, or what the upstream has closed.
    pub fn sweep(&self, patience: Duration) {
        lock(&self.idle).retain(|_, kept| {
            kept.retain(|idle| idle.since.elapsed() < patience && !idle.sender.is_closed());
            !kept.is_empty()
        });
        // Requests under way have senders of their own, and keep their connection open.
        lock(&self.open)
            .retain(|_, open| open.used.elapsed() < patience && !open.sender.is_closed());
        self.turns.sweep(patience);
    }

    /// Connections that are kept unused.
    pub fn kept_connections(&self) -> usize {
        lock(&self.idle).values().map(Vec::len).sum()
    }

    fn kept(&self, key: &Key, patience: Duration) -> Option<Sender> {
        if key.offer == Offer::Http2First {
            let mut open = lock(&self.open);
            match open.get_mut(key) {
                Some(open) if !open.sender.is_closed() => {
                    open.used = Instant::now();
                    return Some(Sender::Http2(open.sender.clone()));
                }
                Some(_) => drop(open.remove(key)),
                None => {}
            }
        }
        let mut idle = lock(&self.idle);
        let kept = idle.get_mut(key)?;
        while let Some(last) = kept.pop() {
            let sender = Sender::Http1(last.sender);
            // One that isn't ready has an upstream that closed it, or didn't take all of a request.
            if last.since.elapsed() < patience && sender.is_ready() {
                return Some(sender);
            }
        }
        idle.remove(key);
        None
    }

    async fn encrypt(
        &self,
        session: &Session,
        stream: Socket,
        key: &Key,
    ) -> Result<TlsStream<Socket>, UpstreamError> {
        let name = match &key.destination.host {
            Host::Address(address) => ServerName::from(*address),
            Host::Name(name) => ServerName::try_from(name.as_str().to_owned())
                .map_err(|error| UpstreamError::Tls(std::io::Error::other(error)))?,
        };
        let config = match key.offer {
            Offer::Http2First => &self.http2_first,
            Offer::Http1Only => &self.http1_only,
        };
        let handshake = TlsConnector::from(config.clone()).connect(name, stream);
        match timeout(session.shared.limits.handshake, handshake).await {
            Err(_) => Err(UpstreamError::TlsTimeout),
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => {
                let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
                Err(match cause {
                    Some(cause @ rustls::Error::InvalidCertificate(_)) => {
                        UpstreamError::Certificate(rustls::Error::clone(cause))
                    }
                    _ => UpstreamError::Tls(error),
                })
            }
        }
    }

    async fn http1(
        &self,
        session: &Arc<Session>,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Sender, UpstreamError> {
        let (sender, connection) = http1::Builder::new()
            .max_headers(MAX_FIELDS)
            .max_buf_size(MAX_BUFFER)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(UpstreamError::Http)?;
        session.running.spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "an upstream connection ended early");
            }
        });
        Ok(Sender::Http1(sender))
    }

    async fn http2(
        &self,
        session: &Arc<Session>,
        stream: TlsStream<Socket>,
        key: &Key,
    ) -> Result<Sender, UpstreamError> {
        let limits = &session.shared.limits;
        let shared = Arc::new(WireShared::default());
        let framed = Framed::new(stream, Peer::Server, shared, limits.linger);
        let wide = session.wide_windows.one_more(WIDE_WINDOWS);
        let (stream_window, connection_window) = match &wide {
            Some(_) => (HTTP2_UPSTREAM_STREAM_WINDOW, HTTP2_UPSTREAM_CONNECTION_WINDOW),
            None => (HTTP2_NARROW_STREAM_WINDOW, HTTP2_NARROW_CONNECTION_WINDOW),
        };
        let handshake = http2::Builder::new(OfSession(session.clone()))
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
            .initial_stream_window_size(stream_window)
            .initial_connection_window_size(connection_window)
            .keep_alive_interval(limits.keep_alive)
            .keep_alive_timeout(limits.keep_alive)
            .handshake(TokioIo::new(framed));
        let (sender, connection) = match timeout(limits.handshake, handshake).await {
            Ok(done) => done.map_err(UpstreamError::Http)?,
            Err(_) => return Err(UpstreamError::TlsTimeout),
        };
        session.running.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an upstream connection ended early");
            }
            drop(wide);
        });
        let now = Instant::now();
        let open = Open { since: now, used: now, sender: sender.clone() };
        lock(&self.open).insert(key.clone(), open);
        Ok(Sender::Http2(sender))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
