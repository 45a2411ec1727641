//! What may become of a connection to a destination, decided before a byte of it is answered.

use std::sync::Arc;

use supervisor_policy::egress::{Decision, Destination, Permit, Protocol, Treatment};

use crate::credential::CredentialRefusal;
use crate::event::{CredentialEvent, Failure, Subject};
use crate::refused::Refused;
use crate::relay::Meter;
use crate::session::{Asked, Session, Spends};
use crate::upstream::{Socket, addresses, dial};

/// A destination and what may be spoken with it.
pub struct Plan {
    /// Where to.
    pub destination: Destination,
    /// Anything: bytes are passed on from the start, whatever they are.
    pub tcp: Option<Passage>,
    /// TLS.
    pub https: Option<Https>,
    /// HTTP without TLS; each request is decided.
    pub http: bool,
}

/// What is done with TLS.
pub enum Https {
    /// It is passed on by its server name.
    Pass(Passage),
    /// It ends here, and each request is decided.
    Inspect,
}

/// The right to pass bytes on.
pub struct Passage {
    /// The number of its decision.
    pub number: u64,
    /// What it moves.
    pub meter: Arc<Meter>,
    permit: Permit,
}

impl Plan {
    /// Asks the rules, and people where the rules want that.
    ///
    /// # Errors
    ///
    /// When nothing may be spoken with the destination.
    pub async fn of(session: &Session, destination: Destination) -> Result<Self, Refused> {
        let egress = session.egress();
        let protocols = egress.protocols(&destination);
        let mut plan = Self { destination, tcp: None, https: None, http: false };
        if protocols.contains(&Protocol::Tcp) {
            let decision = egress.connect(&plan.destination, Protocol::Tcp);
            plan.tcp = Some(plan.passage(session, Protocol::Tcp, decision).await?);
            return Ok(plan);
        }
        for protocol in protocols {
            match protocol {
                Protocol::Http => plan.http = true,
                Protocol::Https => {
                    let decision = egress.connect(&plan.destination, protocol);
                    plan.https = match decision.treatment() {
                        Some(Treatment::Pass) => {
                            Some(Https::Pass(plan.passage(session, protocol, decision).await?))
                        }
                        Some(Treatment::Inspect) => {
                            session.fronts.of(&plan.destination.host.bare()).map_err(|error| {
                                tracing::error!(
                                    error = &error as &dyn std::error::Error,
                                    "no certificate"
                                );
                                plan.refuse(session, protocol, Refused::cannot_inspect())
                            })?;
                            Some(Https::Inspect)
                        }
                        None => None,
                    };
                }
                Protocol::Tcp => {}
            }
        }
        if plan.https.is_none() && !plan.http {
            let decision = egress.connect(&plan.destination, Protocol::Https);
            let refused = match decision.permit() {
                Err(refusal) => Refused::from(refusal),
                Ok(_) => Refused::cannot_inspect(),
            };
            return Err(plan.refuse(session, Protocol::Https, refused));
        }
        Ok(plan)
    }

    /// Whether there is an address that may be dialled, before anybody is told that there is a way. A name
    /// that no rule has is resolved for a request that is allowed and not before: it may be made to carry
    /// something to whoever answers for it.
    ///
    /// # Errors
    ///
    /// The refusal, or what is wrong with the upstream.
    pub async fn check_addresses(&self, session: &Session) -> Result<(), Refused> {
        if !session.egress().names(&self.destination) {
            return Ok(());
        }
        let protocol = if self.https.is_some() { Protocol::Https } else { Protocol::Http };
        let decision = session.egress().connect(&self.destination, protocol);
        let permit = decision.permit_after_approval().map_err(Refused::from)?;
        match addresses(session, &permit).await {
            Ok(_) => Ok(()),
            Err(refused) => Err(self.refuse(session, protocol, refused)),
        }
    }

    fn subject(&self, protocol: Protocol) -> Subject {
        let destination = Some(self.destination.clone());
        Subject::Connection { destination, protocol: Some(protocol) }
    }

    fn refuse(&self, session: &Session, protocol: Protocol, refused: Refused) -> Refused {
        session.refuse(session.number(), self.subject(protocol), &refused);
        refused
    }

    /// The refusal of a host whose name carries what must not leave.
    fn betrayed(
        &self,
        session: &Session,
        number: u64,
        permit: &Permit,
        meter: &Meter,
        refusal: CredentialRefusal,
    ) -> Refused {
        let refused = Refused::from(refusal.clone());
        session.credential(CredentialEvent {
            number,
            credential: None,
            destination: self.destination.clone(),
            rule: permit.rule().to_string(),
            refusal: Some(refusal),
        });
        session.ended(number, Some(refused.status), meter, refused.code);
        refused
    }

    async fn passage(
        &self,
        session: &Session,
        protocol: Protocol,
        decision: Decision,
    ) -> Result<Passage, Refused> {
        let number = session.number();
        let destination = &self.destination;
        let asked = Asked {
            destination,
            protocol,
            method: "",
            target: "",
            body: None,
            body_sha256: None,
            fields: None,
        };
        let (subject, spends) = (self.subject(protocol), Spends { is_unsafe: true, bytes_out: 0 });
        let (permit, meter) = session.permit(number, decision, subject, asked, spends).await?;
        let looked = session.seams.credentials.look_at_host(&self.destination.host.bare());
        looked.map_err(|refusal| self.betrayed(session, number, &permit, &meter, refusal))?;
        Ok(Passage { number, meter: Arc::new(meter), permit })
    }
}

impl Passage {
    /// A connection to a checked address.
    ///
    /// # Errors
    ///
    /// The refusal, or what is wrong with the upstream; it is on record.
    pub async fn dial(&self, session: &Session) -> Result<Socket, Refused> {
        let connected = match addresses(session, &self.permit).await {
            Ok(addresses) => dial(session, &addresses).await,
            Err(refused) => Err(refused),
        };
        connected.inspect_err(|refused| {
            let how = (refused.code, Failure::of(refused));
            session.ended_by(self.number, Some(refused.status), &self.meter, how);
        })
    }
}
