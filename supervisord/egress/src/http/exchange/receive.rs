//! What an upstream answers, until it may be passed on.

use http::{Response, StatusCode};
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use super::super::body::{Answer, Exchange, Received, Receiving};
use super::super::websocket::{Relayed, WebSocket};
use super::super::{fields, response};
use super::Conversation;
use super::permitted::Permitted;
use crate::credential::{CredentialRefusal, Prepared, Watched};
use crate::event::Failure;
use crate::limits::LOOKED_AHEAD;
use crate::refused::Refused;
use crate::upstream::UpstreamError;

/// A response that may be passed on.
pub struct Answered {
    head: http::response::Parts,
    body: Received,
    /// What is needed to pass bytes on, where the upstream has agreed to a WebSocket.
    websocket: Option<(WebSocket, Relayed)>,
}

impl Conversation {
    /// Checks a response, and screens it for what it must not bring back.
    pub(super) async fn received(
        &self,
        mut response: Response<Incoming>,
        prepared: Prepared,
        permitted: &mut Permitted,
    ) -> Result<Answered, Refused> {
        let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let upgraded = switched.then(|| hyper::upgrade::on(&mut response));
        let (mut head, incoming) = response.into_parts();
        response::check(&head)?;
        let screened = prepared.screen(&mut head);
        screened.inspect_err(|refusal| permitted.refuse(&self.session, refusal))?;
        let watched = prepared.is_watched();
        match (upgraded, permitted.websocket.take()) {
            (Some(upgraded), Some(websocket)) => {
                websocket.check(&mut head)?;
                let relayed = Relayed { prepared, event: permitted.event(), upstream: upgraded };
                let websocket = Some((websocket, relayed));
                Ok(Answered { head, body: Received::Plain(incoming), websocket })
            }
            (Some(_), None) => {
                Err(UpstreamError::Ambiguous("it switches to a protocol that nobody asked for")
                    .into())
            }
            (None, _) => {
                fields::strip_response(&mut head.headers);
                let body = match watched {
                    true => self.watched(self.inbound(&prepared, permitted, incoming)).await?,
                    false => Received::Plain(incoming),
                };
                Ok(Answered { head, body, websocket: None })
            }
        }
    }

    /// A body that is searched for credentials; where it repeats one, that is recorded of its request.
    fn inbound(
        &self,
        prepared: &Prepared,
        permitted: &Permitted,
        incoming: Incoming,
    ) -> Watched<Incoming> {
        let (session, event) = (self.session.clone(), permitted.event());
        prepared.inbound(incoming, move |refusal| session.credential(event.refused(refusal)))
    }

    /// A short body that repeats a secret is refused in words, a long one is cut where it does.
    async fn watched(&self, mut body: Watched<Incoming>) -> Result<Received, Refused> {
        if body.size_hint().upper().is_some_and(|most| most <= LOOKED_AHEAD) {
            // One that does not arrive is passed on as far as it came.
            let looked = timeout(self.session.shared.limits.stall, body.look_ahead()).await;
            if let Ok(Err(failure)) = looked {
                return Err(match failure.downcast::<CredentialRefusal>() {
                    Ok(refusal) => Refused::from(*refusal),
                    Err(_) => UpstreamError::Ambiguous("its body can't be passed on").into(),
                });
            }
        }
        Ok(Received::Watched(Box::new(body)))
    }

    /// What of a response reaches the payload, counted.
    pub(super) fn pass_on(&self, answered: Answered, mut exchange: Exchange) -> Response<Answer> {
        let Answered { mut head, body, websocket } = answered;
        // A budget that the head uses up ends the body.
        if let Err(overdrawn) = exchange.meter.receive(fields::size(&head.headers)) {
            exchange.how = overdrawn.lack.code();
            exchange.failure = Some(Failure::overspent(&overdrawn));
        }
        head.extensions.clear();
        let answer = match websocket {
            Some((websocket, relayed)) => {
                websocket.relay(exchange, relayed);
                Answer::nothing()
            }
            None => {
                let pause = self.session.shared.limits.pause;
                Answer::Passed(Box::new(Receiving::new(body, exchange, pause)))
            }
        };
        Response::from_parts(head, answer)
    }
}
