//! CONNECT: a tunnel is granted only after everything that can be decided of it has been.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use supervisor_policy::egress::Destination;
use tokio::net::TcpStream;

use super::plan::{Https, Plan};
use super::tunnel;
use crate::event::Subject;
use crate::http::{Answer, Conversation, Wire, parse_destination};
use crate::refused::Refused;
use crate::session::Session;
use crate::shared::Place;
use crate::upstream::Socket;

/// A tunnel that was granted and is to be served once the payload has its answer.
pub struct Tunnel {
    client: OnUpgrade,
    plan: Plan,
    upstream: Option<Socket>,
    place: Place,
}

impl Tunnel {
    /// Serves what comes through it.
    pub async fn serve(self, session: Arc<Session>) {
        let Self { client, plan, upstream, place } = self;
        match taken(client).await {
            Some((stream, front)) => {
                tunnel::serve(session, stream, front, plan, upstream, place).await;
            }
            None => tunnel::give_up(&session, plan, "cut_off"),
        }
    }
}

/// Answers a CONNECT. The tunnel is its conversation's, until that has ended.
pub async fn connect(
    conversation: &Conversation,
    mut request: Request<Incoming>,
) -> Response<Answer> {
    let unanswered = conversation.wire.request();
    let client = hyper::upgrade::on(&mut request);
    match open(conversation, &request).await {
        Ok((plan, upstream)) => {
            conversation.grant(Tunnel {
                client,
                plan,
                upstream,
                place: conversation.place.clone(),
            });
            Response::new(Answer::own(Bytes::new(), unanswered))
        }
        Err(refused) => {
            let mut response = refused.response().map(|bytes| Answer::own(bytes, unanswered));
            // What may follow a CONNECT was not looked at as HTTP.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            response
        }
    }
}

/// Decides, and goes as far as can be gone before the payload's first byte.
async fn open(
    conversation: &Conversation,
    request: &Request<Incoming>,
) -> Result<(Plan, Option<Socket>), Refused> {
    let session = &conversation.session;
    let authority = request.uri().authority().map_or("", |authority| authority.as_str());
    let destination = parse_destination(authority, None).inspect_err(|refused| {
        let subject = Subject::Connection { destination: None, protocol: None };
        session.refuse(session.number(), subject, refused);
    })?;
    names_it_too(request, &destination).inspect_err(|refused| {
        let subject =
            Subject::Connection { destination: Some(destination.clone()), protocol: None };
        session.refuse(session.number(), subject, refused);
    })?;
    let plan = Plan::of(session, destination).await?;
    let upstream = match (&plan.tcp, &plan.https) {
        (Some(passage), _) | (None, Some(Https::Pass(passage))) => {
            Some(passage.dial(session).await?)
        }
        _ => {
            plan.check_addresses(session).await?;
            None
        }
    };
    Ok((plan, upstream))
}

/// What Host names besides has to be the target of the CONNECT, with its port or, as some clients have
/// it, without one (RFC 9110 §7.2).
fn names_it_too(request: &Request<Incoming>, destination: &Destination) -> Result<(), Refused> {
    let Some(host) = request.headers().get(header::HOST) else { return Ok(()) };
    let named =
        parse_destination(&String::from_utf8_lossy(host.as_bytes()), Some(destination.port))?;
    match named == *destination {
        true => Ok(()),
        false => Err(Refused::disagreement(destination, named)),
    }
}

/// The payload's stream, and what of it was read behind the request.
async fn taken(client: OnUpgrade) -> Option<(TcpStream, BytesMut)> {
    let upgraded: Upgraded = match client.await {
        Ok(upgraded) => upgraded,
        Err(error) => {
            tracing::debug!(%error, "a tunnel was not taken");
            return None;
        }
    };
    let parts = upgraded.downcast::<TokioIo<Wire<TcpStream>>>().ok()?;
    let (stream, held) = parts.io.into_inner().into_parts();
    let read: Bytes = parts.read_buf;
    let mut front = BytesMut::from(read);
    front.extend_from_slice(&held);
    Some((stream, front))
}
