//! Decisions on traffic, for the audit log.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use supervisor_api::{CredentialUse, Ruling, Subject, Traffic, Verdict, What};
use supervisor_egress::credential::{Pending, RefusalCode};
use supervisor_egress::{CredentialEvent, Decided, Ended, Event};
use supervisor_policy::egress as rules;
use tokio::sync::watch;

use crate::audit::{Audit, Backlog};

/// What is under way of one sandbox at the most: 256 connections with 100 requests each. The oldest
/// beyond it ends without a line of its own.
const UNDER_WAY: usize = 25_600;

/// Bytes of a path that are kept for the line at the end; the decision's own line has all of it.
const PATH_KEPT: usize = 1024;

/// Writes one sandbox's decisions, and says so if one could not be written.
pub struct Recorder {
    audit: Audit,
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
        whose: Subject,
        policy: &str,
        unrecorded: watch::Sender<bool>,
    ) -> Self {
        let policy = policy.to_owned();
        let backlog = audit.source();
        Self { audit, whose, policy, unrecorded, backlog, under_way: Mutex::default() }
    }

    fn decided(&self, decided: Decided) -> What {
        let number = decided.number;
        let name = matches!(decided.subject, supervisor_egress::Subject::LookUp(_));
        let traffic = self.traffic(decided);
        if name {
            return What::Dns(traffic);
        }
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if traffic.ruling.verdict == Verdict::Allow {
            if under_way.len() >= UNDER_WAY {
                under_way.pop_first();
            }
            let mut kept = traffic.clone();
            if let Some(path) = kept.path.as_mut() {
                path.truncate(path.floor_char_boundary(PATH_KEPT));
                path.shrink_to_fit();
            }
            under_way.insert(number, kept);
        } else {
            under_way.remove(&number); // allowed by its rule, and refused by a budget after all
        }
        drop(under_way);
        What::Egress(traffic)
    }

    fn credential(&self, event: CredentialEvent) -> What {
        // Neither a decoy nor a placeholder that went astray says whose it is.
        let nameless = match event.refusal.as_ref().map(|refusal| refusal.code) {
            Some(RefusalCode::PlaceholderMisplaced) => "a placeholder",
            _ => "a decoy",
        };
        let (act, ruling) = match event.refusal {
            None => ("inject", Ruling::new(Verdict::Allow, "credential_used")),
            Some(refusal) => {
                let act = if refusal.code.is_alarm() { "leak" } else { "refuse" };
                let code = refusal.code.as_str();
                tracing::warn!(session = ?self.whose.session, code, act, "refused for a credential");
                let (cause, remedy) = (Some(refusal.cause), Some(refusal.remedy));
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
    fn ended(&self, ended: &Ended) -> Option<What> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let mut traffic = under_way.remove(&ended.number)?;
        drop(under_way);
        traffic.ruling.reason = "ended".to_owned();
        traffic.ruling.cause = Some(ended.how.to_owned());
        (traffic.bytes_out, traffic.bytes_in) = (ended.sent, ended.received);
        traffic.status = ended.status;
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
            cause: decided.cause,
            remedy: decided.remedy,
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
            websocket: false,
            body: None,
            address: None,
            credential: (!credential.is_empty()).then_some(credential),
            bytes_out: 0,
            bytes_in: 0,
            status: None,
        };
        match decided.subject {
            supervisor_egress::Subject::LookUp(name) => {
                (traffic.host, traffic.port) = (name.to_string(), 53);
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
                (traffic.method, traffic.path) = (Some(method), Some(path));
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
                self.decided(decided)
            }
            Event::Credential(event) => self.credential(event),
            // What has happened is recorded whatever the room.
            Event::Ended(ended) => {
                let what = self.ended(&ended);
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
