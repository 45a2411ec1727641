//! What the configuration and the policy files say: read together, in force together, replaced together.
//! Whatever is wrong with any of them, what was in force stays. A directory of policies that is not there, or a
//! floor that is there no more, is wrong as well: what a deployment or a mount forgot must not let anybody do more.

mod files;

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use supervisor_api::{Mode, PolicyReference};
use supervisor_egress::credential::CredentialName;
use supervisor_policy::egress::ClientOrigins;
use supervisor_policy::{Floor, PolicySet, Resolved};
use tokio::sync::watch;

use crate::accounts;
use crate::admission::Bounds;
use crate::budget::UidBudgets;
use crate::config::Config;
use crate::credentials::{CredentialError, Loaded};
pub use crate::settings::files::{read, read_text};
use crate::supervisor::reference;
use crate::warm;

/// Name of root's floor among the policy files.
const FLOOR: &str = "floor.toml";

/// Name of what the host's package clients answered (`supervisorctl policy hosts`) among them.
const CLIENTS: &str = "clients.toml";

/// What is said of a floor that is not there any more.
const NO_FLOOR: &str = "has bounded all policies so far and is not there any more; put it back, or restart the \
     daemon to have the built-in floor";

/// Why something can't be put in force.
type Cause = Box<dyn Error + Send + Sync>;

/// One reading of the files. It never changes; whoever holds it decides by it to the end.
#[derive(Debug)]
pub struct Generation {
    /// Which one since the daemon started, from 1.
    pub number: u64,
    /// What may be asked for.
    pub policies: PolicySet,
    /// The policy of a submission that names none.
    pub default_policy: String,
    /// What becomes of a submission whose policy needs more than the host can enforce.
    pub mode: Mode,
    /// Uids of administrators, besides root's and the daemon's own.
    pub admin_uids: Vec<u32>,
    /// Gids of administrators.
    pub admin_gids: Vec<u32>,
    /// How many executions there may be.
    pub bounds: Bounds,
    /// Bytes that are kept of the finished executions of one uid; 0 is no ceiling.
    pub kept_bytes_per_uid: u64,
    /// Bytes of the state's file system that executions leave free.
    pub state_free_bytes: u64,
    /// How many sandboxes may be parked.
    pub warm: warm::Bounds,
    /// What each user may spend.
    pub uid_budgets: UidBudgets,
    /// Each policy's name and digest, counted once.
    references: HashMap<String, PolicyReference>,
    /// Whether the floor is root's own and not the built-in one.
    has_own_floor: bool,
}

impl Generation {
    /// The name and digest of a policy, as its executions say them.
    pub fn reference(&self, policy: &Resolved) -> PolicyReference {
        let known = self.references.get(policy.name());
        known.cloned().unwrap_or_else(|| reference(policy))
    }

    /// The names of the policies.
    pub fn policy_names(&self) -> Vec<String> {
        self.policies.iter().map(|policy| policy.name().to_owned()).collect()
    }
}

/// The files and what they said last.
#[derive(Debug)]
pub struct Settings {
    source: Option<Source>,
    current: watch::Sender<Arc<Generation>>,
    /// Held while the files are read: of two readings, the later one is in force afterwards.
    reading: Mutex<()>,
}

/// Where the settings come from, and what of them only a restart changes.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    fixed: [(&'static str, PathBuf); 3],
}

/// The files can't be put in force.
#[derive(Debug)]
pub struct SettingsError {
    what: String,
    cause: Option<Cause>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for SettingsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| cause.as_ref() as _)
    }
}

impl SettingsError {
    fn because(what: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self { what: what.into(), cause: Some(cause.into()) }
    }

    fn refuse(what: impl Into<String>) -> Self {
        Self { what: what.into(), cause: None }
    }

    /// The error and its causes in one line of words.
    pub fn in_full(&self) -> String {
        let mut words = self.to_string();
        let mut cause = self.source();
        while let Some(inner) = cause {
            words.push_str(&format!(": {inner}"));
            cause = inner.source();
        }
        words
    }
}

impl Settings {
    /// The settings of a standalone supervisor, which has no files; `clients` is what a file of that name
    /// would say.
    pub fn builtin(mode: Mode, clients: &str) -> Result<Self, SettingsError> {
        let failed = |error| SettingsError::because("can't use the built-in policies", error);
        let clients = ClientOrigins::load(CLIENTS, clients).map_err(failed)?;
        let floor = Floor::builtin().map_err(failed)?;
        let policies = PolicySet::load_for_clients(PolicySet::builtin_files(), floor, &clients)
            .map_err(failed)?;
        let generation = generation(1, policies, &Config { mode, ..Config::default() })?;
        Ok(Self::of(None, generation))
    }

    /// Reads the files for the first time, and the values of credentials.
    pub fn read(path: &Path) -> Result<(Self, Config, Loaded), SettingsError> {
        let (generation, config, credentials) = read_all(path, 1)?;
        let source = Source { path: path.to_owned(), fixed: fixed(&config) };
        Ok((Self::of(Some(source), generation), config, credentials))
    }

    /// Reads the value of one credential anew, as the configuration now has it.
    pub fn read_credential(&self, name: &CredentialName) -> Result<Loaded, CredentialError> {
        let unknown = || CredentialError::unknown(name);
        let path = &self.source.as_ref().ok_or_else(unknown)?.path;
        let config =
            Config::read(path).map_err(|error| CredentialError::configuration(path, error))?;
        let mut named = config.credential;
        named.retain(|credential| credential.name() == name.as_str());
        if named.is_empty() { Err(unknown()) } else { Loaded::read(&named) }
    }

    fn of(source: Option<Source>, generation: Generation) -> Self {
        let current = watch::Sender::new(Arc::new(generation));
        Self { source, current, reading: Mutex::default() }
    }

    /// What is in force.
    pub fn current(&self) -> Arc<Generation> {
        self.current.borrow().clone()
    }

    /// Tells when something else is in force.
    pub fn follow(&self) -> watch::Receiver<Arc<Generation>> {
        self.current.subscribe()
    }

    /// Reads the files again and, if all of them can be used, puts them in force; `replace` takes the
    /// credentials or refuses them, and `apply` passes on what others hold a copy of. Blocks on the
    /// files.
    pub fn reload(
        &self,
        replace: impl FnOnce(Loaded) -> Result<(), CredentialError>,
        apply: impl FnOnce(&Generation),
    ) -> Result<Arc<Generation>, SettingsError> {
        let source = self.source.as_ref().ok_or_else(|| {
            SettingsError::refuse("a standalone supervisor has no configuration to read anew")
        })?;
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.current();
        let (generation, config, credentials) = read_all(&source.path, before.number + 1)?;
        if before.has_own_floor && !generation.has_own_floor {
            let path = config.policies.join(FLOOR);
            return Err(SettingsError::refuse(format!("{} {NO_FLOOR}", path.display())));
        }
        if let Some((key, _)) = fixed(&config).iter().find(|pair| !source.fixed.contains(pair)) {
            let problem = format!("{key} in {} takes a restart to change", source.path.display());
            return Err(SettingsError::refuse(problem));
        }
        replace(credentials).map_err(unusable_credentials)?;
        let generation = Arc::new(generation);
        self.current.send_replace(generation.clone());
        apply(&generation);
        Ok(generation)
    }
}

fn fixed(config: &Config) -> [(&'static str, PathBuf); 3] {
    [
        ("socket", config.socket.clone()),
        ("state", config.state.clone()),
        ("launcher", config.launcher.clone()),
    ]
}

fn unusable_credentials(error: CredentialError) -> SettingsError {
    SettingsError::because("can't use the credentials", error)
}

fn read_all(path: &Path, number: u64) -> Result<(Generation, Config, Loaded), SettingsError> {
    let failed = || format!("can't use the configuration {}", path.display());
    let config = Config::read(path).map_err(|error| SettingsError::because(failed(), error))?;
    let (policies, has_own_floor) = read_policies(&config.policies)?;
    let generation = Generation { has_own_floor, ..generation(number, policies, &config)? };
    let credentials = Loaded::read(&config.credential).map_err(unusable_credentials)?;
    Ok((generation, config, credentials))
}

fn generation(
    number: u64,
    policies: PolicySet,
    config: &Config,
) -> Result<Generation, SettingsError> {
    if policies.resolve(&config.default_policy).is_none() {
        let name = &config.default_policy;
        return Err(SettingsError::refuse(format!("default_policy: no policy {name:?} is there")));
    }
    let admins = |error| SettingsError::because("can't use the key admins", error);
    let mut admin_uids = accounts::uids(&config.admins.users).map_err(admins)?;
    let mut admin_gids = accounts::gids(&config.admins.groups).map_err(admins)?;
    admin_uids.extend(&config.admins.uids);
    admin_gids.extend(&config.admins.gids);
    let references =
        policies.iter().map(|policy| (policy.name().to_owned(), reference(policy))).collect();
    Ok(Generation {
        number,
        references,
        has_own_floor: false,
        policies,
        default_policy: config.default_policy.clone(),
        mode: config.mode,
        admin_uids,
        admin_gids,
        bounds: Bounds::from(&config.bounds),
        kept_bytes_per_uid: config.bounds.kept_bytes_per_uid,
        state_free_bytes: config.bounds.state_free_bytes,
        warm: warm::Bounds::from(&config.warm),
        uid_budgets: UidBudgets::of(&config.uid_budget)
            .map_err(|error| SettingsError::because("can't use the budgets of users", error))?,
    })
}

/// The policies, and whether root has given them a floor.
fn read_policies(directory: &Path) -> Result<(PolicySet, bool), SettingsError> {
    let failed = |error: Cause| {
        SettingsError::because(format!("can't use the policies in {}", directory.display()), error)
    };
    let mut files = files::read_policies(directory).map_err(|error| failed(error.into()))?;
    let floor = files.remove(FLOOR);
    let has_own_floor = floor.is_some();
    let floor = floor.map_or_else(Floor::builtin, |text| Floor::load(FLOOR, &text));
    let floor = floor.map_err(|error| failed(error.into()))?;
    let clients = match files.remove(CLIENTS) {
        Some(text) => ClientOrigins::load(CLIENTS, &text).map_err(|error| failed(error.into()))?,
        None => ClientOrigins::default(),
    };
    let policies = PolicySet::load_for_clients(files, floor, &clients);
    Ok((policies.map_err(|error| failed(error.into()))?, has_own_floor))
}

#[cfg(test)]
mod tests;
