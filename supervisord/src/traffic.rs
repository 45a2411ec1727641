//! The way out of a sandbox: what it takes from a policy that allows anything, and the serving of the
//! sandbox's sockets for as long as it lives.
//!
//! A policy that allows nothing has none: there are no sockets, and nothing of this file is used.

mod approvals;
mod closed;
mod environment;
mod gauges;
mod kept;
mod ledger;
mod recorder;

use std::convert::Infallible;
use std::fmt;
use std::fs;
use std::future::pending;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use supervisor_api::{ApiError, ErrorCode, Execution, ExecutionId, SessionId, Subject};
use supervisor_egress::{
    Authority, Identity, Limits, Listeners, Names, Roots, RootsError, Seams, Settings, Shared,
    Traffic,
};
use supervisor_launch::Descriptor;
use supervisor_policy::{PolicySet, Resolved};
use tokio::sync::watch;

use crate::confine;
use crate::launcher::Sandbox;
use crate::places::Places;
use crate::settings;
use crate::supervisor::{Inner, internal};
use crate::traffic::approvals::Approvals;
use crate::traffic::kept::KeptWay;
use crate::traffic::ledger::Ledger;
use crate::traffic::recorder::Recorder;

pub use closed::ClosedWay;
pub use gauges::Gauges;

/// Whose traffic it is.
#[derive(Debug, Clone, Copy)]
pub struct Whose {
    /// The session.
    pub session: SessionId,
    /// The execution.
    pub execution: ExecutionId,
    /// Their owner.
    pub uid: u32,
}

/// The way out of one sandbox.
pub struct Way {
    traffic: Traffic,
    authority: Arc<Authority>,
    listeners: supervisor_launch::Listeners,
    environment: Vec<(String, String)>,
    /// True once a decision could not be recorded.
    unrecorded: watch::Receiver<bool>,
}

/// Bytes of a file of root certificates at the most; the host's own, of a hundred and fifty, has a quarter of a MiB.
const MAX_ROOTS: usize = 16 << 20;

/// What the host has for all traffic: its root certificates, name servers and table of hosts. Read
/// before the daemon gives up what it doesn't need later. `named` are files with more certificates.
///
/// # Errors
/// A named file can't be used, or the system doesn't say how many descriptors there may be.
pub fn of_the_host(named: &[PathBuf]) -> Result<Option<Arc<Shared>>, String> {
    let mut certificates = Vec::new();
    for path in named {
        let shown = |error: &dyn fmt::Display| format!("{}: {error}", path.display());
        let pem = settings::read(path, MAX_ROOTS).map_err(|error| shown(&error))?;
        let found = Roots::certificates(&pem).map_err(|error| shown(&in_full(&error)))?;
        certificates.extend(found);
    }
    let roots = match Roots::of_the_host_and(certificates) {
        Ok(roots) => roots,
        Err(error) => {
            tracing::warn!(error = in_full(&error), "no upstream can be verified: no way out");
            return Ok(None);
        }
    };
    // A host without them has no name servers, or no table.
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let names = Names::of_the_host(&read("/etc/resolv.conf"), &read("/etc/hosts"));
    let (descriptors, _) = confine::descriptors().map_err(|error| error.to_string())?;
    let limits = Limits::default().within(descriptors);
    Ok(Some(Arc::new(Shared::new(Settings { roots, names, limits }))))
}

fn in_full(error: &RootsError) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    format!("{error}: {cause}")
}

impl Way {
    /// The sockets that a policy wants for a sandbox's way out, if it has any.
    ///
    /// # Errors
    /// When the policy wants one that can't be made.
    pub fn sockets(
        inner: &Inner,
        policy: &Resolved,
    ) -> Result<Option<supervisor_launch::Listeners>, ApiError> {
        let egress = policy.egress();
        if egress.is_empty() {
            return Ok(None);
        }
        let listeners = supervisor_launch::Listeners::new(&egress.ports()).ok_or_else(|| {
            let most = supervisor_launch::MAX_PORTS;
            let problem = format!(
                "the policy's egress has more than {most} ports besides 80 and 443, or 53 or {}",
                supervisor_launch::PROXY_PORT
            );
            ApiError::new(ErrorCode::PolicyDenied, problem)
                .with_hint("have the policy name fewer ports, and none that the sandbox needs")
        })?;
        shared(inner).map(|_| Some(listeners))
    }

    /// The way out of a sandbox that outlived the daemon it was made by, under the policy of its name that
    /// is in force now; a policy that is gone lets nothing out. Nothing if it never had one.
    ///
    /// # Errors
    /// When it can't be had again.
    pub fn take_over(inner: &Arc<Inner>, execution: &Execution) -> Result<Option<Self>, ApiError> {
        let Some(kept) = kept::take_over(&inner.places, execution.id).map_err(internal)? else {
            return Ok(None);
        };
        let generation = inner.settings.current();
        let policy = match generation.policies.resolve(&execution.policy.name) {
            Some(policy) => policy.clone(),
            None => nothing_leaves()?,
        };
        let whose =
            Whose { session: execution.session, execution: execution.id, uid: execution.owner_uid };
        Self::through(inner, &policy, whose, kept).map(Some)
    }

    fn through(
        inner: &Arc<Inner>,
        policy: &Arc<Resolved>,
        whose: Whose,
        kept: KeptWay,
    ) -> Result<Self, ApiError> {
        let shared = shared(inner)?.clone();
        let KeptWay { authority, listeners, taken_over } = kept;
        let authority = Arc::new(authority);
        let identity = Identity {
            session: whose.session.to_string().into(),
            execution: whose.execution.to_string().into(),
            uid: whose.uid,
        };
        let vault = inner.credentials.vault();
        let environment = environment::environment(policy.egress(), vault, &identity.session)?;
        let subject = Subject {
            session: Some(whose.session),
            execution: Some(whose.execution),
            uid: Some(whose.uid),
        };
        let (told, unrecorded) = watch::channel(false);
        let refusals = inner.refused_traffic.clone();
        let recorder =
            Recorder::new(inner.audit.clone(), refusals.clone(), subject, policy.name(), told);
        let seams = Seams {
            recorder: Arc::new(recorder),
            ledger: Arc::new(Ledger::new(
                inner.budgets.clone(),
                (inner.audit.clone(), refusals),
                subject,
            )),
            credentials: vault.clone(),
            approvals: Arc::new(Approvals::new(inner.clone(), policy.name(), whose)),
        };
        let traffic =
            Traffic::new(shared, identity, policy.clone(), authority.clone(), taken_over, seams)
                .map_err(|error| unusable(&error))?;
        inner.gauges.add(whose.execution, traffic.gauge());
        Ok(Self { traffic, authority, listeners, environment, unrecorded })
    }

    /// Keeps what a daemon that comes back needs of it.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn keep(&self, places: &Places, id: ExecutionId) -> io::Result<()> {
        kept::keep(places, id, &self.authority, self.listeners, 0)
    }

    /// The variables by which programs find the proxy, the certificates and their placeholders.
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// The certificate of the sandbox's own authority, in PEM.
    pub fn certificate(&self) -> String {
        self.authority.pem()
    }

    /// Takes the sandbox's sockets. `None` if the launcher has not given all of them.
    pub fn doors(&self, sandbox: &mut Sandbox) -> Option<Listeners> {
        let ports = self.listeners.ports().zip(Descriptor::PORTS);
        Some(Listeners {
            proxy: sandbox.take(Descriptor::Proxy)?,
            http: sandbox.take(Descriptor::Http)?,
            tls: sandbox.take(Descriptor::Tls)?,
            dns: sandbox.take(Descriptor::Dns)?,
            dns_tcp: sandbox.take(Descriptor::DnsTcp)?,
            ports: ports
                .map(|(port, place)| Some((port, sandbox.take(place)?)))
                .collect::<Option<_>>()?,
        })
    }

    /// Serves the sandbox until this is dropped, or until a decision could not be recorded: from then
    /// on it has no way out.
    pub async fn serve(&self, doors: Option<Listeners>) -> Infallible {
        let mut unrecorded = self.unrecorded.clone();
        let Some(doors) = doors else {
            tracing::error!("the launcher gave a sandbox without its sockets: it has no way out");
            return pending().await;
        };
        tokio::select! {
            biased;
            _ = unrecorded.wait_for(|unrecorded| *unrecorded) => {
                tracing::error!("a decision could not be recorded: its sandbox has no way out");
            }
            ended = self.traffic.serve(doors) => if let Err(error) = ended {
                tracing::error!(%error, "a sandbox's sockets can't be served: it has no way out");
            },
        }
        pending().await
    }
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way").field("traffic", &self.traffic).finish_non_exhaustive()
    }
}

/// What all traffic has in common.
fn shared(inner: &Inner) -> Result<&Arc<Shared>, ApiError> {
    inner.traffic.as_ref().ok_or_else(|| {
        let problem = "the policy allows traffic, and no upstream's certificate can be verified";
        ApiError::new(ErrorCode::Unavailable, problem)
            .with_hint("install the host's root certificates and restart supervisord")
    })
}

/// A policy without any rule for traffic, so that what is tried is answered and recorded.
fn nothing_leaves() -> Result<Arc<Resolved>, ApiError> {
    let policies = PolicySet::builtin().map_err(internal)?;
    let strict = policies.resolve("untrusted-strict").filter(|policy| policy.egress().is_empty());
    strict.cloned().ok_or_else(|| internal("the policy without traffic is not built in"))
}

/// A policy that binds a credential to a place that no request has.
fn unusable(error: &supervisor_egress::UnusableBinding) -> ApiError {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    ApiError::new(ErrorCode::PolicyDenied, format!("{error}: {cause}"))
        .with_hint("have the policy's binding corrected; supervisorctl policy check says where")
}
