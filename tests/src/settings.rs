//! How a supervisor under test is set up.

use std::path::{Path, PathBuf};

use supervisor_api::Mode;

/// Tests count what is there, so nothing is parked where they don't say how much is.
const NOTHING_PARKED: &str = "[warm]\nparked = 0\n";

/// What differs from test to test.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether missing controls refuse or weaken.
    pub mode: Mode,
    /// Executions at once, of all callers.
    pub running: usize,
    /// Executions at once, of one uid.
    pub running_per_uid: usize,
    /// Executions that wait, of one uid.
    pub waiting_per_uid: usize,
    /// The sum of the memory limits of what runs of one uid; 0 is no ceiling.
    pub memory_per_uid: u64,
    /// Uids of administrators besides root.
    pub admins: Vec<u32>,
    /// Policy files by name; the shipped ones if there are none.
    pub policies: Vec<(String, String)>,
    /// The bus to serve on: an address, or `off`.
    pub dbus: String,
    /// Whether the metrics have a socket of their own.
    pub metrics: bool,
    /// Files of roots that upstreams are verified against, besides the host's.
    pub upstream_roots: Vec<PathBuf>,
    /// Keys for the start of the configuration.
    pub keys: String,
    /// Tables for the end of the configuration.
    pub tables: String,
    /// The state directory is a file system of its own with so many bytes.
    pub state_bytes: Option<u64>,
    /// The state directory is an ext4 of its own with so many bytes, which an error turns read-only.
    pub state_disk: Option<u64>,
    /// The directory of workspaces is such a disk.
    pub workspaces_disk: Option<u64>,
    /// The state directory and the workspaces lie on one ext4 of their own with so many bytes.
    pub shared_disk: Option<u64>,
    /// The daemon has a clock that the test can turn; debug builds know how.
    pub has_clock: bool,
    /// Checks that the daemon is started without at first; debug builds know how.
    pub without: &'static str,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::BestEffort,
            running: 16,
            running_per_uid: 16,
            waiting_per_uid: 256,
            memory_per_uid: 0,
            admins: Vec::new(),
            policies: Vec::new(),
            dbus: "off".to_owned(),
            metrics: false,
            upstream_roots: Vec::new(),
            keys: String::new(),
            tables: String::new(),
            state_bytes: None,
            state_disk: None,
            workspaces_disk: None,
            shared_disk: None,
            has_clock: false,
            without: "",
        }
    }
}

impl Settings {
    /// The daemon's configuration for a supervisor in this directory.
    pub(crate) fn configuration(&self, directory: &Path) -> String {
        let place = |name: &str| directory.join(name).display().to_string();
        let mode = match self.mode {
            Mode::Strict => "strict",
            Mode::BestEffort => "best-effort",
        };
        let metrics = match self.metrics {
            true => format!("metrics = {:?}\n", place("run/metrics.sock")),
            false => String::new(),
        };
        metrics
            + &self.keys
            + &format!(
                "socket = {:?}\nstate = {:?}\npolicies = {:?}\nlauncher = {:?}\nmode = {mode:?}\ndbus = {:?}\nupstream_roots = {:?}\n\
             [admins]\nuids = {:?}\n[bounds]\nrunning = {}\nrunning_per_uid = {}\n\
              waiting_per_uid = {}\nmemory_per_uid = {}\n",
                place("run/api.sock"),
                place("state"),
                place("policies"),
                place("run/launcher.sock"),
                self.dbus,
                self.upstream_roots,
                self.admins,
                self.running,
                self.running_per_uid,
                self.waiting_per_uid,
                self.memory_per_uid,
            )
            + &self.tables
            + if self.tables.contains("[warm]") { "" } else { NOTHING_PARKED }
    }
}
