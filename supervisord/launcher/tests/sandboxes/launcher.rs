//! A launcher of a test's own, and the daemon's side of its socket.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::unistd::Pid;
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};
use supervisor_launch::seccomp::Profile;
use supervisor_launch::{
    Image, Input, Kept, MAX_MESSAGE, Prepare, Reply, Request, SandboxLimits, Step, Storage,
    VERSION, Workspace,
};
use supervisor_sys::{random_bits, receive, send};
use tempfile::TempDir;

/// The daemon's uid, of the range for sandboxes: no account has it.
pub const DAEMON: u32 = supervisor_launch::FIRST_ID + 77;

/// On whose behalf sandboxes run.
pub const OWNER: u32 = 4711;

/// Names a directory on a file system with project quota. Where it is set, that and nothing else is to
/// hold the limits.
const QUOTA: &str = "SUPERVISOR_TEST_QUOTA";

/// Names the launcher to test, in a machine where it was not built.
const PROGRAM: &str = "SUPERVISOR_TEST_LAUNCHER";

/// What has to hold the limits of workspaces here.
pub fn storage() -> Storage {
    if std::env::var_os(QUOTA).is_some() { Storage::Quota } else { Storage::Image }
}

/// How long the launcher may take to listen, and the kernel to let go of a device.
const PATIENCE: Duration = Duration::from_secs(20);

/// A launcher that runs, and a daemon's connection to it.
pub struct Launcher {
    directory: TempDir,
    more: &'static [&'static str],
    process: Child,
    connection: OwnedFd,
}

/// What a request came to.
pub type Answer = Result<(Reply, Vec<OwnedFd>), (Step, i32)>;

impl Launcher {
    /// Starts one with a directory for workspaces.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more on its command line.
    pub fn start_with(more: &'static [&'static str]) -> Self {
        Self::begin(None, more)
    }

    /// Starts one in a cgroup that is delegated to it.
    pub fn start_in(cgroup: &Path) -> Self {
        Self::begin(Some(cgroup), &["--cgroup", "own"])
    }

    fn begin(cgroup: Option<&Path>, more: &'static [&'static str]) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "this test needs root");
        let mut builder = tempfile::Builder::new();
        let directory = match std::env::var_os(QUOTA) {
            Some(place) => builder.prefix("launcher-test-").tempdir_in(place),
            None => builder.prefix("launcher-test-").tempdir(),
        };
        let directory = directory.unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let workspaces = directory.path().join("workspaces");
        fs::create_dir(&workspaces).unwrap();
        fs::set_permissions(&workspaces, fs::Permissions::from_mode(0o700)).unwrap();
        let (process, connection) = begin(directory.path(), cgroup, more);
        Self { directory, more, process, connection }
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Where workspaces are.
    pub fn workspaces(&self) -> PathBuf {
        self.directory.path().join("workspaces")
    }

    /// Asks and asks until nothing is taken any more, and never reads an answer.
    pub fn flood(&self) {
        fcntl(&self.connection, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let request = Request::List.encode(VERSION).unwrap();
        let mut fds = [PollFd::new(self.connection.as_fd(), PollFlags::POLLOUT)];
        while poll(&mut fds, PollTimeout::from(1000_u16)).unwrap() == 1
            && send(self.connection.as_fd(), &request, &[]).is_ok()
        {}
    }

    /// Whether it answers at all.
    pub fn answers(&self) -> bool {
        send(self.connection.as_fd(), &Request::List.encode(VERSION).unwrap(), &[]).unwrap();
        let mut fds = [PollFd::new(self.connection.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::try_from(PATIENCE).unwrap()).unwrap() == 1
    }

    /// Kills it and starts another over the same directory.
    pub fn kill_and_start(&mut self) {
        self.stop();
        self.start_again();
    }

    /// Kills it.
    pub fn stop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts another over the same directory.
    pub fn start_again(&mut self) {
        let (process, connection) = begin(self.directory.path(), None, self.more);
        (self.process, self.connection) = (process, connection);
    }

    /// The daemon dies and another comes.
    pub fn reconnect(&mut self) {
        let path = socket_in(self.directory.path());
        self.connection = File::open("/dev/null").unwrap().into(); // the one before goes first
        self.connection = connect_as_daemon(&path).unwrap();
    }

    /// Another daemon comes while the first has its connection still, which is given.
    pub fn connect(&mut self) -> OwnedFd {
        let new = connect_as_daemon(&socket_in(self.directory.path())).unwrap();
        std::mem::replace(&mut self.connection, new)
    }

    /// Goes on with a connection that there was before.
    pub fn go_back(&mut self, connection: OwnedFd) {
        self.connection = connection;
    }

    /// Whether it ends the connection without a word.
    pub fn is_refused(&self) -> bool {
        matches!(receive(self.connection.as_fd(), &mut [0; 64]), Ok((0, _)))
    }

    /// Sends bytes and gives the answer's.
    pub fn exchange(&self, bytes: &[u8]) -> (Vec<u8>, Vec<OwnedFd>) {
        send(self.connection.as_fd(), bytes, &[]).unwrap();
        let mut buffer = vec![0; MAX_MESSAGE];
        let (length, fds) = receive(self.connection.as_fd(), &mut buffer).unwrap();
        buffer.truncate(length);
        (buffer, fds)
    }

    /// Says what is no request. The launcher says no more to whoever did; another daemon comes.
    #[track_caller]
    pub fn babble(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        match send(self.connection.as_fd(), bytes, fds) {
            // The kernel refuses descriptors for it (SO_PASSRIGHTS), so it has heard nothing.
            Err(error) if error.raw_os_error() == Some(nix::libc::EPERM) && !fds.is_empty() => {
                return;
            }
            sent => sent.unwrap(),
        }
        let said = receive(self.connection.as_fd(), &mut [0; 64]);
        let ended = match &said {
            Ok((length, _)) => *length == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        };
        assert!(ended, "{bytes:?} was answered: {said:?}");
        self.reconnect();
    }

    /// How many descriptors it has.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Asks for something.
    pub fn ask(&self, request: Request) -> Answer {
        let (bytes, fds) = self.exchange(&request.encode(VERSION).unwrap());
        match Reply::decode(&bytes).unwrap() {
            (VERSION, Reply::Failed { step, errno, .. }) => Err((step, errno)),
            (VERSION, reply) => Ok((reply, fds)),
            (other, _) => panic!("an answer in version {other}"),
        }
    }

    /// Has a workspace made that is kept.
    pub fn make(&self, bytes: u64, inodes: u64) -> u128 {
        let id = random_bits().unwrap();
        let kept = Kept { id, owner: OWNER, bytes, inodes };
        self.ask(Request::MakeWorkspace(kept)).expect("made");
        id
    }

    /// The ids of those that are kept.
    pub fn kept(&self) -> Vec<u128> {
        match self.ask(Request::ListWorkspaces { from: 0 }).expect("listed").0 {
            Reply::Workspaces { kept } => kept.iter().map(|each| each.id).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// The daemon's view of one.
    pub fn grant(&self, id: u128) -> OwnedFd {
        self.ask(Request::Grant { id }).expect("granted").1.pop().expect("a descriptor")
    }

    /// How many workspaces have names.
    pub fn on_disk(&self) -> usize {
        let projects = self.workspaces().join("projects");
        let place = if projects.exists() { projects } else { self.workspaces() };
        let workspace = |entry: &fs::DirEntry| entry.file_name() != "scrap";
        let scrap = place.join("scrap");
        assert!(!scrap.exists() || fs::read_dir(scrap).unwrap().next().is_none(), "half removed");
        fs::read_dir(place).unwrap().flatten().filter(workspace).count()
    }

    /// Fails unless there are so many images mounted, if images hold the limits.
    #[track_caller]
    pub fn expect_devices(&self, number: usize) {
        let expected = if storage() == Storage::Image { number } else { 0 };
        assert_eq!(self.devices(), expected);
    }

    /// Loop devices with a file of this launcher's file system and directory behind them, named or not.
    fn devices(&self) -> usize {
        // Only the last part of its name: the launcher has let go of the host's tree of mounts.
        let name = self.directory.path().file_name().unwrap().to_str().unwrap();
        let mine = |entry: &fs::DirEntry| {
            let file = entry.path().join("loop/backing_file");
            fs::read_to_string(file).is_ok_and(|path| path.contains(name))
        };
        fs::read_dir("/sys/block").unwrap().flatten().filter(mine).count()
    }

    /// Fails unless the kernel lets go of every device before long.
    #[track_caller]
    pub fn expect_no_devices(&self) {
        let begin = Instant::now();
        while self.devices() > 0 {
            assert!(begin.elapsed() < PATIENCE, "a loop device is left");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether its workspaces are on a file system in memory.
    pub fn is_in_memory(&self) -> bool {
        statfs(&self.workspaces()).unwrap().filesystem_type() == TMPFS_MAGIC
    }

    /// Fails unless every image takes at least so many bytes of the host's disk.
    #[track_caller]
    pub fn expect_large_files(&self, least: u64) {
        let is_small = |file: &fs::DirEntry| file.metadata().unwrap().blocks() * 512 < least;
        let small: Vec<_> =
            fs::read_dir(self.workspaces()).unwrap().flatten().filter(is_small).collect();
        assert!(small.is_empty(), "{small:?}");
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGTERM).unwrap();
        let status = self.process.wait().unwrap();
        if !thread::panicking() {
            assert!(status.success(), "the launcher ended with {status}");
            self.expect_no_devices();
        }
    }
}

/// A launch in this workspace.
pub fn prepare(workspace: Workspace, bytes: u64, inodes: u64) -> Prepare {
    let limits = SandboxLimits {
        memory_max: 256 << 20,
        pids_max: 64,
        cpu_max: 200,
        cpu_time: 60_000,
        open_files: 256,
        workspace_bytes: bytes,
        workspace_inodes: inodes,
        tmp_bytes: 1 << 20,
        tmp_inodes: 64,
        ..SandboxLimits::default()
    };
    Prepare {
        execution: random_bits().unwrap(),
        image: Image::Default,
        profile: Profile::Default,
        exec: true,
        landlock: 0,
        limits,
        owner: Some(OWNER),
        workspace,
        listeners: None,
        channel: false,
        input: Input::Given,
        writable_root: false,
        pseudo_terminals: false,
    }
}

fn socket_in(directory: &Path) -> PathBuf {
    directory.join("launcher.sock")
}

fn begin(directory: &Path, cgroup: Option<&Path>, more: &[&str]) -> (Child, OwnedFd) {
    let built = || env!("CARGO_BIN_EXE_supervisor-launcher").into();
    let program = PathBuf::from(std::env::var_os(PROGRAM).unwrap_or_else(built));
    let init = program.with_file_name("supervisor-init");
    assert!(init.exists(), "build supervisor-init first: cargo build --workspace");
    let socket = socket_in(directory);
    drop(fs::remove_file(&socket)); // of a launcher that was killed
    // Whoever starts a program in a cgroup moves there first.
    let mut command = Command::new("sh");
    command.args(["-c", r#"[ -z "$0" ] || echo $$ >"$0/cgroup.procs"; exec "$@""#]);
    let process = command
        .arg(cgroup.unwrap_or(Path::new("")))
        .arg(program)
        .arg("--listen")
        .arg(&socket)
        .args(["--daemon-uid", &DAEMON.to_string(), "--workspaces"])
        .arg(directory.join("workspaces"))
        .args(more)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    loop {
        match connect_as_daemon(&socket) {
            Ok(connection) => return (process, connection),
            Err(error) => {
                assert!(begin.elapsed() < PATIENCE, "the launcher does not listen: {error}")
            }
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// A connection remembers the credentials of the thread that made it.
fn connect_as_daemon(path: &Path) -> io::Result<OwnedFd> {
    let connected = thread::scope(|scope| {
        let connect = || -> io::Result<OwnedFd> {
            let (user, group) = (Uid::from_raw(DAEMON), Gid::from_raw(DAEMON));
            set_thread_res_gid(group, group, group)?;
            set_thread_res_uid(user, user, user)?;
            let kind = SockType::SeqPacket;
            let connection = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None)?;
            connect(connection.as_raw_fd(), &UnixAddr::new(path)?)?;
            Ok(connection)
        };
        scope.spawn(connect).join()
    });
    connected.expect("nothing in the thread panics")
}

/// Reads what the daemon may, as it.
pub fn as_daemon<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    let done = thread::scope(|scope| {
        let act = || {
            let (user, group) = (Uid::from_raw(DAEMON), Gid::from_raw(DAEMON));
            set_thread_res_gid(group, group, group).unwrap();
            set_thread_res_uid(user, user, user).unwrap();
            act()
        };
        scope.spawn(act).join()
    });
    done.expect("nothing in the thread panics")
}
