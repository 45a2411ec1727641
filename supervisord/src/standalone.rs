//! A private supervisor for one caller: nothing is installed, and nothing of it is left at the end.
//!
//! This process keeps what privilege it was started with and does three things with it: it starts
//! the launcher, it starts the daemon, which gives everything up, and when both have ended it
//! removes their directory. It reads nothing that anybody sends. Whoever started it reads one line,
//! `ready SOCKET`, from the daemon's standard output; the daemon lives as long as its standard input
//! stays open.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{geteuid, setsid};
use supervisor_launch::DAEMON_ID;
use supervisor_sys::{keep_on_exec, random_bits};

/// Runs the launcher and the daemon, and cleans up after them.
pub fn run(strict: bool) -> io::Result<ExitStatus> {
    leave_the_terminal()?;
    let uid = if geteuid().is_root() { DAEMON_ID } else { geteuid().as_raw() };
    let directory = make_directory(uid)?;
    let status = run_in(&directory, uid, strict);
    let removed = fs::remove_dir_all(&directory);
    let status = status?;
    removed.map(|()| status)
}

/// The caller's interrupts are the caller's to handle: it may want to see how its execution ended.
fn leave_the_terminal() -> io::Result<()> {
    match setsid() {
        Ok(_) | Err(Errno::EPERM) => {} // a process that leads its group can't, and need not
        Err(error) => return Err(error.into()),
    }
    let mut ignored = SigSet::empty();
    ignored.add(Signal::SIGINT);
    ignored.add(Signal::SIGTERM);
    ignored.add(Signal::SIGHUP);
    Ok(ignored.thread_block()?) // the daemon ends with its standard input, and we with it
}

/// A directory of a name that nobody can guess, for the daemon and the caller alone. The caller is
/// root or has the daemon's uid, so both get past the mode.
fn make_directory(uid: u32) -> io::Result<PathBuf> {
    let name = format!("supervisord-{:032x}", random_bits()?);
    let directory = std::env::temp_dir().join(name);
    DirBuilder::new().mode(0o700).create(&directory)?;
    chown(&directory, Some(uid), Some(uid))?;
    Ok(directory)
}

fn run_in(directory: &Path, uid: u32, strict: bool) -> io::Result<ExitStatus> {
    let listener = UnixListener::bind(directory.join("api.sock"))?;
    chown(directory.join("api.sock"), Some(uid), Some(uid))?;
    let (socket, mut launcher) = start_launcher(uid, directory)?;
    let daemon = start_daemon(directory, uid, strict, &listener, &socket);
    drop((listener, socket)); // or the launcher would not see the daemon go
    let status = daemon.and_then(|mut daemon| daemon.wait());
    let launcher = launcher.wait()?;
    let status = status?;
    Ok(if status.success() { launcher } else { status })
}

fn start_launcher(uid: u32, disk: &Path) -> io::Result<(OwnedFd, Child)> {
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    let program = std::env::current_exe()?.with_file_name("supervisor-launcher");
    keep_on_exec(&theirs)?;
    let process = Command::new(&program)
        .args(["--daemon-fd", &theirs.as_raw_fd().to_string()])
        .args(["--daemon-uid", &uid.to_string(), "--cgroup", "private", "--disk"])
        .arg(disk)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", program.display())))?;
    Ok((ours, process))
}

/// The daemon gets standard input and output as they are: its life and its one line.
fn start_daemon(
    directory: &Path,
    uid: u32,
    strict: bool,
    listener: &UnixListener,
    launcher: &OwnedFd,
) -> io::Result<Child> {
    keep_on_exec(listener)?;
    keep_on_exec(launcher)?;
    Command::new(std::env::current_exe()?)
        .arg("--standalone-daemon")
        .arg(directory)
        .args([uid.to_string(), strict.to_string()])
        .args([listener.as_raw_fd().to_string(), launcher.as_raw_fd().to_string()])
        .env_clear()
        .current_dir("/")
        .spawn()
}
