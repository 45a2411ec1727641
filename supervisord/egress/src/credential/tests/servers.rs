//! Token servers as they are: TLS on loopback.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedMutexGuard};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::support::*;
use crate::credential::*;
use crate::{Names, Roots};

/// Dials the host's name on loopback and trusts one certificate.
#[derive(Debug)]
struct Loopback(CertificateDer<'static>);

impl Dial for Loopback {
    fn dial<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> Pending<'a, Result<Box<dyn Connection>, SourceError>> {
        Box::pin(async move {
            let failed = |error| SourceError::caused("dialling", error);
            let mut roots = RootCertStore::empty();
            roots.add(self.0.clone()).expect("a root");
            let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_root_certificates(roots)
                .with_no_client_auth();
            let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(failed)?;
            let name = ServerName::try_from(host.to_owned()).expect("a name");
            let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
            Ok(Box::new(stream.map_err(failed)?) as Box<dyn Connection>)
        })
    }
}

fn certificate() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    (cert.der().clone(), PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key"))
}

fn response(status: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// A token server that answers each request by its number.
async fn serve(answer: impl Fn(usize) -> String + Send + 'static) -> (u16, Asked, Arc<Loopback>) {
    serve_and(true, answer).await
}

/// The same, which ends TLS before it closes, or closes alone.
async fn serve_and(
    says_end: bool,
    answer: impl Fn(usize) -> String + Send + 'static,
) -> (u16, Asked, Arc<Loopback>) {
    let (cert, key) = certificate();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert.clone()], key)
        .expect("a configuration");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let (port, asked) = (listener.local_addr().expect("an address").port(), Asked::default());
    let (acceptor, seen) = (TlsAcceptor::from(Arc::new(config)), asked.clone());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let request = read_request(&mut stream).await;
            let number = {
                let mut seen = seen.lock().expect("no panic");
                seen.push(request);
                seen.len()
            };
            // The client may have gone by now, which is its business.
            drop(stream.write_all(answer(number).as_bytes()).await);
            match says_end {
                true => drop(stream.shutdown().await),
                false => drop(stream.into_inner().0.shutdown().await),
            }
        }
    });
    (port, asked, Arc::new(Loopback(cert)))
}

async fn read_request(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).await.expect("a request");
        text.push_str(std::str::from_utf8(&buffer[..count]).expect("text"));
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_lowercase();
            let length = length.split("content-length: ").nth(1).expect("a length");
            let length: usize = length.lines().next().expect("a line").parse().expect("a number");
            if body.len() == length {
                return text;
            }
        }
    }
}

/// Keeps tokens in memory.
#[derive(Debug)]
struct Kept(Mutex<Vec<Arc<Secret>>>, Arc<tokio::sync::Mutex<()>>);

impl Kept {
    fn first() -> Arc<Self> {
        let first = Mutex::new(vec![Arc::new(secret("refresh-0"))]);
        Arc::new(Self(first, Arc::default()))
    }

    fn has(&self, tokens: &[&str]) -> bool {
        let kept = self.0.lock().expect("no panic");
        kept.len() == tokens.len()
            && kept.iter().zip(tokens).all(|(kept, token)| kept.is(token.as_bytes()))
    }
}

impl Keep for Kept {
    fn turn(&self) -> Pending<'_, OwnedMutexGuard<()>> {
        Box::pin(self.1.clone().lock_owned())
    }

    fn token(&self) -> Arc<Secret> {
        self.0.lock().expect("no panic").last().expect("the first").clone()
    }

    fn keep(&self, token: Secret) -> Pending<'_, Result<(), SourceError>> {
        self.0.lock().expect("no panic").push(Arc::new(token));
        Box::pin(async { Ok(()) })
    }
}

fn client(port: u16, grant: Grant) -> Client {
    Client {
        endpoint: Endpoint::parse(&format!("https://localhost:{port}/oauth2/token?v=2"))
            .expect("an endpoint"),
        id: "my client".to_owned(),
        secret: Some(secret(SECRET)),
        authentication: ClientAuthentication::Basic,
        parameters: vec![("scope".to_owned(), "read write".to_owned())],
        grant,
    }
}

fn oauth(client: Client, dial: Arc<Loopback>) -> (Arc<Vault>, Arc<Collected>) {
    let source = Arc::new(OAuth::new(client, dial));
    vault(vec![definition("key", Supply::Fetched(source))])
}

/// A token that holds for so many seconds.
fn token_for(seconds: u32, number: usize) -> String {
    let body = format!(
        r#"{{"access_token":"access-{number}","token_type":"Bearer","expires_in":{seconds},"refresh_token":"refresh-{number}"}}"#
    );
    response("200 OK", &body)
}

fn token(number: usize) -> String {
    token_for(2, number)
}

#[tokio::test]
async fn client_credentials_are_exchanged_for_a_token() {
    let (port, asked, dial) = serve(token).await;
    let (vault, _) = oauth(client(port, Grant::ClientCredentials), dial);
    assert_eq!(sent(&vault).await.expect("prepared").1, "Bearer access-1");
    let request = asked.lock().expect("no panic").remove(0);
    assert!(request.starts_with("POST /oauth2/token?v=2 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: localhost:{port}\r\n")), "{request}");
    assert!(
        request.ends_with("\r\n\r\ngrant_type=client_credentials&scope=read%20write"),
        "{request}"
    );
    // base64 of my%20client:SVCANARY-0123%2B%2F%3DAb%26c%2541%22%3Cd%3E
    assert!(request.contains("authorization: Basic bXklMjBjbGllbnQ6U1ZDQU5BUlktMDEyMyUyQiUyRiUzREFiJTI2YyUyNTQxJTIyJTNDZCUzRQ==\r\n"), "{request}");
}

#[tokio::test]
async fn a_refresh_token_that_is_replaced_is_kept_before_its_token_is_used() {
    let (port, asked, dial) = serve(token).await;
    let kept = Kept::first();
    let grant = Grant::RefreshToken(kept.clone());
    let (vault, _) =
        oauth(Client { authentication: ClientAuthentication::Post, ..client(port, grant) }, dial);
    assert_eq!(sent(&vault).await.expect("prepared").1, "Bearer access-1");
    assert!(kept.has(&["refresh-0", "refresh-1"]));
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(2)).await;
    tokio::time::resume();
    assert_eq!(sent(&vault).await.expect("prepared").1, "Bearer access-2");
    assert!(kept.has(&["refresh-0", "refresh-1", "refresh-2"]));
    let asked = asked.lock().expect("no panic");
    for (request, sent) in asked.iter().zip(["refresh-0", "refresh-1"]) {
        let body = format!(
            "grant_type=refresh_token&refresh_token={sent}&scope=read%20write&client_id=my%20client&client_secret=SVCANARY-0123%2B%2F%3DAb%26c%2541%22%3Cd%3E"
        );
        assert!(request.ends_with(&body), "{request}");
        assert!(!request.contains("authorization"), "{request}");
    }
}

/// A dialler that waits before it answers, and says when it is asked.
#[derive(Debug)]
struct Slow(Arc<Loopback>, Notify, Notify);

impl Dial for Slow {
    fn dial<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> Pending<'a, Result<Box<dyn Connection>, SourceError>> {
        Box::pin(async move {
            self.1.notify_one();
            self.2.notified().await;
            self.0.dial(host, port).await
        })
    }
}

#[tokio::test]
async fn a_refresh_token_is_under_way_once_whoever_asks_with_it() {
    let (port, asked, dial) = serve(|number| token_for(9999, number)).await;
    let (kept, slow) = (Kept::first(), Arc::new(Slow(dial, Notify::new(), Notify::new())));
    let made = || {
        let grant = Grant::RefreshToken(kept.clone());
        let source = Arc::new(OAuth::new(client(port, grant), slow.clone()));
        definition("key", Supply::Fetched(source))
    };
    let (vault, _) = vault(vec![made()]);
    let first = tokio::spawn({
        let vault = vault.clone();
        async move { sent(&vault).await.expect("prepared").1 }
    });
    slow.1.notified().await;
    vault.load(vec![made()], &[], &BTreeSet::new()); // the configuration is read anew
    let second = tokio::spawn({
        let vault = vault.clone();
        async move { sent(&vault).await.expect("prepared").1 }
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    slow.2.notify_one();
    assert_eq!(first.await.expect("no panic"), "Bearer access-1");
    slow.1.notified().await;
    slow.2.notify_one();
    assert_eq!(second.await.expect("no panic"), "Bearer access-2");
    let asked = asked.lock().expect("no panic");
    for (request, sent) in asked.iter().zip(["refresh-0", "refresh-1"]) {
        assert!(request.contains(&format!("refresh_token={sent}&")), "{request}");
    }
    assert!(kept.has(&["refresh-0", "refresh-1", "refresh-2"]));
}

#[tokio::test]
async fn what_replaces_a_refresh_token_is_kept_when_a_server_answers_too_late() {
    let (port, _, dial) = serve(|number| token_for(9999, number)).await;
    let (kept, slow) = (Kept::first(), Arc::new(Slow(dial, Notify::new(), Notify::new())));
    let source = OAuth::new(client(port, Grant::RefreshToken(kept.clone())), slow.clone());
    let (vault, _) = vault(vec![definition("key", Supply::Fetched(Arc::new(source)))]);
    tokio::time::pause();
    assert_eq!(sent(&vault).await.expect_err("no value").code, RefusalCode::Unavailable);
    tokio::time::resume();
    assert!(kept.has(&["refresh-0"]));
    slow.2.notify_one();
    drop(kept.turn().await); // when that is through
    assert!(kept.has(&["refresh-0", "refresh-1"]));
}

#[tokio::test]
async fn an_answer_is_whole_by_its_length_when_its_server_closes_without_an_end_of_tls() {
    let (port, asked, dial) = serve_and(false, token).await;
    let kept = Kept::first();
    let (vault, _) = oauth(client(port, Grant::RefreshToken(kept.clone())), dial);
    assert_eq!(sent(&vault).await.expect("prepared").1, "Bearer access-1");
    assert!(kept.has(&["refresh-0", "refresh-1"]), "the server takes the first back");
    assert_eq!(asked.lock().expect("no panic").len(), 1);
}

#[tokio::test]
async fn an_answer_without_a_length_is_whole_by_the_end_of_tls_alone() {
    let body = r#"{"access_token":"access-0","token_type":"Bearer","expires_in":60}"#;
    let without = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}");
    let short = response("200 OK", &format!("{body} ")).trim_end().to_owned();
    for (answer, says_end, is_whole) in [
        (without.clone(), true, true),
        (without, false, false),
        (short.clone(), true, false),
        (short, false, false),
    ] {
        let (port, _, dial) = serve_and(says_end, move |_| answer.clone()).await;
        let (vault, _) = oauth(client(port, Grant::ClientCredentials), dial);
        assert_eq!(sent(&vault).await.is_ok(), is_whole, "{says_end} {:?}", vault.list());
    }
}

#[tokio::test]
async fn fifty_requests_and_fifty_401s_are_one_exchange_each() {
    let (port, asked, dial) = serve(|number| token_for(9999, number)).await;
    let (vault, _) = oauth(client(port, Grant::ClientCredentials), dial);
    let mut first = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let vault = vault.clone();
        first.spawn(async move { sent(&vault).await.expect("prepared") });
    }
    let first = first.join_all().await;
    assert!(first.iter().all(|(_, value)| value == "Bearer access-1"));
    assert_eq!(asked.lock().expect("no panic").len(), 1);

    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::time::resume();
    let mut second = tokio::task::JoinSet::new();
    for (prepared, _) in first {
        let vault = vault.clone();
        second.spawn(async move {
            let bindings = bind(Place::bearer());
            let renewed = vault.renew(&wanted(&bindings), &prepared).await.expect("allowed");
            values(&renewed.expect("a newer value").0, "authorization").remove(0)
        });
    }
    assert!(second.join_all().await.iter().all(|value| value == "Bearer access-2"));
    assert_eq!(asked.lock().expect("no panic").len(), 2);
}

#[tokio::test]
async fn a_server_that_misbehaves_costs_the_credential_and_tells_nothing() {
    let big = response("200 OK", &"x".repeat(70_000));
    let head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    let cut =
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"access_token\":\"0123456789".to_owned();
    let redirect =
        "HTTP/1.1 302 Found\r\nLocation: https://evil.example/\r\nContent-Length: 0\r\n\r\n"
            .to_owned();
    let error = response(
        "400 Bad Request",
        r#"{"error":"invalid_client","error_description":"SVCANARY-0123"}"#,
    );
    for (answer, cause) in [
        (big, "the token endpoint's response is longer than 65536 bytes"),
        (head, "asking the token endpoint"),
        (cut, "asking the token endpoint"),
        ("SVCANARY-0123".to_owned(), "asking the token endpoint"),
        (redirect, "the token endpoint answered 302"),
        (error, "the token endpoint answered 400 with invalid_client"),
    ] {
        let (port, _, dial) = serve(move |_| answer.clone()).await;
        let (vault, notices) = oauth(client(port, Grant::ClientCredentials), dial);
        let refusal = sent(&vault).await.expect_err(cause);
        assert_eq!(refusal.code, RefusalCode::Unavailable);
        let Condition::Failed(said) = vault.list().remove(0).condition else { panic!("{cause}") };
        assert!(said.starts_with(cause), "{said}");
        let printed = format!("{refusal:?} {refusal} {said} {vault:?} {notices:?}");
        assert!(!printed.contains("SVCANARY-0123") && !printed.contains("0123456789"), "{printed}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_told_nothing() {
    let (port, asked, _) = serve(token).await;
    let (vault, _) =
        oauth(client(port, Grant::ClientCredentials), Arc::new(Loopback(certificate().0)));
    assert_eq!(sent(&vault).await.expect_err("not trusted").code, RefusalCode::Unavailable);
    assert!(asked.lock().expect("no panic").is_empty());
}

#[tokio::test]
async fn a_token_endpoint_is_dialled_at_a_checked_address_with_a_verified_certificate() {
    let (port, asked, Loopback(certificate)) = {
        let (port, asked, dial) = serve(token).await;
        (port, asked, Loopback(dial.0.clone()))
    };
    let dial = |certificate, allowed: &[&str]| {
        let roots = Roots::only(vec![certificate]).expect("a root");
        let allowed = allowed.iter().map(|net| net.parse().expect("a network")).collect();
        EndpointDial::new(roots, Names::new(Vec::new(), "127.0.0.1 localhost"), allowed)
    };
    let strange = self::certificate().0;
    for (dial, allowed) in [
        (dial(certificate.clone(), &[]), false), // loopback is not public
        (dial(strange, &["127.0.0.0/8"]), false),
        (dial(certificate, &["127.0.0.0/8"]), true),
    ] {
        let source = OAuth::new(client(port, Grant::ClientCredentials), Arc::new(dial));
        let (vault, _) = vault(vec![definition("key", Supply::Fetched(Arc::new(source)))]);
        assert_eq!(sent(&vault).await.is_ok(), allowed, "{:?}", vault.list());
        assert_eq!(asked.lock().expect("no panic").len(), usize::from(allowed));
    }
}

#[test]
fn a_token_endpoint_has_tls_and_no_user() {
    for text in [
        "http://a.example/t",
        "https://u:p@a.example/t",
        "/t",
        "https://",
        "ftp://a.example/",
        "https://a.example/#x",
    ] {
        assert_eq!(Endpoint::parse(text), Err(InvalidEndpoint), "{text}");
    }
    let endpoint = Endpoint::parse("https://A.example:8443/t").expect("an endpoint");
    assert_eq!((endpoint.host(), endpoint.port()), ("a.example", 8443));
    let endpoint = Endpoint::parse("https://[::1]/t").expect("an endpoint");
    assert_eq!((endpoint.host(), endpoint.port()), ("::1", 443));
}
