//! The daemon's configuration: one TOML file of root's. Unknown keys are errors.

use std::error::Error;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::Deserialize;
use supervisor_api::Mode;

use crate::admission::Bounds;
use crate::audit;
use crate::budget::ConfiguredBudget;
use crate::credentials::Configured;
use crate::dbus::Address;
use crate::room;
use crate::settings;
use crate::warm;

/// Bytes of the file at the most: a thousand credentials, with comments.
const MAX_FILE: usize = 1 << 20;

/// What the configuration says. Every key may be left out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The API's socket.
    pub socket: PathBuf,
    /// Where records, output and artifacts are kept.
    pub state: PathBuf,
    /// Where policy files are.
    pub policies: PathBuf,
    /// The launcher's socket.
    pub launcher: PathBuf,
    /// Whether missing controls refuse or weaken.
    pub mode: Mode,
    /// The policy of a submission that names none.
    pub default_policy: String,
    /// Who may see and end everybody's executions, and reload, besides root.
    pub admins: Group,
    /// The bus to serve on: `system`, `off` or an address.
    pub dbus: Address,
    /// Who may answer what a policy has a person asked, besides administrators.
    pub operators: Operators,
    /// A socket for the metrics alone, for whoever its mode lets connect.
    pub metrics: Option<PathBuf>,
    /// How many executions there may be.
    pub bounds: ConfiguredBounds,
    /// How many sandboxes may be parked ahead.
    pub warm: ConfiguredWarm,
    /// How the audit log is kept.
    pub audit: ConfiguredAudit,
    /// What users may spend, whatever the policy.
    pub uid_budget: Vec<ConfiguredBudget>,
    /// The credentials that policies may bind.
    pub credential: Vec<Configured>,
    /// Networks besides the public ones in which token endpoints may be dialled.
    pub token_endpoint_networks: Vec<IpNet>,
    /// Files of root certificates in PEM, besides the host's own, that upstreams are verified against.
    pub upstream_roots: Vec<PathBuf>,
}

/// Users, by number.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Operators {
    /// User ids.
    pub uids: Vec<u32>,
}

/// How the audit log is kept.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfiguredAudit {
    /// Bytes of one file, about; 64 KiB at the least.
    pub file_bytes: u64,
    /// Bytes of all files, about; four files at the least. The oldest go, and the log says so.
    pub total_bytes: u64,
    /// Whether every record also goes to journald.
    pub journal: bool,
}

/// Users and groups, by name or by number.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Group {
    /// Users of this host.
    pub users: Vec<String>,
    /// Groups of this host.
    pub groups: Vec<String>,
    /// User ids.
    pub uids: Vec<u32>,
    /// Group ids.
    pub gids: Vec<u32>,
}

/// How many executions there may be.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfiguredBounds {
    /// At once, of all callers.
    pub running: usize,
    /// At once, of one uid.
    pub running_per_uid: usize,
    /// Waiting, of all callers.
    pub waiting: usize,
    /// Waiting, of one uid.
    pub waiting_per_uid: usize,
    /// The sum of `memory_max` of what runs of one uid, in bytes; 0 is no ceiling.
    pub memory_per_uid: u64,
    /// The sum of `workspace_bytes` of what runs and of the sessions of one uid; 0 is no ceiling.
    pub workspace_bytes_per_uid: u64,
    /// Sessions, of one uid; 0 is none.
    pub sessions_per_uid: usize,
    /// Bytes of the submissions of what waits and runs, of all callers; 0 is no ceiling.
    pub submission_bytes: u64,
    /// The same, of one uid; 0 is no ceiling.
    pub submission_bytes_per_uid: u64,
    /// Bytes that are kept of the finished executions of one uid: output, artifacts and records. Those that
    /// ended first go. A quarter of the disk is the most in any case; 0 is no ceiling.
    pub kept_bytes_per_uid: u64,
    /// Bytes of the state's file system that executions leave to records, and a sixteenth of it at the most; 0 is none.
    pub state_free_bytes: u64,
}

/// How many sandboxes may be parked ahead, each with an interpreter that waits for its program.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfiguredWarm {
    /// Bytes of memory of all that are parked.
    pub memory: u64,
    /// Of all callers; 0 parks nothing.
    pub parked: usize,
    /// Of one uid.
    pub parked_per_uid: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            socket: PathBuf::from("/run/supervisord/api.sock"),
            state: PathBuf::from("/var/lib/supervisord"),
            policies: PathBuf::from("/etc/supervisord/policies"),
            launcher: PathBuf::from("/run/supervisord-launcher/launcher.sock"),
            mode: Mode::Strict,
            default_policy: "default".to_owned(),
            admins: Group::default(),
            dbus: Address::System,
            operators: Operators::default(),
            metrics: None,
            bounds: ConfiguredBounds::default(),
            warm: ConfiguredWarm::default(),
            audit: ConfiguredAudit::default(),
            uid_budget: Vec::new(),
            credential: Vec::new(),
            token_endpoint_networks: Vec::new(),
            upstream_roots: Vec::new(),
        }
    }
}

impl Default for ConfiguredBounds {
    /// A sandbox that does nothing costs about a megabyte, one that works a share of the cores:
    /// more at once than this only makes each slower on a machine of usual size. How much memory one
    /// uid may have depends on the machine, which its administrator knows; 64 GiB of workspaces is what
    /// the built-in floor allows a single one. Submissions are in the daemon's memory: a uid may have five of the
    /// largest there. What is kept of a uid is twenty-five of the most that the built-in default policy lets one
    /// execution leave, 512 MiB of artifacts and 64 MiB of each stream.
    fn default() -> Self {
        Self {
            running: 64,
            running_per_uid: 32,
            waiting: 4096,
            waiting_per_uid: 1024,
            memory_per_uid: 0,
            workspace_bytes_per_uid: 64 << 30,
            sessions_per_uid: 32,
            submission_bytes: 512 << 20,
            submission_bytes_per_uid: 128 << 20,
            kept_bytes_per_uid: 16 << 30,
            state_free_bytes: room::USUAL,
        }
    }
}

impl Default for ConfiguredWarm {
    /// A parked Python is about 10 MiB; no more are parked than are asked for.
    fn default() -> Self {
        Self { memory: 256 << 20, parked: 16, parked_per_uid: 4 }
    }
}

impl From<&ConfiguredWarm> for warm::Bounds {
    fn from(configured: &ConfiguredWarm) -> Self {
        let ConfiguredWarm { memory, parked, parked_per_uid } = *configured;
        // Half of the launcher's sandboxes are for what runs.
        let parked = parked.min(supervisor_launch::MAX_SANDBOXES as usize / 2);
        Self { memory, parked, parked_per_uid }
    }
}

impl Default for ConfiguredAudit {
    fn default() -> Self {
        let audit::Settings { file_bytes, total_bytes, journal } = audit::Settings::default();
        Self { file_bytes, total_bytes, journal }
    }
}

impl From<&ConfiguredAudit> for audit::Settings {
    fn from(configured: &ConfiguredAudit) -> Self {
        let ConfiguredAudit { file_bytes, total_bytes, journal } = *configured;
        Self { file_bytes, total_bytes, journal }
    }
}

impl From<&ConfiguredBounds> for Bounds {
    fn from(configured: &ConfiguredBounds) -> Self {
        Self {
            // The launcher has ids for so many sandboxes.
            running: configured.running.clamp(1, supervisor_launch::MAX_SANDBOXES as usize - 1),
            running_per_uid: configured.running_per_uid.max(1),
            waiting: configured.waiting,
            waiting_per_uid: configured.waiting_per_uid,
            memory_per_uid: configured.memory_per_uid,
            workspace_bytes_per_uid: configured.workspace_bytes_per_uid,
            kept_per_uid: configured.sessions_per_uid,
            submission_bytes: configured.submission_bytes,
            submission_bytes_per_uid: configured.submission_bytes_per_uid,
        }
    }
}

impl Config {
    /// Reads a configuration file.
    pub fn read(path: &Path) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(toml::from_str(&settings::read_text(path, MAX_FILE)?)?)
    }
}
