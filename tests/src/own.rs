//! A supervisor of a test's own: a launcher as root, a daemon as an account of its own, both with
//! their files in a directory that goes away. At its end nothing may be left of it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use crate::DAEMON;
use crate::baseline::{Baseline, assert_gone};
use crate::client::Client;
use crate::disk;
use crate::process::Process;
use crate::settings::Settings;
use crate::shipped;
use crate::wait::{until, until_true};

/// The file in the state directory that says how far a daemon's clock is turned.
const CLOCK: &str = "clock";

/// A supervisor that runs.
#[derive(Debug)]
pub(crate) struct Own {
    directory: TempDir,
    settings: Settings,
    launcher: Process,
    daemon: Process,
    /// Every launcher there was.
    launchers: Vec<u32>,
    baseline: Option<Baseline>,
}

impl Own {
    /// A supervisor with these settings.
    #[track_caller]
    pub(crate) fn with(settings: Settings) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "the end-to-end tests need root");
        let directory = tempfile::Builder::new().prefix("supervisor-test-").tempdir().unwrap();
        lay_out(directory.path(), &settings);
        let launcher = start_launcher(directory.path());
        let without = [("SUPERVISORD_WITHOUT", settings.without)];
        let variables = if settings.without.is_empty() { &without[..0] } else { &without[..] };
        let daemon = start_daemon(directory.path(), variables);
        let launchers = vec![launcher.pid()];
        let mut world = Self { directory, settings, launcher, daemon, launchers, baseline: None };
        world.wait_for_daemon();
        let (daemon, launcher) = (world.daemon.pid(), world.launcher.pid());
        world.baseline = Some(Baseline::take(world.path(), daemon, launcher));
        world
    }

    /// The API's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path().join("run/api.sock")
    }

    /// The daemon's state directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// The directory of all that is this supervisor's.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The launcher's pid.
    pub(crate) fn launcher_pid(&self) -> u32 {
        self.launcher.pid()
    }

    /// The daemon's pid.
    pub(crate) fn daemon_pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// The daemon.
    pub(crate) fn daemon(&mut self) -> &mut Process {
        &mut self.daemon
    }

    /// The launcher.
    pub(crate) fn launcher(&mut self) -> &mut Process {
        &mut self.launcher
    }

    /// Starts the daemon again after it was ended in one way or another, and waits until it answers.
    #[track_caller]
    pub(crate) fn start_daemon(&mut self) {
        assert!(!self.daemon.runs());
        self.daemon = start_daemon(self.path(), &[]);
        self.wait_for_daemon();
        self.renew();
    }

    /// Starts the daemon again, to die at a point of its own work (`POINT:N`), which debug builds know. Returns
    /// when it answers or has died already, and says whether it answers.
    #[track_caller]
    pub(crate) fn start_doomed_daemon(&mut self, fault: &str) -> bool {
        assert!(!self.daemon.runs());
        self.daemon = start_daemon(self.path(), &[("SUPERVISORD_FAULT", fault)]);
        self.answers()
    }

    /// Starts the daemon again if it will start, which it says.
    #[track_caller]
    pub(crate) fn start_daemon_if_it_can(&mut self) -> bool {
        assert!(!self.daemon.runs());
        self.daemon = start_daemon(self.path(), &[]);
        self.answers()
    }

    /// Whether the daemon comes to answer, and doesn't end before.
    #[track_caller]
    fn answers(&mut self) -> bool {
        let socket = self.socket();
        let client = Client::new(socket.clone(), None);
        let mut answers = false;
        until_true("the daemon answers or dies", || {
            answers = is_open_to_all(&socket) && client.call("GET", "/v1/doctor", None).is_ok();
            answers || !self.daemon.runs()
        });
        answers
    }

    /// Turns the daemon's clock so many seconds away from the host's.
    #[track_caller]
    pub(crate) fn turn_clock(&self, seconds: i64) {
        let (new, clock) = (self.state().join("clock.new"), self.state().join(CLOCK));
        assert!(clock.exists(), "the settings have no clock");
        fs::write(&new, seconds.to_string()).unwrap();
        chown(&new, Some(DAEMON), Some(DAEMON)).unwrap();
        fs::rename(&new, &clock).unwrap(); // never read half
    }

    /// Repairs a state directory that is a disk as a boot of the host does, and starts both programs anew.
    #[track_caller]
    pub(crate) fn mend_state(&mut self) {
        self.daemon.clear_away();
        self.launcher.end();
        disk::mend(self.path());
        self.start_launcher();
        self.start_daemon();
        self.baseline = Some(Baseline::take(self.path(), self.daemon.pid(), self.launcher.pid()));
    }

    /// Fails unless nothing of any execution is on the host.
    #[track_caller]
    pub(crate) fn expect_nothing_left(&self) {
        self.unpark();
        if let Some(baseline) = &self.baseline {
            baseline.assert_back(self.daemon.pid(), self.launcher.pid(), &self.launchers);
        }
    }

    /// Starts the launcher again. The daemon must have ended.
    #[track_caller]
    pub(crate) fn start_launcher(&mut self) {
        assert!(!self.launcher.runs() && !self.daemon.runs());
        self.launcher = start_launcher(self.path());
        self.launchers.push(self.launcher.pid());
    }

    /// Ends what still runs, and fails if that or anything before left something behind.
    #[track_caller]
    fn verify(&mut self) {
        assert!(self.launcher.runs(), "the launcher ended: {}", self.launcher.words());
        assert!(self.daemon.runs(), "the daemon ended: {}", self.daemon.words());
        let root = Client::new(self.socket(), None);
        let all = root.cancel_all(|_| true);
        self.unpark();
        let kept: BTreeSet<_> = all.iter().map(ToString::to_string).collect();
        if let Some(baseline) = self.baseline.take() {
            baseline.assert_back(self.daemon.pid(), self.launcher.pid(), &self.launchers);
        }
        self.daemon.end();
        self.launcher.end();
        assert_gone(&self.launchers);
        let directories = names(&self.state().join("executions"));
        let strange: Vec<_> = directories.difference(&kept).collect();
        assert!(strange.is_empty(), "files without a record: {strange:?}");
    }

    /// Has nothing parked any more: it never is under settings that are no more.
    #[track_caller]
    fn unpark(&self) {
        if self.settings.tables.contains("[warm]") {
            let root = Client::new(self.socket(), None);
            let reloaded = root.call("POST", "/v1/reload", None).expect("the daemon answers");
            assert!(reloaded.status < 300, "{}", String::from_utf8_lossy(&reloaded.body));
        }
    }

    #[track_caller]
    fn wait_for_daemon(&mut self) {
        let socket = self.socket();
        let client = Client::new(socket.clone(), None);
        until_true("the daemon answers", || {
            assert!(self.daemon.runs(), "the daemon ended: {}", self.daemon.words());
            is_open_to_all(&socket) && client.call("GET", "/v1/doctor", None).is_ok()
        });
    }

    fn renew(&mut self) {
        let (daemon, launcher) = (self.daemon.pid(), self.launcher.pid());
        if let Some(baseline) = &mut self.baseline {
            baseline.renew(daemon, launcher);
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.verify();
        } else {
            eprintln!("the daemon said:\n{}", self.daemon.words());
            eprintln!("the launcher said:\n{}", self.launcher.words());
        }
        self.daemon.clear_away();
        match std::thread::panicking() {
            true => self.launcher.leave(),
            false if self.launcher.runs() => self.launcher.end(), // not killed: it removes its cgroup
            false => {}
        }
        let Settings { state_bytes, state_disk, workspaces_disk, shared_disk, .. } = &self.settings;
        if state_bytes.or(*state_disk).or(*shared_disk).is_some() {
            umount2(&self.state(), MntFlags::MNT_DETACH).ok();
        }
        if workspaces_disk.or(*shared_disk).is_some() {
            umount2(&self.path().join("workspaces"), MntFlags::MNT_DETACH).ok();
        }
    }
}

fn lay_out(directory: &Path, settings: &Settings) {
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(directory, 0o755);
    if let Some(bytes) = settings.shared_disk {
        disk::share(directory, bytes);
    }
    for (name, permissions) in [("run", 0o755), ("state", 0o700)] {
        let path = directory.join(name);
        fs::create_dir_all(&path).unwrap();
        if name == "state"
            && let Some(bytes) = settings.state_bytes
        {
            let size = format!("size={bytes}");
            mount(Some("none"), &path, Some("tmpfs"), MsFlags::empty(), Some(size.as_str()))
                .expect("a file system of its own");
        }
        if let ("state", Some(bytes)) = (name, settings.state_disk) {
            disk::make(directory, name, bytes);
        }
        if name == "state" && settings.has_clock {
            fs::write(path.join(CLOCK), "0").unwrap();
        }
        chown(&path, Some(DAEMON), Some(DAEMON)).unwrap();
        mode(&path, permissions);
    }
    let workspaces = directory.join("workspaces");
    fs::create_dir_all(&workspaces).unwrap();
    if let Some(bytes) = settings.workspaces_disk {
        disk::make(directory, "workspaces", bytes);
    }
    mode(&workspaces, 0o700);
    let images = directory.join("images");
    fs::create_dir(&images).unwrap();
    mode(&images, 0o700);
    fs::write(directory.join("config.toml"), settings.configuration(directory)).unwrap();
    let policies = directory.join("policies");
    fs::create_dir(&policies).unwrap();
    for (name, text) in &settings.policies {
        fs::write(policies.join(name), text).unwrap();
    }
    if settings.policies.is_empty() {
        for (name, text) in shipped::POLICIES {
            fs::write(policies.join(name), text).unwrap();
        }
    }
}

fn start_launcher(directory: &Path) -> Process {
    let socket = directory.join("run/launcher.sock");
    let arguments = [
        "--listen".to_owned(),
        socket.display().to_string(),
        "--daemon-uid".to_owned(),
        DAEMON.to_string(),
        "--cgroup".to_owned(),
        "private".to_owned(),
        "--disk".to_owned(),
        directory.join("state").display().to_string(),
        "--workspaces".to_owned(),
        directory.join("workspaces").display().to_string(),
        "--images".to_owned(),
        directory.join("images").display().to_string(),
    ];
    let log = directory.join("launcher.log");
    let mut launcher = Process::start("supervisor-launcher", 0, &arguments, log).unwrap();
    until("the launcher listens", || {
        assert!(launcher.runs(), "the launcher ended: {}", launcher.words());
        is_listening(&socket).then_some(())
    });
    launcher
}

fn start_daemon(directory: &Path, variables: &[(&str, &str)]) -> Process {
    let configuration = directory.join("config.toml").display().to_string();
    let arguments = ["--config".to_owned(), configuration];
    let log = directory.join("daemon.log");
    let clock = directory.join("state").join(CLOCK);
    let name = clock.display().to_string();
    let mut all = variables.to_vec();
    if clock.exists() {
        all.push(("SUPERVISORD_CLOCK", &name));
    }
    Process::start_with("supervisord", DAEMON, &arguments, log, &all).unwrap()
}

/// Whether somebody listens on a socket: proc_pid_net_unix(5), the flag is `__SO_ACCEPTCON`. A file
/// that a dead process left has no line.
fn is_listening(socket: &Path) -> bool {
    let (table, socket) =
        (fs::read_to_string("/proc/thread-self/net/unix").unwrap(), socket.display());
    let end = format!(" {socket}");
    table.lines().any(|line| line.ends_with(&end) && line.split(' ').nth(3) == Some("00010000"))
}

fn is_open_to_all(socket: &Path) -> bool {
    is_listening(socket)
        && fs::metadata(socket).is_ok_and(|found| found.permissions().mode() & 0o777 == 0o666)
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
