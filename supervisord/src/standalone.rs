//! A private supervisor for one caller: nothing is installed, and nothing of it is left at the end.
//!
//! This process keeps what privilege it was started with and does three things with it: it starts
//! the launcher, it starts the daemon, which gives everything up, and when both have ended it
//! removes their directory. It reads nothing that anybody sends. Whoever started it reads one line,
//! `ready SOCKET`, from the daemon's standard output; the daemon lives as long as its standard input
//! stays open.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, lchown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::errno::Errno;
use nix::libc::O_NOFOLLOW;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{getegid, geteuid, setsid};
use supervisor_launch::{BLOCK_LOCKS, BLOCKS, first_id, used_blocks};
use supervisor_sys::{close_on_exec_from, keep_on_exec, lock_first_free, random_bits};

use crate::hard_limits::enough_descriptors;

/// Runs the launcher and the daemon, and cleans up after them. `clients` are the answers of the host's
/// package clients (`supervisorctl policy hosts`), for the daemon to read.
pub fn run(strict: bool, clients: &str) -> io::Result<ExitStatus> {
    // Whatever else the caller had open is neither the launcher's nor the daemon's.
    close_on_exec_from(3)?;
    let (_, descriptors) = getrlimit(Resource::RLIMIT_NOFILE)?;
    enough_descriptors(descriptors)?;
    leave_the_terminal()?;
    let ids = DaemonIds::choose()?;
    let directory = make_directory()?;
    // The launcher's alone. What is in it never has a name, so it is empty at the end too.
    let workspaces = directory.with_extension("workspaces");
    let made = DirBuilder::new().mode(0o700).create(&workspaces);
    let status = made.and_then(|()| run_in(&directory, &workspaces, &ids, (strict, clients)));
    let removed = fs::remove_dir_all(&directory).and(fs::remove_dir_all(&workspaces));
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

/// Who the daemon is to be.
struct DaemonIds {
    uid: u32,
    gid: u32,
    /// Keeps other supervisors away from our block of host ids, for as long as this process lives.
    _block: Option<OwnedFd>,
}

impl DaemonIds {
    /// As root, the first id of a block that nobody else has; else the caller's own.
    fn choose() -> io::Result<Self> {
        if !geteuid().is_root() {
            return Ok(Self { uid: geteuid().as_raw(), gid: getegid().as_raw(), _block: None });
        }
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).mode(0o600);
        let file = OwnedFd::from(options.custom_flags(O_NOFOLLOW).open(BLOCK_LOCKS)?);
        // Of one that was killed, sandboxes may not quite be dead.
        let used = used_blocks()?;
        let block = lock_first_free(file.as_fd(), BLOCKS, |block| !used.contains(&block))?
            .ok_or_else(|| io::Error::other("every block of host ids is taken"))?;
        let id = first_id(block);
        Ok(Self { uid: id, gid: id, _block: Some(file) })
    }
}

/// A directory of a name that nobody can guess, for the daemon and the caller alone. The caller is
/// root or has the daemon's uid, so both get past the mode.
fn make_directory() -> io::Result<PathBuf> {
    // Empty it is as good as not there, as mktemp(1) has it.
    let named = std::env::var_os("TMPDIR").filter(|named| !named.is_empty());
    let place = named.map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    let directory = place.join(format!("supervisord-{:032x}", random_bits()?));
    let about = |problem: String| format!("TMPDIR is {place:?}, {problem}");
    if let Some(problem) = unfit(&place, &directory.join(SOCKET)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, about(problem)));
    }
    match DirBuilder::new().mode(0o700).create(&directory) {
        Ok(()) => Ok(directory),
        Err(error) => Err(io::Error::new(
            error.kind(),
            format!("{}: {error}; TMPDIR names another place for it", directory.display()),
        )),
    }
}

/// The daemon's socket in its directory.
const SOCKET: &str = "api.sock";

/// Bytes that the path of a socket may have: what the kernel takes, without the zero at its end (unix(7)).
const SOCKET_MAX: usize = 107;

/// Why a supervisor can't be at this place, and what to do, if its socket would have this path.
fn unfit(place: &Path, socket: &Path) -> Option<String> {
    const ANOTHER: &str = "name a directory such as /tmp, or leave TMPDIR out";
    let (length, longest) = (socket.as_os_str().len(), SOCKET_MAX);
    if !place.is_absolute() {
        // The launcher and the daemon work in another directory than the caller does.
        return Some(format!("which does not begin with a slash; {ANOTHER}"));
    }
    // The daemon says in one line of text where it listens.
    if place.to_str().is_none_or(|text| text.chars().any(char::is_control)) {
        return Some(format!("which has control characters or is not UTF-8; {ANOTHER}"));
    }
    (length > longest).then(|| {
        let most = longest.saturating_sub(length.saturating_sub(place.as_os_str().len()));
        format!("too long for the path of a socket in it: {most} bytes are the most; {ANOTHER}")
    })
}

fn run_in(
    directory: &Path,
    workspaces: &Path,
    ids: &DaemonIds,
    words: (bool, &str),
) -> io::Result<ExitStatus> {
    let socket = directory.join(SOCKET);
    let listener = UnixListener::bind(&socket)?;
    lchown(socket, Some(ids.uid), Some(ids.gid))?;
    lchown(directory, Some(ids.uid), Some(ids.gid))?; // last: from here on it is the daemon's
    let (connection, mut launcher) = start_launcher(ids, directory, workspaces)?;
    let daemon = start_daemon(directory, ids, words, &listener, &connection);
    drop((listener, connection)); // or the launcher would not see the daemon go
    let status = daemon.and_then(|mut daemon| daemon.wait());
    let launcher = launcher.wait()?;
    let status = status?;
    Ok(if status.success() { launcher } else { status })
}

fn start_launcher(ids: &DaemonIds, disk: &Path, workspaces: &Path) -> io::Result<(OwnedFd, Child)> {
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    let program = std::env::current_exe()?.with_file_name("supervisor-launcher");
    keep_on_exec(&theirs)?;
    let process = Command::new(&program)
        .args(["--daemon-fd", &theirs.as_raw_fd().to_string()])
        .args(["--daemon-uid", &ids.uid.to_string(), "--daemon-gid", &ids.gid.to_string()])
        .args(["--first-id", &ids.uid.to_string(), "--cgroup", "private", "--disk"])
        .arg(disk)
        .arg("--workspaces")
        .arg(workspaces)
        .args(images().into_iter().flat_map(|path| ["--images", path]))
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", program.display())))?;
    Ok((ours, process))
}

/// Where root's images are on a host that has some. Only root can show them to sandboxes.
const IMAGES: &str = "/var/lib/supervisord-images";

fn images() -> Option<&'static str> {
    (geteuid().is_root() && Path::new(IMAGES).is_dir()).then_some(IMAGES)
}

/// The daemon gets standard input and output as they are: its life and its one line.
fn start_daemon(
    directory: &Path,
    ids: &DaemonIds,
    (strict, clients): (bool, &str),
    listener: &UnixListener,
    launcher: &OwnedFd,
) -> io::Result<Child> {
    keep_on_exec(listener)?;
    keep_on_exec(launcher)?;
    Command::new(std::env::current_exe()?)
        .arg("--standalone-daemon")
        .arg(directory)
        .args([&ids.uid.to_string(), &strict.to_string(), clients])
        .args([listener.as_raw_fd().to_string(), launcher.as_raw_fd().to_string()])
        .env_clear()
        .current_dir("/")
        .spawn()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn told(place: &OsStr) -> Option<String> {
        let name = format!("supervisord-{:032x}", u128::MAX);
        unfit(Path::new(place), &Path::new(place).join(name).join(SOCKET))
    }

    #[test]
    fn a_place_that_no_supervisor_can_be_at_is_told_by_what_is_wrong_with_it() {
        let longest = format!("/{}", "n".repeat(52));
        let longer = format!("{longest}n");
        let wrong: [(&[u8], &str); 5] = [
            (b"here", "does not begin with a slash"),
            (b"./here", "does not begin with a slash"),
            (b"/tmp/two\nlines", "control characters"),
            (b"/tmp/\xff", "not UTF-8"),
            (longer.as_bytes(), "53 bytes are the most"),
        ];
        for (place, words) in wrong {
            let problem = told(OsStr::from_bytes(place)).unwrap_or_default();
            assert!(problem.contains(words), "{place:?}: {problem}");
            assert!(problem.contains("leave TMPDIR out"), "{problem}");
        }
        for right in ["/tmp", "/var/tmp/with a space", &longest] {
            assert_eq!(told(OsStr::new(right)), None, "{right}");
        }
        // The kernel has the last word on what is too long.
        let at_most = "/".repeat(SOCKET_MAX);
        nix::sys::socket::UnixAddr::new(at_most.as_str()).expect("as long as it may be");
        nix::sys::socket::UnixAddr::new(format!("{at_most}/").as_str()).expect_err("too long");
    }
}
