//! What requests share: the daemon, the keys, and what is kept of each sandbox between two requests. All that has to
//! outlive this process is in the daemon: a sandbox is a session with a label.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use supervisor_api::{ExecutionId, Session, SessionId};

use crate::cli::E2bOptions;
use crate::client::Client;

use super::answer::{Kind, Refusal};
use super::contexts::Contexts;
use super::input::Command;
use super::keys::Keys;
use super::watching::Watchers;

/// The label that makes a session a sandbox: its template.
pub const TEMPLATE: &str = "e2b";

/// The label of a sandbox with variables.
pub const VARIABLES: &str = "e2b:variables";

/// The label with the key under which a client asked for a sandbox.
pub const IDEMPOTENCY: &str = "e2b:idempotency-key";

/// What labels of a sandbox's metadata begin with.
pub const METADATA: &str = "e2b.";

/// Templates that every client of E2B knows.
const TEMPLATES: [&str; 2] = ["base", "code-interpreter-v1"];

/// What is kept of a sandbox.
#[derive(Default)]
pub struct Kept {
    /// Whether it is paused.
    pub paused: bool,
    /// The variables of all that runs in it, which are no one's to read afterwards.
    pub variables: Option<BTreeMap<String, String>>,
    /// Commands by the numbers that clients have for them.
    pub commands: HashMap<u32, Arc<Command>>,
    /// Its code contexts.
    pub contexts: Arc<Contexts>,
    /// Those who follow its files.
    pub watchers: Watchers,
}

/// What requests share.
pub struct Endpoint {
    /// The daemon.
    pub client: Client,
    /// The API key.
    pub keys: Keys,
    /// Seconds that a command without a timeout may run.
    pub longest: u64,
    /// The port that it listens on.
    pub port: u16,
    /// Held while a sandbox is made, so that one idempotency key makes one.
    pub creating: tokio::sync::Mutex<()>,
    /// Held while a sandbox is paused or goes on, so that it stands still for one at a time.
    pub pausing: tokio::sync::Mutex<()>,
    policy: Option<String>,
    templates: BTreeMap<String, String>,
    kept: Mutex<HashMap<SessionId, Kept>>,
}

impl Endpoint {
    /// Nothing is kept yet.
    pub fn new(client: Client, keys: Keys, options: &E2bOptions, port: u16) -> Arc<Self> {
        Arc::new(Self {
            client,
            keys,
            longest: options.longest,
            port,
            creating: tokio::sync::Mutex::default(),
            pausing: tokio::sync::Mutex::default(),
            policy: options.policy.clone(),
            templates: options.templates.iter().cloned().collect(),
            kept: Mutex::default(),
        })
    }

    /// The policy of a template's sandboxes; the caller's default if there is none.
    pub fn policy_of(&self, template: &str) -> Result<Option<String>, Refusal> {
        if let Some(policy) = self.templates.get(template) {
            return Ok(Some(policy.clone()));
        }
        if TEMPLATES.contains(&template) {
            return Ok(self.policy.clone());
        }
        let words =
            format!("there is no template {template:?}; `supervisorctl e2b --template` names them");
        Err(Refusal::new(Kind::NotFound, words))
    }

    /// The sandboxes.
    pub async fn sandboxes(&self) -> Result<Vec<Session>, Refusal> {
        let mut sessions = self.client.sessions(false).await?.sessions;
        sessions.retain(is_sandbox);
        let living: HashSet<SessionId> = sessions.iter().map(|session| session.id).collect();
        self.all(|all| all.retain(|id, _| living.contains(id)));
        Ok(sessions)
    }

    /// One of them.
    pub async fn sandbox(&self, id: SessionId) -> Result<Session, Refusal> {
        let missing = || Refusal::new(Kind::NotFound, format!("Sandbox {id} not found"));
        match self.client.session(id).await.map_err(Refusal::from) {
            Ok(session) if is_sandbox(&session) => Ok(session),
            Ok(_) => Err(missing()),
            Err(refusal) if refusal.kind == Kind::NotFound => {
                self.forget(id);
                Err(missing())
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// One that takes commands: it is there and not paused.
    pub async fn running(&self, id: SessionId) -> Result<Session, Refusal> {
        let session = self.sandbox(id).await.map_err(|refusal| match refusal.kind {
            Kind::NotFound => Refusal::gone(Some(id)),
            _ => refusal,
        })?;
        match self.with(id, |kept| kept.paused) {
            true => Err(Refusal::gone(Some(id))),
            false => Ok(session),
        }
    }

    /// The variables of a sandbox. They are in this process alone, so a sandbox outlives them.
    pub fn variables(&self, session: &Session) -> Result<BTreeMap<String, String>, Refusal> {
        let known = self.with(session.id, |kept| kept.variables.clone());
        if known.is_none() && session.labels.0.contains_key(VARIABLES) {
            let words = "the variables that this sandbox was made with went with the process of `supervisorctl \
                         e2b` that made it: make another sandbox";
            return Err(Refusal::new(Kind::Conflict, words));
        }
        Ok(known.unwrap_or_default())
    }

    /// Looks at what is kept of a sandbox, or changes it.
    pub fn with<T>(&self, id: SessionId, look: impl FnOnce(&mut Kept) -> T) -> T {
        self.all(|all| look(all.entry(id).or_default()))
    }

    /// Forgets a sandbox.
    pub fn forget(&self, id: SessionId) {
        self.all(|all| all.remove(&id));
    }

    fn all<T>(&self, look: impl FnOnce(&mut HashMap<SessionId, Kept>) -> T) -> T {
        look(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The number that clients have for a command. It follows from the id, so that a process which has just started
/// has the same.
pub fn number(id: ExecutionId) -> u32 {
    let low = u32::try_from(id.bits() & 0x7fff_ffff).unwrap_or_default();
    low.max(1)
}

fn is_sandbox(session: &Session) -> bool {
    session.labels.0.contains_key(TEMPLATE)
        && session.snapshot_of.is_none()
        && session.holds_changes_of.is_none()
}
