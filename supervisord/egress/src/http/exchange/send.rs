//! How a permitted request is sent: with its credentials, over a connection of its session, and once more
//! where that is safe.

use std::sync::OnceLock;
use std::time::Duration;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body, Incoming};
use sha2::{Digest, Sha256};
use supervisor_policy::egress::Protocol;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{sleep, timeout};

use super::super::body::{self, Exchange, Fault, Sending};
use super::super::collected::{Uncollected, collect};
use super::super::interim::Interim;
use super::super::outgoing::{Look, Outgoing};
use super::super::violation::Violation;
use super::super::{fields, trailers};
use super::Conversation;
use super::decide::{is_idempotent, length};
use super::permitted::Permitted;
use super::receive::Answered;
use crate::credential::{BodyDigest, Wanted};
use crate::refused::Refused;
use crate::relay::Meter;
use crate::tls::upstream::Offer;
use crate::upstream::{Key, Lease, OutgoingBody, UpstreamError};

impl Conversation {
    /// Prepares the request and sends it, once more where its connection was just being closed or a
    /// credential has been renewed.
    pub(super) async fn send(
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
        let host = permitted.destination.host.bare();
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
        let mut renewed = false;
        loop {
            // Of the second attempt as well: what is renewed is the head before this.
            if let Some(websocket) = &permitted.websocket {
                let looks = prepared.is_watched() || prepared.has_decoys();
                websocket.ask(&mut head.headers, looks);
            }
            self.count_head(&permitted, &head)?;
            let spare = outgoing.spare().map(|body| (again(&head), body));
            let look =
                Look { prepared: &prepared, session, event: permitted.event(), fault: &fault };
            let request = Request::from_parts(head, outgoing.body(&look));
            let (lease, response) =
                self.deliver(&permitted, &look, request, spare.as_ref()).await?;
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
            // What is asked of a server of HTTP/1.0 once more may have no chunks: its body would be left out.
            exchange.lease = Some(lease).filter(|_| response.version() > Version::HTTP_10);
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
            permitted.meter.send(seen.bytes.len())?;
            let digest = BodyDigest::Sha256(seen.sha256());
            return Ok((Outgoing::Collected(seen.bytes.clone()), digest));
        }
        if incoming.is_end_stream() {
            return Ok((Outgoing::None, BodyDigest::Empty));
        }
        if length(&incoming).is_some_and(|length| length > most) {
            return Err(body::body_too_large());
        }
        let (meter, announced) = (permitted.meter.clone(), length(&incoming));
        let sending = Sending::new(incoming, meter, most, limits.stall, fault.clone());
        let credentials = &self.session.seams.credentials;
        match credentials.body_to_digest(&permitted.bindings, head) {
            None => Ok((Outgoing::Streamed(sending), BodyDigest::Unknown)),
            Some(most) => {
                let place = self.place_for(announced, most).await?;
                let bytes = collect(sending, most, place).await.map_err(|failed| match failed {
                    Uncollected::Broken => self.fault(fault),
                    Uncollected::Trailers => trailers::held(),
                })?;
                let digest = BodyDigest::Sha256(Sha256::digest(&bytes).into());
                Ok((Outgoing::Collected(bytes), digest))
            }
        }
    }

    /// Room for a body that is held as long as its answer may ask for it once more: what it announces, or the most.
    async fn place_for(
        &self,
        announced: Option<u64>,
        most: usize,
    ) -> Result<OwnedSemaphorePermit, Refused> {
        let bytes = announced.and_then(|length| usize::try_from(length).ok()).unwrap_or(most);
        let kib = u32::try_from(bytes.min(most).div_ceil(1024)).unwrap_or(u32::MAX);
        let room = self.session.signed_bodies.clone().acquire_many_owned(kib);
        match timeout(self.session.shared.limits.crowded, room).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(Refused::too_many("bodies to be signed")),
        }
    }

    async fn deliver(
        &self,
        permitted: &Permitted,
        look: &Look<'_>,
        mut request: Request<OutgoingBody>,
        spare: Option<&(Parts, Outgoing)>,
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
            let interim = Interim::of(&mut request);
            let sent = tokio::select! {
                sent = lease.send(request) => sent,
                () = interim.too_many() => {
                    let what = "it says without end that its answer will come";
                    return Err(UpstreamError::Ambiguous(what).into());
                }
                () = silence(&permitted.meter, patience) => {
                    return Err(UpstreamError::FirstByte.into());
                }
            };
            let failed = match sent {
                Ok(response) => return Ok((lease, response)),
                Err(failed) => failed,
            };
            let refused = self.known_fault(look.fault);
            if let Some(refused) = refused.or_else(|| trailers::refusal(&failed.error)) {
                return Err(refused);
            }
            // An upstream may close a kept connection just when it is used again (RFC 9112 §9.3.1).
            let once_more = lease.used_before() && !fresh;
            request = match (failed.request, spare) {
                (Some(request), _) if once_more => request,
                (None, Some((head, body))) if once_more && is_idempotent(&head.method) => {
                    self.count_head(permitted, head)?;
                    count_body(permitted, body)?;
                    Request::from_parts(again(head), body.again(look))
                }
                _ => return Err(UpstreamError::Http(failed.error).into()),
            };
            fresh = true;
        }
    }

    fn count_head(&self, permitted: &Permitted, head: &Parts) -> Result<(), Refused> {
        let target = head.uri.path_and_query().map_or(1, |target| target.as_str().len());
        let size = fields::size(&head.headers) + target;
        Ok(permitted.meter.send(size)?)
    }

    /// Why a request's body ended early, if the payload or the session is at fault.
    fn known_fault(&self, fault: &Fault) -> Option<Refused> {
        let (said, seen) = (fault.get().cloned(), self.wire.violation());
        // Where a body can't be read, what was seen before it was parsed says why.
        let is_vague = said.as_ref().is_none_or(|said| said.code == Violation::CutOff.code());
        seen.filter(|_| is_vague).map(Refused::from).or(said)
    }

    fn fault(&self, fault: &Fault) -> Refused {
        self.known_fault(fault).unwrap_or_else(body::body_too_large)
    }
}

/// A body that is sent once more costs once more.
fn count_body(permitted: &Permitted, body: &Outgoing) -> Result<(), Refused> {
    Ok(permitted.meter.send(body.length())?)
}

/// The head as it leaves: the target that was judged; its fields are those that were.
fn prepare_head(head: &mut Parts, permitted: &Permitted) -> Result<(), Refused> {
    let target = match permitted.permit.target() {
        Some(target) => PathAndQuery::try_from(target).ok(),
        None => head.uri.path_and_query().cloned().or(Some(PathAndQuery::from_static("/"))),
    };
    let Some(target) = target.filter(|target| target.as_str().starts_with('/')) else {
        let violation = Violation::Malformed("the target is no path");
        return Err(violation.into());
    };
    head.uri = Uri::from(target);
    head.extensions.clear();
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
