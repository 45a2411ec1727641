//! The installed service, as a supervisor under test: where `SUPERVISORD_TEST_SOCKET` names its socket.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::AGENT;
use crate::client::Client;
use crate::inspect;
use crate::wait::until_true;

/// The variable that names the socket of a service that is installed and runs.
const SOCKET: &str = "SUPERVISORD_TEST_SOCKET";

/// Where the package has its state.
const STATE: &str = "/var/lib/supervisord";

/// Uids of a test's callers, so many for each test: nobody else's executions are theirs, whatever else the
/// service has done.
const UIDS: u32 = 64;

/// The first of the uids that callers are given. Neither accounts nor sandboxes have any of these.
const FIRST_UID: u32 = 0x1000_0000;

/// Tests that share the service, and those that must have it to themselves.
static TURNS: RwLock<()> = RwLock::new(());

/// A turn with the service, for as long as it is held.
#[derive(Debug)]
enum Turn {
    Shared { _held: RwLockReadGuard<'static, ()> },
    Alone { _held: RwLockWriteGuard<'static, ()> },
}

/// The service, to a test that uses it.
#[derive(Debug)]
pub(crate) struct Installed {
    socket: PathBuf,
    first_uid: u32,
    _turn: Turn,
}

impl Installed {
    /// The service, if one is to be tested; to this test alone, if it asks for that.
    pub(crate) fn look(alone: bool) -> Option<Self> {
        let socket = PathBuf::from(std::env::var_os(SOCKET)?);
        // A test that failed has left nothing half done that another one relies on.
        let turn = match alone {
            true => Turn::Alone { _held: TURNS.write().unwrap_or_else(PoisonError::into_inner) },
            false => Turn::Shared { _held: TURNS.read().unwrap_or_else(PoisonError::into_inner) },
        };
        let random = RandomState::new().build_hasher().finish() as u32;
        let first_uid = FIRST_UID + random % FIRST_UID / UIDS * UIDS;
        Some(Self { socket, first_uid, _turn: turn })
    }

    /// The caller that other supervisors know by this uid.
    #[track_caller]
    pub(crate) fn agent(&self, uid: u32) -> Client {
        let number = uid.checked_sub(AGENT).filter(|number| *number < UIDS);
        let uid = self.first_uid + number.expect("a test's callers are numbered from AGENT on");
        Client::new(self.socket.clone(), Some(uid)).in_group(self.group())
    }

    /// Whose members may call.
    #[track_caller]
    pub(crate) fn group(&self) -> u32 {
        std::fs::metadata(&self.socket).expect("the service has its socket").gid()
    }

    /// The API's socket.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// The daemon's state directory.
    pub(crate) fn state(&self) -> &Path {
        Path::new(STATE)
    }

    /// The daemon's pid.
    #[track_caller]
    pub(crate) fn daemon_pid(&self) -> u32 {
        main_pid("supervisord.service")
    }

    /// The launcher's pid.
    #[track_caller]
    pub(crate) fn launcher_pid(&self) -> u32 {
        main_pid("supervisor-launcher.service")
    }

    /// Ends what this test's callers still have, and fails if anything of what they had still runs.
    #[track_caller]
    pub(crate) fn verify(&self) {
        let is_ours = |uid: u32| (self.first_uid..self.first_uid + UIDS).contains(&uid);
        let all = Client::new(self.socket.clone(), None).cancel_all(is_ours);
        for id in all {
            until_true("nothing runs any more", || inspect::processes_of(id).is_empty());
        }
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.verify();
        }
    }
}

#[track_caller]
fn main_pid(unit: &str) -> u32 {
    let output =
        Command::new("systemctl").args(["show", "--property", "MainPID", "--value", unit]).output();
    let output = output.expect("an installed service is systemd's");
    let text = String::from_utf8_lossy(&output.stdout);
    let pid = text.trim().parse().expect("a pid");
    assert_ne!(pid, 0, "{unit} does not run");
    pid
}
