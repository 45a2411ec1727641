//! Many requests on one connection cost no more than a session may have.

use std::convert::Infallible;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use supervisor_egress::{Limits, Roots};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::wire::{connect, head, status};
use crate::world::World;

const RULES: &str = "[[egress]]\nname = \"up\"\nhosts = [\"up.test\"]\nports = [443, 8443]\n\
                     protocols = [\"https\"]\naddresses = [\"203.0.113.0/24\"]\ntls = \"inspect\"\n";

/// For what merely has to come, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

type Client = SendRequest<UnsyncBoxBody<Bytes, Infallible>>;

/// HTTP/2 with up.test, whose streams may be sent so much before they are read.
pub async fn client(world: &World, port: u16, window: u32) -> Client {
    let mut stream = connect("127.0.0.1:3128");
    write!(stream, "CONNECT up.test:{port} HTTP/1.1\r\nHost: up.test:{port}\r\n\r\n").unwrap();
    assert_eq!(status(&head(&mut stream)), 200);
    stream.set_nonblocking(true).unwrap();
    let mut roots = RootCertStore::empty();
    let pem = std::fs::read(world.authority()).unwrap();
    for certificate in Roots::certificates(&pem).unwrap() {
        roots.add(certificate).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = tokio::net::TcpStream::from_std(stream).unwrap();
    let name = ServerName::try_from("up.test").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let (sender, connection) =
        builder.initial_stream_window_size(window).handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn ask(mut client: Client, method: Method, port: u16, path: &str) -> Response<Incoming> {
    let uri = format!("https://up.test:{port}{path}");
    let request =
        Request::builder().method(method).uri(uri).body(Empty::new().boxed_unsync()).unwrap();
    client.ready().await.unwrap();
    client.send_request(request).await.unwrap()
}

pub fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

fn connections(world: &World, port: u16) -> usize {
    let address = format!("203.0.113.10:{port}");
    world.seen.connections().iter().filter(|to| **to == address).count()
}

#[test]
fn requests_on_one_connection_open_no_more_to_upstreams_than_a_session_may_have() {
    let limits = Limits { upstreams: 3, crowded: Duration::from_secs(1), ..Limits::default() };
    let world = World::bounded(RULES, limits);
    run(async {
        let crowd = client(&world, 8443, 1 << 16).await;
        let mut asked = JoinSet::new();
        for _ in 0..10 {
            asked.spawn(ask(crowd.clone(), Method::GET, 8443, "/hang"));
        }
        for _ in 0..7 {
            let answer = timeout(PATIENCE, asked.join_next()).await.unwrap().unwrap().unwrap();
            assert_eq!(answer.status(), 503);
            let problem = answer.into_body().collect().await.unwrap().to_bytes();
            let problem: serde_json::Value = serde_json::from_slice(&problem).unwrap();
            assert_eq!(problem["code"], "too_many_connections");
        }
        assert_eq!(connections(&world, 8443), 3);
        drop((asked, crowd));
        // What they held is free again.
        let deadline = Instant::now() + PATIENCE;
        let later = client(&world, 443, 1 << 16).await;
        while ask(later.clone(), Method::GET, 443, "/ok").await.status() != 200 {
            assert!(Instant::now() < deadline);
        }
    });
}

#[test]
fn requests_under_way_take_no_more_memory_than_a_session_may_have() {
    // Each takes 8 KiB and two heads of one.
    let world = World::bounded(RULES, Limits { requests_kib: 64, ..Limits::default() });
    run(async {
        let [one, other] = [client(&world, 443, 1 << 16).await, client(&world, 443, 1 << 16).await];
        let mut asked = JoinSet::new();
        for _ in 0..5 {
            asked.spawn(ask(one.clone(), Method::GET, 443, "/hang"));
            asked.spawn(ask(other.clone(), Method::GET, 443, "/hang"));
        }
        for _ in 0..4 {
            let answer = timeout(PATIENCE, asked.join_next()).await.unwrap().unwrap().unwrap();
            assert_eq!(answer.status(), 503);
            let problem = answer.into_body().collect().await.unwrap().to_bytes();
            let problem: serde_json::Value = serde_json::from_slice(&problem).unwrap();
            assert_eq!(problem["code"], "too_many_connections");
            assert_eq!(problem["cause"], "there are too many requests under way at once");
        }
        drop((asked, one, other));
        let deadline = Instant::now() + PATIENCE;
        let later = client(&world, 443, 1 << 16).await;
        while ask(later.clone(), Method::GET, 443, "/ok").await.status() != 200 {
            assert!(Instant::now() < deadline);
        }
    });
    // Not each of them is told.
    let told = world.events.codes().iter().filter(|code| **code == "too_many_connections").count();
    assert!((1..4).contains(&told), "{told}");
}

#[test]
fn requests_that_come_at_once_go_out_on_one_connection() {
    let world = World::new(RULES);
    run(async {
        let many = client(&world, 443, 1 << 16).await;
        let mut asked = JoinSet::new();
        for _ in 0..20 {
            asked.spawn(ask(many.clone(), Method::GET, 443, "/ok"));
        }
        while let Some(answer) = timeout(PATIENCE, asked.join_next()).await.unwrap() {
            assert_eq!(answer.unwrap().status(), 200);
        }
    });
    assert_eq!(connections(&world, 443), 1);
}

#[test]
fn an_answer_that_nobody_reads_ends_and_its_connection_goes_on() {
    let limits = Limits { stall: Duration::from_secs(1), ..Limits::default() };
    let world = World::bounded(RULES, limits);
    run(async {
        let closed = client(&world, 443, 0).await;
        let unread = ask(closed.clone(), Method::GET, 443, "/big").await;
        assert_eq!(unread.status(), 200);
        let mut body = unread.into_body();
        let ended = timeout(PATIENCE, body.frame()).await.unwrap();
        assert!(ended.is_some_and(|frame| frame.is_err()));
        assert_eq!(ask(closed, Method::HEAD, 443, "/ok").await.status(), 200);
    });
    let deadline = Instant::now() + PATIENCE;
    while world.events.ends() < 2 {
        assert!(Instant::now() < deadline, "{:?}", world.events.all());
    }
}
