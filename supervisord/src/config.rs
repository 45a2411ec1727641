//! The daemon's configuration: one TOML file of root's. Unknown keys are errors.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::Deserialize;
use supervisor_api::Mode;

use crate::admission::Bounds;
use crate::credentials::Configured;
use crate::dbus::Address;

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
    /// How many executions there may be.
    pub bounds: ConfiguredBounds,
    /// The credentials that policies may bind.
    pub credential: Vec<Configured>,
    /// Networks besides the public ones in which token endpoints may be dialled.
    pub token_endpoint_networks: Vec<IpNet>,
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
            bounds: ConfiguredBounds::default(),
            credential: Vec::new(),
            token_endpoint_networks: Vec::new(),
        }
    }
}

impl Default for ConfiguredBounds {
    /// A sandbox that does nothing costs about a megabyte, one that works a share of the cores:
    /// more at once than this only makes each slower on a machine of usual size.
    fn default() -> Self {
        Self { running: 64, running_per_uid: 32, waiting: 4096, waiting_per_uid: 1024 }
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
        }
    }
}

impl Config {
    /// Reads a configuration file.
    pub fn read(path: &Path) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(toml::from_str(&fs::read_to_string(path)?)?)
    }
}
