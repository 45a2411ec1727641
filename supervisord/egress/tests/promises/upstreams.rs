//! The servers that a sandbox wants to reach, and some that it should not get through to.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::seams::SECRET;
use crate::server::serve_names;

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// What has reached the upstreams.
#[derive(Default)]
pub struct Seen {
    requests: Mutex<Vec<String>>,
    names: Mutex<Vec<String>>,
    connections: Mutex<Vec<String>>,
    sums: Mutex<Vec<String>>,
}

impl Seen {
    /// Bodies that arrived whole at `/sums`, with what stood behind them.
    pub fn sums(&self) -> Vec<String> {
        self.sums.lock().unwrap().clone()
    }

    /// Requests, as `METHOD host target`.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Names that were asked for.
    pub fn names(&self) -> Vec<String> {
        self.names.lock().unwrap().clone()
    }

    /// Addresses that were connected to.
    pub fn connections(&self) -> Vec<String> {
        self.connections.lock().unwrap().clone()
    }

    /// Adds a name.
    pub fn name(&self, name: &str) {
        self.names.lock().unwrap().push(name.to_owned());
    }
}

/// The authority of the world outside, and what it has signed.
pub struct Certificates {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    /// A new authority.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    /// Its certificate.
    pub fn root(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// A server for these names.
    fn acceptor(&self, names: &[&str], expired: bool, protocols: &[&str]) -> TlsAcceptor {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        if expired {
            params.not_before = (SystemTime::now() - Duration::from_secs(9000)).into();
            params.not_after = (SystemTime::now() - Duration::from_secs(900)).into();
        }
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Servers that run until this is dropped.
pub struct Upstreams {
    _serving: JoinSet<()>,
}

impl Upstreams {
    /// Starts everything.
    pub async fn start(certificates: &Certificates, seen: Arc<Seen>) -> Self {
        let mut serving = JoinSet::new();
        serving.spawn(serve_names(seen.clone()));
        let good = [
            "up.test",
            "other.test",
            "evil.test",
            "six.test",
            "both.test",
            "203.0.113.10",
            "2001:db8::10",
        ];
        for address in ["203.0.113.10", "[2001:db8::10]", "127.0.0.1", "10.0.0.1", "9.9.9.9"] {
            for port in [80, 8080] {
                let address = format!("{address}:{port}");
                serving.spawn(listen(address, seen.clone(), None).await);
            }
            for (port, protocols) in [(443, &["h2", "http/1.1"][..]), (8443, &["http/1.1"])] {
                let acceptor = certificates.acceptor(&good, false, protocols);
                let address = format!("{address}:{port}");
                serving.spawn(listen(address, seen.clone(), Some(acceptor)).await);
            }
        }
        let expired = certificates.acceptor(&["expired.test"], true, &[]);
        serving.spawn(listen("203.0.113.30:443".to_owned(), seen.clone(), Some(expired)).await);
        let stranger = Certificates::new().acceptor(&["badcert.test"], false, &[]);
        serving.spawn(listen("203.0.113.30:8443".to_owned(), seen.clone(), Some(stranger)).await);
        serving.spawn(serve_raw(seen.clone()).await);
        serving.spawn(serve_echo(seen).await);
        Self { _serving: serving }
    }
}

async fn listen(
    address: String,
    seen: Arc<Seen>,
    acceptor: Option<TlsAcceptor>,
) -> impl Future<Output = ()> + Send {
    let listener = TcpListener::bind(&address).await.unwrap();
    async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            seen.connections.lock().unwrap().push(address.clone());
            let (seen, acceptor) = (seen.clone(), acceptor.clone());
            tokio::spawn(async move {
                match acceptor {
                    None => serve(stream, seen).await,
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            serve(stream, seen).await;
                        }
                    }
                }
            });
        }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, seen: Arc<Seen>) {
    let service = service_fn(move |request| {
        let seen = seen.clone();
        async move { Ok::<_, Infallible>(answer(request, &seen).await) }
    });
    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    let served = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
    drop(served); // clients come and go as they like
}

async fn answer(mut request: Request<Incoming>, seen: &Seen) -> Response<Body> {
    let host = match request.uri().authority() {
        Some(authority) => authority.to_string(),
        None => request.headers()[header::HOST].to_str().unwrap().to_owned(),
    };
    let target = request.uri().path_and_query().unwrap().as_str().to_owned();
    let line = format!("{} {host} {target}", request.method());
    let again = seen.requests().contains(&line);
    seen.requests.lock().unwrap().push(line);
    if request.method() == http::Method::HEAD {
        return full(String::new());
    }
    match target.split('?').next().unwrap() {
        "/echo" => Response::new(request.into_body().map_err(std::io::Error::other).boxed_unsync()),
        "/digest" => {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            full(format!("{} bytes", body.len()))
        }
        "/sums" => {
            let Ok(all) = request.into_body().collect().await else { return full(String::new()) };
            let fields = all.trailers().cloned().unwrap_or_default();
            let mut sum = String::from_utf8(all.to_bytes().to_vec()).unwrap();
            for (name, value) in &fields {
                sum.push_str(&format!(" {name}={}", value.to_str().unwrap()));
            }
            seen.sums.lock().unwrap().push(sum.clone());
            full(sum)
        }
        "/keyed" => {
            full(format!("{}", request.headers().get("x-key").is_some_and(|key| key == SECRET)))
        }
        "/headers" => full(format!("{:?} {:?}", request.version(), request.headers())),
        "/trailers" => {
            let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "7".parse().unwrap())]);
            let frames = [Frame::data(Bytes::from("body")), Frame::trailers(trailers)];
            let mut response = Response::new(Frames(frames.into_iter()).boxed_unsync());
            response.headers_mut().insert(header::TRAILER, "x-sum".parse().unwrap());
            response
        }
        "/big" => {
            let piece = Bytes::from(vec![b'x'; 64 * 1024]);
            let frames = (0..1024).map(move |_| Frame::data(piece.clone()));
            Response::new(Frames(frames).boxed_unsync())
        }
        "/ws-renewed" if !again => {
            let mut response = full(String::new());
            *response.status_mut() = http::StatusCode::UNAUTHORIZED;
            response
        }
        "/ws" | "/ws-renewed" if request.headers().contains_key(header::UPGRADE) => {
            let upgraded = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut stream = TokioIo::new(upgraded.await.unwrap());
                let mut bytes = [0; 1024];
                while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                    if stream.write_all(&bytes[..count]).await.is_err() {
                        break;
                    }
                }
            });
            let mut response = full(String::new());
            *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert(header::UPGRADE, "websocket".parse().unwrap());
            response.headers_mut().insert(header::CONNECTION, "upgrade".parse().unwrap());
            response
        }
        "/pausing" => {
            let pause = Box::pin(tokio::time::sleep(Duration::from_secs(1)));
            Response::new(Pausing { pause, pieces: 0 }.boxed_unsync())
        }
        "/hang" => std::future::pending().await,
        "/redirect" => {
            let mut response = full(String::new());
            *response.status_mut() = http::StatusCode::FOUND;
            response.headers_mut().insert(header::LOCATION, "http://evil.test/".parse().unwrap());
            response
        }
        _ => full("ok".to_owned()),
    }
}

fn full(text: String) -> Response<Body> {
    Response::new(Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync())
}

/// A body of frames that are there already.
struct Frames<I>(I);

impl<I: Iterator<Item = Frame<Bytes>> + Unpin> hyper::body::Body for Frames<I> {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<std::io::Result<Frame<Bytes>>>> {
        std::task::Poll::Ready(self.0.next().map(Ok))
    }
}

/// A body whose second half comes after a pause.
struct Pausing {
    pause: std::pin::Pin<Box<tokio::time::Sleep>>,
    pieces: u8,
}

impl hyper::body::Body for Pausing {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<std::io::Result<Frame<Bytes>>>> {
        if self.pieces == 1 {
            std::task::ready!(self.pause.as_mut().poll(cx));
        }
        self.pieces += 1;
        let pieces = ["one ", "two"].map(|piece| Ok(Frame::data(Bytes::from(piece))));
        std::task::Poll::Ready(pieces.into_iter().nth(usize::from(self.pieces) - 1))
    }
}

/// Says, to `GET /<text>`, exactly the bytes that the text stands for in hexadecimal; then, to `GET /<text>/reset`, it
/// breaks the connection off, and to `GET /<text>/<more>` it says more for ever, at its leisure to
/// `GET /<text>/<more>/slowly`.
async fn serve_raw(seen: Arc<Seen>) -> impl Future<Output = ()> + Send {
    let listener = TcpListener::bind("203.0.113.20:80").await.unwrap();
    async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            seen.connections.lock().unwrap().push("203.0.113.20:80".to_owned());
            let seen = seen.clone();
            tokio::spawn(async move { say(stream, &seen).await });
        }
    }
}

async fn say(mut stream: TcpStream, seen: &Seen) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    seen.requests.lock().unwrap().push(head.lines().next()?.to_owned());
    let target = head.split(' ').nth(1)?.strip_prefix('/')?.to_owned();
    if target == "hang" {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    let parts: Vec<&str> = target.split('/').collect();
    stream.write_all(&bytes(parts.first()?)?).await.ok()?;
    match parts[1..] {
        [] => tokio::time::sleep(Duration::from_millis(300)).await, // whether it ends here is for the reader to find out
        ["reset"] => {
            // What was said arrives first.
            tokio::time::sleep(Duration::from_millis(300)).await;
            stream.set_zero_linger().ok()?;
        }
        [more, ref rest @ ..] => {
            let more = bytes(more)?;
            loop {
                stream.write_all(&more).await.ok()?;
                if rest == ["slowly"] {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }
    Some(())
}

/// The bytes that a text stands for in hexadecimal.
fn bytes(text: &str) -> Option<Vec<u8>> {
    (0..text.len() / 2)
        .map(|at| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok())
        .collect()
}

/// Plain TCP: a greeting, and then whatever is said comes back.
async fn serve_echo(seen: Arc<Seen>) -> impl Future<Output = ()> + Send {
    let listener = TcpListener::bind("203.0.113.10:7").await.unwrap();
    async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            seen.connections.lock().unwrap().push("203.0.113.10:7".to_owned());
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                write.write_all(b"hello\n").await?;
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    }
}
