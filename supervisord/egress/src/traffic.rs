//! A sandbox's listeners and everything that comes in on them, until it ends.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use supervisor_policy::Resolved;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::{MissedTickBehavior, interval};

use crate::accept::Acceptor;
use crate::accepted;
use crate::dns::answer;
use crate::dns::server::NameServer;
use crate::event::Subject;
use crate::front::refuse::refuse_at_once;
use crate::front::transparent;
use crate::http::serve_proxy;
use crate::limits::{CROWD_TOLD_EVERY, WIDE_PAYLOADS};
use crate::refused::Refused;
use crate::seam::{Identity, Seams};
use crate::session::{Session, UnusableBinding};
use crate::shared::{Place, Shared};
use crate::tls::alert;
use crate::tls::authority::Authority;
use crate::totals::Usage;

/// Between two looks at which kept connections are past their time.
const SWEEP: Duration = Duration::from_secs(5);

/// The sockets of one sandbox, made in its network namespace. Whatever arrives on them is its own:
/// nobody else can reach them, and no header or address says whose a request is.
#[derive(Debug)]
pub struct Listeners {
    /// The explicit proxy: TCP on 127.0.0.1:3128.
    pub proxy: OwnedFd,
    /// TCP on `[::]:80`, with IPV6_V6ONLY off.
    pub http: OwnedFd,
    /// TCP on `[::]:443`, the same.
    pub tls: OwnedFd,
    /// UDP on `[::]:53`, with IPV6_FREEBIND and IP_FREEBIND on besides, so that an answer can come
    /// from the address that was asked.
    pub dns: OwnedFd,
    /// TCP on `[::]:53`.
    pub dns_tcp: OwnedFd,
    /// TCP on every other port that the policy names.
    pub ports: Vec<(u16, OwnedFd)>,
}

/// One sandbox's traffic.
pub struct Traffic {
    session: Arc<Session>,
}

/// Tells what one sandbox's traffic comes to, for as long as it lasts.
#[derive(Debug, Clone)]
pub struct Gauge(Weak<Session>);

impl Gauge {
    /// What it has come to; nothing once the sandbox is gone.
    pub fn usage(&self) -> Option<Usage> {
        self.0.upgrade().map(|session| session.usage())
    }
}

/// What a listener's connections are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Proxy,
    Http,
    Tls,
    Port,
    Names,
}

/// Ends what a session runs when its serving ends, by whatever way.
struct EndWithServing(Arc<Session>);

impl Drop for EndWithServing {
    fn drop(&mut self) {
        self.0.running.end();
    }
}

impl std::fmt::Debug for Traffic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Traffic").field("identity", &self.session.identity).finish_non_exhaustive()
    }
}

impl Traffic {
    /// The traffic of one sandbox under one policy. `taken_over` is how often a daemon has taken the
    /// sandbox over from one that was killed.
    ///
    /// # Errors
    ///
    /// When the policy binds a credential to a place that no request has.
    pub fn new(
        shared: Arc<Shared>,
        identity: Identity,
        policy: Arc<Resolved>,
        authority: Arc<Authority>,
        taken_over: u32,
        seams: Seams,
    ) -> Result<Self, UnusableBinding> {
        let session = Session::new(shared, identity, policy, authority, taken_over, seams)?;
        Ok(Self { session: Arc::new(session) })
    }

    /// What tells how much traffic there is.
    pub fn gauge(&self) -> Gauge {
        Gauge(Arc::downgrade(&self.session))
    }

    /// Serves the sandbox's sockets until the future is dropped; everything that they led to ends
    /// with it.
    ///
    /// # Errors
    ///
    /// When a socket can't be used. The sandbox has no way out then.
    pub async fn serve(&self, listeners: Listeners) -> io::Result<()> {
        let _end = EndWithServing(self.session.clone());
        let session = &self.session;
        let per_second = session.shared.limits.dns_queries_per_second;
        let asked = session.clone();
        let names = Arc::new(NameServer::new(per_second, move |name: answer::Asked<'_>| {
            asked.look_up(name)
        }));
        let datagrams = UdpSocket::from_std(nonblocking(listeners.dns)?)?;
        let mut doors = vec![
            (Door::Proxy, 3128, listeners.proxy),
            (Door::Http, 80, listeners.http),
            (Door::Tls, 443, listeners.tls),
            (Door::Names, 53, listeners.dns_tcp),
        ];
        doors.extend(listeners.ports.into_iter().map(|(port, fd)| (Door::Port, port, fd)));
        for (door, port, fd) in doors {
            let std: std::net::TcpListener = fd.into();
            std.set_nonblocking(true)?;
            accepted::prepare(&std)?;
            let acceptor = Acceptor::new(TcpListener::from_std(std)?);
            let (session, names) = (session.clone(), names.clone());
            self.session.running.spawn(take(session, names, acceptor, door, port));
        }
        tokio::select! {
            ended = names.serve_datagrams(datagrams) => ended,
            () = self.sweep() => Ok(()),
        }
    }

    /// Connections that are kept to upstreams and not in use.
    pub fn kept_connections(&self) -> usize {
        self.session.upstreams.kept_connections()
    }

    async fn sweep(&self) {
        let mut ticks = interval(SWEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.session.upstreams.sweep(self.session.shared.limits.keep_alive);
        }
    }
}

async fn take<V>(
    session: Arc<Session>,
    names: Arc<NameServer<V>>,
    mut acceptor: Acceptor<TcpListener>,
    door: Door,
    port: u16,
) where
    V: Fn(answer::Asked<'_>) -> answer::Verdict + Send + Sync + 'static,
{
    let limits = session.shared.limits.clone();
    let mut told: Option<Instant> = None;
    loop {
        session.seams.recorder.room().await;
        let stream = acceptor.next().await;
        let own = session.connections.one_more(limits.connections);
        let all = session.shared.connections.one_more(limits.connections_of_all);
        let (Some(own), Some(all)) = (own, all) else {
            refuse_at_once(stream, &door.words());
            // Whoever opens thousands must not fill the log with them.
            if told.is_none_or(|told| told.elapsed() >= CROWD_TOLD_EVERY) {
                told = Some(Instant::now());
                let subject = Subject::Connection { destination: None, protocol: None };
                session.refuse(session.number(), subject, &Refused::too_many("connections"));
            }
            continue;
        };
        let wide = session.wide_payloads.one_more(WIDE_PAYLOADS);
        if let Err(error) = accepted::bound(&stream, wide.is_some()) {
            tracing::debug!(%error, "a connection ended at once");
            continue;
        }
        let (session_of_it, names) = (session.clone(), names.clone());
        session.running.spawn(async move {
            serve_one(session_of_it, &names, stream, door, port, Place::new(own, all, wide)).await;
        });
    }
}

async fn serve_one<V>(
    session: Arc<Session>,
    names: &NameServer<V>,
    stream: TcpStream,
    door: Door,
    port: u16,
    place: Place,
) where
    V: Fn(answer::Asked<'_>) -> answer::Verdict,
{
    match door {
        Door::Proxy => {
            // What HTTP took is given back before a tunnel is served, which may be for long.
            let tunnel = Box::pin(serve_proxy(session.clone(), stream, place)).await;
            if let Some(tunnel) = tunnel {
                Box::pin(tunnel.serve(session)).await;
            }
        }
        Door::Names => {
            if let Err(error) = names.serve_stream(stream).await {
                tracing::debug!(%error, "a DNS connection failed");
            }
            drop(place);
        }
        Door::Http | Door::Tls | Door::Port => match stream.local_addr() {
            Ok(address) => {
                let dialled = SocketAddr::new(address.ip(), port);
                Box::pin(transparent::serve(session, stream, dialled, place)).await;
            }
            Err(error) => tracing::debug!(%error, "a connection ended at once"),
        },
    }
}

impl Door {
    /// What a connection hears that there is no place for.
    fn words(self) -> Vec<u8> {
        match self {
            Self::Proxy | Self::Http => Refused::too_many("connections").last_words(),
            Self::Tls => alert::INTERNAL_ERROR.to_vec(),
            Self::Port | Self::Names => Vec::new(),
        }
    }
}

fn nonblocking(fd: OwnedFd) -> io::Result<std::net::UdpSocket> {
    let socket: std::net::UdpSocket = fd.into();
    socket.set_nonblocking(true)?;
    Ok(socket)
}
