//! A payload's connection that speaks HTTP, until it ends: what was read, hyper, and the answers.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use supervisor_policy::egress::{Destination, Protocol};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;

use super::body::Answer;
use super::exchange::Conversation;
use super::framed::Framed;
use super::frames::Peer;
use super::intent::Via;
use super::taken::{Streams, Taken};
use super::wire::{self, Resets, Wire};
use crate::front::proxy;
use crate::limits::{
    HTTP2_CONNECTION_WINDOW, HTTP2_SEND_BUFFER, HTTP2_STREAM_WINDOW, MAX_BUFFER, MAX_FIELDS,
    MAX_HEAD,
};
use crate::refused::Refused;
use crate::session::Session;
use crate::shared::Place;

/// Serves HTTP/1.1 on a connection that was opened to the proxy, and gives the tunnel that it has become.
pub async fn serve_proxy<S>(
    session: Arc<Session>,
    stream: S,
    place: Place,
) -> Option<Box<proxy::Tunnel>>
where
    S: AsyncRead + AsyncWrite + Resets + Unpin + Send + 'static,
{
    let shared = Arc::new(wire::Shared::default());
    let wire = Wire::new(stream, shared.clone(), &session.shared.limits);
    let conversation = Arc::new(Conversation::new(session, Via::Proxy, shared, place));
    let answering = conversation.clone();
    converse(&conversation, wire, move |request: Request<Incoming>| {
        let conversation = answering.clone();
        async move {
            match request.method() {
                &http::Method::CONNECT => proxy::connect(&conversation, request).await,
                _ => conversation.answer(request).await,
            }
        }
    })
    .await;
    conversation.tunnel()
}

/// Serves HTTP/1.1 on a connection that was opened to a destination.
pub async fn serve_http1<S>(
    session: Arc<Session>,
    stream: S,
    destination: Destination,
    protocol: Protocol,
    place: Place,
) where
    S: AsyncRead + AsyncWrite + Resets + Unpin + Send + 'static,
{
    let shared = Arc::new(wire::Shared::default());
    let wire = Wire::of_a_server(stream, shared.clone(), &session.shared.limits);
    let via = Via::Fixed(destination, protocol);
    let conversation = Arc::new(Conversation::new(session, via, shared, place));
    let answering = conversation.clone();
    converse(&conversation, wire, move |request: Request<Incoming>| {
        let conversation = answering.clone();
        async move { conversation.answer(request).await }
    })
    .await;
}

/// Serves HTTP/2 on a connection that was opened to a destination.
pub async fn serve_http2<S>(
    session: Arc<Session>,
    stream: S,
    destination: Destination,
    place: Place,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = session.shared.limits.clone();
    let via = Via::Fixed(destination, Protocol::Https);
    let shared = Arc::new(wire::Shared::default());
    let framed = Framed::new(stream, Peer::Client, shared.clone(), limits.linger);
    let conversation = Arc::new(Conversation::new(session.clone(), via, shared, place));
    let (answering, bounds) = (conversation.clone(), limits.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let (conversation, bounds) = (answering.clone(), bounds.clone());
        // Hyper keeps a place for it until the answer is taken.
        Box::pin(async move {
            let answered = conversation.answer(request).await;
            Ok::<_, Infallible>(answered.map(|answer| Taken::new(answer, &bounds)))
        })
    });
    let connection = http2::Builder::new(Streams(session))
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(limits.resets)
        .max_local_error_reset_streams(limits.resets)
        .initial_stream_window_size(HTTP2_STREAM_WINDOW)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
        .max_send_buf_size(HTTP2_SEND_BUFFER)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(framed), service);
    let mut connection = pin!(connection);
    let mut idle = pin!(idle(&conversation));
    let mut is_last = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "an inspected connection ended early");
                }
                return record_violation(&conversation);
            }
            () = conversation.enough.notified(), if !is_last => {
                is_last = true;
                connection.as_mut().graceful_shutdown();
            }
            () = idle.as_mut(), if !is_last => {
                is_last = true;
                connection.as_mut().graceful_shutdown();
            }
            // A peer that takes no notice is not waited for.
            () = sleep(limits.stall), if is_last && !conversation.wire.is_busy() => return,
        }
    }
}

/// Ready when a connection has done nothing for the whole of its patience: no request, and no byte of
/// an answer.
async fn idle(conversation: &Conversation) {
    let patience = conversation.session.shared.limits.idle;
    let done = || {
        let requests = conversation.requests.load(Ordering::Relaxed);
        (requests, conversation.progress.load(Ordering::Relaxed))
    };
    loop {
        let before = done();
        sleep(patience).await;
        // A request that waits for a person or its upstream has a deadline of its own.
        if done() == before && !conversation.wire.is_busy() {
            return;
        }
    }
}

async fn converse<S, F, A>(conversation: &Conversation, wire: Wire<S>, answer: F)
where
    S: AsyncRead + AsyncWrite + Resets + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> A + Send + 'static,
    A: Future<Output = Response<Answer>> + Send + 'static,
{
    let shared = conversation.wire.clone();
    let service = service_fn(move |request| {
        // Hyper keeps a place for the future as long as the connection lives, so it is a small one. It
        // may read on before it begins with that.
        let (asked, answer) = (shared.request(), Box::pin(answer(request)));
        async move {
            let response = answer.await;
            drop(asked);
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .max_headers(MAX_FIELDS)
        .max_buf_size(MAX_BUFFER)
        .auto_date_header(false)
        .header_read_timeout(None) // the wire has the deadlines
        .serve_connection(TokioIo::new(wire), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended early");
                }
                break;
            }
            () = conversation.enough.notified() => connection.as_mut().graceful_shutdown(),
        }
    }
    record_violation(conversation);
}

/// Records why a connection was ended, where the payload was at fault.
fn record_violation(conversation: &Conversation) {
    if let Some(violation) = conversation.wire.violation() {
        let session = &conversation.session;
        session.refuse(session.number(), conversation.via.subject(), &Refused::from(violation));
    }
}
