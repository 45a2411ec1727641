//! A TCP listener on loopback before the daemon's `/mcp`, for clients that know no Unix socket. Everybody on the host
//! can connect to it, so nobody is heard who does not know its token; what is asked is asked as who started it.

use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1 as client;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use crate::cli::GlobalOptions;
use crate::console;
use crate::doorway::{Doorway, Visitor};
use crate::failure::Failure;
use crate::interrupts::Interrupts;

/// Where the daemon speaks the protocol.
const PLACE: &str = "/mcp";

/// Bytes of chance in a token.
const TOKEN: usize = 24;

/// Connections at once that have shown the token; the daemon serves as many of one uid.
const CONNECTIONS: usize = 64;

/// The body of an answer.
type Answer = BoxBody<Bytes, hyper::Error>;

/// What every connection knows.
struct Listener {
    socket: PathBuf,
    token: String,
}

/// Listens until it is told to end. The address, with the token in it, is the one line on standard output.
pub async fn serve(
    address: SocketAddr,
    socket: PathBuf,
    global: &GlobalOptions,
    interrupts: &mut Interrupts,
) -> Result<(), Failure> {
    if !address.ip().is_loopback() {
        let words = format!("{} is no loopback address: others would be let in", address.ip());
        return Err(Failure::Usage(words));
    }
    let failed = || Failure::local(format!("cannot listen on {address}"));
    let listener = TcpListener::bind(address).await.map_err(failed())?;
    let address = listener.local_addr().map_err(failed())?;
    let token = token()?;
    let url = format!("http://{address}/{token}{PLACE}");
    match global.json {
        true => console::print_json(&json!({"url": url, "token": token}))?,
        false => console::print(&format!("{url}\n"))?,
    }
    std::io::stdout().flush().map_err(Failure::writing)?;
    let shared = Arc::new(Listener { socket, token });
    let serving = Doorway::serve(listener, CONNECTIONS, move |stream, visitor| {
        converse(stream, visitor, Arc::clone(&shared))
    });
    tokio::select! {
        never = serving => match never {},
        () = interrupts.next() => Ok(()),
    }
}

async fn converse(stream: TcpStream, visitor: Arc<Visitor>, shared: Arc<Listener>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (shared, visitor) = (Arc::clone(&shared), Arc::clone(&visitor));
        async move { Ok::<_, Infallible>(shared.answer(request, &visitor).await) }
    });
    let connection = server::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    // How a client goes away is its own business.
    connection.await.ok();
}

impl Listener {
    async fn answer(&self, request: Request<Incoming>, visitor: &Visitor) -> Response<Answer> {
        if !self.admits(request.uri().path(), request.headers()) {
            return refusal(StatusCode::UNAUTHORIZED, "the token is missing or another one");
        }
        visitor.admit().await;
        match pass_on(&self.socket, request).await {
            Ok(response) => response,
            Err((status, words)) => refusal(status, &words),
        }
    }

    /// Whether the token stands in the path or is borne.
    fn admits(&self, path: &str, fields: &HeaderMap) -> bool {
        let in_path = path.strip_suffix(PLACE).and_then(|rest| rest.strip_prefix('/'));
        let borne = fields.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let borne = borne.and_then(|words| words.split_once(' '));
        let borne = borne.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer")); // RFC 9110, 11.1
        let borne = borne.map(|(_, token)| token);
        let given = match in_path {
            Some(token) => Some(token),
            None if path == PLACE => borne,
            None => None,
        };
        // Digests, so that how long the comparison takes says nothing of the token.
        given.is_some_and(|given| Sha256::digest(given) == Sha256::digest(&self.token))
    }
}

/// Has the daemon answer. Dropped, so is the connection to it, and the daemon ends what it did for the request.
async fn pass_on(
    socket: &Path,
    request: Request<Incoming>,
) -> Result<Response<Answer>, (StatusCode, String)> {
    let away = |error: &dyn std::fmt::Display| {
        (
            StatusCode::BAD_GATEWAY,
            format!("cannot ask supervisord at {}: {error}", socket.display()),
        )
    };
    let (parts, body) = request.into_parts();
    let body =
        Limited::new(body, supervisor_mcp::MESSAGE_MAX).collect().await.map_err(|error| {
            (StatusCode::PAYLOAD_TOO_LARGE, format!("the message can't be read: {error}"))
        })?;
    let body = body.to_bytes();
    let mut passed = Request::builder().method(parts.method).uri(PLACE);
    for (name, value) in &parts.headers {
        if !is_of_this_connection(name) {
            passed = passed.header(name, value);
        }
    }
    if !body.is_empty() {
        passed = passed.header(header::CONTENT_LENGTH, body.len());
    }
    let passed = passed.body(Full::new(body)).map_err(|error| away(&error))?;
    let stream = UnixStream::connect(socket).await.map_err(|error| away(&error))?;
    let (mut sender, connection) =
        client::handshake(TokioIo::new(stream)).await.map_err(|error| away(&error))?;
    // What goes wrong on the connection is told by the answer.
    tokio::spawn(async { connection.await.ok() });
    let mut response = sender.send_request(passed).await.map_err(|error| away(&error))?;
    response.headers_mut().remove(header::CONNECTION);
    response.headers_mut().remove(header::TRANSFER_ENCODING);
    Ok(response.map(Incoming::boxed))
}

fn is_of_this_connection(name: &header::HeaderName) -> bool {
    [
        header::AUTHORIZATION,
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::EXPECT,
        header::UPGRADE,
    ]
    .contains(name)
}

fn refusal(status: StatusCode, words: &str) -> Response<Answer> {
    let body = Full::<Bytes>::from(format!("{words}\n")).map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    // Part of the message may still be under way, and it is no request.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    if status == StatusCode::UNAUTHORIZED {
        let bearer = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
    }
    response
}

fn token() -> Result<String, Failure> {
    let mut bytes = [0u8; TOKEN];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Failure::Negative("this host gives no random bytes for a token".to_owned()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_admitted_without_the_token() {
        let listener = Listener { socket: PathBuf::new(), token: "abc".to_owned() };
        let bearing = |token: &str| {
            let value = HeaderValue::from_str(&format!("Bearer {token}")).expect("a value");
            HeaderMap::from_iter([(header::AUTHORIZATION, value)])
        };
        assert!(listener.admits("/abc/mcp", &HeaderMap::new()));
        assert!(listener.admits("/mcp", &bearing("abc")));
        for (path, fields) in [
            ("/mcp", HeaderMap::new()),
            ("/mcp", bearing("abd")),
            ("/abd/mcp", bearing("abc")),
            ("/abc", HeaderMap::new()),
            ("/v1/executions", bearing("abc")),
            ("//mcp", HeaderMap::new()),
            ("/abc/mcp/mcp", HeaderMap::new()),
        ] {
            assert!(!listener.admits(path, &fields), "{path}");
        }
    }
}
