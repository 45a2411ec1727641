//! One request, from its head to the end of its answer:
//! intent → decision → budget → credential → connection → send → check → pass on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;
use sha2::{Digest, Sha256};
use supervisor_policy::egress::{Ask, Destination, Permit, Protocol, Verdict};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::body::{self, Answer, Exchange, Fault, Received, Receiving, Sending};
use super::intent::{Via, intent};
use super::otherwise::Otherwise;
use super::outgoing::Outgoing;
use super::seen::{Seen, telling_fields};
use super::upgrade::{Upgrade, upgrade};
use super::websocket::WebSocket;
use super::{fields, response, wire};
use crate::credential::{Binding, BodyDigest, CredentialRefusal, Prepared, Wanted, Watched};
use crate::event::{CredentialEvent, Subject};
use crate::limits::LOOKED_AHEAD;
use crate::refused::Refused;
use crate::relay::Meter;
use crate::session::{Asked, Session};
use crate::shared::Place;
use crate::tls::upstream::Offer;
use crate::upstream::{Key, Lease, OutgoingBody, UpstreamError};

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
}

/// A request that may be sent.
struct Permitted {
    number: u64,
    permit: Permit,
    destination: Destination,
    protocol: Protocol,
    meter: Arc<Meter>,
    websocket: Option<WebSocket>,
    /// The version of HTTP that the payload speaks; the upstream is offered the same.
    version: Version,
    bindings: Vec<Binding>,
    /// The body, where a person was asked about it.
    seen: Option<Seen>,
}

impl Permitted {
    /// Records that the request carries credentials.
    fn record_use(&self, session: &Session, prepared: &Prepared) {
        for credential in prepared.credentials() {
            session.credential(self.event(Some(credential.to_string()), None));
        }
    }

    /// Records that the request, or its response, is refused on account of a credential.
    fn refuse(&self, session: &Session, refusal: &CredentialRefusal) {
        let credential = refusal.credential.as_ref().map(ToString::to_string);
        session.credential(self.event(credential, Some(refusal.clone())));
    }

    fn event(
        &self,
        credential: Option<String>,
        refusal: Option<CredentialRefusal>,
    ) -> CredentialEvent {
        CredentialEvent {
            number: self.number,
            credential,
            destination: self.destination.clone(),
            rule: self.permit.rule().to_string(),
            refusal,
        }
    }
}

/// A response that may be passed on.
struct Answered {
    head: http::response::Parts,
    body: Received,
    /// What is needed to pass bytes on, where the upstream has agreed to a WebSocket.
    websocket: Option<(WebSocket, Prepared, OnUpgrade)>,
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
        }
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
            progress: self.progress.clone(),
            _place: self.place.clone(),
            _unanswered: unanswered,
        };
        match self.send(permitted, request, &mut exchange).await {
            Ok(answered) => Ok(self.pass_on(answered, exchange)),
            Err(refused) => {
                exchange.how = refused.code;
                exchange.status = Some(refused.status);
                Err((refused, self.wire.request()))
            }
        }
    }

    /// Intent, rules, people, budgets.
    async fn decide(&self, request: &mut Request<Incoming>) -> Result<Permitted, Refused> {
        let session = &self.session;
        let number = session.number();
        let unplaced = || Subject::Connection { destination: None, protocol: None };
        let (destination, protocol) = intent(request, &self.via)
            .inspect_err(|refused| session.refuse(number, unplaced(), refused))?;
        let method = request.method().as_str().to_owned();
        let target = request.uri().path_and_query().map_or("/", PathAndQuery::as_str).to_owned();
        let upgrades = upgrade(request.method(), request.version(), request.headers());
        let length = length(request.body());
        let subject = || Subject::Request {
            destination: destination.clone(),
            protocol,
            method: method.clone(),
            path: path(&target).to_owned(),
            websocket: upgrades == Upgrade::WebSocket,
            body: length,
        };
        if upgrades == Upgrade::Malformed
            || request.headers().get_all(header::CONTENT_LENGTH).iter().count() > 1
        {
            let refused =
                Refused::from(super::Violation::Malformed("the request's framing is malformed"));
            session.refuse(number, subject(), &refused);
            return Err(refused);
        }
        let ask = Ask {
            destination: &destination,
            protocol,
            method: &method,
            target: &target,
            websocket: upgrades == Upgrade::WebSocket,
            body: length,
        };
        let decision = session.egress().request(&ask);
        let otherwise = Otherwise::of(request.headers()).map_err(Refused::from);
        let otherwise = otherwise
            .and_then(|otherwise| {
                let decide = |ask: &Ask<'_>| session.egress().request(ask);
                otherwise.judge(&ask, &decision, decide).map(|()| otherwise)
            })
            .inspect_err(|refused| session.refuse(number, subject(), refused))?;
        let seen = match decision.verdict() {
            Verdict::Ask if !request.body().is_end_stream() => {
                let read = Seen::read(session, request.body_mut()).await;
                Some(read.inspect_err(|refused| session.refuse(number, subject(), refused))?)
            }
            _ => None,
        };
        let fields = match decision.verdict() {
            Verdict::Ask => telling_fields(request.headers())
                .inspect_err(|refused| session.refuse(number, subject(), refused))?,
            _ => None,
        };
        let read = seen.as_ref().map(|seen| u64::try_from(seen.bytes.len()).unwrap_or(u64::MAX));
        let length = read.or(length);
        let asked = Asked {
            destination: &destination,
            protocol,
            method: &method,
            target: &target,
            body: length,
            body_sha256: seen.as_ref().map(Seen::sha256),
            fields: fields.as_deref(),
        };
        let permit = session.permit(number, decision, subject(), asked).await?;
        let is_unsafe = !is_safe(request.method()) || !otherwise.methods().all(is_safe_name);
        let known =
            u64::try_from(fields::size(request.headers()) + target.len()).unwrap_or(u64::MAX);
        let out = known.saturating_add(length.unwrap_or(0));
        let meter = session
            .reserve(&permit, &destination, is_unsafe, out)
            .await
            .inspect_err(|refused| session.refuse(number, subject(), refused))?;
        let websocket = match upgrades {
            Upgrade::WebSocket => Some(WebSocket::of(request)),
            _ => None,
        };
        Ok(Permitted {
            number,
            bindings: session.places(&permit),
            permit,
            destination,
            protocol,
            meter: Arc::new(meter),
            websocket,
            version: request.version(),
            seen,
        })
    }

    /// Prepares the request and sends it, once more where its connection was just being closed or a
    /// credential has been renewed.
    async fn send(
        &self,
        mut permitted: Permitted,
        request: Request<Incoming>,
        exchange: &mut Exchange,
    ) -> Result<Answered, Refused> {
        let session = &self.session;
        let (mut head, incoming) = request.into_parts();
        prepare_head(&mut head, &permitted)?;
        let fault = Fault::new(OnceLock::new());
        let (mut outgoing, digest) = self.outgoing(&permitted, &head, incoming, &fault).await?;
        let host = permitted.destination.host.to_string();
        let wanted = Wanted {
            whose: &session.identity,
            host: &host,
            port: permitted.destination.port,
            encrypted: permitted.protocol == Protocol::Https,
            bindings: &permitted.bindings,
            body: digest,
        };
        let prepared = session.seams.credentials.prepare(&wanted, &mut head).await;
        let mut prepared = prepared.inspect_err(|refusal| permitted.refuse(session, refusal))?;
        permitted.record_use(session, &prepared);
        if let Some(websocket) = &permitted.websocket {
            websocket.ask(&mut head.headers, prepared.is_watched());
        }
        let mut renewed = false;
        loop {
            self.count_head(&permitted, &head)?;
            let spare = outgoing.spare().map(|body| (again(&head), body));
            let body = outgoing.body(&prepared);
            let (lease, response) = self
                .deliver(
                    &permitted,
                    &prepared,
                    Request::from_parts(head, body),
                    spare.as_ref(),
                    &fault,
                )
                .await?;
            let status = response.status();
            if status == StatusCode::UNAUTHORIZED
                && prepared.is_renewable()
                && !renewed
                && let Some((_, body)) = spare
                && let Some((newer, again)) = session
                    .seams
                    .credentials
                    .renew(&wanted, &prepared)
                    .await
                    .inspect_err(|refusal| permitted.refuse(session, refusal))?
            {
                permitted.record_use(session, &again);
                count_body(&permitted, &body)?;
                (head, prepared, outgoing, renewed) = (newer, again, body, true);
                continue;
            }
            exchange.status = Some(status);
            exchange.lease = Some(lease);
            return self.received(response, prepared, &mut permitted).await;
        }
    }

    /// What is sent as the body. It is collected only where a signature covers it.
    async fn outgoing(
        &self,
        permitted: &Permitted,
        head: &Parts,
        incoming: Incoming,
        fault: &Fault,
    ) -> Result<(Outgoing, BodyDigest), Refused> {
        let limits = &self.session.shared.limits;
        let most = permitted.permit.max_body().unwrap_or(limits.request_body);
        if let Some(seen) = &permitted.seen {
            if u64::try_from(seen.bytes.len()).is_ok_and(|length| length > most) {
                return Err(body::body_too_large());
            }
            permitted.meter.send(seen.bytes.len()).map_err(|left| body::overdrawn(&left.0))?;
            let digest = BodyDigest::Sha256(seen.sha256());
            return Ok((Outgoing::Collected(seen.bytes.clone()), digest));
        }
        if incoming.is_end_stream() {
            return Ok((Outgoing::None, BodyDigest::Empty));
        }
        if length(&incoming).is_some_and(|length| length > most) {
            return Err(body::body_too_large());
        }
        let meter = permitted.meter.clone();
        let sending = Sending::new(incoming, meter, most, limits.stall, fault.clone());
        let credentials = &self.session.seams.credentials;
        match credentials.body_to_digest(&permitted.bindings, head) {
            None => Ok((Outgoing::Streamed(sending), BodyDigest::Unknown)),
            Some(most) => {
                let collected = Limited::new(sending, most).collect().await;
                let bytes = collected.map_err(|_| self.fault(fault))?.to_bytes();
                let digest = BodyDigest::Sha256(Sha256::digest(&bytes).into());
                Ok((Outgoing::Collected(bytes), digest))
            }
        }
    }

    async fn deliver(
        &self,
        permitted: &Permitted,
        prepared: &Prepared,
        mut request: Request<OutgoingBody>,
        spare: Option<&(Parts, Outgoing)>,
        fault: &Fault,
    ) -> Result<(Lease, Response<Incoming>), Refused> {
        let mut fresh = permitted.websocket.is_some();
        loop {
            let key = Key {
                destination: permitted.destination.clone(),
                encrypted: permitted.protocol == Protocol::Https,
                offer: match permitted.version {
                    Version::HTTP_2 => Offer::Http2First,
                    _ => Offer::Http1Only,
                },
            };
            let mut lease =
                self.session.upstreams.lease(&self.session, &permitted.permit, key, fresh).await?;
            let patience = self.session.shared.limits.first_byte;
            let sent = tokio::select! {
                sent = lease.send(request) => sent,
                () = silence(&permitted.meter, patience) => {
                    return Err(UpstreamError::FirstByte.into());
                }
            };
            let failed = match sent {
                Ok(response) => return Ok((lease, response)),
                Err(failed) => failed,
            };
            if let Some(refused) = self.known_fault(fault) {
                return Err(refused);
            }
            // An upstream may close a kept connection just when it is used again (RFC 9112 §9.3.1).
            let once_more = lease.used_before() && !fresh;
            request = match (failed.request, spare) {
                (Some(request), _) if once_more => request,
                (None, Some((head, body))) if once_more && is_idempotent(&head.method) => {
                    self.count_head(permitted, head)?;
                    count_body(permitted, body)?;
                    Request::from_parts(again(head), body.again(prepared))
                }
                _ => return Err(UpstreamError::Http(failed.error).into()),
            };
            fresh = true;
        }
    }

    async fn received(
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
                let websocket = Some((websocket, prepared, upgraded));
                Ok(Answered { head, body: Received::Plain(incoming), websocket })
            }
            (Some(_), None) => {
                Err(UpstreamError::Ambiguous("it switches to a protocol that nobody asked for")
                    .into())
            }
            (None, _) => {
                fields::strip_response(&mut head.headers);
                let body = match watched {
                    true => self.watched(prepared.inbound(incoming)).await?,
                    false => Received::Plain(incoming),
                };
                Ok(Answered { head, body, websocket: None })
            }
        }
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

    fn pass_on(&self, answered: Answered, mut exchange: Exchange) -> Response<Answer> {
        let Answered { mut head, body, websocket } = answered;
        // A budget that the head uses up ends the body.
        if exchange.meter.receive(fields::size(&head.headers)).is_err() {
            exchange.how = "budget_exhausted";
        }
        head.extensions.clear();
        let answer = match websocket {
            Some((websocket, prepared, upstream)) => {
                websocket.relay(exchange, prepared, upstream);
                Answer::nothing()
            }
            None => {
                let stall = self.session.shared.limits.stall;
                Answer::Passed(Box::new(Receiving::new(body, exchange, stall)))
            }
        };
        Response::from_parts(head, answer)
    }

    fn count_head(&self, permitted: &Permitted, head: &Parts) -> Result<(), Refused> {
        let target = head.uri.path_and_query().map_or(1, |target| target.as_str().len());
        let size = fields::size(&head.headers) + target;
        permitted.meter.send(size).map_err(|overdrawn| {
            Refused::overdrawn(overdrawn.0, "Use less, or ask for a larger budget.")
        })
    }

    /// Why a request's body ended early, if the payload or the session is at fault.
    fn known_fault(&self, fault: &Fault) -> Option<Refused> {
        fault.get().cloned().or_else(|| self.wire.violation().map(Refused::from))
    }

    fn fault(&self, fault: &Fault) -> Refused {
        self.known_fault(fault).unwrap_or_else(body::body_too_large)
    }
}

/// A body that is sent once more costs once more.
fn count_body(permitted: &Permitted, body: &Outgoing) -> Result<(), Refused> {
    permitted.meter.send(body.length()).map_err(|left| body::overdrawn(&left.0))
}

/// The head as it leaves: the target that was judged, and no field that is for us.
fn prepare_head(head: &mut Parts, permitted: &Permitted) -> Result<(), Refused> {
    let target = match permitted.permit.target() {
        Some(target) => PathAndQuery::try_from(target).ok(),
        None => head.uri.path_and_query().cloned().or(Some(PathAndQuery::from_static("/"))),
    };
    let Some(target) = target.filter(|target| target.as_str().starts_with('/')) else {
        let violation = super::Violation::Malformed("the target is no path");
        return Err(violation.into());
    };
    head.uri = Uri::from(target);
    head.extensions.clear();
    fields::strip_request(&mut head.headers);
    Ok(())
}

/// A head for a second attempt.
fn again(head: &Parts) -> Parts {
    let (mut copy, ()) = Request::new(()).into_parts();
    copy.method = head.method.clone();
    copy.uri = head.uri.clone();
    copy.headers = head.headers.clone();
    copy
}

fn own(refused: &Refused, unanswered: wire::Unanswered) -> Response<Answer> {
    refused.response().map(|bytes| Answer::own(bytes, unanswered))
}

/// Ready when nothing has been sent for so long.
async fn silence(meter: &Meter, patience: Duration) {
    loop {
        let before = meter.sent();
        sleep(patience).await;
        if meter.sent() == before {
            return;
        }
    }
}

fn length(body: &Incoming) -> Option<u64> {
    if body.is_end_stream() { Some(0) } else { body.size_hint().exact() }
}

fn path(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

/// RFC 9110 §9.2.1.
fn is_safe(method: &Method) -> bool {
    is_safe_name(method.as_str())
}

fn is_safe_name(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS")
}

/// RFC 9110 §9.2.2.
fn is_idempotent(method: &Method) -> bool {
    is_safe(method) || [Method::PUT, Method::DELETE].contains(method)
}
