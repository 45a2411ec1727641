//! Measures what the proxy costs: `cargo run --release -p supervisor-egress --example measure`.
//!
//! Proxy, upstream and clients each have a thread of this process and talk over loopback; the
//! processor time is the proxy thread's alone. What memory costs that is overwritten when it is given back, as in
//! a daemon that has a credential, is told in the second lines. Compare numbers of one run only.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a measurement that can't go on has failed"
)]

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream as Blocking};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use nix::sys::resource::{UsageWho, getrusage};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use supervisor_egress::credential::{Notice, Notices, Pending};
use supervisor_egress::credential::{PlaceholderKey, Vault};
use supervisor_egress::{
    Approvals, Authority, Claim, Declined, Event, Identity, Ledger, Limits, Listeners, Names,
    Question, Recorder, Reserved, Roots, Seams, Settings, Shared, Traffic,
};
use supervisor_policy::{Floor, PolicySet};
use supervisor_sys::{Wiping, wipe_freed_memory};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use zeroize::Zeroizing;

#[global_allocator]
static MEMORY: Wiping = Wiping;

/// Clients at once, as in the comparisons with other proxies.
const CLIENTS: usize = 32;
const REQUESTS: usize = 40_000;
const HANDSHAKES: usize = 1_000;
const TUNNELS: usize = 5_000;
const BULK: usize = 4 << 30;
/// Each takes four descriptors of this process, where 20,000 is a common limit.
const IDLE: usize = 4_000;

#[derive(Debug)]
struct Nothing;

impl Recorder for Nothing {
    fn record(&self, event: Event) {
        drop(std::hint::black_box(event));
    }
}

impl Ledger for Nothing {
    fn reserve<'a>(&'a self, _: &'a Claim<'a>) -> Pending<'a, Reserved> {
        Box::pin(async { Ok(None) })
    }
}

impl Approvals for Nothing {
    fn ask<'a>(&'a self, _: &'a Question<'a>) -> Pending<'a, Result<(), Declined>> {
        unreachable!("no rule asks")
    }
}

impl Notices for Nothing {
    fn notice(&self, _: &Notice) {}
}

/// What runs beside the proxy.
#[derive(Clone, Copy)]
struct Upstream {
    plain: SocketAddr,
    tls: SocketAddr,
    passed: SocketAddr,
    sink: SocketAddr,
}

struct Proxy {
    address: SocketAddr,
    handle: tokio::runtime::Handle,
    root: CertificateDer<'static>,
}

impl Proxy {
    /// Processor time of the proxy's thread.
    fn used(&self) -> Duration {
        let (sender, receiver) = mpsc::channel();
        self.handle.spawn(async move {
            let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
            let time = |value: nix::sys::time::TimeVal| {
                Duration::new(value.tv_sec() as u64, value.tv_usec() as u32 * 1000)
            };
            sender.send(time(usage.user_time()) + time(usage.system_time())).unwrap();
        });
        receiver.recv().unwrap()
    }
}

fn main() {
    let issuer = authority();
    let upstream = upstream(&issuer);
    let proxy = proxy(upstream, issuer.der().clone());
    let client = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let roots = [issuer.der().clone(), proxy.root.clone()];

    let report = |what: &str, count: usize, begun: Instant, used: Duration| {
        let rate = count as f64 / begun.elapsed().as_secs_f64();
        let each = (proxy.used() - used).as_secs_f64() * 1e6 / count as f64;
        println!("{what}: {rate:.0} a second, {each:.1} µs of the proxy each");
    };

    for wiping in ["", ", wiping"] {
        let (begun, used) = (Instant::now(), proxy.used());
        client.block_on(plain(proxy.address, upstream.plain));
        report(&format!("plain, keep-alive{wiping}"), REQUESTS, begun, used);

        let (begun, used) = (Instant::now(), proxy.used());
        client.block_on(inspected(proxy.address, upstream.tls, &roots));
        report(&format!("inspected, keep-alive{wiping}"), REQUESTS, begun, used);

        let (begun, used) = (Instant::now(), proxy.used());
        client.block_on(handshakes(HANDSHAKES, proxy.address, upstream.tls, &roots));
        report(&format!("inspected, new connection{wiping}"), HANDSHAKES, begun, used);

        let (begun, used) = (Instant::now(), proxy.used());
        client.block_on(handshakes(TUNNELS, proxy.address, upstream.passed, &roots));
        report(&format!("passed on, new connection{wiping}"), TUNNELS, begun, used);
        wipe_freed_memory();
    }

    let direct = bulk(upstream.sink, None);
    let used = proxy.used();
    let through = bulk(proxy.address, Some(upstream.sink));
    let each = (proxy.used() - used).as_secs_f64() * 1e9 / BULK as f64;
    println!("tunnel: {through:.2} GB/s, direct {direct:.2} GB/s, {each:.2} s of the proxy per GB");

    idle("idle after a request", &proxy, |stream| {
        let request = format!("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n", upstream.plain);
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = [0; 4096];
        assert!(stream.read(&mut answer).unwrap() > 0);
    });
    idle("idle tunnel", &proxy, |stream| connect(stream, upstream.sink));
    std::process::exit(0);
}

fn idle(what: &str, proxy: &Proxy, start: impl Fn(&mut Blocking)) {
    let before = resident();
    let mut held = Vec::new();
    for _ in 0..IDLE {
        let mut stream = Blocking::connect(proxy.address).unwrap();
        start(&mut stream);
        held.push(stream);
    }
    println!("{what}: {:.1} KiB each", (resident() - before) as f64 / IDLE as f64);
    drop(held);
}

/// Resident memory in KiB.
fn resident() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn bulk(address: SocketAddr, through: Option<SocketAddr>) -> f64 {
    let mut stream = Blocking::connect(address).unwrap();
    if let Some(sink) = through {
        connect(&mut stream, sink);
    }
    let piece = vec![0u8; 256 * 1024];
    let begun = Instant::now();
    for _ in 0..BULK / piece.len() {
        stream.write_all(&piece).unwrap();
    }
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
    BULK as f64 / begun.elapsed().as_secs_f64() / 1e9
}

fn connect(stream: &mut Blocking, to: SocketAddr) {
    stream.write_all(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
}

async fn plain(proxy: SocketAddr, upstream: SocketAddr) {
    let target = format!("http://{upstream}/");
    many(|| async move { TcpStream::connect(proxy).await.unwrap() }, &target, upstream).await;
}

async fn inspected(proxy: SocketAddr, upstream: SocketAddr, roots: &[CertificateDer<'static>]) {
    let connector = connector(roots);
    many(|| tunnelled(proxy, upstream, connector.clone()), "/", upstream).await;
}

async fn many<S, F>(open: impl Fn() -> F, target: &str, host: SocketAddr)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = S> + Send + 'static,
{
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let (stream, request) = (open(), format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        clients.spawn(async move {
            let mut stream = stream.await;
            for _ in 0..REQUESTS / CLIENTS {
                ask(&mut stream, request.as_bytes()).await;
            }
        });
    }
    clients.join_all().await;
}

async fn handshakes(
    count: usize,
    proxy: SocketAddr,
    upstream: SocketAddr,
    roots: &[CertificateDer<'static>],
) {
    let request = format!("GET / HTTP/1.1\r\nHost: {upstream}\r\n\r\n");
    for _ in 0..count {
        // Without a cache of sessions to resume, as new clients are.
        let mut stream = tunnelled(proxy, upstream, connector(roots)).await;
        ask(&mut stream, request.as_bytes()).await;
    }
}

async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &[u8]) {
    stream.write_all(request).await.unwrap();
    let mut answer = [0; 4096];
    let mut length = 0;
    while length < 1024 || !answer[..length].ends_with(b"xxxx") {
        length += stream.read(&mut answer[length..]).await.unwrap();
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
}

fn connector(roots: &[CertificateDer<'static>]) -> TlsConnector {
    let mut store = rustls::RootCertStore::empty();
    store.add_parsable_certificates(roots.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

async fn tunnelled(
    proxy: SocketAddr,
    upstream: SocketAddr,
    connector: TlsConnector,
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    let request = format!("CONNECT {upstream} HTTP/1.1\r\nHost: {upstream}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    connector.connect(ServerName::from(upstream.ip()), stream).await.unwrap()
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn upstream(issuer: &CertifiedIssuer<'static, KeyPair>) -> Upstream {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let leaf = params.signed_by(&key, issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async move {
            let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let tls = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let passed = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let sink = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = |listener: &TcpListener| listener.local_addr().unwrap();
            let at = Upstream {
                plain: address(&plain),
                tls: address(&tls),
                passed: address(&passed),
                sink: address(&sink),
            };
            sender.send(at).unwrap();
            tokio::join!(
                serve(plain, None),
                serve(tls, Some(acceptor.clone())),
                serve(passed, Some(acceptor)),
                swallow(sink)
            );
        });
    });
    receiver.recv().unwrap()
}

async fn serve(listener: TcpListener, acceptor: Option<TlsAcceptor>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            stream.set_nodelay(true).unwrap();
            match acceptor {
                None => answer(stream).await,
                Some(acceptor) => answer(acceptor.accept(stream).await.unwrap()).await,
            }
        });
    }
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let body = Bytes::from(vec![b'x'; 1024]);
    let service = service_fn(move |_: Request<Incoming>| {
        let body = body.clone();
        async move { Ok::<_, Infallible>(Response::new(Full::new(body))) }
    });
    let builder = hyper::server::conn::http1::Builder::new();
    drop(builder.serve_connection(TokioIo::new(stream), service).await);
}

async fn swallow(listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut buffer = Vec::new();
            loop {
                stream.readable().await.unwrap();
                buffer.resize(256 * 1024, 0);
                match stream.try_read(&mut buffer) {
                    Ok(0) => return stream.shutdown().await,
                    Ok(_) => {}
                    Err(_) => buffer = Vec::new(),
                }
            }
        });
    }
}

fn proxy(upstream: Upstream, root: CertificateDer<'static>) -> Proxy {
    let floor =
        Floor::load("floor.toml", "name = \"floor\"\n[addresses]\nopenable = [\"loopback\"]\n");
    let rule = |name: &str, protocol: &str, port: u16, more: &str| {
        format!(
            "[[egress]]\nname = \"{name}\"\nhosts = [\"127.0.0.1\"]\nprotocols = [\"{protocol}\"]\nports = [{port}]\naddresses = [\"127.0.0.0/8\"]\n{more}"
        )
    };
    let text = format!(
        "name = \"measure\"\nextends = \"default\"\n{}{}{}{}",
        rule("plain", "http", upstream.plain.port(), ""),
        rule("tls", "https", upstream.tls.port(), "tls = \"inspect\"\n"),
        rule("passed", "https", upstream.passed.port(), "tls = \"pass\"\n"),
        rule("sink", "tcp", upstream.sink.port(), "")
    );
    let base = include_str!("../../../policies/default.toml");
    let files = [("default.toml".to_owned(), base.to_owned()), ("measure.toml".to_owned(), text)];
    let set = PolicySet::load(files, floor.unwrap()).unwrap_or_else(|wrong| panic!("{wrong}"));
    let policy = set.resolve("measure").unwrap().clone();
    let authority = Arc::new(Authority::new().unwrap());
    let certificate = CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        runtime.block_on(async move {
            let tcp = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let proxy = tcp();
            sender.send((proxy.local_addr().unwrap(), handle)).unwrap();
            let listeners = Listeners {
                proxy: proxy.into(),
                http: tcp().into(),
                tls: tcp().into(),
                dns: OwnedFd::from(std::net::UdpSocket::bind("[::]:0").unwrap()),
                dns_tcp: tcp().into(),
                ports: Vec::new(),
            };
            let limits = Limits {
                connections: 1 << 20,
                connections_of_all: 1 << 20,
                upstreams: 1 << 20,
                upstreams_of_all: 1 << 20,
                ..Limits::default()
            };
            let roots = Roots::only(vec![root]).unwrap();
            let shared = Shared::new(Settings { roots, names: Names::default(), limits });
            let key = PlaceholderKey::new(&Zeroizing::new([7; 32]));
            let seams = Seams {
                recorder: Arc::new(Nothing),
                ledger: Arc::new(Nothing),
                credentials: Arc::new(Vault::new(key, Arc::new(Nothing))),
                approvals: Arc::new(Nothing),
            };
            let identity = Identity { session: "s".into(), execution: "e".into(), uid: 1 };
            let traffic = Traffic::new(Arc::new(shared), identity, policy, authority, 0, seams);
            traffic.unwrap().serve(listeners).await.unwrap();
        });
    });
    let (address, handle) = receiver.recv().unwrap();
    Proxy { address, handle, root: certificate }
}
