//! The supervisor that a test uses.

use std::path::{Path, PathBuf};

use supervisor_api::ExecutionId;

use crate::DAEMON;
use crate::client::Client;
use crate::disk;
use crate::inspect;
use crate::installed::Installed;
use crate::own::Own;
use crate::process::Process;
use crate::settings::Settings;
use crate::wait::until_true;

/// A supervisor that runs.
#[derive(Debug)]
pub struct World(Supervisor);

#[derive(Debug)]
enum Supervisor {
    Own(Box<Own>),
    Installed(Installed),
}

impl World {
    /// A supervisor as most tests want it, which others may use too.
    #[track_caller]
    pub fn open() -> Self {
        Self::look(false)
    }

    /// The same with nobody else there: for what is measured, or would be in others' way.
    #[track_caller]
    pub fn alone() -> Self {
        Self::look(true)
    }

    /// A supervisor of the test's own with these settings.
    #[track_caller]
    pub fn with(settings: Settings) -> Self {
        Self(Supervisor::Own(Box::new(Own::with(settings))))
    }

    #[track_caller]
    fn look(alone: bool) -> Self {
        match Installed::look(alone) {
            Some(installed) => Self(Supervisor::Installed(installed)),
            None => Self::with(Settings::default()),
        }
    }

    /// Root, who is an administrator.
    pub fn root(&self) -> Client {
        Client::new(self.socket(), None)
    }

    /// An ordinary caller. The installed service has been called before: there, each test's callers have uids
    /// of their own.
    pub fn agent(&self, uid: u32) -> Client {
        match &self.0 {
            Supervisor::Own(own) => Client::new(own.socket(), Some(uid)),
            Supervisor::Installed(installed) => installed.agent(uid),
        }
    }

    /// The group that may use the socket, if not everybody may.
    pub(crate) fn group(&self) -> Option<u32> {
        match &self.0 {
            Supervisor::Own(_) => None,
            Supervisor::Installed(installed) => Some(installed.group()),
        }
    }

    /// The API's socket.
    pub fn socket(&self) -> PathBuf {
        match &self.0 {
            Supervisor::Own(own) => own.socket(),
            Supervisor::Installed(installed) => installed.socket().to_owned(),
        }
    }

    /// The daemon's state directory.
    pub fn state(&self) -> PathBuf {
        match &self.0 {
            Supervisor::Own(own) => own.state(),
            Supervisor::Installed(installed) => installed.state().to_owned(),
        }
    }

    /// The directory of all that is this supervisor's.
    pub fn path(&self) -> &Path {
        match &self.0 {
            Supervisor::Own(own) => own.path(),
            Supervisor::Installed(installed) => installed.state(),
        }
    }

    /// The workspaces of its sessions as the launcher keeps them, each beneath a name that begins with its id.
    pub fn kept_workspaces(&self) -> Vec<PathBuf> {
        let root = self.path().join("workspaces");
        let places = [root.join("projects"), root]; // by what its file system can do
        let entries = places.iter().filter_map(|place| std::fs::read_dir(place).ok()).flatten();
        let paths = entries.flatten().map(|entry| entry.path());
        let is_kept = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.split('-').count() == 4 // id, owner, bytes, inodes
        };
        paths.filter(is_kept).collect()
    }

    /// Where root's images are.
    pub fn images(&self) -> PathBuf {
        match &self.0 {
            Supervisor::Own(own) => own.path().join("images"),
            Supervisor::Installed(_) => PathBuf::from("/var/lib/supervisord-images"),
        }
    }

    /// The daemon's pid.
    #[track_caller]
    pub fn daemon_pid(&self) -> u32 {
        match &self.0 {
            Supervisor::Own(own) => own.daemon_pid(),
            Supervisor::Installed(installed) => installed.daemon_pid(),
        }
    }

    /// The launcher's pid.
    #[track_caller]
    pub fn launcher_pid(&self) -> u32 {
        match &self.0 {
            Supervisor::Own(own) => own.launcher_pid(),
            Supervisor::Installed(installed) => installed.launcher_pid(),
        }
    }

    /// The daemon, to be ended.
    #[track_caller]
    pub fn daemon(&mut self) -> &mut Process {
        self.own().daemon()
    }

    /// The launcher, to be ended.
    #[track_caller]
    pub fn launcher(&mut self) -> &mut Process {
        self.own().launcher()
    }

    /// What a daemon says that is started besides the one that runs, and is refused.
    #[track_caller]
    pub fn second_daemon(&self, configuration: &Path) -> String {
        let words = ["--config".to_owned(), configuration.display().to_string()];
        refused(self.path(), "supervisord", DAEMON, &words)
    }

    /// What a launcher says that is started besides the one that runs, and is refused.
    #[track_caller]
    pub fn second_launcher(&self, socket: &Path, workspaces: &Path) -> String {
        let path = |path: &Path| path.display().to_string();
        let words = [
            ["--listen".to_owned(), path(socket)],
            ["--daemon-uid".to_owned(), DAEMON.to_string()],
            ["--workspaces".to_owned(), path(workspaces)],
        ];
        refused(self.path(), "supervisor-launcher", 0, &words.concat())
    }

    /// Starts the daemon again after it was ended in one way or another, and waits until it answers.
    #[track_caller]
    pub fn start_daemon(&mut self) {
        self.own().start_daemon();
    }

    /// Starts the daemon again, to die at a point of its own work (`POINT:N`), which debug builds know. Returns
    /// when it answers or has died already, and says whether it answers.
    #[track_caller]
    pub fn start_doomed_daemon(&mut self, fault: &str) -> bool {
        self.own().start_doomed_daemon(fault)
    }

    /// Starts the daemon again if it will start, which it says.
    #[track_caller]
    pub fn start_daemon_if_it_can(&mut self) -> bool {
        self.own().start_daemon_if_it_can()
    }

    /// Turns the daemon's clock so many seconds away from the host's.
    #[track_caller]
    pub fn turn_clock(&mut self, seconds: i64) {
        self.own().turn_clock(seconds);
    }

    /// The block device of a state directory that is a disk.
    #[track_caller]
    pub fn state_device(&self) -> PathBuf {
        disk::device(&self.state())
    }

    /// The block device of a directory of workspaces that is a disk.
    #[track_caller]
    pub fn workspaces_device(&self) -> PathBuf {
        disk::device(&self.path().join("workspaces"))
    }

    /// Repairs such a state as a boot of the host does, and starts both programs anew.
    #[track_caller]
    pub fn mend_state(&mut self) {
        self.own().mend_state();
    }

    /// Fails unless nothing of any execution is on the host.
    #[track_caller]
    pub fn expect_nothing_left(&self) {
        match &self.0 {
            Supervisor::Own(own) => own.expect_nothing_left(),
            Supervisor::Installed(installed) => installed.verify(),
        }
    }

    /// Starts the launcher again. The daemon must have ended.
    #[track_caller]
    pub fn start_launcher(&mut self) {
        self.own().start_launcher();
    }

    /// The processes of an execution, init first, by the host's pids.
    #[track_caller]
    pub fn processes_of(&self, id: ExecutionId) -> Vec<u32> {
        let launcher = self.launcher_pid();
        let mut found = inspect::processes_of(id);
        found.sort_by_key(|pid| inspect::parent(*pid) != Some(launcher));
        found
    }

    /// The process that every init is a copy of.
    #[track_caller]
    pub fn seed(&self) -> u32 {
        let launcher = self.launcher_pid();
        let mut found = inspect::process_ids();
        found.retain(|pid| inspect::parent(*pid) == Some(launcher));
        found.retain(|pid| inspect::owner_uid(*pid).is_some_and(|uid| !crate::is_sandbox_id(uid)));
        found.pop().expect("the launcher has one")
    }

    #[track_caller]
    fn own(&mut self) -> &mut Own {
        match &mut self.0 {
            Supervisor::Own(own) => own,
            Supervisor::Installed(_) => {
                panic!(
                    "this test ends or starts its supervisor: it belongs where it has one of its own"
                )
            }
        }
    }
}

/// What a program says that doesn't begin to serve.
#[track_caller]
fn refused(directory: &Path, name: &str, uid: u32, words: &[String]) -> String {
    let log = directory.join("refused.log");
    let mut program = Process::start(name, uid, words, log.clone()).unwrap();
    until_true("it ends by itself", || !program.runs());
    assert!(!program.ended_well(), "{}", program.words());
    let said = program.words();
    std::fs::remove_file(log).unwrap();
    said
}
