//! One connection, from its first byte to the last: requests one after the other, and an orderly
//! end. A peer that closed its sending half gets its answers; one that is gone ends what was being
//! done for it.

use std::convert::Infallible;
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use supervisor_api::ApiError;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::answer;
use super::bounds::{Bounds, HANG_UP_CHECK, MAX_BUFFER, MAX_FIELDS, MAX_SWALLOWED};
use super::routes::Routes;
use super::wire::{Refusal, Wire};
use crate::supervisor::Caller;

/// How a connection's exchanges ended.
enum End {
    /// There was nothing more to answer, or this to say.
    Done(Option<ApiError>),
    /// The peer has gone.
    HungUp,
}

/// Answers a peer's requests until it has no more, breaks a bound, or the server stops.
pub async fn converse(
    stream: UnixStream,
    caller: Caller,
    routes: Routes,
    bounds: Bounds,
    stop: watch::Receiver<bool>,
) {
    let stream = Arc::new(stream);
    let End::Done(refusal) = exchange(stream.clone(), caller, routes, bounds, stop).await else {
        return;
    };
    if let Some(error) = &refusal {
        tracing::debug!(uid = caller.uid, code = error.code.name(), "request refused: {error}");
    }
    if let Some(stream) = Arc::into_inner(stream) {
        part(stream, refusal.as_ref(), &bounds).await;
    }
}

async fn exchange(
    stream: Arc<UnixStream>,
    caller: Caller,
    routes: Routes,
    bounds: Bounds,
    mut stop: watch::Receiver<bool>,
) -> End {
    let refusal = Refusal::default();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let routes = routes.clone();
        async move { Ok::<_, Infallible>(routes.answer(caller, request).await) }
    });
    // The deadlines are the wire's; hyper's own would answer with nothing.
    let connection = http1::Builder::new()
        .half_close(true)
        .max_headers(MAX_FIELDS)
        .max_buf_size(MAX_BUFFER)
        .header_read_timeout(None)
        .serve_connection(Wire::new(stream.clone(), refusal.clone(), bounds), service);
    let mut connection = pin!(connection);
    let mut look = interval(HANG_UP_CHECK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stopping = false;
    loop {
        tokio::select! {
            biased;
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(uid = caller.uid, %error, "connection ended early");
                }
                return End::Done(refusal.take());
            }
            _ = stop.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = look.tick() => {
                if hung_up(&stream) {
                    return End::HungUp;
                }
            }
        }
    }
}

/// Ends a connection: tells the peer why, if there is something to tell, and swallows for a while
/// what it is still sending, because many clients read only after they have sent everything.
pub async fn part(mut stream: UnixStream, why: Option<&ApiError>, bounds: &Bounds) {
    let farewell = async {
        if let Some(error) = why {
            stream.write_all(&answer::last_words(error)).await?;
        }
        stream.shutdown().await?;
        copy(&mut stream.take(MAX_SWALLOWED), &mut sink()).await
    };
    match timeout(bounds.linger, farewell).await {
        Ok(Ok(swallowed)) => tracing::trace!(swallowed, "connection ended"),
        Ok(Err(error)) => tracing::debug!(%error, "the peer left before the connection's end"),
        Err(_) => tracing::debug!("the peer went on sending after the connection's end"),
    }
}

/// Whether the peer has closed both halves; one that closed only its sending half still reads.
fn hung_up(stream: &UnixStream) -> bool {
    let mut fds = [PollFd::new(stream.as_fd(), PollFlags::empty())];
    match poll(&mut fds, PollTimeout::ZERO) {
        Ok(count) => count > 0,
        Err(_) => false, // a signal; the next look will tell
    }
}
