//! Whether a request may go out: its intent, the rules, people, budgets.

use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderName, Method, Request, header};
use hyper::body::{Body, Incoming};
use supervisor_policy::egress::{Ask, Decision, Verdict};

use super::super::fields;
use super::super::intent::intent;
use super::super::otherwise::Otherwise;
use super::super::seen::{Seen, told_fields};
use super::super::upgrade::{Upgrade, upgrade};
use super::super::violation::Violation;
use super::super::websocket::WebSocket;
use super::Conversation;
use super::permitted::Permitted;
use crate::event::Subject;
use crate::limits::MAX_FIELDS;
use crate::refused::Refused;
use crate::session::{Asked, Session, Spends};

impl Conversation {
    /// Intent, rules, people, budgets.
    pub(super) async fn decide(
        &self,
        request: &mut Request<Incoming>,
    ) -> Result<Permitted, Refused> {
        let session = &self.session;
        let number = session.number();
        let (destination, protocol) = intent(request, &self.via)
            .inspect_err(|refused| session.refuse(number, self.via.subject(), refused))?;
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
            let refused = Refused::from(Violation::Malformed("the request's framing is malformed"));
            session.refuse(number, subject(), &refused);
            return Err(refused);
        }
        // Of HTTP/1.1 they are counted before; of HTTP/2 thousands of short ones fit into a head.
        if request.headers().len() > MAX_FIELDS {
            let refused = Refused::from(Violation::HeadTooLong("there are too many fields"));
            session.refuse(number, subject(), &refused);
            return Err(refused);
        }
        // What does not leave is neither judged nor shown: Connection may name any field.
        fields::strip_request(request.headers_mut());
        let ask = Ask {
            destination: &destination,
            protocol,
            method: &method,
            target: &target,
            websocket: upgrades == Upgrade::WebSocket,
            body: length,
        };
        let decision = session.egress().request(&ask);
        let otherwise = Otherwise::of(request.headers(), &target).map_err(Refused::from);
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
            Verdict::Ask => told_fields(request.headers(), &filled(session, &decision))
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
        let is_unsafe = !is_safe(request.method()) || !otherwise.methods().all(is_safe_name);
        let known =
            u64::try_from(fields::size(request.headers()) + target.len()).unwrap_or(u64::MAX);
        let bytes_out = known.saturating_add(length.unwrap_or(0));
        let spends = Spends { is_unsafe, bytes_out };
        let (permit, meter) = session.permit(number, decision, subject(), asked, spends).await?;
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
}

/// The fields that credentials are put into, if a person agrees.
fn filled(session: &Session, decision: &Decision) -> Vec<HeaderName> {
    let permit = decision.prospect();
    let places = permit.map(|permit| session.places(permit)).unwrap_or_default();
    places.iter().filter_map(|binding| binding.place.field().cloned()).collect()
}

pub(super) fn length(body: &Incoming) -> Option<u64> {
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
pub(super) fn is_idempotent(method: &Method) -> bool {
    is_safe(method) || [Method::PUT, Method::DELETE].contains(method)
}
