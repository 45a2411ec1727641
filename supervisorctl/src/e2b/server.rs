//! Connections: HTTP/1.1 on loopback, so many at once.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use crate::doorway::{Doorway, Visitor};

use super::endpoint::Endpoint;
use super::routes;

/// Connections at once that have shown a key: others wait with their requests.
const CONNECTIONS: usize = 256;

/// Bytes of a request's head.
const HEAD_MAX: usize = 64 << 10;

/// How long the head of a request may take, and how long a connection may be idle.
const HEAD_PATIENCE: Duration = Duration::from_secs(120);

/// Serves for as long as it is let.
pub async fn serve(listener: TcpListener, endpoint: Arc<Endpoint>) -> Infallible {
    Doorway::serve(listener, CONNECTIONS, move |stream, visitor| {
        converse(stream, visitor, Arc::clone(&endpoint))
    })
    .await
}

async fn converse(stream: TcpStream, visitor: Arc<Visitor>, endpoint: Arc<Endpoint>) {
    // Answers are short and waited for; without it they would wait for each other.
    stream.set_nodelay(true).ok();
    let answer = service_fn(|request| {
        let (endpoint, visitor) = (Arc::clone(&endpoint), Arc::clone(&visitor));
        async move {
            if routes::shows_key(&endpoint, &request) {
                visitor.admit().await;
            }
            Ok::<_, Infallible>(routes::answer(endpoint, request).await)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), answer);
    // A connection that breaks is its client's to notice.
    served.await.ok();
}
