//! One sandbox's traffic: its policy, its names, its authority, what it has open, and the decisions
//! that everything it does has to pass.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;
use supervisor_policy::Resolved;
use supervisor_policy::egress::{
    Binding, Decision, Destination, Egress, Host, HostName, Permit, Protocol, Verdict,
};
use tokio::sync::Semaphore;

use crate::credential;
use crate::dns::answer;
use crate::dns::synthetic::{Dialled, Synthetic};
use crate::event::{CredentialEvent, Decided, Ended, Event, Failure, Subject};
use crate::limits::{CROWD_TOLD_EVERY, MAX_LOOK_UPS, MAX_SIGNED_KIB};
use crate::refused::Refused;
use crate::relay::Meter;
use crate::running::Running;
use crate::seam::{Claim, Identity, Question, Seams};
use crate::shared::{Count, Shared};
use crate::tls::authority::Authority;
use crate::tls::front::Fronts;
use crate::totals::{Totals, Usage};
use crate::upstream::Upstreams;
use crate::without::without;

/// Refused look-ups of one name are recorded once in this time: programs ask for both families, and
/// again.
const LOOK_UP_RECORDED_EVERY: Duration = Duration::from_secs(10);

/// Names whose refusal is remembered for that. At it: all are forgotten, and recorded again.
const LOOK_UPS_REMEMBERED: usize = 1024;

/// Everything of one sandbox.
pub struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) identity: Identity,
    pub(crate) seams: Seams,
    pub(crate) fronts: Fronts,
    pub(crate) upstreams: Upstreams,
    pub(crate) running: Running,
    pub(crate) connections: Count,
    pub(crate) asked_bodies: Count,
    pub(crate) signed_bodies: Arc<Semaphore>,
    pub(crate) wide_windows: Count,
    pub(crate) wide_upstreams: Count,
    pub(crate) wide_payloads: Count,
    pub(crate) requests: Arc<Semaphore>,
    pub(crate) sockets: Arc<Semaphore>,
    pub(crate) look_ups: Semaphore,
    totals: Arc<Totals>,
    policy: Arc<Resolved>,
    synthetic: Mutex<Synthetic>,
    refused_names: Mutex<HashMap<String, Instant>>,
    crowd_told: Mutex<Option<Instant>>,
    places: Vec<(Arc<Binding>, credential::Binding)>,
    numbers: AtomicU64,
}

/// A binding of the policy that no request can carry.
#[derive(Debug)]
pub struct UnusableBinding {
    place: String,
    cause: credential::InvalidPlace,
}

impl std::fmt::Display for UnusableBinding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the credential binding at {} can't be used", self.place)
    }
}

impl std::error::Error for UnusableBinding {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// What a person is asked, where the rules want that.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Where to.
    pub destination: &'a Destination,
    /// What is spoken there.
    pub protocol: Protocol,
    /// The method; empty for a connection that is passed on.
    pub method: &'a str,
    /// The target; empty for a connection that is passed on.
    pub target: &'a str,
    /// Bytes of the body, where they are known.
    pub body: Option<u64>,
    /// SHA-256 of the body, where there is one.
    pub body_sha256: Option<[u8; 32]>,
    /// The fields of its head that say what a request with this target and body does, one a line.
    pub fields: Option<&'a str>,
}

/// What a request or connection will use of the budgets.
#[derive(Debug, Clone, Copy)]
pub struct Spends {
    /// Whether it may change something.
    pub is_unsafe: bool,
    /// Bytes that it sends, as far as they are known.
    pub bytes_out: u64,
}

/// Where a program wanted to go when it dialled.
pub enum Aim {
    /// A name, by its synthetic address, or an address.
    Host(Host),
    /// A synthetic address that no name has.
    Nowhere,
}

impl Session {
    pub(crate) fn new(
        shared: Arc<Shared>,
        identity: Identity,
        policy: Arc<Resolved>,
        authority: Arc<Authority>,
        taken_over: u32,
        seams: Seams,
    ) -> Result<Self, UnusableBinding> {
        let places = policy.egress().bindings().iter().map(place).collect::<Result<_, _>>()?;
        Ok(Self {
            fronts: Fronts::new(authority, shared.roots.provider()),
            upstreams: Upstreams::new(&shared.roots),
            requests: Arc::new(Semaphore::new(shared.limits.requests_kib)),
            sockets: Arc::new(Semaphore::new(shared.limits.upstreams)),
            look_ups: Semaphore::new(MAX_LOOK_UPS),
            shared,
            identity,
            seams,
            running: Running::default(),
            connections: Count::default(),
            asked_bodies: Count::default(),
            signed_bodies: Arc::new(Semaphore::new(MAX_SIGNED_KIB)),
            wide_windows: Count::default(),
            wide_upstreams: Count::default(),
            wide_payloads: Count::default(),
            totals: Arc::default(),
            policy,
            synthetic: Mutex::new(Synthetic::taken_over(taken_over)),
            refused_names: Mutex::default(),
            crowd_told: Mutex::default(),
            places,
            numbers: AtomicU64::new(1),
        })
    }

    /// The rules.
    pub fn egress(&self) -> &Egress {
        self.policy.egress()
    }

    /// A number for the next decision.
    pub fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// What the sandbox is told about a name. The policy is asked, and nobody else.
    pub fn look_up(&self, asked: answer::Asked<'_>) -> answer::Verdict {
        let name = match asked {
            answer::Asked::Name(name) => name,
            answer::Asked::Other(name, code) => {
                let refused = Refused::look_up(code);
                self.refuse_look_up(&name.to_ascii(), &refused);
                return answer::Verdict::Denied(refused.cause);
            }
        };
        let decision = self.egress().look_up(name);
        if decision.verdict() != Verdict::Allow && !without("names-asked") {
            let cause = decision.refusal().map_or("denied", |refusal| refusal.cause());
            let text = format!("supervisord: {cause} ({})", decision.rule());
            if self.is_news(name.as_str()) {
                self.record_look_up(name, &decision);
            }
            return answer::Verdict::Denied(text);
        }
        let mut synthetic = self.synthetic.lock().unwrap_or_else(PoisonError::into_inner);
        let known = synthetic.knows(name);
        let addresses = synthetic.addresses(name);
        drop(synthetic);
        match addresses {
            Ok((v4, v6)) => {
                if !known {
                    self.record_look_up(name, &decision);
                }
                answer::Verdict::Allowed(v4, v6)
            }
            Err(_) => {
                self.refuse_look_up(name.as_str(), &Refused::look_up("too_many_names"));
                answer::Verdict::NoAddressLeft
            }
        }
    }

    /// What an address that was dialled in the sandbox stands for.
    pub fn aim(&self, address: IpAddr) -> Aim {
        let synthetic = self.synthetic.lock().unwrap_or_else(PoisonError::into_inner);
        match synthetic.dialled(address) {
            Dialled::Name(name) => Aim::Host(Host::Name(name)),
            Dialled::Address(address) => Aim::Host(Host::Address(address)),
            Dialled::Unassigned => Aim::Nowhere,
        }
    }

    /// The permit for a decision, after asking a person where the rules want that, and what it will use of the
    /// budgets, set aside. One or the other is recorded: the refusal, or the permit with its budget.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub async fn permit(
        &self,
        number: u64,
        decision: Decision,
        subject: Subject,
        asked: Asked<'_>,
        spends: Spends,
    ) -> Result<(Permit, Meter), Refused> {
        let websocket = matches!(subject, Subject::Request { websocket: true, .. });
        let mut event = Decided::by_rules(number, subject, &decision);
        let permit = match decision.verdict() {
            Verdict::Allow => decision.permit(),
            Verdict::Deny => decision.permit(),
            Verdict::Ask => {
                let Asked { destination, protocol, method, target, body, body_sha256, fields } =
                    asked;
                let question = Question {
                    identity: &self.identity,
                    decision: &decision,
                    destination,
                    protocol,
                    method,
                    target,
                    websocket,
                    body,
                    body_sha256,
                    fields,
                };
                self.seams.recorder.record(Event::Decided(event.clone()));
                match self.seams.approvals.ask(&question).await {
                    Ok(()) => {
                        event.code = "approved";
                        event.verdict = Verdict::Allow;
                        decision.permit_after_approval()
                    }
                    Err(declined) => {
                        let mut refused = Refused::new(
                            StatusCode::FORBIDDEN,
                            "http_request_denied",
                            declined.code,
                            declined.cause,
                            declined.remedy,
                        );
                        refused.rule = event.rule.take();
                        self.refuse(number, event.subject, &refused);
                        return Err(refused);
                    }
                }
            }
        };
        let permit = match permit {
            Ok(permit) => permit,
            Err(refusal) => {
                self.count_refusal();
                self.seams.recorder.record(Event::Decided(event));
                return Err(refusal.into());
            }
        };
        let meter = match self.reserve(&permit, asked.destination, spends).await {
            Ok(meter) => meter,
            Err(refused) => {
                self.refuse(number, event.subject, &refused);
                return Err(refused);
            }
        };
        event.credentials =
            permit.bindings().iter().map(|binding| binding.credential().to_owned()).collect();
        self.seams.recorder.record(Event::Decided(event));
        Ok((permit, meter))
    }

    /// Records what was refused without a rule, or after one had allowed it.
    pub fn refuse(&self, number: u64, subject: Subject, refused: &Refused) {
        let event = Decided::refused(number, subject, refused);
        self.count_refusal();
        self.seams.recorder.record(Event::Decided(event));
    }

    /// The same of requests that are too many, but not of each of them: whoever sends thousands must not fill the
    /// log with them.
    pub fn refuse_crowd(&self, subject: Subject, refused: &Refused) {
        let mut told = self.crowd_told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= CROWD_TOLD_EVERY) {
            *told = Some(Instant::now());
            drop(told);
            self.refuse(self.number(), subject, refused);
        }
    }

    /// What its traffic has come to.
    pub fn usage(&self) -> Usage {
        self.totals.usage(self.connections.now())
    }

    fn count_refusal(&self) {
        self.totals.refused();
        self.shared.totals.refused();
    }

    /// Records what was done with a credential.
    pub fn credential(&self, event: CredentialEvent) {
        self.seams.recorder.record(Event::Credential(event));
    }

    /// Records the end of what was allowed.
    pub fn ended(&self, number: u64, status: Option<StatusCode>, meter: &Meter, how: &'static str) {
        self.ended_by(number, status, meter, (how, None));
    }

    /// The same, with what went wrong.
    pub fn ended_by(
        &self,
        number: u64,
        status: Option<StatusCode>,
        meter: &Meter,
        (how, failure): (&'static str, Option<Failure>),
    ) {
        self.seams.recorder.record(Event::Ended(Ended {
            number,
            status: status.map(|status| status.as_u16()),
            sent: meter.sent(),
            received: meter.received(),
            how,
            failure,
        }));
    }

    /// Sets aside what a permitted request or connection will use of the budgets.
    async fn reserve(
        &self,
        permit: &Permit,
        destination: &Destination,
        Spends { is_unsafe, bytes_out }: Spends,
    ) -> Result<Meter, Refused> {
        let claim = Claim {
            identity: &self.identity,
            budgets: self.egress().budgets(),
            bindings: permit.bindings(),
            destination,
            is_unsafe,
            bytes_out,
        };
        match self.seams.ledger.reserve(&claim).await {
            Ok(reservation) => {
                let totals = [self.totals.clone(), self.shared.totals.clone()];
                totals.iter().for_each(|totals| totals.allowed());
                Ok(Meter::new(reservation, totals))
            }
            Err(overspent) => Err(overspent.into()),
        }
    }

    /// The places of a permit's credentials, as the credential side knows them.
    pub fn places(&self, permit: &Permit) -> Vec<credential::Binding> {
        let place = |binding: &Arc<Binding>| {
            self.places.iter().find(|(known, _)| Arc::ptr_eq(known, binding))
        };
        permit.bindings().iter().filter_map(place).map(|(_, place)| place.clone()).collect()
    }

    fn is_news(&self, name: &str) -> bool {
        let mut known = self.refused_names.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if known.get(name).is_some_and(|at| now.duration_since(*at) < LOOK_UP_RECORDED_EVERY) {
            return false;
        }
        if known.len() >= LOOK_UPS_REMEMBERED {
            known.clear();
        }
        known.insert(name.to_owned(), now);
        true
    }

    /// Records that a look-up was refused without the policy having been asked.
    fn refuse_look_up(&self, name: &str, refused: &Refused) {
        if self.is_news(name) {
            self.refuse(self.number(), Subject::LookUp(name.to_owned()), refused);
        }
    }

    fn record_look_up(&self, name: &HostName, decision: &Decision) {
        if decision.verdict() == Verdict::Deny {
            self.count_refusal();
        }
        let subject = Subject::LookUp(name.to_string());
        let event = Decided::by_rules(self.number(), subject, decision);
        self.seams.recorder.record(Event::Decided(event));
    }
}

/// A policy's binding in the credential side's terms.
fn place(binding: &Arc<Binding>) -> Result<(Arc<Binding>, credential::Binding), UnusableBinding> {
    match credential::Binding::try_from(binding.as_ref()) {
        Ok(place) => Ok((binding.clone(), place)),
        Err(cause) => Err(UnusableBinding { place: binding.source().to_string(), cause }),
    }
}
