//! One request, from its head to the end of its answer:
//! intent → decision → budget → credential → connection → send → check → pass on.

mod decide;
mod permitted;
mod receive;
mod room;
mod send;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::{Body, Incoming};
use tokio::sync::Notify;

use super::body::{Answer, Exchange};
use super::intent::Via;
use super::wire;
use crate::event;
use crate::front::proxy::Tunnel;
use crate::refused::Refused;
use crate::session::Session;
use crate::shared::Place;

/// One connection of a payload that speaks HTTP.
pub struct Conversation {
    /// Whose it is.
    pub session: Arc<Session>,
    /// Where it goes.
    pub via: Via,
    /// What its bytes and its requests know of each other.
    pub wire: Arc<wire::Shared>,
    /// Requests so far.
    pub requests: AtomicU64,
    /// Pieces of bodies that have moved so far.
    pub progress: Arc<AtomicU64>,
    /// Told when no further request is taken.
    pub enough: Notify,
    /// Its place among the connections that there may be.
    pub place: Place,
    /// The tunnel that it becomes when it has ended.
    tunnel: Mutex<Option<Box<Tunnel>>>,
}

impl Conversation {
    /// A connection's state at its start.
    pub fn new(session: Arc<Session>, via: Via, wire: Arc<wire::Shared>, place: Place) -> Self {
        Self {
            session,
            via,
            wire,
            requests: AtomicU64::new(0),
            progress: Arc::default(),
            enough: Notify::new(),
            place,
            tunnel: Mutex::default(),
        }
    }

    /// Has it become a tunnel when it has ended.
    pub fn grant(&self, tunnel: Tunnel) {
        *self.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(tunnel));
    }

    /// The tunnel that it becomes.
    pub fn tunnel(&self) -> Option<Box<Tunnel>> {
        self.tunnel.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The answer to a request, the upstream's or our own.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Answer> {
        let unanswered = self.wire.request();
        let served = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        if served >= self.session.shared.limits.requests_per_connection {
            self.enough.notify_one();
        }
        let version = request.version();
        let asks_upgrade = request.headers().contains_key(header::UPGRADE);
        let bodiless = request.method() == Method::HEAD;
        let mut response = match self.forward(request, unanswered).await {
            Ok(response) => response,
            // In HTTP/2 nobody else takes away a body that may not be there.
            Err((refused, unanswered)) if bodiless => {
                own(&refused, unanswered).map(|_| Answer::nothing())
            }
            Err((refused, unanswered)) => own(&refused, unanswered),
        };
        let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if switched {
            self.wire.switch();
        }
        // HTTP/1.0 has no chunks.
        if version == Version::HTTP_10 && response.body().size_hint().exact().is_none() {
            self.wire.end_by_closing();
        }
        // What was read behind such a request was not looked at, so nothing is parsed after it.
        if asks_upgrade && !switched && version < Version::HTTP_2 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn forward(
        &self,
        mut request: Request<Incoming>,
        unanswered: wire::Unanswered,
    ) -> Result<Response<Answer>, (Refused, wire::Unanswered)> {
        let room = match self.room_for(&request) {
            Ok(room) => room,
            Err(refused) => return Err((refused, unanswered)),
        };
        self.session.seams.recorder.room().await;
        let permitted = match self.decide(&mut request).await {
            Ok(permitted) => permitted,
            Err(refused) => return Err((refused, unanswered)),
        };
        let (number, meter) = (permitted.number, permitted.meter.clone());
        let mut exchange = Exchange {
            session: self.session.clone(),
            number,
            meter,
            status: None,
            lease: None,
            how: "cut_off",
            failure: None,
            progress: self.progress.clone(),
            _place: self.place.clone(),
            _room: room,
            _unanswered: unanswered,
        };
        match self.send(permitted, request, &mut exchange).await {
            Ok(answered) => Ok(self.pass_on(answered, exchange)),
            Err(refused) => {
                exchange.how = refused.code;
                exchange.failure = event::Failure::of(&refused);
                exchange.status = Some(refused.status);
                Err((refused, self.wire.request()))
            }
        }
    }
}

fn own(refused: &Refused, unanswered: wire::Unanswered) -> Response<Answer> {
    refused.response().map(|bytes| Answer::own(bytes, unanswered))
}
