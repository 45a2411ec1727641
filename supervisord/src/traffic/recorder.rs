//! Decisions on traffic, for the audit log.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use supervisor_api::{CredentialUse, Ruling, Subject, Traffic, Verdict, What};
use supervisor_egress::credential::Pending;
use supervisor_egress::{CredentialEvent, Decided, Ended, Event};
use supervisor_policy::egress as rules;
use tokio::sync::watch;

use crate::audit::{Audit, Backlog};
use crate::clock;
use crate::credentials::notices;
use crate::refusals::Refusals;

/// What is under way of one sandbox at the most: 256 connections with 100 requests each. The oldest
/// beyond it ends without a line of its own.
const UNDER_WAY: usize = 25_600;

/// Bytes of a text that a payload has a say in: a path, a method, a cause, a remedy. With them a record has 8 KiB
/// at the most, and else half of one.
const MAX_TEXT: usize = 1024;

/// Writes one sandbox's decisions, and says so if one could not be written. Of what is refused, only so much
/// of a uid in a minute has a record of its own.
pub struct Recorder {
    audit: Audit,
    refusals: Arc<Refusals>,
    whose: Subject,
    policy: String,
    unrecorded: watch::Sender<bool>,
    backlog: Backlog,
    /// What was allowed and has not ended, by its number.
    under_way: Mutex<BTreeMap<u64, Traffic>>,
}

impl Recorder {
    /// For the sandbox of one execution under a policy of this name.
    pub fn new(
        audit: Audit,
        refusals: Arc<Refusals>,
        whose: Subject,
        policy: &str,
        unrecorded: watch::Sender<bool>,
    ) -> Self {
        let policy = policy.to_owned();
        let backlog = audit.source();
        Self { audit, refusals, whose, policy, unrecorded, backlog, under_way: Mutex::default() }
    }

    /// Whether a decision has a record of its own; what is refused and has none is counted.
    fn records(&self, decided: &Decided) -> bool {
        match decided.verdict {
            rules::Verdict::Allow => true,
            rules::Verdict::Deny => self.refusals.records(&self.audit, self.whose, decided.code),
            // What comes of the question is recorded or counted; the question itself is counted nowhere.
            rules::Verdict::Ask => self.refusals.is_calm(self.whose, clock::timestamp()),
        }
    }

    fn decided(&self, decided: Decided) -> What {
        let number = decided.number;
        let name = matches!(decided.subject, supervisor_egress::Subject::LookUp(_));
        let traffic = self.traffic(decided);
        if name {
            return What::Dns(traffic);
        }
        if traffic.ruling.verdict == Verdict::Allow {
            let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            if under_way.len() >= UNDER_WAY {
                under_way.pop_first();
            }
            under_way.insert(number, traffic.clone());
        }
        What::Egress(traffic)
    }

    fn credential(&self, event: CredentialEvent) -> What {
        let code = event.refusal.as_ref().map(|refusal| refusal.code);
        let nameless = code.map_or("", notices::nameless);
        let (act, ruling) = match event.refusal {
            None => ("inject", Ruling::new(Verdict::Allow, "credential_used")),
            Some(refusal) => {
                let act = if refusal.code.is_alarm() { "leak" } else { "refuse" };
                let code = refusal.code.as_str();
                tracing::warn!(session = ?self.whose.session, code, act, "refused for a credential");
                let (cause, remedy) = (Some(cut(refusal.cause)), Some(cut(refusal.remedy)));
                (act, Ruling { cause, remedy, ..Ruling::new(Verdict::Deny, code) })
            }
        };
        let ruling = Ruling { policy: Some(self.policy.clone()), rule: Some(event.rule), ..ruling };
        What::Credential(CredentialUse {
            ruling,
            credential: event.credential.unwrap_or_else(|| nameless.to_owned()),
            act: act.to_owned(),
            host: Some(event.destination.host.to_string()),
            by: None,
        })
    }

    /// The same traffic with what it came to.
    fn ended(&self, ended: Ended) -> Option<What> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let mut traffic = under_way.remove(&ended.number)?;
        drop(under_way);
        traffic.ruling.reason = "ended".to_owned();
        traffic.ruling.cause = Some(ended.how.to_owned());
        (traffic.bytes_out, traffic.bytes_in) = (ended.sent, ended.received);
        traffic.status = ended.status;
        if let Some(failure) = ended.failure {
            traffic.failure = Some(cut(failure.cause));
            traffic.ruling.remedy = Some(cut(failure.remedy));
        }
        Some(What::Egress(traffic))
    }

    fn traffic(&self, decided: Decided) -> Traffic {
        let verdict = match decided.verdict {
            rules::Verdict::Allow => Verdict::Allow,
            rules::Verdict::Ask => Verdict::Ask,
            rules::Verdict::Deny => Verdict::Deny,
        };
        let ruling = Ruling {
            policy: Some(self.policy.clone()),
            rule: decided.rule,
            cause: decided.cause.map(cut),
            remedy: decided.remedy.map(cut),
            ..Ruling::new(verdict, decided.code)
        };
        let credential = decided.credentials.join(",");
        let mut traffic = Traffic {
            ruling,
            host: String::new(),
            port: 0,
            protocol: String::new(),
            method: None,
            path: None,
            path_bytes: None,
            websocket: false,
            body: None,
            address: None,
            credential: (!credential.is_empty()).then_some(credential),
            bytes_out: 0,
            bytes_in: 0,
            status: None,
            failure: None,
        };
        match decided.subject {
            supervisor_egress::Subject::LookUp(name) => {
                (traffic.host, traffic.port) = (cut(name), 53);
                "dns".clone_into(&mut traffic.protocol);
            }
            supervisor_egress::Subject::Connection { destination, protocol } => {
                if let Some(destination) = destination {
                    (traffic.host, traffic.port) = (destination.host.to_string(), destination.port);
                }
                protocol.map_or("tcp", rules::Protocol::as_str).clone_into(&mut traffic.protocol);
            }
            supervisor_egress::Subject::Request {
                destination,
                protocol,
                method,
                path,
                websocket,
                body,
            } => {
                (traffic.host, traffic.port) = (destination.host.to_string(), destination.port);
                protocol.as_str().clone_into(&mut traffic.protocol);
                let mut path = path;
                if path.len() > MAX_TEXT {
                    traffic.path_bytes = u64::try_from(path.len()).ok();
                    path.truncate(path.floor_char_boundary(MAX_TEXT));
                    path.shrink_to_fit();
                }
                (traffic.method, traffic.path) = (Some(cut(method)), Some(path));
                (traffic.websocket, traffic.body) = (websocket, body);
            }
        }
        traffic
    }
}

impl supervisor_egress::Recorder for Recorder {
    fn record(&self, event: Event) {
        let what = match event {
            Event::Decided(decided) => {
                if decided.alarm {
                    let (session, code) = (self.whose.session, decided.code);
                    tracing::warn!(
                        ?session,
                        code,
                        "a payload has tried what none does by accident"
                    );
                }
                if !self.records(&decided) {
                    return;
                }
                self.decided(decided)
            }
            Event::Credential(event) => {
                let code = event.refusal.as_ref().map(|refusal| refusal.code.as_str());
                if code.is_some_and(|code| !self.refusals.records(&self.audit, self.whose, code)) {
                    return;
                }
                self.credential(event)
            }
            // What has happened is recorded whatever the room.
            Event::Ended(ended) => {
                let what = self.ended(ended);
                return what
                    .into_iter()
                    .for_each(|what| self.audit.note_of(&self.backlog, what.about(self.whose)));
            }
        };
        if let Err(error) = self.audit.record_of(&self.backlog, what.about(self.whose)) {
            tracing::error!(%error, "a decision on traffic could not be recorded");
            self.unrecorded.send_replace(true);
        }
    }
    fn room(&self) -> Pending<'_, ()> {
        Box::pin(self.audit.room(&self.backlog))
    }
}

/// A text of no more than [`MAX_TEXT`] bytes and how many there were.
fn cut(mut text: String) -> String {
    let bytes = text.len();
    if bytes > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text.push_str(&format!("… (of {bytes} bytes)"));
        text.shrink_to_fit();
    }
    text
}
