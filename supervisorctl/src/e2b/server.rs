//! Connections: HTTP/1.1 on loopback, so many at once.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::failure::Failure;

use super::endpoint::Endpoint;
use super::routes;

/// Connections at once: others wait in the listener's queue.
const CONNECTIONS: usize = 256;

/// Bytes of a request's head.
const HEAD_MAX: usize = 64 << 10;

/// How long the head of a request may take, and how long a connection may be idle.
const HEAD_PATIENCE: Duration = Duration::from_secs(120);

/// Pause after a connection could not be taken, such as for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves for as long as it is let.
pub async fn serve(listener: TcpListener, endpoint: Arc<Endpoint>) -> Result<(), Failure> {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let place = place.map_err(Failure::broken("take a connection"))?;
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // Answers are short and waited for; without it they would wait for each other.
        stream.set_nodelay(true).ok();
        let endpoint = Arc::clone(&endpoint);
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let endpoint = Arc::clone(&endpoint);
                async move { Ok::<_, Infallible>(routes::answer(endpoint, request).await) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_PATIENCE)
                .max_buf_size(HEAD_MAX)
                .serve_connection(TokioIo::new(stream), answer);
            // A connection that breaks is its client's to notice.
            served.await.ok();
            drop(place);
        });
    }
}
